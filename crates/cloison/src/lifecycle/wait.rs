//! `wait`: a container's end.

use std::os::fd::{AsFd, OwnedFd};

use cloison_linux::process::{ending_of, pidfd_open};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::error::Doing as _;
use super::{Error, Runtime, store_with};
use crate::id::ContainerId;
use crate::monitor::{self, Answer, Request, put, take};
use crate::state::View;

/// How long the parent of a process that has ended may take to wait for it.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Waits until a container has ended, and gives its exit code: the program's, 128 and the number of the signal that ended it, or 124 if its
/// time had run out.
///
/// A container with a monitor has it written down. Of one without, Linux 6.15 and later tell whoever began to wait before the end; and nobody
/// can tell afterwards, or on older ones.
///
/// # Errors
/// [`Error::UnknownExit`] if the container has ended and that is all that can be known.
pub fn wait(runtime: &Runtime, id: &ContainerId) -> Result<u8, Error> {
    let view = store_with(runtime, id)?.open_unlocked(id)?;
    let state = view.load()?;
    if let Some(exit) = view.load_exit()? {
        return Ok(exit.code);
    }
    // First, so that the end cannot be missed.
    let first = match &state.init {
        Some(init) => match pidfd_open(init.pid) {
            Ok(pidfd) => init.is_alive()?.then_some(pidfd),
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => None,
            Err(source) => return Err(Error::Open { pid: init.pid.as_raw_nonzero().get(), source }),
        },
        None => None,
    };
    if state.monitor.is_some()
        && let Some(code) = told_by_monitor(&view)?
    {
        return Ok(code);
    }
    let Some(first) = first else {
        return view.load_exit()?.map(|exit| exit.code).ok_or_else(|| Error::UnknownExit(id.clone()));
    };
    until_it_ends(&first, PollFlags::IN, None)?;
    let how = || ending_of(first.as_fd()).doing("asking how the process has ended");
    let mut ending = how()?;
    if ending.is_none() {
        // It is told when the parent has waited for the process, which mostly is at once.
        until_it_ends(&first, PollFlags::HUP, Some(PATIENCE))?;
        ending = how()?;
    }
    let code = ending.ok_or_else(|| Error::UnknownExit(id.clone()))?.exit_code();
    Ok(u8::try_from(code).unwrap_or(u8::MAX))
}

/// None if the monitor has gone, or goes without a word.
fn told_by_monitor(view: &View) -> Result<Option<u8>, Error> {
    if let Some(socket) = view.connect_monitor()? {
        // Should it go at this moment, the end of the connection is what is received.
        match put(socket.as_fd(), &Request::Wait.packet()) {
            Ok(()) | Err(Errno::PIPE) => {}
            Err(errno) => return Err(monitor::Error::Connection(errno).into()),
        }
        let mut packet = [0; 2];
        let count = take(socket.as_fd(), &mut packet).map_err(monitor::Error::Connection)?;
        match Answer::parse(&packet[..count]) {
            Some(Answer::Ended(code)) => return Ok(Some(code)),
            None if count == 0 => {}
            _ => return Err(monitor::Error::Protocol.into()),
        }
    }
    Ok(view.load_exit()?.map(|exit| exit.code))
}

fn until_it_ends(first: &OwnedFd, what: PollFlags, patience: Option<Timespec>) -> Result<(), Error> {
    loop {
        match poll(&mut [PollFd::new(first, what)], patience.as_ref()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).doing("waiting for the container's end"),
        }
    }
}
