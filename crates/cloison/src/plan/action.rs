//! The steps of a plan: what is done, with every string, flag and number already worked out.

use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;

use cloison_cgroup::{DeviceRule, Property, Resources, Unit};
use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::schedule::{MemoryPolicy, SchedAttr};
use cloison_linux::{FileType, MountAttrFlags, MountPropagationFlags, Resource};

use super::exec::Joining;
use super::hooks::{Hook, Outputs};
use super::labels::ExecLabel;
use super::landlock::Ruleset;
use super::mount_options::{Attributes, MountOptions};
use crate::resctrl;

/// Where in `config.json` a step comes from: a JSON pointer (RFC 6901), or what rule of ours asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(pub std::borrow::Cow<'static, str>);

impl Origin {
    /// The pointer of one element of a list.
    pub fn index(list: &str, index: usize) -> Self {
        Self(format!("{list}/{index}").into())
    }

    /// The pointer of something that need not be there, and that the runtime does itself without.
    pub fn of_optional(is_there: bool, pointer: &'static str) -> Self {
        if is_there { pointer.into() } else { "runtime".into() }
    }

    /// The pointer of an object's field (RFC 6901).
    pub fn key(object: &str, key: &str) -> Self {
        Self(format!("{object}/{}", key.replace('~', "~0").replace('/', "~1")).into())
    }

    /// The index at the pointer's end.
    pub fn last_index(&self) -> Option<usize> {
        self.0.rsplit('/').next()?.parse().ok()
    }
}

impl From<&'static str> for Origin {
    fn from(pointer: &'static str) -> Self {
        Self(pointer.into())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing to do, and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<A> {
    /// What is done.
    pub action: A,
    /// Why.
    pub origin: Origin,
}

impl<A: fmt::Display> fmt::Display for Step<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  [{}]", self.action, self.origin)
    }
}

/// A line of `/proc/PID/uid_map`: `size` ids from `container` on are `host` and following (`user_namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMapping {
    /// First id inside.
    pub container: u32,
    /// First id outside.
    pub host: u32,
    /// How many.
    pub size: u32,
}

/// The source of an idmapped mount, which the host's side opens, since the init may not map its ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindSource {
    /// Which of the plan's mounts it is for.
    pub mount: usize,
    /// The file or directory.
    pub path: PathBuf,
    /// With the mounts below it.
    pub recursive: bool,
    /// How its ids are mapped.
    pub id_map: SourceIds,
    /// Whether they are mapped for the mounts below it, too.
    pub maps_all: bool,
}

/// How the ids of a mount are mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceIds {
    /// By these maps of uids and gids.
    Maps(Vec<IdMapping>, Vec<IdMapping>),
    /// Like the user namespace that the container joins.
    Joined(PathBuf),
}

impl fmt::Display for BindSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for a bind mount, idmapped: ", self.path.display())?;
        match &self.id_map {
            SourceIds::Maps(uids, gids) => write!(f, "uids {}, gids {}", Maps(uids), Maps(gids)),
            SourceIds::Joined(path) => write!(f, "as in {}", path.display()),
        }
    }
}

