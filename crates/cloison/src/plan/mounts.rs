//! Every mount of the container, in order.

use std::path::{Component, Path, PathBuf};

use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::{MountAttrFlags as Attr, MountPropagationFlags as Propagation};

use super::action::{Action, BindSource, HostAction, MountSource, MountStep, Origin, SourceIds, Step};
use super::mount_options::MountOptions;
use super::namespaces::{Namespaces, host_uid, id_maps, mappings};
use super::{CgroupView, HostFacts, Steps};
use crate::spec::{self, Mount, NamespaceType, Problem, Spec};

/// `MS_SLAVE`, as rustix calls it.
const SLAVE: Propagation = Propagation::DOWNSTREAM;

/// What `/linux/rootfsPropagation` means for the host's mounts in our namespace, and for the mount that the root file system lies
/// on. The latter must not be shared: `pivot_root` refuses, and our mounts would leak to the host.
pub fn host_propagation(rootfs: Option<spec::Propagation>) -> (Propagation, Propagation) {
    let host = rootfs.map_or(SLAVE | Propagation::REC, flags);
    let parent = if host.contains(SLAVE) { SLAVE } else { Propagation::PRIVATE };
    (host, parent)
}

/// True if after [`host_propagation`] a mount of the host may still be shared with it.
pub fn may_be_shared(rootfs: Option<spec::Propagation>) -> bool {
    let (host, _) = host_propagation(rootfs);
    !(host.contains(Propagation::REC) && host.intersects(SLAVE | Propagation::PRIVATE))
}

/// What must be done to the new root itself; private and slave are what it already is.
pub fn root_propagation(rootfs: Option<spec::Propagation>) -> Option<Propagation> {
    rootfs.map(flags).filter(|flags| !flags.intersects(SLAVE | Propagation::PRIVATE))
}

fn flags(propagation: spec::Propagation) -> Propagation {
    use spec::Propagation as Named;
    let recursive = if propagation.is_recursive() { Propagation::REC } else { Propagation::empty() };
    recursive
        | match propagation {
            Named::Private | Named::RecursivePrivate => Propagation::PRIVATE,
            Named::Shared | Named::RecursiveShared => Propagation::SHARED,
            Named::Slave | Named::RecursiveSlave => SLAVE,
            Named::Unbindable | Named::RecursiveUnbindable => Propagation::UNBINDABLE,
        }
}

/// True if a mount is a `/dev` that is bound from elsewhere, in which nothing is made: it is not the container's.
fn is_dev_of_others(mount: &Mount, rootfs: &Path) -> bool {
    mount.is_bind() && destination(mount, rootfs) == Path::new("/dev")
}

/// True if there is such a mount.
pub fn binds_dev(spec: &Spec, rootfs: &Path) -> bool {
    spec.mounts.iter().any(|mount| is_dev_of_others(mount, rootfs))
}

/// True if a step is there whose mount stays writable for now.
pub(crate) fn any_late_read_only(steps: &[Step<Action>]) -> bool {
    steps.iter().any(|step| matches!(&step.action, Action::Mount(mount) if mount.read_only_late))
}

/// The steps that mount `/mounts`.
pub(crate) fn mounts(
    spec: &Spec,
    bundle: &Path,
    rootfs: &Path,
    facts: &HostFacts,
    namespaces: &Namespaces,
    steps: &mut Steps<Action>,
) {
    for (index, mount) in spec.mounts.iter().enumerate() {
        let origin = Origin::index("/mounts", index);
        let mut step = mount_step(bundle, rootfs, namespaces, facts, mount);
        step.mapped_when_opened =
            source_ids(spec, mount, &step.options).is_some() && comes_later(&step, rootfs);
        drop_unmapped_group(spec, &mut step);
        let is_cgroup =
            matches!(&step.source, MountSource::FileSystem { fs_type, .. } if fs_type == "cgroup");
        match &facts.cgroups {
            CgroupView::Unified(mount) if is_cgroup => {
                steps.push(Action::Mount(Box::new(unified_cgroup(step, mount, namespaces, facts))), origin);
            }
            CgroupView::Legacy(hierarchies) if is_cgroup => {
                legacy_cgroups(&step, hierarchies, namespaces, &origin, steps);
            }
            _ => steps.push(Action::Mount(Box::new(step)), origin),
        }
    }
}

