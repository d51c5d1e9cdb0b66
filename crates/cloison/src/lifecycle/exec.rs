//! `exec`: another process in a container that is there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloison_cgroup::Record;
use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::process::{CloneRequest, Fork};
use cloison_linux::signals::{self, SignalFd, SignalSet};
use cloison_linux::{Errno, Kernel, Linux, Mode, OFlags, Pid, Signal, launch, process, sealed};
use rustix::event::{PollFd, PollFlags, poll};

pub(super) mod hook;
mod outside;

use outside::Outside;

use super::error::Doing as _;
use super::first_process::{FirstProcess, ends_within};
use super::listener::{self, Filtered};
use super::{Error, Runtime, console, foreground, pid_file, preserved, resctrl, store_with};
use crate::console::Relay;
use crate::id::ContainerId;
use crate::init::channel::{Failure, FromInit, ToInit};
use crate::init::create::Inheritance;
use crate::init::exec::{Container, join};
use crate::monitor::Countdown;
use crate::plan::exec::{Asked, ExecAction, ExecFacts, ExecPlan, ProcessFlags};
use crate::plan::labels::Modules;
use crate::plan::process::limits;
use crate::spec::{NamespaceType, Process, Spec};
use crate::state::{State, Status, View};

/// How long a process that was killed is waited for. In a cgroup of v1 that is frozen, it dies only when that is thawed.
const PATIENCE: Duration = Duration::from_secs(1);

/// What `exec` is asked for.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// A file with a `process` section, to start from instead of the container's own process.
    pub process: Option<PathBuf>,
    /// What the command line says of the process.
    pub flags: ProcessFlags,
    /// Return as soon as the process runs.
    pub detach: bool,
    /// Where to write the process's id: digits only, no newline.
    pub pid_file: Option<PathBuf>,
    /// The `AF_UNIX` socket that gets the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// The `AF_UNIX` socket that gets a pidfd of the process.
    pub pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 on the process inherits, beside those of socket activation (`sd_listen_fds(3)`).
    pub preserve_fds: u32,
    /// Cgroups below the container's to join instead of that: `[CONTROLLER[,CONTROLLER…]:]PATH`.
    pub cgroup: Vec<String>,
    /// Also in a container that is paused: the process goes on when that is resumed.
    pub ignore_paused: bool,
}

/// Runs a process in a container, and gives its exit code: the program's, or 128 and the number of the signal that ended it; 0 if
/// detached.
///
/// Never waits for another command. In the foreground, signals go on to the process, and the caller's are blocked from then on.
///
/// # Errors
/// [`Error::CannotExec`], [`Error::Paused`]; [`Error::Asked`] for what makes no sense; [`Error::Init`] and [`Error::Launch`] if the
/// program could not be executed. Nothing is left behind.
pub fn exec(runtime: &Runtime, id: &ContainerId, options: &ExecOptions) -> Result<u8, Error> {
    let seals = launch::exe_switch_supported();
    if !seals {
        // From here on /proc/self/exe is a file that nobody can write to (CVE-2019-5736). Does not come back if it was not yet so, and so
        // before anything is read that could be read only once.
        sealed::ensure_sealed_copy().doing("sealing a copy of the runtime")?;
    }
    let admission = Admission::new(runtime, id, options, seals)?;
    console::check(options.console_socket.as_deref(), admission.plan.terminal, options.detach)?;
    signals::hear_of_children().doing("undoing that SIGCHLD is ignored")?;
    let result = if options.detach {
        detached(&admission, options)
    } else {
        if admission.plan.terminal {
            crate::console::claim()?;
        }
        // Before the child: no signal may come between its birth and our waiting.
        signals::block_all().doing("blocking signals")?;
        in_foreground(&admission, options)
    };
    // What looks like a failure of the process is mostly the container's end.
    match result {
        // As if it had come to the program, which has had no time to do anything about it.
        Err(Error::Interrupted(signal)) => Ok(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        Err(error) if !matches!(error, Error::Launch(..)) && !admission.is_alive() => {
            log::debug!("{error}");
            Err(Error::CannotExec(Status::Stopped))
        }
        result => result,
    }
}

fn detached(admission: &Admission, options: &ExecOptions) -> Result<u8, Error> {
    let mut newcomer = admission.admit(&Linux, &|| Ok(()))?;
    let nobody = SignalSet::NONE;
    let signals = SignalFd::new(nobody).doing("watching signals")?;
    newcomer.until_ready(&signals)?;
    newcomer.hand_over(options)?;
    newcomer.go_on(options.pid_file.as_deref(), &signals)?;
    Ok(0)
}

fn in_foreground(admission: &Admission, options: &ExecOptions) -> Result<u8, Error> {
    let asked_to_end = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];
    let to_end = asked_to_end.into_iter().fold(SignalSet::NONE, SignalSet::with);
    let to_end = SignalFd::new(to_end).doing("watching signals")?;
    let signals = SignalFd::new(SignalSet::ALL).doing("watching signals")?;
    let mut newcomer = admission.admit(&Linux, &|| Ok(()))?;
    newcomer.until_ready(&to_end)?;
    newcomer.hand_over(options)?;
    // From here on the caller's terminal is raw, and given back whenever this ends.
    let relay = newcomer.terminal.take().map(Relay::begin).transpose()?;
    let (pid, pidfd) = newcomer.go_on(options.pid_file.as_deref(), &to_end)?;
    let ending =
        foreground::wait_for(pid, pidfd.as_fd(), &signals, relay, &mut Countdown::start(None), None)?;
    Ok(u8::try_from(ending.exit_code()).unwrap_or(u8::MAX))
}

