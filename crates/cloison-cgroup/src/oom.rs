//! Hearing of processes that are killed for want of memory.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, pread, read, retry_on_intr};

use crate::error::{Error, Result};
use crate::files::{is_gone, write_value};

/// Tells when a cgroup runs out of memory. Opened by [`Cgroup::watch_oom`](crate::Cgroup::watch_oom); polled with
/// [`poll_fd`](Self::poll_fd), and asked with [`count`](Self::count) when that is ready.
#[derive(Debug)]
pub struct OomWatch {
    source: Source,
    gone: bool,
}

#[derive(Debug)]
enum Source {
    /// The eventfd counts how often the cgroup ran out of memory. The kernel adds one when the cgroup is removed.
    Legacy { events: OwnedFd, control: PathBuf },
    /// `memory.events`, and the number of killed processes that was read last.
    Unified { file: OwnedFd, path: PathBuf, killed: u64 },
}

impl OomWatch {
    /// Watches a directory of v1's memory hierarchy; none where it is gone, or the kernel has no such events.
    pub(crate) fn legacy(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join("memory.oom_control");
        let Some(oom_control) = open(&path)? else { return Ok(None) };
        let events = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|source| Error::Open { path: path.clone(), source })?;
        let control = directory.join("cgroup.event_control");
        let value = format!("{} {}", events.as_raw_fd(), oom_control.as_raw_fd());
        match write_value(&control, &value) {
            Ok(()) => Ok(Some(Self { source: Source::Legacy { events, control }, gone: false })),
            Err(errno) if is_gone(errno) => Ok(None),
            Err(source) => Err(Error::Write { path: control, value, source }),
        }
    }

    /// Watches a directory of the v2 hierarchy; none where it is gone or has no memory controller.
    pub(crate) fn unified(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join("memory.events");
        let Some(file) = open(&path)? else { return Ok(None) };
        let mut watch = Self { source: Source::Unified { file, path, killed: 0 }, gone: false };
        watch.count()?;
        Ok(Some(watch))
    }

    /// What to give to poll(2); none once the cgroup is gone, for then there is nothing more to hear.
    #[must_use]
    pub fn poll_fd(&self) -> Option<PollFd<'_>> {
        if self.gone {
            return None;
        }
        Some(match &self.source {
            Source::Legacy { events, .. } => PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN),
            Source::Unified { file, .. } => PollFd::from_borrowed_fd(file.as_fd(), PollFlags::PRI),
        })
    }

    /// How often the cgroup ran out of memory since the last time; never waits. On v1 each time counts, on v2 each process
    /// that was killed.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn count(&mut self) -> Result<u64> {
        match &mut self.source {
            Source::Legacy { events, control } => {
                let mut bytes = [0; 8];
                let count = match retry_on_intr(|| read(&events, &mut bytes)) {
                    Ok(_) => u64::from_ne_bytes(bytes),
                    Err(Errno::AGAIN) => 0,
                    Err(source) => return Err(Error::Read { path: control.clone(), source }),
                };
                let gone = matches!(rustix::fs::stat(&*control), Err(errno) if is_gone(errno));
                let told_before = std::mem::replace(&mut self.gone, gone);
                Ok(if gone && !told_before { count.saturating_sub(1) } else { count })
            }
            Source::Unified { file, path, killed } => {
                let mut bytes = [0; 512];
                let length = match retry_on_intr(|| pread(&file, &mut bytes, 0)) {
                    Ok(length) => length,
                    Err(errno) if is_gone(errno) => {
                        self.gone = true;
                        return Ok(0);
                    }
                    Err(source) => return Err(Error::Read { path: path.clone(), source }),
                };
                let before = std::mem::replace(killed, kills(&bytes[..length]).unwrap_or(*killed));
                Ok(killed.saturating_sub(before))
            }
        }
    }
}

fn open(path: &Path) -> Result<Option<OwnedFd>> {
    match openat(CWD, path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(errno) if is_gone(errno) => Ok(None),
        Err(source) => Err(Error::Open { path: path.to_owned(), source }),
    }
}

/// The number in the line `oom_kill N`.
fn kills(text: &[u8]) -> Option<u64> {
    let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"oom_kill "))?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_killed_processes_is_found_among_those_of_other_names() {
        let text = b"low 0\nhigh 0\nmax 9\noom 8\noom_kill 7\noom_group_kill 6\n";
        assert_eq!(kills(text), Some(7));
        assert_eq!(kills(b"low 0\n"), None, "Linux before 4.13");
        assert_eq!(kills(b"oom_kill x\n"), None);
    }

    #[test]
    fn only_what_comes_later_is_counted() {
        let directory = std::env::temp_dir().join(format!("cloison-oom-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let file = directory.join("memory.events");
        std::fs::write(&file, "oom_kill 5\n").unwrap();
        let mut watch = OomWatch::unified(&directory).unwrap().unwrap();
        assert_eq!(watch.count().unwrap(), 0);
        std::fs::write(&file, "oom_kill 7\n").unwrap();
        assert_eq!(watch.count().unwrap(), 2);
        assert_eq!(watch.count().unwrap(), 0);
        std::fs::write(&file, "nonsense\n").unwrap();
        assert_eq!(watch.count().unwrap(), 0, "what cannot be read changes nothing");
        std::fs::write(&file, "oom_kill 8\n").unwrap();
        assert_eq!(watch.count().unwrap(), 1);
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(OomWatch::unified(&directory).unwrap().is_none());
        assert!(OomWatch::legacy(&directory).unwrap().is_none());
    }
}