/// What of the host's may be bound where the kernel lets a user namespace have no instance of its own (`EPERM`): what shows the same,
/// since the container shares those namespaces with the runtime; and `/sys`, read-only, also where the network is the container's own:
/// then the kernel refuses only in a container around this one, in which parts of `/sys` are covered.
///
/// Nothing is bound where that would be another thing than what was asked for: options of the file system would be lost. Root of the
/// machine is refused by a security module only, which has its reasons.
fn of_the_host(
    fs_type: &str,
    options: &MountOptions,
    namespaces: &Namespaces,
    facts: &HostFacts,
) -> Option<PathBuf> {
    let is_plain = options.bind.is_none()
        && !options.remount
        && options.data.is_empty()
        && options.recursive.clear.is_empty();
    if !is_plain || !needs_leave(namespaces, facts) {
        return None;
    }
    let path = match fs_type {
        "sysfs" => "/sys",
        "proc" if !namespaces.has(NamespaceFlags::PID) => "/proc",
        "mqueue" if !namespaces.has(NamespaceFlags::IPC) => "/dev/mqueue",
        _ => return None,
    };
    Some(path.into())
}

/// True if it is in a user namespace that file systems are mounted.
fn needs_leave(namespaces: &Namespaces, facts: &HostFacts) -> bool {
    namespaces.has(NamespaceFlags::USER) || facts.in_user_namespace
}

/// The group of a devpts, if it is not mapped in the container's new user namespace: the kernel takes no such option.
fn unmapped_group<'o>(spec: &Spec, fs_type: &str, data: &'o [String]) -> Option<&'o String> {
    let gids = &spec.linux.gid_mappings;
    let is_mapped = |gid: u32| {
        gids.iter().any(|map| gid.checked_sub(map.container_id).is_some_and(|offset| offset < map.size))
    };
    let may_be = fs_type == "devpts" && spec.linux.makes_namespace(NamespaceType::User);
    let mut options = data.iter().filter(|_| may_be);
    options.find(|option| {
        let gid = option.strip_prefix("gid=").and_then(|gid| gid.parse().ok());
        gid.is_some_and(|gid| !is_mapped(gid))
    })
}

fn drop_unmapped_group(spec: &Spec, step: &mut MountStep) {
    let MountSource::FileSystem { fs_type, .. } = &step.source else { return };
    if let Some(option) = unmapped_group(spec, fs_type, &step.options.data).cloned() {
        step.options.data.retain(|other| *other != option);
    }
}

/// True if the source lies in the root file system, where it may be what was mounted there before.
fn comes_later(step: &MountStep, rootfs: &Path) -> bool {
    matches!(&step.source, MountSource::Bind(source) if clean(source).starts_with(rootfs))
        && !step.options.remount
}

/// The steps that do what only the host's side can, map the ids of sources: those that are there already, or those that are not.
pub(crate) fn sources(
    spec: &Spec,
    container: &[Step<Action>],
    there_already: bool,
    steps: &mut Steps<HostAction>,
) {
    let mounts = container.iter().filter_map(|step| match &step.action {
        Action::Mount(mount) => Some((mount, &step.origin)),
        _ => None,
    });
    for (number, (mount, origin)) in mounts.enumerate() {
        let MountSource::Bind(path) = &mount.source else { continue };
        // The origin is `/mounts/N`.
        let entry = origin.last_index().and_then(|index| spec.mounts.get(index));
        let Some(id_map) = entry.and_then(|entry| source_ids(spec, entry, &mount.options)) else { continue };
        if mount.options.remount || mount.mapped_when_opened == there_already {
            continue;
        }
        let recursive = mount.options.bind == Some(true);
        let maps_all = mount.options.id_map == Some(true);
        let source = BindSource { mount: number, path: path.clone(), recursive, id_map, maps_all };
        let action = if there_already { HostAction::OpenSource } else { HostAction::MapSource };
        steps.push(action(source), origin.clone());
    }
}