/// A process that may join: read, checked, planned. Nothing has been touched.
struct Admission {
    plan: ExecPlan,
    view: View,
    state: State,
    /// The cgroup to join.
    cgroup: Record,
    /// It was not chosen, so that another will do if it cannot be had.
    any_cgroup: bool,
    first: FirstProcess,
    /// The root of the container's first process, where the container has no mount namespace.
    root: Option<OwnedFd>,
    /// The launch leaves the runtime's executable.
    seals: bool,
}

impl Admission {
    fn new(runtime: &Runtime, id: &ContainerId, options: &ExecOptions, seals: bool) -> Result<Self, Error> {
        let view = store_with(runtime, id)?.open_unlocked(id)?;
        let state = view.load()?;
        let init = state.init.as_ref().ok_or(Error::CannotExec(Status::Creating))?;
        let first = FirstProcess::open(init)?.ok_or(Error::CannotExec(Status::Stopped))?;
        if !options.ignore_paused && state.cgroup.cgroup().is_frozen()? {
            return Err(Error::Paused);
        }
        let cgroup = state.cgroup.below(&options.cgroup)?;
        let document = options.process.as_deref().map(read_document).transpose()?;
        let spec = Spec::parse(&view.load_config()?, &view.path().join("config.json"))?;
        let root =
            if spec.linux.namespace(NamespaceType::Mount).is_some() { None } else { Some(root_of(&first)?) };
        let asked = Asked { document, flags: options.flags.clone() };
        let facts = facts(&spec, &state)?;
        let plan = ExecPlan::new(spec, asked, id, options.preserve_fds, &facts)?;
        preserved::check(plan.program.preserve_fds)?;
        if log::log_enabled!(log::Level::Debug) {
            // How far it has come is told in the words of runc, which people look for in a log.
            log::debug!("nsexec container setup");
            plan.to_string().lines().for_each(|line| log::debug!("planned: {line}"));
        }
        let any_cgroup = options.cgroup.is_empty();
        Ok(Self { plan, view, state, cgroup, any_cgroup, first, root, seals })
    }

    fn is_alive(&self) -> bool {
        // An error of poll is no news of the process.
        !self.first.wait(Duration::ZERO).unwrap_or(false)
    }

