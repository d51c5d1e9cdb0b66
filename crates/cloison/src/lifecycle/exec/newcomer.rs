//! A process on its way into a container.
//!
//! ```text
//!  runtime                            process
//!    adopt        ◀── its pidfd ────    (by a go-between only)
//!    until_ready  ◀── terminal, ready
//!    hand_over                          waits on the tape
//!    go_on        ─── committed ─────▶  becomes the program
//!                 ◀── end of stream ──
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloison_linux::signals::SignalFd;
use cloison_linux::{Errno, Kernel, Pid, Signal};
use rustix::event::{PollFd, PollFlags, poll};

use super::ExecOptions;
use super::admission::Admission;
use super::outside::Outside;
use crate::init::channel::{FromInit, ToInit};
use crate::lifecycle::error::Doing as _;
use crate::lifecycle::first_process::ends_within;
use crate::lifecycle::listener::{self, Filtered};
use crate::lifecycle::{Error, console, pid_file};

/// How long a process that was killed is waited for. In a cgroup of v1 that is frozen, it dies only when that is thawed.
const PATIENCE: Duration = Duration::from_secs(1);

/// A process that is on its way into the container. Dropped before it has [gone on](Self::go_on), it is killed.
pub(super) struct Newcomer<'k> {
    kernel: &'k dyn Kernel,
    pub(super) admission: &'k Admission,
    /// None once it has gone on, or has been killed.
    pub(super) process: Option<(Pid, OwnedFd)>,
    channel: OwnedFd,
    /// The master of its terminal.
    pub(super) terminal: Option<OwnedFd>,
    /// The pid file, once it is written.
    pid_file: Option<PathBuf>,
    /// It is not in the container's cgroup yet.
    pub(super) outside: Option<Outside<'k>>,
}

impl<'k> Newcomer<'k> {
    /// A process that was just made: its id and pidfd, and the runtime's end of the channel.
    pub(super) fn new(
        kernel: &'k dyn Kernel,
        admission: &'k Admission,
        process: (Pid, OwnedFd),
        channel: OwnedFd,
    ) -> Self {
        Self {
            kernel,
            admission,
            process: Some(process),
            channel,
            terminal: None,
            pid_file: None,
            outside: None,
        }
    }

    /// Its id on the host; none once it has gone on.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.process.as_ref().map(|(pid, _)| *pid)
    }

    /// The process that was started was only a go-between; takes the process itself, and waits for the other's end. In a paused container
    /// that takes as long as the pause, unless one of the signals comes.
    pub(super) fn adopt(&mut self, to_end: &SignalFd) -> Result<(), Error> {
        let pidfd = match self.receive(to_end)? {
            Ok(FromInit::Process(pidfd)) => pidfd,
            other => return Err(self.unexpected(other)),
        };
        let pid = self.kernel.pidfd_pid(pidfd.as_fd()).doing("reading the new process's id")?;
        let Some((_, between)) = self.process.replace((pid, pidfd)) else { return Err(Error::Protocol) };
        await_or_end(between.as_fd(), to_end)?;
        self.kernel.wait_pidfd(between.as_fd()).doing("waiting for the go-between").map(drop)
    }

    /// Waits until it could become the program at once, and is in the container's cgroup.
    pub(super) fn until_ready(&mut self, to_end: &SignalFd) -> Result<(), Error> {
        loop {
            match self.receive(to_end)? {
                Ok(FromInit::Ready) => return self.enter_cgroup(),
                Ok(FromInit::Terminal(master)) => self.terminal = Some(master),
                other => return Err(self.unexpected(other)),
            }
        }
    }

    /// Gives its terminal and its pidfd to whoever listens for them.
    pub(super) fn hand_over(&mut self, options: &ExecOptions) -> Result<(), Error> {
        let socket = options.console_socket.as_deref();
        if let Some(master) = self.terminal.take_if(|_| socket.is_some()) {
            console::send_terminal(socket, &master)?;
        }
        let Some((_, pidfd)) = &self.process else { return Err(Error::Protocol) };
        console::send_pidfd(options.pidfd_socket.as_deref(), pidfd)
    }

    /// Writes the pid file, lets the process become the program, and waits until it has.
    pub(super) fn go_on(
        mut self,
        pid_file: Option<&Path>,
        to_end: &SignalFd,
    ) -> Result<(Pid, OwnedFd), Error> {
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
        await_or_end(self.channel.as_fd(), to_end)?;
        Ok(FromInit::receive(self.kernel, self.channel.as_fd()))
    }

    /// What it means when the process says something else than was waited for.
    fn unexpected(&self, message: Result<FromInit, Errno>) -> Error {
        match message {
            Ok(FromInit::Failed(failure)) => Error::Newcomer(failure),
            Ok(FromInit::LaunchFailed(failure)) => {
                Error::Launch(self.admission.plan.program.describe(failure, false), failure.errno)
            }
            Ok(FromInit::End) => Error::NewcomerDied,
            Ok(_) => Error::Protocol,
            Err(errno) => Error::Call { doing: "waiting for the new process".to_owned(), errno },
        }
    }
}

/// Waits until a descriptor can be read, or fails with the signal that comes first.
fn await_or_end(awaited: BorrowedFd<'_>, to_end: &SignalFd) -> Result<(), Error> {
    let mut watched = [PollFd::new(to_end, PollFlags::IN), PollFd::new(&awaited, PollFlags::IN)];
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
    Ok(())
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
