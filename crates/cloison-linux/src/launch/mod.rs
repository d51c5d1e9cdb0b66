//! From "ready" to the container's program.
//!
//! The last steps of a container's first process (its ids, its capabilities, its filter, `execve(2)`) must
//! not run from the runtime's own executable: from `execve` of `#!/proc/self/exe` on, or through
//! `/proc/PID/exe`, the container could open that file and, as root, overwrite the runtime on the host
//! (CVE-2019-5736). So these steps are written down as a tape of raw system calls, and two hundred bytes of
//! machine code walk it. The code lies in a sealed memfd, the pad. Its first calls unmap all memory but the
//! tape and the code from the process, and turn `/proc/self/exe` to the pad with `prctl(PR_SET_MM,
//! PR_SET_MM_MAP)`, prctl(2). Nothing that the container can reach leads to the runtime any more, no copy of
//! the binary was made, and there is one `execve` only, so that security labels and capabilities change
//! once.
//!
//! A container that is created waits on the tape, too, for the connection of the `start` that will see its
//! program run or fail: a [`Wait`]. The process then has a few pages of memory and a handful of descriptors,
//! and neither the runtime's file nor anything that the runtime knew is within it.
//!
//! The switch needs a kernel with `CONFIG_CHECKPOINT_RESTORE` (which every distribution sets) and
//! `CAP_SYS_ADMIN` or `CAP_CHECKPOINT_RESTORE` in the user namespace of the process, and is written for
//! x86-64. Elsewhere [`exe_switch_supported`] says no; then the runtime runs from a [sealed
//! copy](crate::sealed), and the tape is walked without a pad.
//!
//! What fails is told by eight bytes on a descriptor, [`Failure`], and by exit status 127.

mod pad;
mod tape;
mod wait;
mod walk;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(test)]
mod tests;

use std::ffi::CString;
use std::fmt;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal};

use crate::capability::CapabilitySet;
use crate::signals::SignalSet;

pub use pad::{exe_switch_supported, prepare_pad};

/// Everything between "ready" and the container's program.
#[derive(Debug)]
pub struct Launch {
    /// What is done before the [`Wait`], and after the handshake, in this order.
    pub early: Vec<LaunchStep>,
    /// What is done before `execve(2)`, in this order.
    pub steps: Vec<LaunchStep>,
    /// What is executed.
    pub program: LaunchProgram,
    /// The arguments, the first of which is the program's name.
    pub args: Vec<CString>,
    /// The environment, `NAME=value`.
    pub env: Vec<CString>,
    /// Where a [`Failure`] is written to with one `write(2)`. After a [`Wait`], this number is the connection
    /// of who has ended the waiting.
    pub report: Option<OwnedFd>,
    /// What is said and heard before the first step.
    pub handshake: Option<Handshake>,
    /// What is waited for before the first of the steps, and after the handshake and the early steps.
    pub wait: Option<Wait>,
    /// What [`prepare_pad`] gave. Without one, the steps run from the caller's own executable, which must
    /// then be [sealed](crate::sealed).
    pub pad: Option<OwnedFd>,
}

/// A packet of one byte each way over [`Launch::report`], a connected socket: that all is prepared, then that
/// it may go on. Where another answer or none comes, the process ends with exit status 127.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The byte that is sent.
    pub say: u8,
    /// The byte that must come.
    pub hear: u8,
}

/// The listener of a filter goes to whoever reads the reports.
///
/// What is sent is a packet of four bytes, the number of the listener's descriptor in this process in the
/// machine's byte order: with `pidfd_getfd(2)` (Linux 5.6) the reader can take it. `write(2)` is the only call
/// that must not wait for the listener's answer. A packet of one byte must come back, and the descriptor is
/// closed. Where another answer or none comes, the process ends with exit status 127.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The byte that must come.
    pub hear: u8,
    /// The process becomes dumpable (`PR_SET_DUMPABLE`, prctl(2)) before it has the listener: an ordinary user takes descriptors from no
    /// other. Every change of ids or capabilities takes that away again, so that the wait's [`be_seen`](Wait::be_seen) does not last.
    pub be_seen: bool,
}

/// Waiting for a connection on which one byte comes.
///
/// A connection that ends or says something else changes nothing: the next one is waited for. The one that
/// says the byte takes the place of [`Launch::report`], which must be there (`EINVAL`).
#[derive(Debug)]
pub struct Wait {
    /// The listening `SOCK_SEQPACKET` socket.
    pub listener: OwnedFd,
    /// The byte that ends the waiting.
    pub hear: u8,
    /// What stays open meanwhile.
    pub keep: Vec<OwnedFd>,
    /// All other descriptors from this number on are closed beforehand, with `close_range(2)` (Linux 5.9):
    /// who can look into the process finds none of the runtime's in it.
    pub close_from: u32,
    /// Whether other processes with the same ids and no fewer capabilities may look into the process from then on, as into one that is
    /// dumpable (`PR_SET_DUMPABLE`, prctl(2)): without that, an ordinary user's commands may not join its namespaces.
    pub be_seen: bool,
}