    /// The host's list of the plan, up to the waiting. The process begins with `streams`, which puts its standard streams in place.
    fn admit<'k>(
        &'k self,
        kernel: &'k dyn Kernel,
        streams: &dyn Fn() -> Result<(), Errno>,
    ) -> Result<Newcomer<'k>, Error> {
        let mut newcomer = None;
        for step in &self.plan.host {
            match &step.action {
                ExecAction::Hide => {
                    kernel.set_dumpable(false).doing("hiding the runtime from other processes")?;
                }
                ExecAction::Affinity(cpus) => {
                    kernel
                        .sched_setaffinity(cpus)
                        .doing(format!("error setting initial CPU affinity to {cpus:?}"))?;
                    log::debug!("nsexec: affinity: {}", mask(cpus));
                }
                ExecAction::EnterForChildren(kinds) => self.enter_for_children(kernel, *kinds)?,
                ExecAction::Clone { by_go_between } => {
                    newcomer = Some(self.clone_process(kernel, *by_go_between, streams)?);
                }
                ExecAction::JoinResctrl(_) => {
                    if let Some((pid, _)) = newcomer.as_ref().and_then(|newcomer| newcomer.process.as_ref()) {
                        resctrl::join(&self.state, pid.as_raw_nonzero().get())?;
                    }
                }
                ExecAction::Await => {}
            }
        }
        newcomer.ok_or(Error::Protocol)
    }

    /// Not given back: there are no other children, and the runtime itself stays where it is.
    fn enter_for_children(&self, kernel: &dyn Kernel, kinds: NamespaceFlags) -> Result<(), Error> {
        kernel.setns(self.first.as_fd(), kinds).doing(format!("joining the container's {kinds} namespace"))
    }

    /// Into the container's cgroup; by systemd, if a user has the rights to it only within what is delegated; and if that has gone, or takes no processes any more since others were made below it, into the one that
    /// the container's first process is in now.
    fn clone_process<'k>(
        &'k self,
        kernel: &'k dyn Kernel,
        by_go_between: bool,
        streams: &dyn Fn() -> Result<(), Errno>,
    ) -> Result<Newcomer<'k>, Error> {
        match self.clone_into(kernel, &self.cgroup, by_go_between, streams) {
            Err(Error::JoinCgroup(error)) if self.any_cgroup && is_no_place(&error) => {
                let now = Record::of_process(self.first.pid()).map_err(Error::JoinCgroup)?;
                log::debug!("joining the cgroup of the container's first process: {error}");
                self.clone_into(kernel, &now, by_go_between, streams)
            }
            Err(Error::Call { doing, errno }) => {
                let Some(outside) = self.outside(errno) else { return Err(Error::Call { doing, errno }) };
                log::debug!("systemd is asked to put the process into the container's cgroup: {errno}");
                let mut newcomer = self.clone_into(kernel, &Record::disabled(), by_go_between, streams)?;
                newcomer.outside = Some(outside);
                Ok(newcomer)
            }
            result => result,
        }
    }

    fn clone_into<'k>(
        &'k self,
        kernel: &'k dyn Kernel,
        cgroup: &Record,
        by_go_between: bool,
        streams: &dyn Fn() -> Result<(), Errno>,
    ) -> Result<Newcomer<'k>, Error> {
        let entry = cgroup.cgroup().entry().map_err(Error::JoinCgroup)?;
        let (ours, theirs) = kernel.socketpair().doing("making a socket for the new process")?;
        let pad = self.seals.then(launch::prepare_pad).transpose().doing("preparing the launch")?;
        let tasks: Vec<BorrowedFd<'_>> = entry.tasks().collect();
        let inherited = Inheritance {
            channel: theirs.as_fd(),
            cgroup: &tasks,
            sources: &[],
            start: None,
            hook_outputs: [None, None],
            streams: None,
            pad: pad.as_ref().map(AsFd::as_fd),
            container: Some(Container {
                first: self.first.as_fd(),
                root: self.root.as_ref().map(AsFd::as_fd),
            }),
        };
        let request = CloneRequest {
            namespaces: NamespaceFlags::empty(),
            cgroup: entry.directory(),
            as_sibling: false,
        };
        match kernel.clone3(&request).map_err(|errno| not_started(cgroup, errno))? {
            Fork::Child => {
                // The runtime's end of the socket must not live on in the child, or it would never see that the runtime has gone.
                drop(ours);
                let failure = match streams() {
                    Ok(()) => join(kernel, &self.plan, &inherited),
                    Err(errno) => Failure {
                        errno: Some(errno.raw_os_error()),
                        causes: vec![format!("putting the standard streams in place: {errno}")],
                    },
                };
                if let Err(errno) = FromInit::send_failure(kernel, inherited.channel, &failure) {
                    log::debug!("nobody to tell that {failure}: {errno}");
                }
                std::process::exit(1)
            }
            Fork::Parent { pid, pidfd } => {
                drop(theirs);
                let process = Some((pid, pidfd));
                let mut newcomer = Newcomer {
                    kernel,
                    admission: self,
                    process,
                    channel: ours,
                    terminal: None,
                    pid_file: None,
                    outside: None,
                };
                if by_go_between {
                    newcomer.adopt()?;
                }
                Ok(newcomer)
            }
        }
    }
}

/// What `CLONE_INTO_CGROUP` gives for a cgroup that takes no process: one that has gone, has others below it that share out its
/// controllers, or is of threads (clone(2), cgroups(7)).
const NO_PLACE: [Errno; 4] = [Errno::NOENT, Errno::NODEV, Errno::BUSY, Errno::OPNOTSUPP];