/// The step by which an init that is about to become root of a user namespace opens what it could not reach any more as such: the
/// sources of its bind mounts. In its own mount namespace, whose copies of the host's mounts the kernel has locked: what the host has
/// made read-only or has covered stays so (`mount_namespaces(7)`, "Restrictions on mount namespaces").
pub(crate) fn reach_sources(namespaces: &Namespaces, steps: &mut Steps<Action>) {
    if !namespaces.has(NamespaceFlags::USER) || !namespaces.new.contains(NamespaceFlags::MOUNT) {
        return;
    }
    let mounts = steps.0.iter().filter_map(|step| match &step.action {
        Action::Mount(mount) => Some(mount),
        _ => None,
    });
    let bound = mounts.enumerate().filter_map(|(number, mount)| match &mount.source {
        MountSource::Bind(path) if !mount.options.remount => Some((number, path.clone())),
        _ => None,
    });
    let sources: Vec<_> = bound.collect();
    if !sources.is_empty() {
        steps.0.insert(0, Step { action: Action::ReachSources(sources), origin: "/mounts".into() });
    }
}

/// What the ids of a mount are mapped by: maps of its own, or the container's, which it has or joins.
fn source_ids(spec: &Spec, mount: &Mount, options: &MountOptions) -> Option<SourceIds> {
    options.bind?;
    if mount.has_mappings() {
        return Some(SourceIds::Maps(mappings(&mount.uid_mappings), mappings(&mount.gid_mappings)));
    }
    if !mount.is_id_mapped() {
        return None;
    }
    let joined = spec.linux.namespace(NamespaceType::User).and_then(|user| user.path.as_ref());
    Some(joined.map_or_else(
        || {
            let (uids, gids) = id_maps(spec);
            SourceIds::Maps(uids, gids)
        },
        |path| SourceIds::Joined(path.into()),
    ))
}

/// Where a mount goes. A path that leads into the root file system from the host's side means the place inside, as in `runc`.
fn destination(mount: &Mount, rootfs: &Path) -> PathBuf {
    let path = clean(&mount.destination);
    match path.strip_prefix(rootfs) {
        Ok(inside) if rootfs != Path::new("/") => Path::new("/").join(inside),
        _ => path,
    }
}

/// Mounts whose destination is written as the host's path, options that are left out, and devices that are not made.
pub(crate) fn warnings(spec: &Spec, rootfs: &Path) -> Vec<Problem> {
    let unmapped = spec.mounts.iter().enumerate().filter_map(|(index, mount)| {
        let option = unmapped_group(spec, mount.kind.as_deref().unwrap_or(""), &mount.options)?;
        Some(Problem {
            pointer: format!("/mounts/{index}/options"),
            message: format!(
                "{option} is left out, that group is not in /linux/gidMappings: terminals belong to the group of who opens them"
            ),
        })
    });
    let devices = &spec.linux.devices;
    let in_dev = devices.iter().position(|device| clean(&device.path).starts_with("/dev"));
    let of_others = spec.mounts.iter().position(|mount| is_dev_of_others(mount, rootfs));
    let not_made = of_others.zip(in_dev).map(|(mount, device)| Problem {
        pointer: format!("/linux/devices/{device}"),
        message: format!("not made, and none is in /dev, which /mounts/{mount} binds from elsewhere"),
    });
    let outside = |mount: &Mount| destination(mount, rootfs) != clean(&mount.destination);
    let written = spec.mounts.iter().enumerate().filter(|(_, mount)| outside(mount));
    written
        .map(|(index, mount)| Problem {
            pointer: format!("/mounts/{index}/destination"),
            message: format!(
                "a path of the host below the root file system, taken for {}",
                destination(mount, rootfs).display()
            ),
        })
        .chain(unmapped)
        .chain(not_made)
        .collect()
}