/// What the runtime does on the host's side of a container's birth.
#[derive(Debug, Clone, PartialEq)]
pub enum HostAction {
    /// Makes the container's cgroup.
    MakeCgroup,
    /// Has systemd make the container's cgroup, with a process in it that will start the init.
    StartUnit(Box<StartUnit>),
    /// Opens the source of a bind mount.
    OpenSource(BindSource),
    /// Maps the ids of a source that is there only once the mounts before it are, so that the init opens it.
    MapSource(BindSource),
    /// Sets the offsets of the clocks in a new time namespace: seconds and nanoseconds, by the names of `time_namespaces(7)`.
    TimeOffsets(Offsets),
    /// Puts children into an existing namespace.
    JoinNamespace(NamespaceFlags, PathBuf),
    /// Starts the init in new namespaces.
    CloneInit(NamespaceFlags),
    /// Writes the maps of the init's new user namespace.
    WriteIdMaps {
        /// `uid_map`.
        uids: Vec<IdMapping>,
        /// `gid_map`.
        gids: Vec<IdMapping>,
    },
    /// Moves a network device from the runtime's network namespace into the container's.
    MoveNetDevice(NetDevice),
    /// Puts the init into a class of service of the resctrl file system, which is made where it is not there.
    JoinResctrl(Box<resctrl::Request>),
    /// Writes `/proc/PID/oom_score_adj` (proc(5)).
    OomScoreAdj(i32),
    /// Raises the hard limit of the init, which only the host's side may; the init sets the exact values itself.
    RaiseLimit(Resource, u64),
    /// Opens the files that the output of hooks is appended to.
    OpenHookOutputs(Outputs),
    /// Waits until the init has made its mounts, and has not yet changed its root.
    AwaitMounts,
    /// Runs a hook in the runtime's namespaces.
    Hook(Box<Hook>),
    /// Lets the init go on after the hooks.
    LetInitGoOn,
    /// Waits until the init has made the container's root and needs nothing more to be done before its program.
    AwaitInit,
    /// Gives the cgroup to this user of the host, so that the container can divide it.
    DelegateCgroup(u32),
    /// Sets limits of the cgroup.
    LimitResources(Box<Resources>),
    /// Lets the cgroup use the devices of these rules only. Not before the init is ready: a file system may be mounted from a block
    /// device that the container itself may not use.
    LimitDevices(Vec<DeviceRule>),
}

/// A network device that goes into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub name: String,
    /// Its name in the container; `%d` stands for a number that makes it one that no other has.
    pub inside: String,
    /// The network namespace that it goes to; none if it is the init's new one.
    pub namespace: Option<PathBuf>,
}

impl fmt::Display for NetDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "move the network device {} into ", self.name)?;
        match &self.namespace {
            Some(path) => write!(f, "the network namespace {}", path.display())?,
            None => f.write_str("the container's network namespace")?,
        }
        if self.inside == self.name { Ok(()) } else { write!(f, " as {}", self.inside) }
    }
}

/// A unit of systemd for the container.
#[derive(Debug, Clone, PartialEq)]
pub struct StartUnit {
    /// Its name, and where it is.
    pub unit: Unit,
    /// What annotations `org.systemd.property.NAME` ask for.
    pub properties: Vec<Property>,
}

impl fmt::Display for HostAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeCgroup => f.write_str("make the cgroup"),
            Self::StartUnit(start) => {
                let unit = &start.unit;
                let whose = if unit.user { " of the user's systemd" } else { "" };
                write!(f, "start the unit {} in {}{whose}", unit.name, unit.slice)?;
                start.properties.iter().try_for_each(|one| write!(f, ", {}={}", one.name, one.value))
            }
            Self::OpenSource(source) => write!(f, "open {source}"),
            Self::MapSource(source) => write!(f, "map what the init opens: {source}"),
            Self::TimeOffsets(offsets) => write!(f, "time offsets{}", Clocks(offsets)),
            Self::JoinNamespace(kind, path) => {
                write!(f, "put children into the {kind} namespace {}", path.display())
            }
            Self::CloneInit(namespaces) => write!(f, "start the init with new namespaces: {namespaces}"),
            Self::WriteIdMaps { uids, gids } => {
                write!(f, "id maps: uids {}, gids {}", Maps(uids), Maps(gids))
            }
            Self::MoveNetDevice(device) => device.fmt(f),
            Self::JoinResctrl(request) => request.fmt(f),
            Self::OomScoreAdj(score) => write!(f, "oom_score_adj {score}"),
            Self::RaiseLimit(resource, hard) => write!(f, "raise the hard limit of {resource:?} to {hard}"),
            Self::OpenHookOutputs(outputs) => write!(f, "open files for the output of hooks: {outputs}"),
            Self::AwaitMounts => f.write_str("wait until the init has made its mounts"),
            Self::Hook(hook) => hook.fmt(f),
            Self::LetInitGoOn => f.write_str("let the init go on"),
            Self::AwaitInit => f.write_str("wait until the init is ready"),
            Self::DelegateCgroup(uid) => write!(f, "give the cgroup to uid {uid}"),
            Self::LimitResources(resources) => {
                let limits = serde_json::to_string(resources).map_err(|_| fmt::Error)?;
                write!(f, "limit resources: {limits}")
            }
            Self::LimitDevices(rules) => {
                let rules: Vec<_> = rules.iter().map(ToString::to_string).collect();
                write!(f, "limit devices: {}", rules.join(", "))
            }
        }
    }
}

