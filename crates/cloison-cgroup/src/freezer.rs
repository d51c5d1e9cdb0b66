//! Holding a cgroup's processes still: for a moment while they are killed, or until they are let go on.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, pread};

use crate::error::{Error, Result};
use crate::files::{is_gone, read_value, write_value};

/// How long to wait for all processes to be frozen before they are killed. One that sleeps in the kernel may not be before it wakes.
const DEADLINE_TO_KILL: Duration = Duration::from_millis(100);
/// How long to wait for all processes to be frozen that are to stay so.
const DEADLINE_TO_STAY: Duration = Duration::from_secs(10);
/// The first pause between two looks; it doubles.
const FIRST_PAUSE: Duration = Duration::from_micros(20);
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
/// After so many tries a v1 cgroup is let go for a moment: while new processes keep appearing in it, the kernel may never
/// finish what it has begun, and does better when it begins anew.
const TRIES_IN_A_ROW: u32 = 50;

/// A cgroup's freezer.
#[derive(Debug)]
pub(crate) struct Freezer {
    control: PathBuf,
    frozen: &'static str,
    thawed: &'static str,
    /// Where the kernel says, by the line `reached`, that every process is frozen.
    state: PathBuf,
    reached: &'static str,
}

impl Freezer {
    /// The v1 freezer of a directory.
    pub(crate) fn legacy(directory: &Path) -> Self {
        let control = directory.join("freezer.state");
        Self { state: control.clone(), control, frozen: "FROZEN", thawed: "THAWED", reached: "FROZEN" }
    }

    /// The v2 freezer of a directory (Linux 5.2).
    pub(crate) fn unified(directory: &Path) -> Self {
        let control = directory.join("cgroup.freeze");
        let state = directory.join("cgroup.events");
        Self { control, frozen: "1", thawed: "0", state, reached: "frozen 1" }
    }

    /// Freezes every process for good. When that fails, they all go on.
    pub(crate) fn freeze(&self) -> Result<()> {
        let frozen = self.try_freeze();
        // Half frozen is the worst of all states, and nobody would know to end it.
        if frozen.is_err()
            && let Err(error) = self.thaw()
        {
            log::warn!("after a failed attempt to freeze: {error}");
        }
        frozen
    }

    fn try_freeze(&self) -> Result<()> {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        let events = self.events();
        for tries in 1_u32.. {
            // On v1 a process that appeared meanwhile is only frozen by asking again; on v2 that changes nothing.
            self.write(self.frozen)?;
            if self.is_reached()? {
                return Ok(());
            }
            if start.elapsed() > DEADLINE_TO_STAY {
                break;
            }
            match &events {
                Some(events) => wait_for_change(events, LONGEST_PAUSE),
                None => sleep(pause),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            if events.is_none() && tries.is_multiple_of(TRIES_IN_A_ROW) {
                self.write(self.thawed)?;
                sleep(LONGEST_PAUSE);
                pause = FIRST_PAUSE;
            }
        }
        Err(Error::NotFrozen { path: self.control.clone(), waited_ms: start.elapsed().as_millis() })
    }

    /// The v2 file that tells of changes; v1 has none.
    fn events(&self) -> Option<OwnedFd> {
        if self.state == self.control {
            return None;
        }
        openat(CWD, &self.state, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
    }

    /// Lets every process go on.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.write(self.thawed)
    }

    /// What thaws the cgroup when it is dropped, and can hold it still until then.
    pub(crate) fn thawed_in_the_end(&self) -> Held<'_> {
        Held(self)
    }

    /// Whether the cgroup itself is to be frozen, and not one above it: `own` is the file that says so.
    pub(crate) fn is_asked_for(own: &Path) -> Result<bool> {
        match read_value(own) {
            Ok(value) => Ok(value == "1"),
            Err(errno) if is_gone(errno) => Ok(false),
            Err(source) => Err(Error::Read { path: own.to_owned(), source }),
        }
    }

    fn is_reached(&self) -> Result<bool> {
        match read_value(&self.state) {
            Ok(text) => Ok(text.lines().any(|line| line == self.reached)),
            Err(source) => Err(Error::Read { path: self.state.clone(), source }),
        }
    }

    fn write(&self, value: &str) -> Result<()> {
        write_value(&self.control, value).map_err(|source| {
            let path = self.control.clone();
            match path.parent() {
                Some(directory) if is_gone(source) && !directory.exists() => {
                    Error::Gone { path: directory.to_owned() }
                }
                _ => Error::Write { path, value: value.to_owned(), source },
            }
        })
    }
}

/// Waits until the v2 file says something new, but no longer than `pause`: the kernel says it at most once in 10 ms.
fn wait_for_change(events: &OwnedFd, pause: Duration) {
    let mut text = [0; 128];
    // The poll tells of changes since the last read.
    let known = pread(events, &mut text, 0);
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(pause.subsec_nanos()) };
    let waited = match known {
        Ok(count) if !text[..count].windows(8).any(|word| word == b"frozen 1") => {
            poll(&mut [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)], Some(&timeout)).map(drop)
        }
        known => known.map(drop),
    };
    if let Err(error) = waited
        && error != Errno::INTR
    {
        log::debug!("waiting for a cgroup to be frozen: {error}; looking again at once");
    }
}

/// A cgroup that is thawed when this goes out of scope, however that happens.
#[derive(Debug)]
pub(crate) struct Held<'f>(&'f Freezer);

impl Held<'_> {
    /// Freezes, and waits a little for every process to be frozen: then none is halfway through a fork, and a list of
    /// the processes is complete. Without a freezer, or when one process does not stop, nothing is lost but that.
    pub(crate) fn freeze(&self) {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        self.set(self.0.frozen);
        // No freezer: there is nothing to wait for.
        while !self.0.is_reached().unwrap_or(true) {
            if start.elapsed() > DEADLINE_TO_KILL {
                log::debug!("not all of {} is frozen; going on", self.0.control.display());
                return;
            }
            sleep(pause);
            pause *= 2;
        }
    }

    fn set(&self, value: &str) {
        let control = &self.0.control;
        match write_value(control, value) {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
            Err(error) => log::debug!("writing {value} to {}: {error}; going on", control.display()),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.set(self.0.thawed);
    }
}