/// True if mounts are made without a mount namespace of the container's own, and so on the host. In a user namespace nobody may do that.
pub(super) fn held_by_host(spec: &Spec, namespaces: &Namespaces, facts: &HostFacts) -> bool {
    let on_host = !namespaces.has(NamespaceFlags::MOUNT) && !namespaces.has(NamespaceFlags::USER);
    on_host && (asks_for_mounts(spec) || facts.binds_devices)
}

fn asks_for_mounts(spec: &Spec) -> bool {
    !spec.mounts.is_empty() || spec.root.readonly || spec.process.terminal
}

/// What that means.
pub(super) fn warn_of_host(spec: &Spec, namespaces: &Namespaces, facts: &HostFacts) -> Option<Problem> {
    let (pointer, which) = if asks_for_mounts(spec) {
        ("/mounts", "these")
    } else {
        ("/linux/devices", "the devices, which are bound because the kernel lets nobody make them here,")
    };
    held_by_host(spec, namespaces, facts).then(|| Problem {
        pointer: pointer.to_owned(),
        message: format!(
            "without a mount namespace {which} are the host's mounts, until the container is deleted"
        ),
    })
}

fn mount_step(
    bundle: &Path,
    rootfs: &Path,
    namespaces: &Namespaces,
    facts: &HostFacts,
    mount: &Mount,
) -> MountStep {
    let mut options = MountOptions::parse(&mount.options);
    let destination = destination(mount, rootfs);
    let fs_type = mount.kind.as_deref().unwrap_or("");
    let source_name = mount.source.clone().filter(|source| !source.is_empty());
    let source = if options.bind.is_some() {
        MountSource::Bind(bundle.join(source_name.unwrap_or_default()))
    } else {
        MountSource::FileSystem {
            fs_type: fs_type.to_owned(),
            source: source_name.unwrap_or_else(|| fs_type.to_owned()),
        }
    };
    let or_bind = of_the_host(fs_type, &options, namespaces, facts);
    let late = fs_type == "tmpfs" || destination == Path::new("/dev");
    let read_only_late = late
        && options.bind.is_none()
        && !options.remount
        && options.attributes.set.contains(Attr::MOUNT_ATTR_RDONLY);
    if read_only_late {
        options.attributes.set -= Attr::MOUNT_ATTR_RDONLY;
        options.read_only = None;
    }
    MountStep { destination, source, options, read_only_late, or_bind, mapped_when_opened: false }
}

/// cgroup v2: the whole hierarchy, which a cgroup namespace narrows to the container's own. In a user namespace without one the
/// kernel refuses to mount it, and the host's mount is bound: `/proc/self/cgroup` has paths that begin there.
fn unified_cgroup(mut step: MountStep, host: &Path, namespaces: &Namespaces, facts: &HostFacts) -> MountStep {
    let can_mount = namespaces.has(NamespaceFlags::CGROUP) || !namespaces.has(NamespaceFlags::USER);
    if can_mount {
        // A runtime that is root of a user namespace may not, either.
        let may_be_refused = !namespaces.has(NamespaceFlags::CGROUP) && facts.in_user_namespace;
        step.or_bind = may_be_refused.then(|| host.to_owned());
        step.source = MountSource::FileSystem { fs_type: "cgroup2".to_owned(), source: "cgroup".to_owned() };
    } else {
        step.options.bind = Some(true);
        step.options.data.clear();
        step.source = MountSource::Bind(host.to_owned());
    }
    step
}

