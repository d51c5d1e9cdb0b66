//! A container's first process, by a descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use cloison_linux::process::{pidfd_open, send_signal};
use cloison_linux::signals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Error;
use crate::signal::Signal;
use crate::state::Init;

/// A container's first process, held by a pidfd: whatever is done to it cannot reach another process that gets its id.
#[derive(Debug)]
pub(super) struct FirstProcess {
    pidfd: OwnedFd,
    pid: i32,
}

impl FirstProcess {
    /// Opens the process; none if it has ended.
    pub(super) fn open(init: &Init) -> Result<Option<Self>, Error> {
        let pid = init.pid.as_raw_nonzero().get();
        let pidfd = match pidfd_open(init.pid) {
            Ok(pidfd) => pidfd,
            // The id is free, or that of a thread by now.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(source) => return Err(Error::Open { pid, source }),
        };
        // Only now, for before it was open the id could still change hands.
        Ok(init.is_alive()?.then_some(Self { pidfd, pid }))
    }

    /// Sends a signal; false if the process has ended.
    pub(super) fn send(&self, signal: Signal) -> Result<bool, Error> {
        match send_signal(self.pidfd.as_fd(), kernel_signal(signal)) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(source) => Err(Error::Signal { signal, pid: self.pid, source }),
        }
    }

    /// Waits until the process has ended, and with it every process of a pid namespace that is its own; false if that takes longer
    /// than `patience`. It need not have been waited for by its parent.
    pub(super) fn wait(&self, patience: Duration) -> Result<bool, Error> {
        ends_within(self.as_fd(), patience).map_err(|source| Error::Wait { pid: self.pid, source })
    }

    /// The process's id.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }
}

impl AsFd for FirstProcess {
    /// The pidfd, which is readable once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Waits for the end of a process, which need not be our child; false if that takes longer than `patience`.
pub(super) fn ends_within(pidfd: BorrowedFd<'_>, patience: Duration) -> Result<bool, Errno> {
    is_readable_within(pidfd, patience)
}

/// Waits for something to be read, or for the end of it; false if that takes longer than `patience`.
pub(super) fn is_readable_within(fd: BorrowedFd<'_>, patience: Duration) -> Result<bool, Errno> {
    let start = Instant::now();
    loop {
        let left = patience.saturating_sub(start.elapsed());
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&timeout)) {
            Ok(ended) => return Ok(ended > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The signal as system calls take it.
pub(super) fn kernel_signal(signal: Signal) -> cloison_linux::Signal {
    signals::from_number(signal.number()).expect("a signal's number is from 1 to 64")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::Sleeper;

    #[test]
    fn who_got_the_id_later_is_not_opened() {
        let process = Sleeper::new();
        let earlier = Init { start_time: process.init().start_time - 1, ..process.init() };
        assert!(FirstProcess::open(&earlier).unwrap().is_none());
        assert!(FirstProcess::open(&process.init()).unwrap().is_some());
    }

    #[test]
    fn waiting_ends_with_the_process_or_with_the_patience() {
        let process = Sleeper::new();
        let first = FirstProcess::open(&process.init()).unwrap().unwrap();
        assert!(!first.wait(Duration::from_millis(20)).unwrap());
        assert!(first.send(Signal::KILL).unwrap());
        assert!(first.wait(Duration::from_secs(10)).unwrap(), "a zombie has ended");
        assert_eq!(first.pid(), process.init().pid.as_raw_nonzero().get());
    }

    #[test]
    fn ended_process_takes_no_signal() {
        let mut process = Sleeper::new();
        let init = process.init();
        let first = FirstProcess::open(&init).unwrap().unwrap();
        process.kill();
        process.wait_for_signal();
        assert!(!first.send(Signal::TERM).unwrap());
        assert!(FirstProcess::open(&init).unwrap().is_none());
    }
}