/// Offsets of clocks: seconds and nanoseconds, by the names of `time_namespaces(7)`.
pub type Offsets = Vec<(&'static str, i64, u32)>;

struct Clocks<'a>(&'a [(&'static str, i64, u32)]);

impl fmt::Display for Clocks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut offsets = self.0.iter();
        offsets.try_for_each(|(clock, seconds, nanos)| write!(f, " {clock} {seconds}.{nanos:09}"))
    }
}

struct Maps<'a>(&'a [IdMapping]);

impl fmt::Display for Maps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, map) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{}→{}×{}", map.container, map.host, map.size)?;
        }
        Ok(())
    }
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    /// A file or directory of the host.
    Bind(PathBuf),
    /// A new instance of a file system.
    FileSystem {
        /// As in `/proc/filesystems`.
        fs_type: String,
        /// What mountinfo shows as its source.
        source: String,
    },
}

/// One mount, with its options already split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountStep {
    /// Where, inside the root file system; always absolute.
    pub destination: PathBuf,
    /// What.
    pub source: MountSource,
    /// How.
    pub options: MountOptions,
    /// Read-only only after everything inside has been made (tmpfs and `/dev`).
    pub read_only_late: bool,
    /// What of the host's is bound instead, where the kernel does not let a user namespace have one of its own.
    pub or_bind: Option<PathBuf>,
    /// The ids of its source are mapped by the runtime when the init has opened it.
    pub mapped_when_opened: bool,
}

impl fmt::Display for MountStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (options, destination) = (&self.options, self.destination.display());
        match &self.source {
            _ if options.remount => write!(f, "remount {destination}")?,
            MountSource::Bind(path) => {
                let recursive = if options.bind == Some(true) { "r" } else { "" };
                write!(f, "{recursive}bind {} on {destination}", path.display())?;
            }
            MountSource::FileSystem { fs_type, .. } => {
                write!(f, "mount {fs_type} on {destination}")?;
                if let Some(path) = &self.or_bind {
                    write!(f, " or bind {}", path.display())?;
                }
            }
        }
        attributes(f, "", options.attributes)?;
        attributes(f, "recursively ", options.recursive)?;
        if !options.super_flags.is_empty() {
            write!(f, " {}", options.super_flags.join(","))?;
        }
        if options.old_flags != 0 {
            write!(f, " flags {:#x}", options.old_flags)?;
        }
        options.propagation.iter().try_for_each(|change| write!(f, " {}", propagation(*change)))?;
        if !self.options.data.is_empty() {
            write!(f, " ({})", self.options.data.join(","))?;
        }
        if self.options.copy_up {
            f.write_str(" with a copy of what it covers")?;
        }
        if let Some(label) = &self.options.label {
            write!(f, " with the label {label}")?;
        }
        if self.read_only_late {
            f.write_str(" ro later")?;
        }
        Ok(())
    }
}

