//! `exec`: another process in a container that is there.
//!
//! ```text
//!  exec ──▶ Admission: read, checked, planned ──▶ Newcomer: on its way in ──▶ the program
//!           nothing has been touched               killed, unless it goes on
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | `admission` | whether and how a process may join; making it |
//! | `newcomer` | the process until it is the program |
//! | `outside` | a process that systemd has to put into the container's cgroup |
//! | `hook` | hooks that run in the container, which join in the same way |

use std::os::fd::AsFd as _;
use std::path::PathBuf;

use cloison_linux::signals::{self, SignalFd, SignalSet};
use cloison_linux::{Linux, Signal, launch, sealed};

mod admission;
pub(super) mod hook;
mod newcomer;
mod outside;

use self::admission::Admission;
use super::error::Doing as _;
use super::{Error, Runtime, console, foreground};
use crate::console::Relay;
use crate::id::ContainerId;
use crate::monitor::Countdown;
use crate::plan::exec::ProcessFlags;
use crate::state::Status;

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
/// [`Error::CannotExec`], [`Error::Paused`]; [`Error::Asked`] for what makes no sense; [`Error::Newcomer`] and [`Error::Launch`] if the
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
    let nobody = SignalSet::NONE;
    let signals = SignalFd::new(nobody).doing("watching signals")?;
    let mut newcomer = admission.admit(&Linux, &|| Ok(()), &signals)?;
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
    let mut newcomer = admission.admit(&Linux, &|| Ok(()), &to_end)?;
    newcomer.until_ready(&to_end)?;
    newcomer.hand_over(options)?;
    // From here on the caller's terminal is raw, and given back whenever this ends.
    let relay = newcomer.terminal.take().map(Relay::begin).transpose()?;
    let (pid, pidfd) = newcomer.go_on(options.pid_file.as_deref(), &to_end)?;
    let ending =
        foreground::wait_for(pid, pidfd.as_fd(), &signals, relay, &mut Countdown::start(None), None)?;
    Ok(u8::try_from(ending.exit_code()).unwrap_or(u8::MAX))
}