/// A container with a cgroup namespace of its own and its cgroup mounted writable is to divide it: its process's user becomes the
/// owner. Only on v2, where that is safe.
pub(super) fn delegate_cgroup(
    spec: &Spec,
    container: &[Step<Action>],
    namespaces: &Namespaces,
    facts: &HostFacts,
    steps: &mut Steps<HostAction>,
) {
    let is_ours = facts.privileged && facts.own_cgroup && namespaces.new.contains(NamespaceFlags::CGROUP);
    let is_writable = |step: &MountStep| {
        matches!(&step.source, MountSource::FileSystem { fs_type, .. } if fs_type == "cgroup2")
            && step.destination == Path::new("/sys/fs/cgroup")
            && !step.options.is_read_only()
    };
    let mut mounts = container.iter().filter_map(|step| match &step.action {
        Action::Mount(mount) if is_ours && is_writable(mount) => Some(step.origin.clone()),
        _ => None,
    });
    let uid = host_uid(spec, spec.process.user.uid);
    // Root of the machine has it already.
    if let (Some(origin), Some(uid)) = (mounts.next(), uid.filter(|uid| *uid != 0)) {
        steps.push(HostAction::DelegateCgroup(uid), origin);
    }
}

/// What stands before the name of a hierarchy without controllers, in `/proc/self/cgroup` and as a mount option.
const NAMED: &str = "name=";

/// cgroup v1: a tmpfs with one directory for each hierarchy, and links for controllers that share one.
fn legacy_cgroups(
    step: &MountStep,
    hierarchies: &[(String, PathBuf)],
    namespaces: &Namespaces,
    origin: &Origin,
    steps: &mut Steps<Action>,
) {
    let read_only = step.options.is_read_only();
    let common = ["nosuid", "noexec", "nodev"];
    let mut top = MountOptions::parse(&[&common[..], &["mode=755"]].concat());
    top.propagation.clone_from(&step.options.propagation);
    let tmpfs = MountStep {
        destination: step.destination.clone(),
        source: MountSource::FileSystem { fs_type: "tmpfs".to_owned(), source: "tmpfs".to_owned() },
        options: top,
        read_only_late: read_only,
        or_bind: None,
        mapped_when_opened: false,
    };
    steps.push(Action::Mount(Box::new(tmpfs)), origin.clone());
    for (name, own) in hierarchies {
        let own_namespace = namespaces.has(NamespaceFlags::CGROUP);
        let mut options = MountOptions::parse(&common);
        if read_only {
            options.attributes.set |= Attr::MOUNT_ATTR_RDONLY;
        }
        let source = if own_namespace {
            // A named hierarchy is asked for by its name, one with controllers by them.
            options.data = if name.starts_with(NAMED) {
                vec!["none".to_owned(), name.clone()]
            } else {
                name.split(',').map(str::to_owned).collect()
            };
            MountSource::FileSystem { fs_type: "cgroup".to_owned(), source: "cgroup".to_owned() }
        } else {
            options.bind = Some(true);
            MountSource::Bind(own.clone())
        };
        let destination = step.destination.join(name.strip_prefix(NAMED).unwrap_or(name));
        let step = MountStep {
            destination,
            source,
            options,
            read_only_late: false,
            or_bind: None,
            mapped_when_opened: false,
        };
        steps.push(Action::Mount(Box::new(step)), origin.clone());
    }
    for (name, _) in hierarchies.iter().filter(|(name, _)| name.contains(',')) {
        for controller in name.split(',') {
            steps.push(
                Action::Link {
                    target: name.clone().into(),
                    path: step.destination.join(controller),
                    replace: false,
                },
                origin.clone(),
            );
        }
    }
}

/// An absolute path without `.`, `..` and doubled slashes, worked out on the text alone. A relative one is taken from `/`.
pub fn clean(path: impl AsRef<Path>) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.as_ref().components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}
