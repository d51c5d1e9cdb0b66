//! What can go wrong with a cgroup.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::systemd::BusError;
use crate::{DeviceRule, LimitError};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with a cgroup; each variant is a sentence that names the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cgroup file system is mounted where this process can see it.
    #[error("no cgroup file system is mounted, so there is nowhere to make the container's cgroup")]
    NotMounted,

    /// `cgroupsPath` is `/`, `.` or resolves to one of them: the hierarchy's root or our own cgroup, no container's.
    #[error("cgroupsPath {0:?} does not name a cgroup of the container's own")]
    NotAPlace(String),

    /// `cgroupsPath` holds a NUL byte or a line break, which no cgroup's name can.
    #[error("cgroupsPath {0:?} contains a character that cannot be in a cgroup's name")]
    BadCharacter(String),

    /// `cgroupsPath` is not in the form that systemd's cgroups are named in.
    #[error(
        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {0:?} instead"
    )]
    NotAUnit(String),

    /// The slice in `cgroupsPath` cannot be one.
    #[error("invalid slice name: {0}")]
    NotASlice(String),

    /// What `cgroupsPath` makes of its parts is no name of a unit.
    #[error(
        "cgroupsPath makes the unit's name {0:?}, which is too long or has characters that no unit's name can have"
    )]
    UnitName(String),

    /// systemd is asked to make cgroups where it does not run.
    #[error("systemd is to make the cgroup, but it does not run here: there is no /run/systemd/system")]
    NoSystemd,

    /// The user's systemd is asked to make cgroups of v1, which it cannot hand over.
    #[error("the user's systemd cannot make cgroups of v1, only of v2")]
    UserOnLegacy,

    /// systemd refused, or could not be asked.
    #[error(transparent)]
    Bus(Box<BusError>),

    /// A relative `cgroupsPath` on a machine where our own cgroup is unknown.
    #[error("/proc/self/cgroup does not say in which cgroup of {} the runtime is", .0.display())]
    OwnCgroupUnknown(PathBuf),

    /// `exec --cgroup` with a path that is not below the container's cgroup.
    #[error("bad sub cgroup path: {0:?}")]
    BadSubCgroup(String),

    /// `exec --cgroup` with a controller that has no hierarchy.
    #[error("unknown controller {0} in --cgroup")]
    UnknownController(String),

    /// `exec --cgroup` with what says no place, or two.
    #[error("invalid --cgroup argument: {argument} ({why})")]
    BadSubCgroupArgument {
        /// What was said.
        argument: String,
        /// Why it makes no sense.
        why: &'static str,
    },

    /// `exec --cgroup` for a container that has no cgroup of its own.
    #[error("the container has no cgroup of its own, and so none below it")]
    NoCgroup,

    /// Something is running in the cgroup that was asked for.
    #[error("container's cgroup is not empty: {count} process(es) found in {}", path.display())]
    NotEmpty {
        /// The cgroup's directory.
        path: PathBuf,
        /// How many processes it holds, sub-cgroups included.
        count: usize,
    },

    /// The cgroup that was asked for is frozen: whatever joins it would hang.
    #[error("container's cgroup unexpectedly frozen: {}", .0.display())]
    Frozen(PathBuf),

    /// Another container is being made in the cgroup at this moment.
    #[error("container's cgroup is in use: another container is being made in {}", .0.display())]
    InUse(PathBuf),

    /// The cgroup could not be given to a user.
    #[error("cannot give {} to user {uid}", path.display())]
    Delegate {
        /// The cgroup's directory, or one of its files.
        path: PathBuf,
        /// Who should have it.
        uid: u32,
        /// Why not.
        source: Errno,
    },

    /// Processes stayed in the cgroup until the patience for its removal was over.
    #[error(
        "cannot remove cgroup {}: {processes} process(es) still in it after {waited_ms} ms", path.display()
    )]
    Busy {
        /// The cgroup's directory.
        path: PathBuf,
        /// How many processes it holds, sub-cgroups included.
        processes: usize,
        /// How long removal was tried, in milliseconds.
        waited_ms: u128,
    },

    /// New processes kept appearing while every process was being signalled.
    #[error("processes in cgroup {} fork faster than they can be signalled", .0.display())]
    Forking(PathBuf),

    /// `mkdir(2)` of a cgroup failed.
    #[error("cannot make cgroup {}", path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: Errno,
    },

    /// `rmdir(2)` of a cgroup, or looking for its sub-cgroups, failed.
    #[error("cannot remove cgroup {}", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: Errno,
    },

    /// A cgroup's directory or file cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: Errno,
    },

    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Errno,
    },

    /// A value was not accepted by a cgroup's file.
    #[error("cannot write {value:?} to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// Why.
        source: Errno,
    },

    /// This process may not join the cgroup.
    #[error("cannot join the cgroup by {}", path.display())]
    Join {
        /// The `tasks` file that was written to.
        path: PathBuf,
        /// Why.
        source: Errno,
    },

    /// A limit cannot be set.
    #[error(transparent)]
    Limit(Box<LimitError>),

    /// The cgroup was there and is not any more.
    #[error("cgroup {} is gone: somebody else has removed it", path.display())]
    Gone {
        /// The cgroup's directory.
        path: PathBuf,
    },

    /// A limit was refused, and those that had been set before it have their old values again.
    #[error("no limit was changed")]
    Undone(#[source] Box<Error>),

    /// A limit was refused, and some that had been set before it could not be given their old values.
    #[error("only some limits were changed: {} could not be given the old values again", list(changed))]
    NotUndone {
        /// Why it was to be undone.
        #[source]
        cause: Box<Error>,
        /// The files that say something new.
        changed: Vec<PathBuf>,
    },

    /// There is nothing that could hold the cgroup's processes still.
    #[error(
        "the container has no cgroup that can be frozen: there is no freezer hierarchy, and no cgroup v2 of Linux 5.2 or later"
    )]
    NoFreezer,

    /// Not every process could be frozen; they all go on.
    #[error("unable to freeze: {} has not reached all processes after {waited_ms} ms, so they go on", path.display())]
    NotFrozen {
        /// The freezer's file.
        path: PathBuf,
        /// How long it was tried, in milliseconds.
        waited_ms: u128,
    },

    /// Device rules of which one is an exception to another, which cgroup v1 has no means for.
    #[error("cgroup v1 cannot express \"{0}\" together with the other device rules")]
    DeviceRulesTooFine(DeviceRule),

    /// So many device rules that their program would be longer than a jump reaches.
    #[error("{0} device rules are too many for one program")]
    TooManyDeviceRules(usize),

    /// Neither a v1 devices hierarchy nor a v2 one that could restrict devices.
    #[error("no cgroup hierarchy of this machine can restrict devices")]
    NoDeviceController,

    /// The kernel did not take the program that decides about devices.
    #[error("cannot load the device program of cgroup {}{}{log}", path.display(), if log.is_empty() { "" } else { ": " })]
    LoadProgram {
        /// The cgroup's directory.
        path: PathBuf,
        /// What the kernel's verifier said.
        log: String,
        /// Why.
        source: Errno,
    },

    /// A step of putting that program in place failed.
    #[error("cannot {doing} of cgroup {}", path.display())]
    Program {
        /// The cgroup's directory.
        path: PathBuf,
        /// `attach the device program`, say.
        doing: &'static str,
        /// Why.
        source: Errno,
    },

    /// A process could not be signalled.
    #[error("cannot send signal {signal} to process {pid} of cgroup {}", path.display())]
    Signal {
        /// The cgroup's directory.
        path: PathBuf,
        /// The process.
        pid: i32,
        /// The signal's number.
        signal: i32,
        /// Why.
        source: Errno,
    },
}