fn attributes(f: &mut fmt::Formatter<'_>, how: &str, attributes: Attributes) -> fmt::Result {
    let names = [
        (MountAttrFlags::MOUNT_ATTR_RDONLY, "ro", "rw"),
        (MountAttrFlags::MOUNT_ATTR_NOSUID, "nosuid", "suid"),
        (MountAttrFlags::MOUNT_ATTR_NODEV, "nodev", "dev"),
        (MountAttrFlags::MOUNT_ATTR_NOEXEC, "noexec", "exec"),
        (MountAttrFlags::MOUNT_ATTR_NOATIME, "noatime", ""),
        (MountAttrFlags::MOUNT_ATTR_STRICTATIME, "strictatime", ""),
        (MountAttrFlags::MOUNT_ATTR__ATIME, "", "relatime"),
        (MountAttrFlags::MOUNT_ATTR_NODIRATIME, "nodiratime", "diratime"),
        (MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow", "symfollow"),
    ];
    // The access-time field is cleared before it is set; relatime is its being clear.
    let has_time = attributes.set.intersects(MountAttrFlags::MOUNT_ATTR__ATIME);
    let field = if has_time { MountAttrFlags::MOUNT_ATTR__ATIME } else { MountAttrFlags::empty() };
    let clear = attributes.clear - field;
    let set = names.iter().filter(|(bit, ..)| attributes.set.contains(*bit)).map(|(_, name, _)| *name);
    let clear = names.iter().filter(|(bit, ..)| clear.contains(*bit)).map(|(.., name)| *name);
    let all: Vec<_> = set.chain(clear).filter(|name| !name.is_empty()).collect();
    if all.is_empty() { Ok(()) } else { write!(f, " {how}{}", all.join(",")) }
}

/// What is hidden.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masks {
    /// Inside the container.
    pub paths: Vec<PathBuf>,
    /// The `SELinux` label of what hides directories.
    pub label: Option<String>,
}

