//! `run`: create, start, and in the foreground stay until the end.

use std::os::fd::AsFd;

use cloison_linux::Linux;
use cloison_linux::process;
use cloison_linux::signals::{self, SignalFd, SignalSet};
use rustix::process::getpid;

use super::birth::{Begin, Birth, FirstBorn};
use super::conception::Conception;
use super::delete::destroy;
use super::error::Doing as _;
use super::{Error, RunOptions, Runtime, console, foreground, hooks, monitored, pid_file};
use crate::console::Relay;
use crate::monitor::{Countdown, TIMED_OUT};
use crate::notify::Notify;
use crate::state::{self, State, Store};

/// Runs a container, and gives its exit code: the program's, or 128 and the number of the signal that ended it; 0 if detached.
///
/// With a monitor, the caller's process is forked: this returns in the one that goes, and, when the container has ended, in the one that
/// stays with it.
///
/// In the foreground, signals go on to the container, its orphans are reaped, and everything is removed at its end unless it is to be
/// kept. The caller's signals are blocked from then on.
///
/// # Errors
/// As [`create`](super::create()) and [`start`](super::start()). Nothing is left behind.
pub fn run(runtime: &Runtime, options: &RunOptions) -> Result<u8, Error> {
    if options.deadline.is_some() && options.detach && options.monitor.is_none() {
        return Err(Error::NobodyWaits);
    }
    let conception = Conception::new(runtime, &options.create)?;
    if let Some(monitor) = &options.monitor {
        return monitored::run(runtime, options, monitor, conception);
    }
    console::check(options.create.console_socket.as_deref(), conception.plan.terminal, options.detach)?;
    if options.detach {
        let begin = Begin::of_run(&conception);
        let mut birth = Birth::begin(&Linux, runtime, conception, begin)?;
        console::hand_over(&options.create, &mut birth)?;
        let notify = Notify::open(birth.container()?, birth.first_born()?.pid)?;
        birth.commit(options.create.pid_file.as_deref())?;
        birth.wait_until_running()?;
        let (first, _) = poststart(runtime, options, birth)?;
        if let Some(notify) = notify {
            notify.until_ready(first.pidfd.as_fd())?;
        }
        return Ok(0);
    }
    prepare_to_attend(options, conception.plan.terminal)?;
    foreground(runtime, options, conception)
}

/// What a command does that stays with the container.
pub(super) fn prepare_to_attend(options: &RunOptions, terminal: bool) -> Result<(), Error> {
    if !options.no_subreaper {
        process::set_child_subreaper(true).doing("becoming the reaper of the container's orphans")?;
    }
    if terminal {
        crate::console::claim()?;
    }
    // Before the first child: no signal may come between its birth and our waiting. They stay blocked: one that comes too late for
    // the container must not end us instead of the container's exit code.
    signals::block_all().doing("blocking signals")?;
    Ok(())
}

pub(super) fn foreground(
    runtime: &Runtime,
    options: &RunOptions,
    conception: Conception,
) -> Result<u8, Error> {
    let signals = SignalFd::new(SignalSet::ALL).doing("watching signals")?;
    let begin = Begin::of_run(&conception);
    let birth = Birth::begin(&Linux, runtime, conception, begin)?;
    attend(runtime, options, birth, Program::Begins, &signals)
}

/// What the program of a container that is attended does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// It begins.
    Begins,
    /// It has been restored, and goes on where it was.
    GoesOn,
}

/// Commits a birth, and stays with the container until its end; gives its exit code.
pub(super) fn attend(
    runtime: &Runtime,
    options: &RunOptions,
    mut birth: Birth<'_>,
    program: Program,
    signals: &SignalFd,
) -> Result<u8, Error> {
    console::hand_over(&options.create, &mut birth)?;
    // From here on the caller's terminal is raw, and given back whenever this ends.
    let relay = birth.terminal.take().map(Relay::begin).transpose()?;
    // It is us whom the manager has started, and whom it watches.
    let mut notify = Notify::open(birth.container()?, getpid())?;
    birth.commit(options.create.pid_file.as_deref())?;
    birth.wait_until_running()?;
    let (first, state) = poststart(runtime, options, birth)?;
    if let Some(notify) = notify.as_mut().filter(|_| program == Program::GoesOn) {
        notify.tell_that_it_goes_on();
    }
    let mut countdown = Countdown::start(options.deadline);
    let ending =
        foreground::wait_for(first.pid, first.pidfd.as_fd(), signals, relay, &mut countdown, notify.as_mut());
    // After an error nobody waits for the container any more.
    if (ending.is_err() || !options.keep)
        && let Err(error) = remove(runtime, &state)
    {
        // How the program has ended is what the caller wants to know, and not lost for this.
        log::error!("something of the container was left behind, `delete --force` removes it: {error}");
    }
    let code = u8::try_from(ending?.exit_code()).unwrap_or(u8::MAX);
    Ok(if countdown.has_run_out() { TIMED_OUT } else { code })
}

/// Lets other commands at the container, and runs its `poststart` hooks. If one of them fails, the container is taken away.
pub(super) fn poststart(
    runtime: &Runtime,
    options: &RunOptions,
    birth: Birth<'_>,
) -> Result<(FirstBorn, State), Error> {
    let (first, state) = birth.release()?;
    let run = || {
        let view = Store::at(&runtime.root)?.open_unlocked(&state.id)?;
        hooks::poststart(&view, &state)
    };
    if state.hooks.poststart
        && let Err(error) = run()
    {
        if let Some(path) = &options.create.pid_file {
            pid_file::remove(path);
        }
        if let Err(error) = remove(runtime, &state) {
            log::warn!("after the failure something was left behind, `delete --force` removes it: {error}");
        }
        return Err(error);
    }
    Ok((first, state))
}

/// Removes the container, if it is still the one that ran here: its name may have been given to another since.
fn remove(runtime: &Runtime, state: &State) -> Result<(), Error> {
    let container = match Store::at(&runtime.root).and_then(|store| store.open(&state.id)) {
        Err(state::Error::NotExist { .. } | state::Error::NoRoot { .. }) => return Ok(()),
        found => found?,
    };
    if container.load()?.init != state.init {
        return Ok(());
    }
    destroy(container, state)
}