/// The paths that are tried with `execve(2)`.
///
/// As with a shell's `PATH`: what is not there is passed over, what is not allowed is remembered and told if
/// nothing else can be executed, any other error ends the search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaunchProgram {
    /// In the order of trying; a single one where the program was given with a `/`.
    pub candidates: Vec<CString>,
}

/// One thing that is done before `execve(2)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaunchStep {
    /// `setgroups(2)`.
    SetGroups(Vec<u32>),
    /// `setresgid(2)` to one id.
    SetGid(u32),
    /// `setresuid(2)` to one id.
    SetUid(u32),
    /// `prctl(PR_SET_KEEPCAPS)`: whether permitted capabilities outlive a change of the user id away from 0.
    KeepCapabilities(bool),
    /// `prctl(PR_CAPBSET_DROP)` of every capability that the kernel knows and that is not in this set. Needs
    /// `CAP_SETPCAP`.
    LimitBounding(CapabilitySet),
    /// `capset(2)`.
    SetCapabilities {
        /// What is in force.
        effective: CapabilitySet,
        /// What may be in force.
        permitted: CapabilitySet,
        /// What a program with the same inheritable file capability may keep.
        inheritable: CapabilitySet,
    },
    /// `prctl(PR_CAP_AMBIENT_CLEAR_ALL)` (Linux 4.3).
    ClearAmbient,
    /// `prctl(PR_CAP_AMBIENT_RAISE)` of each, which must be permitted and inheritable (Linux 4.3).
    RaiseAmbient(CapabilitySet),
    /// `prctl(PR_SET_NO_NEW_PRIVS)`.
    NoNewPrivileges,
    /// `seccomp(SECCOMP_SET_MODE_FILTER)`. What comes after it must be allowed by the filter, `execve` at
    /// least.
    Seccomp {
        /// The program.
        filter: Vec<SockFilter>,
        /// `SECCOMP_FILTER_FLAG_*`.
        flags: u32,
        /// There with the flag [`NEW_LISTENER`](crate::seccomp::NEW_LISTENER), and only then: who takes the
        /// listener.
        listener: Option<Handover>,
    },
    /// `rt_sigaction(2)` of every signal to its default. `execve` itself does so with handlers, and leaves
    /// what is ignored ignored.
    ResetSignals,
    /// `rt_sigprocmask(2)`: the signals that are blocked from here on.
    SetSignalMask(SignalSet),
    /// `prctl(PR_SET_PDEATHSIG)`; a change of ids takes it away, so it comes after.
    ParentDeathSignal(Option<Signal>),
    /// `umask(2)`.
    Umask(u32),
    /// `prlimit(2)`: a limit of the program, which must not hinder what comes before it.
    Limit(Resource, Rlimit),
    /// `close_range(2)` (Linux 5.9) of every descriptor from this number on, but the one for reports, which
    /// `execve` closes. Not only marked as close-on-exec: while `execve` looks for the program, its path
    /// could lead through `/proc/self/fd` (CVE-2024-21626).
    CloseFrom(u32),
    /// `pause(2)`, for a look from outside.
    #[cfg(test)]
    Pause,
}

/// One instruction of a filter program: `struct sock_filter` of linux/filter.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SockFilter {
    /// What is done.
    pub code: u16,
    /// Instructions to pass over if true.
    pub jt: u8,
    /// Instructions to pass over if false.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// Does all of a [`Launch`]. Gives back only an error from before the first step; later ones are
/// [reported](Failure).
///
/// `EINVAL` where there is no candidate, a filter is too long, or a handshake, a wait or a listener have no
/// descriptor to report on; `ENOMEM`.
pub fn launch(launch: &Launch) -> Errno {
    match &launch.pad {
        #[cfg(target_arch = "x86_64")]
        Some(pad) => match x86_64::run(launch, pad) {
            Ok(never) => match never {},
            Err(errno) => errno,
        },
        #[cfg(not(target_arch = "x86_64"))]
        Some(_) => Errno::NOSYS,
        None => match walk::run(launch) {
            Ok(never) => match never {},
            Err(errno) => errno,
        },
    }
}

/// What went wrong in a [`Launch`], as it is written to [`Launch::report`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// At what.
    pub at: FailedAt,
    /// Why.
    pub errno: Errno,
}

/// At what a [`Launch`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedAt {
    /// Unmapping the runtime's memory.
    Unmap,
    /// Turning `/proc/self/exe` to the pad: `EPERM` without the capability, `EINVAL` without kernel support,
    /// `EACCES` where memfds are not executable (`vm.memfd_noexec`).
    SwitchExecutable,
    /// The [`Handshake`].
    Handshake,
    /// Preparing the [`Wait`]. Waiting itself does not fail.
    Wait,
    /// The step at this place in [`Launch::early`] and, after those, [`Launch::steps`].
    Step(usize),
    /// The candidate at this place in [`LaunchProgram::candidates`], which all were tried.
    Program(usize),
}

/// Numbers of [`FailedAt`] in a report: steps count from 0.
const TAG_PROGRAM: u32 = 0x8000_0000;
const TAG_UNMAP: u32 = u32::MAX;
const TAG_SWITCH: u32 = u32::MAX - 1;
const TAG_HANDSHAKE: u32 = u32::MAX - 2;
const TAG_WAIT: u32 = u32::MAX - 3;

