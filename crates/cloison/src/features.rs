//! What this runtime can do: the features document of runtime-spec (features.md, features-linux.md).
//!
//! Engines read it before they rely on something: containerd asks for `linux.namespaces` to have `user` and for
//! `linux.mountExtensions.idmap` before it gives a pod its own user namespace, and for the mount option `rro` before it promises
//! a recursively read-only mount. So a value is only true here if the runtime carries it out. A list that is absent means
//! "unknown", not "none".
//!
//! ```
//! let document = serde_json::to_value(cloison::features::features())?;
//! assert_eq!(document["ociVersionMax"], "1.3.0");
//! # Ok::<(), serde_json::Error>(())
//! ```

use std::collections::BTreeMap;

use cloison_linux::{capability, seccomp};
use serde::Serialize;

use crate::spec::{
    MOUNT_OPTIONS, MemoryPolicyFlag, MemoryPolicyMode, NEWEST_VERSION, NamespaceType, OLDEST_VERSION,
    SeccompAction, SeccompArch, SeccompFlag, SeccompOperator,
};

/// The whole document.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// The oldest runtime-spec whose bundles run.
    pub oci_version_min: &'static str,
    /// The newest runtime-spec of which every field is known.
    pub oci_version_max: &'static str,
    /// The kinds of hooks that are run, in that order.
    pub hooks: &'static [&'static str],
    /// The mount options that are not handed to the file system, sorted.
    pub mount_options: &'static [&'static str],
    /// What is particular to Linux.
    pub linux: Linux,
    /// What else there is to know of the implementation.
    pub annotations: BTreeMap<&'static str, String>,
    /// Annotations of a `config.json` that may change what the runtime does; one that ends in a dot is a prefix.
    pub potentially_unsafe_config_annotations: &'static [&'static str],
}

/// What is particular to Linux.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Linux {
    /// The kinds of namespaces, sorted.
    pub namespaces: Vec<&'static str>,
    /// The capabilities, in the kernel's order.
    pub capabilities: &'static [&'static str],
    /// Control groups.
    pub cgroup: Cgroup,
    /// Filters of system calls.
    pub seccomp: Seccomp,
    /// `process.apparmorProfile`.
    pub apparmor: Switch,
    /// `process.selinuxLabel` and `linux.mountLabel`.
    pub selinux: Switch,
    /// `linux.intelRdt`.
    pub intel_rdt: IntelRdt,
    /// `linux.memoryPolicy`.
    pub memory_policy: MemoryPolicy,
    /// What mounts can do beyond their options.
    pub mount_extensions: MountExtensions,
    /// `linux.netDevices`.
    pub net_devices: Switch,
}

/// Something that is carried out or not, whatever the host is able to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Switch {
    /// True if it is carried out.
    pub enabled: bool,
}

/// Control groups.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cgroup {
    /// Hierarchies of version 1.
    pub v1: bool,
    /// The unified hierarchy.
    pub v2: bool,
    /// Cgroups made by the system's systemd.
    pub systemd: bool,
    /// Cgroups made by a user's systemd.
    pub systemd_user: bool,
    /// `linux.resources.rdma`.
    pub rdma: bool,
}

/// `linux.seccomp`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seccomp {
    /// True if filters are loaded.
    pub enabled: bool,
    /// What can happen to a call, sorted.
    pub actions: Vec<&'static str>,
    /// How arguments are compared, sorted.
    pub operators: Vec<&'static str>,
    /// The architectures whose calls are told apart, sorted.
    pub archs: Vec<&'static str>,
    /// The flags that are known, sorted.
    pub known_flags: Vec<&'static str>,
    /// The flags that this kernel has, sorted.
    pub supported_flags: Vec<&'static str>,
}

/// `linux.intelRdt`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct IntelRdt {
    /// True if any of it is carried out.
    pub enabled: bool,
    /// The field `schemata`.
    pub schemata: bool,
    /// The field `enableMonitoring`.
    pub monitoring: bool,
}

/// `linux.memoryPolicy`.
#[derive(Debug, Clone, Serialize)]
pub struct MemoryPolicy {
    /// The modes, sorted.
    pub modes: Vec<&'static str>,
    /// The mode flags, sorted.
    pub flags: Vec<&'static str>,
}

/// What mounts can do beyond their options.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MountExtensions {
    /// `mounts[].uidMappings` and `gidMappings`, with the options `idmap` and `ridmap`.
    pub idmap: Switch,
}

const YES: Switch = Switch { enabled: true };

/// The features of this build.
pub fn features() -> Features {
    Features {
        oci_version_min: OLDEST_VERSION,
        oci_version_max: NEWEST_VERSION,
        hooks: &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        // Without `idmap` and `ridmap`, which are told as an extension.
        mount_options: &MOUNT_OPTIONS,
        linux: Linux {
            namespaces: sorted(NamespaceType::ALL.iter().map(|kind| kind.as_str())),
            capabilities: &capability::NAMES,
            cgroup: Cgroup { v1: true, v2: true, systemd: true, systemd_user: true, rdma: true },
            seccomp: filters(),
            apparmor: YES,
            selinux: YES,
            intel_rdt: IntelRdt { enabled: true, schemata: true, monitoring: true },
            memory_policy: MemoryPolicy {
                modes: sorted(MemoryPolicyMode::ALL.iter().map(|mode| mode.as_str())),
                flags: sorted(MemoryPolicyFlag::ALL.iter().map(|flag| flag.as_str())),
            },
            mount_extensions: MountExtensions { idmap: YES },
            net_devices: YES,
        },
        annotations: BTreeMap::from([
            ("run.oci.cloison.version", env!("CARGO_PKG_VERSION").to_owned()),
            // By this name engines ask any runtime.
            ("org.opencontainers.runc.checkpoint.enabled", true.to_string()),
            ("run.oci.cloison.landlock.abi", cloison_linux::landlock::abi().to_string()),
        ]),
        potentially_unsafe_config_annotations: UNSAFE_ANNOTATIONS,
    }
}

