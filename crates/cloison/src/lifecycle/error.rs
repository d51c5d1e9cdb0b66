//! What can go wrong on the host side.

use std::path::{Path, PathBuf};

use cloison_cgroup::Record;
use rustix::io::Errno;

use crate::errno::Text;
use crate::id::{ContainerId, InvalidId};
use crate::init::channel::Failure;
use crate::signal::Signal;
use crate::spec::Problem;
use crate::state::{self, Status};

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container's directory could not be made, found, read, written or removed.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The container's cgroup could not be made, used or removed.
    #[error(transparent)]
    Cgroup(#[from] cloison_cgroup::Error),
    /// A text is not a container's name.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// The configuration could not be read, or is not one.
    #[error(transparent)]
    Spec(#[from] crate::spec::SpecError),
    /// The bundle's directory cannot be reached.
    #[error("the bundle {}", path.display())]
    Bundle {
        /// The directory.
        path: PathBuf,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// The configuration asks for what this version cannot do.
    #[error("{}: {}", path.display(), one_line(problems))]
    Refused {
        /// The configuration's file.
        path: PathBuf,
        /// Each thing that is asked for in vain.
        problems: Vec<Problem>,
    },
    /// The command line asks for what this version cannot do.
    #[error("{0} not supported by this version of cloison")]
    Unsupported(&'static str),
    /// A task of the container may not be traced, or somebody traces it already.
    #[error("task {task} of the container cannot be traced: {}", Text(*errno))]
    NotTraceable {
        /// Its number.
        task: i32,
        /// What the kernel says: `EPERM` also where it is traced.
        errno: Errno,
    },
    /// A hook failed.
    #[error(transparent)]
    Hook(#[from] crate::hook::Error),
    /// A step of the first process failed. Engines and tests of runtimes look for these words.
    #[error("unable to start container process: error during container init")]
    Init(#[source] Failure),
    /// A step of a process that joins failed.
    #[error("unable to start container process")]
    Newcomer(#[source] Failure),
    /// The program could not be executed, or the last steps before it failed: what failed, and the errno.
    #[error("unable to start container process: {0}")]
    Launch(String, Errno),
    /// A checkpoint or a restore failed.
    #[error(transparent)]
    Checkpoint(#[from] crate::checkpoint::Error),
    /// Only what runs can be checkpointed.
    #[error("Container cannot be checkpointed in {0} state")]
    NotCheckpointable(Status),
    /// The init ended without a word: something has killed it.
    #[error("unable to start container process: the init was killed before it had made the container")]
    InitDied,
    /// The kernel killed the init: the memory limit leaves no room for it.
    #[error("unable to start container process: container init was OOM-killed (memory limit too low?)")]
    OutOfMemory,
    /// The process around which systemd has made the unit does nothing.
    #[error(
        "unable to start container process: the first process of {unit} has not answered within {seconds} s, {}", stuck(frozen.as_deref())
    )]
    Stuck {
        /// The unit.
        unit: String,
        /// How long it was waited for.
        seconds: u64,
        /// The cgroup that somebody has frozen: the unit's own, or one above it.
        frozen: Option<PathBuf>,
    },
    /// The init said what nobody expects from it.
    #[error("unable to start container process: the init does not follow the protocol")]
    Protocol,
    /// A system call on the host's side failed.
    #[error("{doing}: {}", Text(*errno))]
    Call {
        /// What was being done, and to what.
        doing: String,
        /// What the kernel says.
        errno: Errno,
    },
    /// The container's class of service could not be made, joined, changed or removed.
    #[error(transparent)]
    Resctrl(#[from] crate::resctrl::Error),
    /// There are no classes of service.
    #[error(
        "Intel RDT is not enabled: no resctrl file system is mounted (`mount -t resctrl resctrl /sys/fs/resctrl`)"
    )]
    NoResctrl,
    /// The machine does not share this out. The first words are those of `runc`.
    #[error("Intel RDT: {field} is asked for, and the resctrl file system has no info/{name}")]
    NoShares {
        /// The field of `linux.intelRdt`.
        field: &'static str,
        /// The resource.
        name: &'static str,
    },
    /// The caller may not make the cgroup. Engines and tests of runtimes look for the first words.
    #[error("unable to apply cgroup configuration: {place}: {}", Text(*errno))]
    CgroupDenied {
        /// What was being done, and where.
        place: String,
        /// What the kernel says.
        errno: Errno,
    },
    /// The caller may not put a process there from the cgroup that it is in (cgroups(7), "delegation containment").
    #[error(
        "putting a process into the container's cgroup {}, which takes rights over the nearest one that has both it and the caller: {}",
        path.display(), Text(*errno)
    )]
    CgroupOutOfReach {
        /// The directory in the v2 hierarchy.
        path: PathBuf,
        /// What the kernel says.
        errno: Errno,
    },
    /// An ordinary user's container has no cgroup, and limits that nothing would hold. Tests of runtimes look for the words.
    #[error("cannot set {} limit: container could not join or create cgroup", limits.join(" and "))]
    NoCgroupForLimits {
        /// The sections of `linux.resources`.
        limits: Vec<&'static str>,
    },
    /// What is mounted there would not be seen in a root file system on which the container's mounts are to lie.
    #[error(
        "without a mount namespace the container's mounts are the host's, and lie on the root file system {}: nothing may be mounted in \
         it before, as there is at {}", path.display(), below.display()
    )]
    MountBelowRoot {
        /// The root file system.
        path: PathBuf,
        /// The first mount in it.
        below: PathBuf,
    },
    /// The container's mounts would be made on the host's own root, and could not be taken back.
    #[error(
        "{} is the host's own root: without a mount namespace the container's mounts could not be taken away from it", path.display()
    )]
    RootOfHost {
        /// The root file system.
        path: PathBuf,
    },
    /// The container's mounts cannot be reached.
    #[error(
        "the container's mounts on {} are covered by another mount: take that away first, as by deleting the container that it belongs to",
        path.display()
    )]
    Covered {
        /// The root file system.
        path: PathBuf,
    },
    /// A network device did not get into the container.
    #[error("moving the network device {device}: {}{why}", Text(*errno))]
    NetDevice {
        /// Its name on the host, where in the configuration it is, and what was being done.
        device: String,
        /// What the kernel says.
        errno: Errno,
        /// What that means.
        why: &'static str,
    },
    /// A descriptor that the program is to inherit was not handed to us.
    #[error(
        "unable to stat preserved-fd {} (of {count}): descriptor {number} is not open, or not to be inherited", number - 3
    )]
    NotPreserved {
        /// Its number.
        number: u32,
        /// How many there should be.
        count: u32,
    },
    /// The pid file could not be written.
    #[error("writing the pid file {}", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// A socket that is to get a descriptor did not get it.
    #[error("the socket {}: {reason}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why not.
        reason: super::console::Unreachable,
    },
    /// Nobody takes the listener of a filter. Tests of runtimes look for the first words.
    #[error("failed to connect with seccomp agent specified in the seccomp profile: {}: {reason}", path.display())]
    Listener {
        /// `listenerPath`.
        path: PathBuf,
        /// Why not.
        reason: super::console::Unreachable,
    },
    /// There is something where a socket is to be made.
    #[error("cannot listen on {}: {by}", path.display())]
    Occupied {
        /// The socket's path.
        path: PathBuf,
        /// What is there.
        by: &'static str,
    },
    /// A terminal in the foreground could not be served.
    #[error(transparent)]
    Console(#[from] crate::console::Error),
    /// The service manager is not told of the container.
    #[error(transparent)]
    Notify(#[from] crate::notify::Error),
    /// A container could not be kept, or its streams not be reached.
    #[error(transparent)]
    Monitor(#[from] crate::monitor::Error),
    /// The log could not be opened.
    #[error(transparent)]
    Log(#[from] crate::monitor::LogError),
    /// The container was started by others than `run --monitor`.
    #[error("container {0} has no monitor, which only `run --detach --monitor` starts")]
    NoMonitor(ContainerId),
    /// There was one.
    #[error("the monitor of container {0} has gone")]
    MonitorGone(ContainerId),
    /// Its output goes nowhere.
    #[error("container {0} has no log: it was started with --log-driver none")]
    NoLog(ContainerId),
    /// It has no terminal to resize.
    #[error("container {0} has no terminal")]
    NoTerminal(ContainerId),
    /// The container's end was seen, and nothing else of it.
    #[error(
        "the exit code of container {0} is not known: a process tells it to its parent alone, and nobody has kept it (`run --detach --monitor` does)"
    )]
    UnknownExit(ContainerId),
    /// Nobody would be there when the time has run out.
    #[error(
        "cannot use --timeout with --detach and without --monitor: nobody would be there to end the container"
    )]
    NobodyWaits,
    /// Somebody has killed the monitor to be, which was to make the container.
    #[error(
        "the monitor was killed by signal {0} while it made the container: `delete --force` removes what it may have left"
    )]
    MonitorKilled(i32),
    /// A detached container has nowhere to send its terminal to.
    #[error("cannot allocate tty if runc will detach without setting console socket")]
    NoConsoleSocket,
    /// A console socket without a terminal for it.
    #[error("cannot use console socket if runc will not detach or allocate tty")]
    UselessConsoleSocket,
    /// `start` of a container that has been started.
    #[error("cannot start an already running container")]
    AlreadyRunning,
    /// `start` of a container that has ended.
    #[error("cannot start a container that has stopped")]
    HasStopped,
    /// `exec` in a container that has ended, or whose first process is not there yet.
    #[error("cannot exec in a {0} container")]
    CannotExec(Status),
    /// `exec` in a container that is held still.
    #[error("cannot exec in a paused container (use --ignore-paused to override)")]
    Paused,
    /// The program that maps ids for an ordinary user is not there.
    #[error(
        "an ordinary user maps more than one's own id by {program}, which is not in PATH: install it (apt install uidmap, dnf install \
         shadow-utils)"
    )]
    NoIdMapProgram {
        /// Its name.
        program: &'static str,
    },
    /// The program that maps ids for an ordinary user has refused.
    #[error("{program} has refused to map the ids: {said} ({table} says which ones a user may map)")]
    IdMapProgram {
        /// Its name.
        program: &'static str,
        /// Where it looks.
        table: &'static str,
        /// What it said.
        said: String,
    },
    /// What `exec` was asked for cannot be had.
    #[error(transparent)]
    Asked(#[from] crate::plan::exec::Refusal),
    /// The process to be did not come into the container's cgroup.
    #[error("error adding pid of the new process to cgroups")]
    JoinCgroup(#[source] cloison_cgroup::Error),
    /// The new process ended without a word: something has killed it.
    #[error(
        "unable to start container process: the process was killed before it became the program (a memory limit too low?)"
    )]
    NewcomerDied,
    /// A signal came before the program was executed.
    #[error("signal {0} came before the program was executed")]
    Interrupted(i32),
    /// There is no process to send a signal to. Engines look for these words.
    #[error("container not running")]
    NotRunning,
    /// There is nothing to tell of a container that has stopped.
    #[error("container with id {0} is not running")]
    NotRunningById(ContainerId),
    /// The container was made without a cgroup, by which its processes could be told from others.
    #[error(
        "container {0} has no cgroup (it was made with --cgroup-manager disabled), so its processes are not known"
    )]
    NoCgroup(ContainerId),
    /// `resume` of what does not stand still.
    #[error("container not paused")]
    NotPaused,
    /// The limits hold, but the container's state does not tell them.
    #[error("the new limits are in force, but could not be saved: the next update starts from the old ones")]
    NotSaved {
        /// Why not.
        source: state::Error,
    },
    /// The container has to be stopped before it is deleted, or deleted by force.
    #[error("cannot delete container {id} that is not stopped: {status}")]
    NotStopped {
        /// The container.
        id: ContainerId,
        /// What it is instead.
        status: Status,
    },
    /// The first process was killed and did not end in time; a process that waits for a device cannot.
    #[error("container init still running: process {pid} has not ended {seconds} s after SIGKILL")]
    InitStillRunning {
        /// The process.
        pid: i32,
        /// How long it was waited for, in seconds.
        seconds: u64,
    },
    /// The monitor was killed and did not end in time.
    #[error(
        "the container's monitor is still running: process {pid} has not ended {seconds} s after SIGKILL"
    )]
    MonitorStillRunning {
        /// The process.
        pid: i32,
        /// How long it was waited for, in seconds.
        seconds: u64,
    },
    /// The first process could not be opened as a pidfd.
    #[error("cannot open process {pid}")]
    Open {
        /// The process.
        pid: i32,
        /// What the kernel says.
        source: Errno,
    },
    /// The first process could not be sent a signal.
    #[error("cannot send {signal} to process {pid}")]
    Signal {
        /// The signal.
        signal: Signal,
        /// The process.
        pid: i32,
        /// What the kernel says.
        source: Errno,
    },
    /// The end of the first process could not be waited for.
    #[error("cannot wait for the end of process {pid}")]
    Wait {
        /// The process.
        pid: i32,
        /// What the kernel says.
        source: Errno,
    },
}

/// Why a process does nothing, as far as that is known.
fn stuck(frozen: Option<&Path>) -> String {
    match frozen {
        Some(cgroup) => format!(
            "because {} is frozen: thaw that first (systemctl thaw, or what froze it)",
            cgroup.display()
        ),
        None => "and no cgroup of it is frozen: is it stopped, or the machine too busy?".to_owned(),
    }
}

fn one_line(problems: &[Problem]) -> String {
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

impl Error {
    /// What it means that the kernel starts no process in the cgroup.
    pub(super) fn not_born(doing: &str, cgroup: &Record, errno: Errno) -> Self {
        match cgroup.paths().remove("") {
            Some(path) if errno == Errno::ACCESS && !cgroup.may_be_entered() => {
                Self::CgroupOutOfReach { path, errno }
            }
            _ => Self::Call { doing: doing.to_owned(), errno },
        }
    }
}

/// Names what was being done when a system call failed.
pub(super) trait Doing<T> {
    /// What was being done, and to what.
    fn doing(self, doing: impl Into<String>) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, Errno> {
    fn doing(self, doing: impl Into<String>) -> Result<T, Error> {
        self.map_err(|errno| Error::Call { doing: doing.into(), errno })
    }
}
