//! A process in the foreground: a container's first one, or one that has joined.

use std::os::fd::{AsFd, BorrowedFd};

use cloison_linux::process::{self, Ending};
use cloison_linux::signals::SignalFd;
use cloison_linux::{Errno, Pid, Signal};
use rustix::event::{PollFd, PollFlags, poll};

use super::Error;
use super::error::Doing as _;
use crate::console::{Flow, Relay};
use crate::monitor::Countdown;
use crate::notify::Notify;

/// Forwards signals, reaps children, serves the terminal, if there is one, and ends the process when its time has run out, until it has
/// ended.
pub(super) fn wait_for(
    pid: Pid,
    pidfd: BorrowedFd<'_>,
    signals: &SignalFd,
    mut relay: Option<Relay>,
    countdown: &mut Countdown,
    mut notify: Option<&mut Notify>,
) -> Result<Ending, Error> {
    loop {
        while let Some(signal) = signals.read().doing("reading a signal")? {
            match (signal.signal, &relay) {
                (Signal::CHILD, _) => {
                    if let Some(ending) = reap(pid)? {
                        if let Some(notify) = &mut notify {
                            notify.pass_on();
                        }
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
                    forward(pidfd, Signal::CONT);
                }
                (signal, _) => forward(pidfd, signal),
            }
        }
        countdown.act(pidfd);
        if let Some(notify) = &mut notify {
            notify.pass_on();
        }
        let told = notify.as_ref().map(|notify| notify.as_fd());
        let patience = countdown.patience();
        let Some(serving) = &mut relay else {
            let mut fds = vec![PollFd::new(signals, PollFlags::IN)];
            fds.extend(told.map(|told| PollFd::from_borrowed_fd(told, PollFlags::IN)));
            match poll(&mut fds, patience.as_ref()) {
                Ok(_) | Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno).doing("waiting for a signal"),
            }
        };
        match serving.turn(signals, patience.as_ref(), told) {
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

fn forward(pidfd: BorrowedFd<'_>, signal: Signal) {
    match process::send_signal(pidfd, signal) {
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
