//! The container's list of steps, in order.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use cloison_linux::namespace::NamespaceFlags;

use super::action::{Action, Masks, Origin};
use super::namespaces::Namespaces;
use super::{CgroupView, HostFacts, Options, Steps, cgroup_origin, devices, hooks, labels, mounts, process};
use crate::id::ContainerId;
use crate::spec::{Process, Spec};

/// The story of a container's birth, from `clone3` to the program.
pub(super) fn container_side(
    spec: &Spec,
    options: &Options,
    facts: &HostFacts,
    namespaces: &Namespaces,
    rootfs: &Path,
) -> Steps<Action> {
    let mut steps = Steps(Vec::with_capacity(64));
    labels::prepare(spec, facts.modules, &mut steps);
    // A PID namespace that is not new may be another user namespace's, or the runtime may be in one.
    let is_kept = steps.0.iter().any(|step| matches!(step.action, Action::KeepAttributes));
    if !spec.linux.sysctl.is_empty() && !namespaces.new.contains(NamespaceFlags::PID) && !is_kept {
        steps.push(Action::KeepProcfs, "/linux/sysctl");
    }
    enter_namespaces(spec, options, facts, namespaces, &mut steps);
    if options.takes_streams && !spec.process.terminal {
        steps.push(Action::TakeStreams, "runtime");
    }
    build_root(spec, options, facts, namespaces, rootfs, &mut steps);
    mounts::reach_sources(namespaces, &mut steps);
    close_root(spec, facts, namespaces, &mut steps);
    steps.push(Action::ResetAffinity, "runtime");
    process::prepare(spec, &mut steps);
    labels::exec(spec, facts.modules, &mut steps);
    labels::mounts(spec, &mut steps);
    steps
}

fn enter_namespaces(
    spec: &Spec,
    options: &Options,
    facts: &HostFacts,
    namespaces: &Namespaces,
    steps: &mut Steps<Action>,
) {
    // Who is born in a unit is born in its v1 cgroups too. With the ids of the runtime, which has opened the files: they take nobody else but
    // from root (`__cgroup1_procs_write` in the kernel, since CVE-2021-4197).
    if facts.own_cgroup && facts.unit.is_none() && matches!(facts.cgroups, CgroupView::Legacy(_)) {
        steps.push(Action::JoinCgroup, cgroup_origin(spec));
    }
    namespaces.join(facts, steps);
    namespaces.clocks_by_init(spec, facts, steps);
    if namespaces.new.contains(NamespaceFlags::USER) {
        steps.push(Action::BecomeRoot, "/linux/uidMappings");
    }
    let later = namespaces.after_becoming_root();
    if !later.is_empty() {
        steps.push(Action::NewNamespace(later), namespaces.origin_of(later));
    }
    // The root of a new cgroup namespace is the cgroup that its maker is in, and that was joined at first.
    if namespaces.new.contains(NamespaceFlags::CGROUP) {
        steps
            .push(Action::NewNamespace(NamespaceFlags::CGROUP), namespaces.origin_of(NamespaceFlags::CGROUP));
    }
    // After the last change of ids, which may undo it.
    steps.push(Action::HideInit, "runtime");
    steps.push(Action::NewSession, "runtime");
    if !options.no_new_keyring {
        labels::key(spec, steps);
        steps.push(session_keyring(&options.id, namespaces), "runtime");
    }
    if namespaces.new.contains(NamespaceFlags::NETWORK) {
        steps.push(Action::LoopbackUp, namespaces.origin_of(NamespaceFlags::NETWORK));
    }
}

