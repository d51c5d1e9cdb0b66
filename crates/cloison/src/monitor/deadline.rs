//! What ends a container that has run for too long.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use cloison_linux::Signal;
use cloison_linux::process::send_signal;
use rustix::event::Timespec;
use rustix::io::Errno;

/// The exit code of a container that was ended because its time had run out, as `timeout(1)` has it.
pub const TIMED_OUT: u8 = 124;

/// How long a container may run, and how long it may take to end when it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// From the program's start to SIGTERM.
    pub after: Duration,
    /// From then to SIGKILL.
    pub grace: Duration,
}

/// A deadline that is running.
#[derive(Debug)]
pub(crate) struct Countdown {
    next: Option<Instant>,
    grace: Duration,
    asked: bool,
}

impl Countdown {
    /// Begins now.
    pub(crate) fn start(deadline: Option<Deadline>) -> Self {
        // A time beyond what the clock can count is none.
        let next = deadline.and_then(|deadline| Instant::now().checked_add(deadline.after));
        Self { next, grace: deadline.map_or(Duration::ZERO, |deadline| deadline.grace), asked: false }
    }

    /// When something is to be done next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// How long may be waited for something else; none for ever.
    pub(crate) fn patience(&self) -> Option<Timespec> {
        self.next.map(until)
    }

    /// The time has run out, and the container was asked to end.
    pub(crate) fn has_run_out(&self) -> bool {
        self.asked
    }

    /// Sends SIGTERM, and SIGKILL after the grace time, when it is time to.
    pub(crate) fn act(&mut self, first: BorrowedFd<'_>) {
        if self.next.is_none_or(|next| Instant::now() < next) {
            return;
        }
        let (signal, next) = if self.asked {
            (Signal::KILL, None)
        } else {
            (Signal::TERM, Instant::now().checked_add(self.grace))
        };
        self.next = next;
        self.asked = true;
        match send_signal(first, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => {
                log::error!("signal {} for a container whose time has run out: {errno}", signal.as_raw());
            }
        }
    }
}

/// The time up to a moment, as `poll(2)` takes it.
pub(super) fn until(moment: Instant) -> Timespec {
    let left = moment.saturating_duration_since(Instant::now());
    let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use cloison_linux::process::pidfd_open;

    use super::*;
    use crate::state::testing::Sleeper;

    #[test]
    fn first_it_is_asked_then_it_is_killed() {
        let mut process = Sleeper::new();
        let pidfd = pidfd_open(process.init().pid).unwrap();
        let mut countdown = Countdown::start(Some(Deadline { after: Duration::ZERO, grace: Duration::MAX }));
        assert!(!countdown.has_run_out());
        countdown.act(pidfd.as_fd());
        assert!(countdown.has_run_out());
        assert_eq!(process.wait_for_signal(), Some(15));
        countdown.act(pidfd.as_fd());
    }

    #[test]
    fn without_a_deadline_nothing_is_ever_done() {
        let mut process = Sleeper::new();
        let pidfd = pidfd_open(process.init().pid).unwrap();
        let mut countdown = Countdown::start(None);
        countdown.act(pidfd.as_fd());
        assert!(countdown.next().is_none() && !countdown.has_run_out() && process.is_alive());
    }
}