/// A device node to make (or, where `mknod` is not allowed, to bind from the host).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Where, inside the root file system.
    pub path: PathBuf,
    /// What it is.
    pub kind: FileType,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What the init does between `clone3` and the launch, in this order of a plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Makes the init not dumpable: nobody in a PID namespace that it joins may look into a process that holds descriptors of the host,
    /// before `execve` has closed them and ended this (CVE-2016-9962).
    HideInit,
    /// Enters an existing namespace.
    JoinNamespace(NamespaceFlags, PathBuf),
    /// Opens sources of bind mounts, each for the mount of this number, while the init still has the runtime's ids.
    ReachSources(Vec<(usize, PathBuf)>),
    /// A step of the way into a container that is there.
    Join(Joining),
    /// Waits until the host's side has written the id maps of the new user namespace, then becomes its root.
    BecomeRoot,
    /// Enters the container's cgroup by writing to it, as only v1 needs.
    JoinCgroup,
    /// Makes namespaces that could not come with `clone3`.
    NewNamespace(NamespaceFlags),
    /// A session of its own, without a controlling terminal.
    NewSession,
    /// Takes the standard streams from whoever keeps the container (`run --monitor`).
    TakeStreams,
    /// Keeps the way to the process's own attributes of security modules, through the host's procfs.
    KeepAttributes,
    /// What keys are marked with that the process makes, until its `execve`.
    KeyLabel(String),
    /// What the program is confined by.
    ExecLabel(ExecLabel),
    /// A session keyring of its own, so that the caller's keys stay out.
    SessionKeyring(CString, u32),
    /// Brings the loopback interface up.
    LoopbackUp,
    /// What mounts of the host do to ours.
    HostPropagation(MountPropagationFlags),
    /// Mounts the root file system on itself and keeps its descriptor.
    BindRootfs {
        /// Its place on the host.
        path: PathBuf,
        /// What happens between it and the mount it lies on.
        parent: MountPropagationFlags,
    },
    /// Opens the root file system without a mount namespace of its own.
    OpenRootfs(PathBuf),
    /// One mount.
    Mount(Box<MountStep>),
    /// One device node; by a bind mount of the host's if the second is true.
    Device(Device, bool),
    /// A symbolic link that is left alone where something is already there.
    Link {
        /// What it says.
        target: PathBuf,
        /// Where it is, inside the root file system.
        path: PathBuf,
        /// Replace what is there.
        replace: bool,
    },
    /// Waits until the host's side has run its hooks.
    AwaitHooks,
    /// Runs a hook of the host in the container's namespaces.
    Hook(Box<Hook>),
    /// Makes the root file system the root, and drops the host's.
    PivotRoot {
        /// Dropping the host's mounts could reach the host, and must be kept from it.
        host_may_be_shared: bool,
    },
    /// The same with `MS_MOVE` and `chroot` (`--no-pivot`).
    MoveRoot,
    /// `chroot` alone, without a mount namespace of its own.
    Chroot,
    /// The propagation of the new root.
    RootPropagation(MountPropagationFlags),
    /// Standard streams that are the host's `/dev/null` become the container's.
    ReopenDevNull,
    /// Makes the working directory if it is not there.
    MakeWorkingDirectory(PathBuf),
    /// A terminal of the container's own devpts becomes its standard streams.
    Terminal {
        /// Columns and rows, if the configuration says.
        size: Option<(u16, u16)>,
        /// The user who owns it.
        uid: u32,
        /// It is `/dev/console`, too.
        console_device: bool,
    },
    /// Makes the mounts read-only that had to stay writable until now.
    LateReadOnly,
    /// Makes the root read-only.
    ReadOnlyRoot,
    /// `umask(2)`.
    Umask(u32),
    /// `sethostname(2)`.
    Hostname(String),
    /// `setdomainname(2)`.
    Domainname(String),
    /// Makes a time namespace with these offsets of its clocks, and enters it: in a user namespace, whose root is to have rights over it.
    NewClocks {
        /// Seconds and nanoseconds, by the names of `time_namespaces(7)`.
        offsets: Offsets,
        /// Who enters the user namespace for the init makes it.
        by_go_between: bool,
    },
    /// Writes one sysctl.
    Sysctl(String, String),
    /// Makes one path read-only, if it is there.
    ReadOnlyPath(PathBuf),
    /// Hides paths: a file behind `/dev/null`, a directory behind one empty read-only tmpfs.
    MaskPaths(Masks),
    /// `sched_setattr(2)`.
    Scheduler(SchedAttr),
    /// `ioprio_set(2)`: class and level.
    IoPriority(u8, u8),
    /// Every CPU that the cgroup allows, whatever the runtime itself was bound to.
    ResetAffinity,
    /// `personality(2)`.
    Personality(u32),
    /// `set_mempolicy(2)`.
    MemoryPolicy(MemoryPolicy),
    /// The standard streams belong to the container's user.
    OwnStreams(u32),
    /// Enters the working directory, as root or else as the container's user.
    WorkingDirectory {
        /// Inside the container.
        path: PathBuf,
        /// Who tries if root may not.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// `HOME` from the container's `/etc/passwd`, where the environment does not say.
    Home(u32),
    /// Finds the program, so that a missing one is an error of `create`.
    FindProgram,
    /// Gives up rights on files and ports for ever.
    Landlock(Box<Ruleset>),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HideInit => f.write_str("hide the init from other processes"),
            Self::JoinNamespace(kind, path) => write!(f, "join the {kind} namespace {}", path.display()),
            Self::Join(step) => step.fmt(f),
            Self::ReachSources(sources) => {
                let paths: Vec<_> = sources.iter().map(|(_, path)| path.to_string_lossy()).collect();
                write!(f, "open the sources of bind mounts {}", paths.join(" "))
            }
            Self::BecomeRoot => f.write_str("wait for the id maps, become root in the user namespace"),
            Self::JoinCgroup => f.write_str("join the cgroup"),
            Self::NewNamespace(kind) => write!(f, "new {kind} namespace"),
            Self::NewSession => f.write_str("new session"),
            Self::TakeStreams => f.write_str("take the standard streams from the monitor"),
            Self::KeepAttributes => f.write_str("keep the way to the process's attributes"),
            Self::KeyLabel(label) => write!(f, "mark keys with {label}"),
            Self::ExecLabel(label) => write!(f, "confine the program by {label}"),
            Self::SessionKeyring(name, _) => write!(f, "new session keyring {}", name.to_string_lossy()),
            Self::LoopbackUp => f.write_str("bring the loopback interface up"),
            Self::HostPropagation(flags) => write!(f, "make the host's mounts {}", propagation(*flags)),
            Self::BindRootfs { path, parent } => {
                write!(
                    f,
                    "bind the root file system {} on itself, its parent {}",
                    path.display(),
                    propagation(*parent)
                )
            }
            Self::OpenRootfs(path) => write!(f, "open the root file system {}", path.display()),
            Self::Mount(mount) => mount.fmt(f),
            Self::Device(device, bind) => {
                let kind = match device.kind {
                    FileType::BlockDevice => "b",
                    FileType::Fifo => "p",
                    _ => "c",
                };
                let how = if *bind { "bind the host's" } else { "make" };
                write!(f, "{how} device {} {kind} {}:{}", device.path.display(), device.major, device.minor)?;
                write!(f, " mode {:o} owner {}:{}", device.mode, device.uid, device.gid)
            }
            Self::Link { target, path, .. } => write!(f, "link {} -> {}", path.display(), target.display()),
            Self::AwaitHooks => f.write_str("wait until the host's side has done its part"),
            Self::Hook(hook) => write!(f, "{hook} in the container's namespaces"),
            Self::PivotRoot { .. } => f.write_str("pivot_root into the root file system"),
            Self::MoveRoot => f.write_str("move the root file system to /"),
            Self::Chroot => f.write_str("chroot into the root file system"),
            Self::RootPropagation(flags) => write!(f, "make / {}", propagation(*flags)),
            Self::ReopenDevNull => f.write_str("reopen streams on /dev/null"),
            Self::MakeWorkingDirectory(path) => write!(f, "make the working directory {}", path.display()),
            Self::Terminal { size: Some((columns, rows)), .. } => write!(f, "terminal of {columns}x{rows}"),
            Self::Terminal { size: None, .. } => f.write_str("terminal"),
            Self::LateReadOnly => f.write_str("make read-only what had to stay writable until now"),
            Self::ReadOnlyRoot => f.write_str("make / read-only"),
            Self::Umask(mask) => write!(f, "umask {mask:04o}"),
            Self::Hostname(name) => write!(f, "hostname {name}"),
            Self::Domainname(name) => write!(f, "domainname {name}"),
            Self::NewClocks { offsets, .. } => write!(f, "new time namespace{}", Clocks(offsets)),
            Self::Sysctl(key, value) => write!(f, "sysctl {key}={value}"),
            Self::ReadOnlyPath(path) => write!(f, "make {} read-only", path.display()),
            Self::MaskPaths(Masks { paths, label }) => {
                let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
                write!(f, "mask {}", paths.join(" "))?;
                label.iter().try_for_each(|label| write!(f, " with the label {label}"))
            }
            Self::Scheduler(attr) => write!(f, "scheduler {attr:?}"),
            Self::IoPriority(class, level) => write!(f, "I/O priority class {class} level {level}"),
            Self::ResetAffinity => f.write_str("reset the CPU affinity"),
            Self::Personality(persona) => write!(f, "personality {persona:#x}"),
            Self::MemoryPolicy(policy) => write!(f, "memory policy {policy:?}"),
            Self::OwnStreams(uid) => write!(f, "give the standard streams to uid {uid}"),
            Self::WorkingDirectory { path, .. } => {
                write!(f, "enter the working directory {}", path.display())
            }
            Self::Home(uid) => write!(f, "set HOME of uid {uid}"),
            Self::FindProgram => f.write_str("find the program"),
            Self::Landlock(ruleset) => ruleset.fmt(f),
        }
    }
}

fn propagation(flags: MountPropagationFlags) -> String {
    let recursive = if flags.contains(MountPropagationFlags::REC) { "r" } else { "" };
    let names = [
        (MountPropagationFlags::SHARED, "shared"),
        (MountPropagationFlags::DOWNSTREAM, "slave"),
        (MountPropagationFlags::PRIVATE, "private"),
        (MountPropagationFlags::UNBINDABLE, "unbindable"),
    ];
    let name = names.iter().find(|(bit, _)| flags.contains(*bit)).map_or("unchanged", |(_, name)| name);
    format!("{recursive}{name}")
}