fn is_no_place(error: &cloison_cgroup::Error) -> bool {
    error.errno().is_some_and(|errno| NO_PLACE.contains(&errno))
}

fn not_started(cgroup: &Record, errno: Errno) -> Error {
    match cgroup.paths().remove("") {
        Some(path) if NO_PLACE.contains(&errno) => {
            Error::JoinCgroup(cloison_cgroup::Error::Join { path, source: errno })
        }
        _ => Error::Call { doing: "starting the process".to_owned(), errno },
    }
}

/// CPUs as one number, the lowest bit of which is the first.
fn mask(cpus: &[u32]) -> String {
    let mut digits = vec![0_u8; cpus.iter().max().map_or(1, |highest| *highest as usize / 4 + 1)];
    for cpu in cpus {
        digits[*cpu as usize / 4] |= 1 << (cpu % 4);
    }
    let digits = digits.iter().rev().map(|digit| format!("{digit:x}"));
    format!("0x{}", digits.collect::<String>())
}

fn read_document(path: &Path) -> Result<(PathBuf, Process), Error> {
    Ok((path.to_owned(), Process::load(path)?))
}

fn facts(spec: &Spec, state: &State) -> Result<ExecFacts, Error> {
    let joins_user = spec.linux.namespace(NamespaceType::User).is_some();
    let sys_admin = cloison_linux::capability::Capability::SYS_ADMIN;
    let privileged = !joins_user
        || process::identity().doing("reading the runtime's capabilities")?.capabilities.contains(sys_admin);
    let resources = if joins_user { limits(spec) } else { Vec::new() };
    Ok(ExecFacts {
        modules: Modules::detect(),
        privileged,
        groups_denied: groups_denied(state),
        joins_cgroup: matches!(state.cgroup.directories(), Record::Legacy(_)),
        no_new_keyring: state.no_new_keyring,
        resctrl: state.resctrl.as_ref().map(|group| group.class.clone()),
        activation: preserved::socket_activation(),
        limits: resources
            .into_iter()
            .map(|(resource, _)| (resource, rustix::process::getrlimit(resource)))
            .collect(),
    })
}

/// Whether the first process may not change its groups, as an ordinary user's container may not.
fn groups_denied(state: &State) -> bool {
    let Some(init) = state.init else { return false };
    std::fs::read(format!("/proc/{}/setgroups", init.pid)).is_ok_and(|text| text.starts_with(b"deny"))
}

/// The root directory of a process, for as long as it is that process's.
fn root_of(first: &FirstProcess) -> Result<OwnedFd, Error> {
    let path = format!("/proc/{}/root", first.pid());
    let root = Linux.open(Path::new(&path), OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
    let root = root.doing(format!("opening {path}"))?;
    // Only now, for before it was open the number could still change hands.
    if first.wait(Duration::ZERO)? { Err(Error::CannotExec(Status::Stopped)) } else { Ok(root) }
}

/// A process that is on its way into the container. Dropped before it has [gone on](Self::go_on), it is killed.
struct Newcomer<'k> {
    kernel: &'k dyn Kernel,
    admission: &'k Admission,
    /// None once it has gone on, or has been killed.
    process: Option<(Pid, OwnedFd)>,
    channel: OwnedFd,
    /// The master of its terminal.
    terminal: Option<OwnedFd>,
    /// The pid file, once it is written.
    pid_file: Option<PathBuf>,
    /// It is not in the container's cgroup yet.
    outside: Option<Outside<'k>>,
}