impl FailedAt {
    fn from_tag(tag: u32) -> Self {
        match tag {
            TAG_UNMAP => Self::Unmap,
            TAG_SWITCH => Self::SwitchExecutable,
            TAG_HANDSHAKE => Self::Handshake,
            TAG_WAIT => Self::Wait,
            TAG_PROGRAM.. => Self::Program((tag - TAG_PROGRAM) as usize),
            _ => Self::Step(tag as usize),
        }
    }

    /// In words, for an error message; `steps` (the early ones first) and `program` are those of the [`Launch`].
    pub fn describe(self, steps: &[LaunchStep], program: &LaunchProgram) -> String {
        match self {
            Self::Unmap => "unmap the runtime's memory".to_owned(),
            Self::SwitchExecutable => "turn /proc/self/exe away from the runtime".to_owned(),
            Self::Handshake => "tell the runtime that all is prepared".to_owned(),
            Self::Wait => "prepare to wait for start".to_owned(),
            Self::Step(place) => {
                steps.get(place).map_or_else(|| format!("step {place}"), ToString::to_string)
            }
            Self::Program(place) => match program.candidates.get(place) {
                Some(path) => format!("execute {}", path.to_string_lossy()),
                None => "execute the program".to_owned(),
            },
        }
    }
}

impl Failure {
    /// Bytes of a report.
    pub const SIZE: usize = 8;

    /// Reads a report: two little-endian numbers, where and why. None where it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (tag, errno) = bytes.split_first_chunk::<4>()?;
        let errno = i32::from_le_bytes(errno.try_into().ok()?);
        let known = (1..4096).contains(&errno);
        known.then(|| Self {
            at: FailedAt::from_tag(u32::from_le_bytes(*tag)),
            errno: Errno::from_raw_os_error(errno),
        })
    }
}

impl fmt::Display for LaunchStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetGroups(groups) if groups.is_empty() => f.write_str("leave all supplementary groups"),
            Self::SetGroups(groups) => {
                let groups: Vec<_> = groups.iter().map(u32::to_string).collect();
                write!(f, "take the supplementary groups {}", groups.join(","))
            }
            Self::SetGid(gid) => write!(f, "become group {gid}"),
            Self::SetUid(uid) => write!(f, "become user {uid}"),
            Self::KeepCapabilities(true) => f.write_str("keep capabilities over the change of user"),
            Self::KeepCapabilities(false) => f.write_str("let a change of user drop capabilities"),
            Self::LimitBounding(set) => write!(f, "limit the bounding set to {set}"),
            Self::SetCapabilities { effective, permitted, inheritable } => {
                f.write_str("set capabilities: ")?;
                write!(f, "effective {effective}; permitted {permitted}; inheritable {inheritable}")
            }
            Self::ClearAmbient => f.write_str("clear the ambient capabilities"),
            Self::RaiseAmbient(set) => write!(f, "raise the ambient capabilities {set}"),
            Self::NoNewPrivileges => f.write_str("refuse new privileges"),
            Self::Seccomp { filter, flags, .. } => {
                write!(f, "load a seccomp filter of {} instructions, flags {flags:#x}", filter.len())
            }
            Self::ResetSignals => f.write_str("reset all signals to their default"),
            Self::SetSignalMask(SignalSet::NONE) => f.write_str("unblock all signals"),
            Self::SetSignalMask(set) => write!(f, "block the signals {set}"),
            Self::ParentDeathSignal(Some(signal)) => {
                write!(f, "get signal {} when the parent dies", signal.as_raw())
            }
            Self::ParentDeathSignal(None) => f.write_str("get no signal when the parent dies"),
            Self::Umask(mask) => write!(f, "set the umask to {mask:04o}"),
            Self::Limit(resource, limit) => {
                let show = |value: Option<u64>| {
                    value.map_or_else(|| "unlimited".to_owned(), |value| value.to_string())
                };
                write!(f, "limit {resource:?} to {}, at most {}", show(limit.current), show(limit.maximum))
            }
            Self::CloseFrom(first) => write!(f, "close all descriptors from {first} on"),
            #[cfg(test)]
            Self::Pause => f.write_str("pause"),
        }
    }
}

impl fmt::Display for LaunchProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("execute ")?;
        for (place, path) in self.candidates.iter().enumerate() {
            write!(f, "{}{}", if place == 0 { "" } else { " or " }, path.to_string_lossy())?;
        }
        Ok(())
    }
}

impl fmt::Display for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Handshake { say, hear }) = self.handshake {
            write!(f, "say {:?}, hear {:?}; ", char::from(say), char::from(hear))?;
        }
        for step in &self.early {
            write!(f, "{step}; ")?;
        }
        if let Some(wait) = &self.wait {
            write!(f, "wait for {:?}; ", char::from(wait.hear))?;
        }
        for step in &self.steps {
            write!(f, "{step}; ")?;
        }
        self.program.fmt(f)
    }
}
