//! Holding a cgroup's processes still while they are killed.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::files::{read_value, write_value};

/// How long to wait for all processes to be frozen. One that sleeps in the kernel may not be before it wakes.
const DEADLINE: Duration = Duration::from_millis(100);
/// The first pause between two looks; it doubles.
const FIRST_PAUSE: Duration = Duration::from_micros(20);

/// A cgroup's freezer, thawed when this goes out of scope, however that happens.
pub(crate) struct FreezerGuard {
    control: PathBuf,
    frozen: &'static str,
    thawed: &'static str,
    /// Where the kernel says, by the line `reached`, that every process is frozen.
    state: PathBuf,
    reached: &'static str,
}

impl FreezerGuard {
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

    /// Freezes, and waits a little for every process to be frozen: then none is halfway through a fork, and a list of
    /// the processes is complete. Without a freezer, or when one process does not stop, nothing is lost but that.
    pub(crate) fn freeze(&self) {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        self.set(self.frozen);
        while !self.is_reached() {
            if start.elapsed() > DEADLINE {
                log::debug!("not all of {} is frozen; going on", self.control.display());
                return;
            }
            sleep(pause);
            pause *= 2;
        }
    }

    fn is_reached(&self) -> bool {
        match read_value(&self.state) {
            Ok(text) => text.lines().any(|line| line == self.reached),
            // No freezer: there is nothing to wait for.
            Err(_) => true,
        }
    }

    fn set(&self, value: &str) {
        match write_value(&self.control, value) {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
            Err(error) => log::debug!("writing {value} to {}: {error}; going on", self.control.display()),
        }
    }
}

impl Drop for FreezerGuard {
    fn drop(&mut self) {
        self.set(self.thawed);
    }
}
