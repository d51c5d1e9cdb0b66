//! Waiting for a cgroup's last processes to be gone, no longer than it takes.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, pread};

/// How long a removal waits in all for killed processes to leave.
const DEADLINE: Duration = Duration::from_secs(2);
/// The first pause: what the kernel usually needs between a process's exit and letting go of its cgroup.
const FIRST_PAUSE: Duration = Duration::from_micros(50);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// What is left of the time that one removal may take.
///
/// On v2 the kernel says on `cgroup.events` when a cgroup is empty, but at most once in 10 ms for each file, so the
/// word on a container that lived for less comes late. Therefore the wait ends at that word or after a pause that
/// doubles, whichever is first; on v1, which gives no word, after the pause.
#[derive(Debug)]
pub(crate) struct Patience {
    started: Option<Instant>,
    pause: Duration,
    deadline: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self::of(DEADLINE)
    }
}

impl Patience {
    /// Patience that ends `deadline` after the first wait began.
    pub(crate) fn of(deadline: Duration) -> Self {
        Self { started: None, pause: FIRST_PAUSE, deadline }
    }

    /// How long has been waited.
    pub(crate) fn waited(&self) -> Duration {
        self.started.map_or(Duration::ZERO, |started| started.elapsed())
    }

    /// Waits a little for the processes in `directory` to be gone; false once the patience is over.
    pub(crate) fn wait_for_empty(&mut self, directory: BorrowedFd<'_>) -> bool {
        self.started.get_or_insert_with(Instant::now);
        let left = self.deadline.saturating_sub(self.waited());
        if left.is_zero() {
            return false;
        }
        let pause = self.pause.min(left);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        match openat(directory, Path::new("cgroup.events"), flags, Mode::empty()) {
            Ok(events) => {
                // The poll tells of changes since the last read, so without this one it would return at once.
                let mut text = [0; 128];
                match pread(&events, &mut text, 0) {
                    Ok(count) if text[..count].starts_with(b"populated 0") => sleep(&mut [], pause),
                    _ => sleep(&mut [PollFd::new(&events, PollFlags::PRI)], pause),
                }
            }
            Err(_) => sleep(&mut [], pause),
        }
        true
    }
}

/// Sleeps until one of `events` happens, but no longer than `pause`; a signal ends it early, which only costs a try.
fn sleep(events: &mut [PollFd<'_>], pause: Duration) {
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(pause.subsec_nanos()) };
    match poll(events, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => log::debug!("waiting for a cgroup to become empty: {error}; trying again at once"),
    }
}