fn filters() -> Seccomp {
    let enabled = cloison_seccomp::Architecture::NATIVE.is_some();
    let known_flags = sorted(SeccompFlag::ALL.iter().map(|flag| flag.as_str()));
    let supported = |flag: &&SeccompFlag| {
        seccomp::flags_supported(match flag {
            SeccompFlag::Tsync => 0,
            SeccompFlag::Log => seccomp::LOG,
            SeccompFlag::SpecAllow => seccomp::SPEC_ALLOW,
            SeccompFlag::WaitKillableRecv => seccomp::WAIT_KILLABLE_RECV | seccomp::NEW_LISTENER,
        })
    };
    let supported = SeccompFlag::ALL.iter().filter(supported);
    Seccomp {
        enabled,
        actions: sorted(SeccompAction::ALL.iter().map(|action| action.as_str())),
        operators: sorted(SeccompOperator::ALL.iter().map(|operator| operator.as_str())),
        archs: sorted(SeccompArch::ALL.iter().map(|architecture| architecture.as_str())),
        known_flags,
        supported_flags: sorted(supported.map(|flag| flag.as_str())),
    }
}

/// Annotations that other runtimes act on, and that this one may act on one day: an engine that lets strangers set annotations
/// must not become unsafe by an update.
const UNSAFE_ANNOTATIONS: &[&str] =
    &["org.cloison.hooks.", "org.cloison.landlock", "org.criu.config", "org.systemd.property.", "run.oci."];

fn sorted(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::plan::mount_options;
    use crate::spec::ID_MAP_OPTIONS;

    fn document() -> Value {
        serde_json::to_value(features()).expect("the features are plain data")
    }

    type HasType = fn(&Value) -> bool;

    /// Every path of the schemas features-schema.json and features-linux.json (and of features-linux.md, which is ahead of
    /// them), with the type that it must have.
    const SCHEMA: &[(&str, HasType)] = &[
        ("/ociVersionMin", Value::is_string),
        ("/ociVersionMax", Value::is_string),
        ("/hooks", is_list),
        ("/mountOptions", is_list),
        ("/annotations", Value::is_object),
        ("/potentiallyUnsafeConfigAnnotations", is_list),
        ("/linux/namespaces", is_list),
        ("/linux/capabilities", is_list),
        ("/linux/cgroup/v1", Value::is_boolean),
        ("/linux/cgroup/v2", Value::is_boolean),
        ("/linux/cgroup/systemd", Value::is_boolean),
        ("/linux/cgroup/systemdUser", Value::is_boolean),
        ("/linux/cgroup/rdma", Value::is_boolean),
        ("/linux/seccomp/enabled", Value::is_boolean),
        ("/linux/seccomp/actions", is_list),
        ("/linux/seccomp/operators", is_list),
        ("/linux/seccomp/archs", is_list),
        ("/linux/seccomp/knownFlags", is_list),
        ("/linux/seccomp/supportedFlags", is_list),
        ("/linux/apparmor/enabled", Value::is_boolean),
        ("/linux/selinux/enabled", Value::is_boolean),
        ("/linux/intelRdt/enabled", Value::is_boolean),
        ("/linux/intelRdt/schemata", Value::is_boolean),
        ("/linux/intelRdt/monitoring", Value::is_boolean),
        ("/linux/memoryPolicy/modes", is_list),
        ("/linux/memoryPolicy/flags", is_list),
        ("/linux/mountExtensions/idmap/enabled", Value::is_boolean),
        ("/linux/netDevices/enabled", Value::is_boolean),
    ];

    fn is_list(value: &Value) -> bool {
        value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
    }

    /// The pointers of all values that are no objects; the annotations are free.
    fn leaves(at: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) if at != "/annotations" => {
                members.iter().for_each(|(name, member)| leaves(&format!("{at}/{name}"), member, found));
            }
            _ => found.push(at.to_owned()),
        }
    }

    #[test]
    fn document_has_the_keys_and_types_of_the_schema() {
        let document = document();
        for (pointer, has_type) in SCHEMA {
            let value = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is absent"));
            assert!(has_type(value), "{pointer}: {value}");
        }
    }

    #[test]
    fn document_has_no_other_keys() {
        let mut found = Vec::new();
        leaves("", &document(), &mut found);
        for pointer in found {
            assert!(SCHEMA.iter().any(|(known, _)| *known == pointer), "{pointer} is not in the schema");
        }
    }

    #[test]
    fn lists_name_each_thing_once() {
        let features = features();
        let policy = &features.linux.memory_policy;
        let Seccomp { actions, operators, archs, known_flags, supported_flags, .. } = &features.linux.seccomp;
        let filters = [actions, operators, archs, known_flags, supported_flags];
        let others =
            [&features.linux.namespaces, &policy.modes, &policy.flags, &features.mount_options.to_vec()];
        for list in filters.into_iter().chain(others) {
            assert!(list.is_sorted_by(|a, b| a < b), "{list:?}");
        }
    }

    #[test]
    fn recursive_read_only_is_advertised_and_idmap_is_not_an_option() {
        let options = features().mount_options;
        assert!(options.contains(&"rro"));
        assert!(!options.contains(&"idmap"));
    }

    #[test]
    fn advertised_options_are_those_that_mounts_understand() {
        let understood: Vec<_> =
            mount_options::names().filter(|name| !ID_MAP_OPTIONS.contains(name)).collect();
        assert_eq!(features().mount_options, understood);
    }
}
