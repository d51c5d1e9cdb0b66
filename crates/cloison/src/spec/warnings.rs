//! What is understood but ignored, or outdated, each by its name.

use std::collections::BTreeSet;

use cloison_linux::capability::Capability;

use super::check::parse_version;
use super::error::Problem;
use super::{Device, DeviceType, NamespaceType, Process, Seccomp, Spec};

/// The minor version whose fields are all known.
const NEWEST_MINOR: u32 = 3;

impl Spec {
    /// What in a checked spec is ignored or outdated.
    pub fn warnings(&self) -> Vec<Problem> {
        let mut list = Warnings(Vec::new());
        version(&self.oci_version, &mut list);
        process(&self.process, "/process", &mut list);
        self.mounts_and_hooks(&mut list);
        self.other_systems(&mut list);
        self.linux(&mut list);
        list.0
    }

    fn mounts_and_hooks(&self, list: &mut Warnings) {
        for (index, mount) in self.mounts.iter().enumerate() {
            if !mount.destination.starts_with('/') {
                list.add(
                    format!("/mounts/{index}/destination"),
                    format!("relative path {:?} is deprecated, it is taken from /", mount.destination),
                );
            }
            if mount.has_mappings() && !mount.has_option("idmap") && !mount.has_option("ridmap") {
                list.add(
                    format!("/mounts/{index}/options"),
                    "mappings should come with the option idmap or ridmap, without which older runtimes ignore them",
                );
            }
        }
        if !self.hooks.prestart.is_empty() {
            list.add("/hooks/prestart", "deprecated, use createRuntime, createContainer or startContainer");
        }
        if self.annotations.contains_key("") {
            list.add("/annotations/", "an annotation without a name");
        }
    }

    fn other_systems(&self, list: &mut Warnings) {
        for (name, section) in [
            ("solaris", &self.solaris),
            ("windows", &self.windows),
            ("vm", &self.vm),
            ("zos", &self.zos),
            ("freebsd", &self.freebsd),
        ] {
            if section.is_some() {
                list.add(format!("/{name}"), "ignored, this is a runtime for Linux containers");
            }
        }
    }

    fn linux(&self, list: &mut Warnings) {
        let linux = &self.linux;
        let joins_user = linux.namespace(NamespaceType::User).is_some_and(|user| user.path.is_some());
        for (name, rows) in [("uidMappings", &linux.uid_mappings), ("gidMappings", &linux.gid_mappings)] {
            if joins_user && !rows.is_empty() {
                list.add(
                    format!("/linux/{name}"),
                    "the user namespace that is joined has mappings already, these must be the same",
                );
            }
        }
        for (name, paths) in [("maskedPaths", &linux.masked_paths), ("readonlyPaths", &linux.readonly_paths)]
        {
            for (index, path) in paths.iter().enumerate().filter(|(_, path)| !path.starts_with('/')) {
                list.add(
                    format!("/linux/{name}/{index}"),
                    format!("relative path {path:?}, it is taken from /"),
                );
            }
        }
        for (index, found) in linux.devices.iter().enumerate() {
            device(found, index, list);
        }
        if linux.personality.as_ref().is_some_and(|personality| !personality.flags.is_empty()) {
            list.add("/linux/personality/flags", "ignored, no flag is defined yet");
        }
        if let Some(filter) = &linux.seccomp {
            seccomp(filter, list);
        }
        self.resources(list);
    }

    fn resources(&self, list: &mut Warnings) {
        let resources = &self.linux.resources;
        for (index, rule) in resources.devices.iter().enumerate() {
            let others: String =
                rule.access.chars().filter(|letter| !matches!(letter, 'r' | 'w' | 'm')).collect();
            if !others.is_empty() {
                list.add(
                    format!("/linux/resources/devices/{index}/access"),
                    format!("{others:?} is ignored, it is none of r, w and m"),
                );
            }
        }
        let memory = &resources.memory;
        for (name, is_set, why) in [
            ("kernel", memory.kernel.is_some(), "ignored, kernels since 5.4 have no such limit of their own"),
            ("kernelTCP", memory.kernel_tcp.is_some(), "ignored, it is part of the memory limit"),
            ("useHierarchy", memory.use_hierarchy.is_some(), "ignored, limits always hold for cgroups below"),
        ] {
            if is_set {
                list.add(format!("/linux/resources/memory/{name}"), why);
            }
        }
        for (index, device) in resources.block_io.weight_device.iter().enumerate() {
            if device.weight.is_none() && device.leaf_weight.is_none() {
                list.add(
                    format!("/linux/resources/blockIO/weightDevice/{index}"),
                    "weighs nothing, expected weight or leafWeight",
                );
            }
        }
        for (name, device) in &resources.rdma {
            if device.hca_handles.is_none() && device.hca_objects.is_none() {
                list.add(
                    format!("/linux/resources/rdma/{}", super::check::escape(name)),
                    "limits nothing, expected hcaHandles or hcaObjects",
                );
            }
        }
    }
}