/// From the host's tree to the container's: mounts, devices, and the change of root.
fn build_root(
    spec: &Spec,
    options: &Options,
    facts: &HostFacts,
    namespaces: &Namespaces,
    rootfs: &Path,
    steps: &mut Steps<Action>,
) {
    let own_mounts = namespaces.has(NamespaceFlags::MOUNT);
    let propagation = spec.linux.rootfs_propagation;
    if own_mounts {
        let (host, parent) = mounts::host_propagation(propagation);
        let origin = Origin::of_optional(propagation.is_some(), "/linux/rootfsPropagation");
        steps.push(Action::HostPropagation(host), origin);
        steps.push(Action::BindRootfs { path: rootfs.to_owned(), parent }, "/root/path");
    } else {
        steps.push(Action::OpenRootfs(rootfs.to_owned()), "/root/path");
    }
    mounts::mounts(spec, &options.bundle, rootfs, facts, namespaces, steps);
    let own_dev = !mounts::binds_dev(spec, rootfs);
    devices::devices(spec, facts, namespaces, own_dev, steps);
    hooks::container_side(spec, options, steps);
    // Everything above needs paths of the host; nothing below may reach them.
    let change = match (own_mounts, options.no_pivot) {
        (false, _) => Action::Chroot,
        (true, true) => Action::MoveRoot,
        (true, false) => Action::PivotRoot { host_may_be_shared: mounts::may_be_shared(propagation) },
    };
    steps.push(change, "/root/path");
    if let Some(flags) = mounts::root_propagation(propagation) {
        steps.push(Action::RootPropagation(flags), "/linux/rootfsPropagation");
    }
    if own_dev {
        steps.push(Action::ReopenDevNull, "runtime");
    }
    steps.push(Action::MakeWorkingDirectory(PathBuf::from(&spec.process.cwd)), "/process/cwd");
}

/// The terminal, then what may be done to the new root only once everything is in it.
fn close_root(spec: &Spec, facts: &HostFacts, namespaces: &Namespaces, steps: &mut Steps<Action>) {
    let process = &spec.process;
    if process.terminal {
        steps.push(terminal(process, true), "/process/terminal");
    }
    if namespaces.has(NamespaceFlags::MOUNT) || mounts::held_by_host(spec, namespaces, facts) {
        if mounts::any_late_read_only(&steps.0) {
            steps.push(Action::LateReadOnly, "/mounts");
        }
        if spec.root.readonly {
            steps.push(Action::ReadOnlyRoot, "/root/readonly");
        }
    }
    umask(process, steps);
    if let Some(name) = &spec.hostname {
        steps.push(Action::Hostname(name.clone()), "/hostname");
    }
    if let Some(name) = &spec.domainname {
        steps.push(Action::Domainname(name.clone()), "/domainname");
    }
    let linux = &spec.linux;
    for (key, value) in &linux.sysctl {
        steps.push(Action::Sysctl(key.clone(), value.clone()), Origin::key("/linux/sysctl", key));
    }
    for (index, path) in linux.readonly_paths.iter().enumerate() {
        steps.push(Action::ReadOnlyPath(PathBuf::from(path)), Origin::index("/linux/readonlyPaths", index));
    }
    if !linux.masked_paths.is_empty() {
        steps.push(
            Action::MaskPaths(Masks {
                paths: linux.masked_paths.iter().map(PathBuf::from).collect(),
                label: linux.mount_label.clone(),
            }),
            "/linux/maskedPaths",
        );
    }
}

pub(super) fn terminal(process: &Process, console_device: bool) -> Action {
    let size = process.console_size.as_ref().map(|size| (size.width as u16, size.height as u16));
    let size = size.filter(|(columns, rows)| *columns > 0 && *rows > 0);
    Action::Terminal { size, uid: process.user.uid, console_device }
}

pub(super) fn umask(process: &Process, steps: &mut Steps<Action>) {
    let umask = process.user.umask;
    let origin = Origin::of_optional(umask.is_some(), "/process/user/umask");
    steps.push(Action::Umask(umask.unwrap_or(0o022)), origin);
}

/// The keyring is named after the container so that `exec` can join it. Whoever holds its key may search it, which with a user
/// namespace means others than its owner (keyctl(2)).
fn session_keyring(id: &ContainerId, namespaces: &Namespaces) -> Action {
    const KEY_OTH_SEARCH: u32 = 0x8;
    const KEY_USR_SEARCH: u32 = 0x8_0000;
    let others = if namespaces.has(NamespaceFlags::USER) { KEY_OTH_SEARCH } else { 0 };
    Action::SessionKeyring(session_keyring_name(id), KEY_USR_SEARCH | others)
}

pub(super) fn session_keyring_name(id: &ContainerId) -> CString {
    process::c_string(&format!("_ses.{}", id.as_str()))
}