impl From<BusError> for Error {
    fn from(error: BusError) -> Self {
        Self::Bus(Box::new(error))
    }
}

impl Error {
    /// Whether systemd has a unit of that name already, which is then somebody else's.
    #[must_use]
    pub fn is_unit_exists(&self) -> bool {
        matches!(self, Self::Bus(error) if error.is("UnitExists"))
    }

    /// Whether the cgroup, or the unit that it belongs to, was there and is not any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Gone { .. } => true,
            Self::Bus(error) => error.is("NoSuchUnit"),
            Self::Undone(error) => error.is_gone(),
            error => matches!(error.errno(), Some(Errno::NOENT | Errno::NODEV)),
        }
    }

    /// Whether the kernel refused for want of rights (EPERM, EACCES, or EROFS, which is what an unprivileged
    /// user of a read-only `/sys/fs/cgroup` gets): a rootless container without limits may go without a cgroup.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        matches!(self.errno(), Some(Errno::PERM | Errno::ACCESS | Errno::ROFS))
    }

    /// The kernel's error number, when it was the kernel that refused.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Undone(cause) | Self::NotUndone { cause, .. } => cause.errno(),
            Self::Limit(error) => error.errno(),
            Self::Make { source, .. }
            | Self::Delegate { source, .. }
            | Self::Remove { source, .. }
            | Self::Open { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Join { source, .. }
            | Self::LoadProgram { source, .. }
            | Self::Program { source, .. }
            | Self::Signal { source, .. } => Some(*source),
            _ => None,
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    paths.join(", ")
}

impl From<LimitError> for Error {
    fn from(error: LimitError) -> Self {
        Self::Limit(Box::new(error))
    }
}