impl Process {
    /// What in a checked process is ignored.
    pub fn warnings(&self) -> Vec<Problem> {
        let mut list = Warnings(Vec::new());
        process(self, "", &mut list);
        list.0
    }
}

struct Warnings(Vec<Problem>);

impl Warnings {
    fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { pointer: pointer.into(), message: message.into() });
    }
}

fn version(version: &str, list: &mut Warnings) {
    if parse_version(version).is_some_and(|(_, minor)| minor > NEWEST_MINOR) {
        list.add("/ociVersion", format!("{version} is newer than 1.3, fields that came after are ignored"));
    }
}

fn process(process: &Process, at: &str, list: &mut Warnings) {
    if process.console_size.is_some() && !process.terminal {
        list.add(format!("{at}/consoleSize"), "ignored without a terminal");
    }
    if process.console_size.is_some_and(|size| size.width.max(size.height) > u64::from(u16::MAX)) {
        list.add(format!("{at}/consoleSize"), "a terminal has at most 65535 lines and columns");
    }
    if process.command_line.is_some() {
        list.add(format!("{at}/commandLine"), "ignored, it is for Windows");
    }
    if process.user.username.is_some() {
        list.add(format!("{at}/user/username"), "ignored, it is for Windows");
    }
    if process.user.umask.is_some_and(|umask| umask > 0o777) {
        list.add(format!("{at}/user/umask"), "only the permission bits, 511, are used");
    }
    if let Some(sets) = &process.capabilities {
        let named = [
            ("bounding", &sets.bounding),
            ("effective", &sets.effective),
            ("inheritable", &sets.inheritable),
            ("permitted", &sets.permitted),
            ("ambient", &sets.ambient),
        ];
        let mut told = BTreeSet::new();
        for (set, names) in named {
            for (index, name) in
                names.iter().enumerate().filter(|(_, name)| Capability::from_name(name).is_none())
            {
                // The same name stands in up to five sets, once is enough.
                if told.insert(name) {
                    list.add(
                        format!("{at}/capabilities/{set}/{index}"),
                        format!("ignored, {name:?} is not a known capability"),
                    );
                }
            }
        }
        for (index, name) in sets.ambient.iter().enumerate().filter(|(_, name)| !told.contains(name)) {
            // capabilities(7): a capability is ambient only while it is both.
            if !(sets.permitted.contains(name) && sets.inheritable.contains(name)) {
                list.add(
                    format!("{at}/capabilities/ambient/{index}"),
                    format!(
                        "can't raise ambient capability {name}: it is not both permitted and inheritable"
                    ),
                );
            }
        }
    }
}

fn device(device: &Device, index: usize, list: &mut Warnings) {
    if device.path.is_empty() {
        list.add(format!("/linux/devices/{index}/path"), "missing, so no node is made");
    } else if !device.path.starts_with('/') {
        list.add(
            format!("/linux/devices/{index}/path"),
            format!("relative path {:?}, it is taken from /", device.path),
        );
    }
    if device.kind != DeviceType::Fifo && (device.major, device.minor) == (0, 0) {
        list.add(format!("/linux/devices/{index}"), "the device 0:0 does not exist");
    }
}

fn seccomp(filter: &Seccomp, list: &mut Warnings) {
    if filter.listener_metadata.is_some() && filter.listener_path.is_none() {
        list.add("/linux/seccomp/listenerMetadata", "ignored without listenerPath");
    }
    for (index, rule) in filter.syscalls.iter().enumerate() {
        if rule.names.is_empty() {
            list.add(format!("/linux/seccomp/syscalls/{index}/names"), "a rule about no system call");
        }
    }
}
