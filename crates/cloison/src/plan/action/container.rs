//! What the init does.

use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;

use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::schedule::{MemoryPolicy, SchedAttr};
use cloison_linux::{FileType, MountPropagationFlags};

use super::mount::propagation;
use super::{Clocks, MountStep, Offsets};
use crate::plan::exec::Joining;
use crate::plan::hooks::Hook;
use crate::plan::labels::ExecLabel;
use crate::plan::landlock::Ruleset;

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
    /// Whether the configuration asks for it. Then nothing else may have its place (config-linux.md, "Devices").
    pub asked: bool,
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
    /// Enters the container's cgroup by writing to it, as only v1 needs, before ids change: it takes nobody but with the ids of the runtime.
    JoinCgroup,
    /// Makes namespaces that could not come with `clone3`.
    NewNamespace(NamespaceFlags),
    /// A session of its own, without a controlling terminal.
    NewSession,
    /// Takes the standard streams from whoever keeps the container (`run --monitor`).
    TakeStreams,
    /// Keeps the way to the process's own attributes of security modules, through the host's procfs.
    KeepAttributes,
    /// Keeps the host's procfs, for sysctls where the container's user namespace may mount none of the PID namespace.
    KeepProcfs,
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
            Self::KeepProcfs => f.write_str("keep the host's procfs for sysctls"),
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
