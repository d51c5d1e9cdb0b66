//! `run`: create, start, and in the foreground stay until the end.

use std::os::fd::AsFd;

use cloison_linux::process::{self, Ending};
use cloison_linux::signals::{self, SignalFd, SignalSet};
use cloison_linux::{Errno, Linux, Pid, Signal};
use rustix::event::{PollFd, PollFlags, poll};

use super::birth::{Begin, Birth, Conception, FirstBorn};
use super::delete::destroy;
use super::error::Doing as _;
use super::{Error, RunOptions, Runtime, console};
use crate::console::{Flow, Relay};
use crate::state::{self, State, Store};

/// Runs a container, and gives its exit code: the program's, or 128 and the number of the signal that ended it; 0 if detached.
///
/// In the foreground, signals go on to the container, its orphans are reaped, and everything is removed at its end unless it is to be
/// kept. The caller's signals are blocked from then on.
///
/// # Errors
/// As [`create`](super::create()) and [`start`](super::start()). Nothing is left behind.
pub fn run(runtime: &Runtime, options: &RunOptions) -> Result<u8, Error> {
    let conception = Conception::new(runtime, &options.create)?;
    console::check(&options.create, conception.plan.terminal, options.detach)?;
    if options.detach {
        let mut birth = Birth::begin(&Linux, runtime, conception, Begin::AtOnce)?;
        console::hand_over(&options.create, &mut birth)?;
        birth.commit(options.create.pid_file.as_deref())?;
        birth.wait_until_running()?;
        return Ok(0);
    }
    if !options.no_subreaper {
        process::set_child_subreaper(true).doing("becoming the reaper of the container's orphans")?;
    }
    if conception.plan.terminal {
        crate::console::claim()?;
    }
    // Before the first child: no signal may come between its birth and our waiting. They stay blocked: one that comes too late for
    // the container must not end us instead of the container's exit code.
    signals::block_all().doing("blocking signals")?;
    foreground(runtime, options, conception)
}

fn foreground(runtime: &Runtime, options: &RunOptions, conception: Conception) -> Result<u8, Error> {
    let signals = SignalFd::new(SignalSet::ALL).doing("watching signals")?;
    let mut birth = Birth::begin(&Linux, runtime, conception, Begin::AtOnce)?;
    console::hand_over(&options.create, &mut birth)?;
    // From here on the caller's terminal is raw, and given back whenever this ends.
    let relay = birth.terminal.take().map(Relay::begin).transpose()?;
    birth.commit(options.create.pid_file.as_deref())?;
    birth.wait_until_running()?;
    let (first, state) = birth.release()?;
    let ending = wait_for(&first, &signals, relay);
    // After an error nobody waits for the container any more.
    if (ending.is_err() || !options.keep)
        && let Err(error) = remove(runtime, &state)
    {
        // How the program has ended is what the caller wants to know, and not lost for this.
        log::error!("something of the container was left behind, `delete --force` removes it: {error}");
    }
    Ok(u8::try_from(ending?.exit_code()).unwrap_or(u8::MAX))
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

/// Forwards signals, reaps children and serves the terminal, if there is one, until the container's first process has ended.
fn wait_for(first: &FirstBorn, signals: &SignalFd, mut relay: Option<Relay>) -> Result<Ending, Error> {
    loop {
        while let Some(signal) = signals.read().doing("reading a signal")? {
            match (signal.signal, &relay) {
                (Signal::CHILD, _) => {
                    if let Some(ending) = reap(first.pid)? {
                        if let Some(Err(error)) = relay.map(|relay| relay.finish(signals)) {
                            log::error!("the last output may be lost: {error}");
                        }
                        return Ok(ending);
                    }
                }
                // The kernel tells the container's programs as soon as their terminal has the new size.
                (Signal::WINCH, Some(relay)) => relay.resize(),
                (Signal::CONT, Some(relay)) => {
                    relay.resume();
                    forward(first, Signal::CONT);
                }
                (signal, _) => forward(first, signal),
            }
        }
        let Some(serving) = &mut relay else {
            match poll(&mut [PollFd::new(signals, PollFlags::IN)], None) {
                Ok(_) | Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno).doing("waiting for a signal"),
            }
        };
        match serving.turn(signals) {
            Ok(Flow::Goes) => {}
            Ok(Flow::HungUp) => relay = None,
            // Not the end of the run: a container that nobody waits for would be left behind.
            Err(error) => {
                log::error!("hanging up the container's terminal: {error}");
                relay = None;
            }
        }
    }
}

fn forward(first: &FirstBorn, signal: Signal) {
    match process::send_signal(first.pidfd.as_fd(), signal) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => log::warn!("signal {} was not forwarded: {errno}", signal.as_raw()),
    }
}

/// Reaps all children that have ended; gives the ending of the one with this id.
fn reap(pid: Pid) -> Result<Option<Ending>, Error> {
    loop {
        match process::reap() {
            Ok(Some((ended, ending))) if ended == pid => return Ok(Some(ending)),
            Ok(Some(_)) => {}
            Ok(None) | Err(Errno::CHILD) => return Ok(None),
            Err(errno) => return Err(errno).doing("reaping children"),
        }
    }
}