impl Newcomer<'_> {
    /// The process that was started was only a go-between; takes the process itself, and waits for the other's end.
    fn adopt(&mut self) -> Result<(), Error> {
        let Some((_, between)) = &self.process else { return Err(Error::Protocol) };
        let pidfd = match FromInit::receive(self.kernel, self.channel.as_fd()) {
            Ok(FromInit::Process(pidfd)) => pidfd,
            other => return Err(self.unexpected(other)),
        };
        let pid = self.kernel.pidfd_pid(pidfd.as_fd()).doing("reading the new process's id")?;
        self.kernel.wait_pidfd(between.as_fd()).doing("waiting for the go-between")?;
        self.process = Some((pid, pidfd));
        Ok(())
    }

    fn until_ready(&mut self, to_end: &SignalFd) -> Result<(), Error> {
        loop {
            match self.receive(to_end)? {
                Ok(FromInit::Ready) => return self.enter_cgroup(),
                Ok(FromInit::Terminal(master)) => self.terminal = Some(master),
                other => return Err(self.unexpected(other)),
            }
        }
    }

    fn hand_over(&mut self, options: &ExecOptions) -> Result<(), Error> {
        let socket = options.console_socket.as_deref();
        if let Some(master) = self.terminal.take_if(|_| socket.is_some()) {
            console::send_terminal(socket, &master)?;
        }
        let Some((_, pidfd)) = &self.process else { return Err(Error::Protocol) };
        console::send_pidfd(options.pidfd_socket.as_deref(), pidfd)
    }

    /// Writes the pid file, lets the process become the program, and waits until it has.
    fn go_on(mut self, pid_file: Option<&Path>, to_end: &SignalFd) -> Result<(Pid, OwnedFd), Error> {
        let Some((pid, _)) = &self.process else { return Err(Error::Protocol) };
        if let Some(path) = pid_file {
            pid_file::write(path, *pid)?;
            self.pid_file = Some(path.to_owned());
        }
        ToInit::Committed.send(self.kernel, self.channel.as_fd()).doing("telling the process to go on")?;
        loop {
            match self.receive(to_end)? {
                Ok(FromInit::Listener(number)) => self.hand_over_listener(number)?,
                Ok(FromInit::End) => {
                    self.pid_file = None;
                    return self.process.take().ok_or(Error::Protocol);
                }
                other => return Err(self.unexpected(other)),
            }
        }
    }

    /// Hands on what tells of the calls that the filter asks about.
    fn hand_over_listener(&self, number: RawFd) -> Result<(), Error> {
        let Admission { plan, view, state, .. } = self.admission;
        let to = plan.program.seccomp.as_ref().and_then(|filter| filter.listener.as_ref());
        let ((Some(to), Some((pid, pidfd))), Some(init)) = ((to, &self.process), &state.init) else {
            return Err(Error::Protocol);
        };
        let from = Filtered {
            pid: *pid,
            pidfd: pidfd.as_fd(),
            channel: self.channel.as_fd(),
            state,
            status: view.status(state)?,
            init: init.pid,
        };
        listener::hand_over(self.kernel, to, None, &from, number)
    }

    /// The next message. Where one of the signals comes first, the process has no time to become the program.
    fn receive(&self, to_end: &SignalFd) -> Result<Result<FromInit, Errno>, Error> {
        let mut watched = [PollFd::new(to_end, PollFlags::IN), PollFd::new(&self.channel, PollFlags::IN)];
        while watched.iter().all(|fd| fd.revents().is_empty()) {
            match poll(&mut watched, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).doing("waiting for the new process"),
            }
        }
        if !watched[0].revents().is_empty()
            && let Some(signal) = to_end.read().doing("reading a signal")?
        {
            return Err(Error::Interrupted(signal.signal.as_raw()));
        }
        Ok(FromInit::receive(self.kernel, self.channel.as_fd()))
    }

    /// What it means when the process says something else than was waited for.
    fn unexpected(&self, message: Result<FromInit, Errno>) -> Error {
        match message {
            Ok(FromInit::Failed(failure)) => Error::Init(failure),
            Ok(FromInit::LaunchFailed(failure)) => {
                Error::Launch(self.admission.plan.program.describe(failure, false), failure.errno)
            }
            Ok(FromInit::End) => Error::NewcomerDied,
            Ok(_) => Error::Protocol,
            Err(errno) => Error::Call { doing: "waiting for the new process".to_owned(), errno },
        }
    }
}

impl Drop for Newcomer<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.pid_file.take() {
            pid_file::remove(&path);
        }
        let Some((_, pidfd)) = self.process.take() else { return };
        if let Err(errno) = self.kernel.pidfd_send_signal(pidfd.as_fd(), Signal::KILL)
            && errno != Errno::SRCH
        {
            log::warn!("after the failure a process was left behind: {errno}");
        }
        if !ends_within(pidfd.as_fd(), PATIENCE).unwrap_or(false) {
            log::debug!("the process was killed, but does not end: is the container paused?");
        } else if let Err(errno) = self.kernel.wait_pidfd(pidfd.as_fd())
            && errno != Errno::CHILD
        {
            log::debug!("waiting for the killed process: {errno}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_print_as_a_mask() {
        for (cpus, expected) in [
            (&[0][..], "0x1"),
            (&[1], "0x2"),
            (&[0, 1], "0x3"),
            (&[3, 4], "0x18"),
            (&[64], "0x10000000000000000"),
        ] {
            assert_eq!(mask(cpus), expected);
        }
    }
}
