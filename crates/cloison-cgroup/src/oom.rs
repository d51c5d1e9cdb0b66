//! Hearing of processes that are killed for want of memory.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, pread, read, retry_on_intr};

use crate::error::{Error, Result};
use crate::files::{is_gone, write_value};

/// Tells when a cgroup runs out of memory. Opened by [`Cgroup::watch_oom`](crate::Cgroup::watch_oom); polled with
/// [`poll_fds`](Self::poll_fds), and asked with [`count`](Self::count) when that is ready.
#[derive(Debug)]
pub struct OomWatch {
    source: Source,
    gone: bool,
}

#[derive(Debug)]
enum Source {
    /// The eventfd counts how often the cgroup ran out of memory. The kernel adds one when the cgroup is removed.
    Legacy { events: OwnedFd, control: PathBuf },
    /// `memory.events` of the cgroup, and of the one above it where this one goes with its last process.
    Unified { own: Kills, above: Option<Kills> },
}

/// A file `memory.events`, and the number of killed processes that is known already.
#[derive(Debug)]
struct Kills {
    file: OwnedFd,
    path: PathBuf,
    known: u64,
}

impl Kills {
    fn open(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join("memory.events");
        let Some(file) = open(&path)? else { return Ok(None) };
        let mut opened = Self { file, path, known: 0 };
        opened.known = opened.read()?.unwrap_or(0);
        Ok(Some(opened))
    }

    /// The number now; none when the cgroup is gone.
    fn read(&self) -> Result<Option<u64>> {
        let mut bytes = [0; 512];
        match retry_on_intr(|| pread(&self.file, &mut bytes, 0)) {
            Ok(length) => Ok(Some(kills(&bytes[..length]).unwrap_or(self.known))),
            Err(errno) if is_gone(errno) => Ok(None),
            Err(source) => Err(Error::Read { path: self.path.clone(), source }),
        }
    }

    /// How many there are more than were known.
    fn more(&mut self, now: u64) -> u64 {
        now.saturating_sub(std::mem::replace(&mut self.known, now))
    }
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
        let own = Kills::open(directory)?;
        Ok(own.map(|own| Self { source: Source::Unified { own, above: None }, gone: false }))
    }

    /// As [`unified`](Self::unified), for a directory that somebody else removes with its last process, whose kill then stands in the
    /// counter of the one above alone.
    pub(crate) fn unified_in_passing(directory: &Path) -> Result<Option<Self>> {
        let Some(own) = Kills::open(directory)? else { return Ok(None) };
        let above = directory.parent().map_or(Ok(None), Kills::open)?;
        Ok(Some(Self { source: Source::Unified { own, above }, gone: false }))
    }

    /// What to give to poll(2); nothing once the cgroup is gone, for then there is nothing more to hear. Beside the cgroup's own file it may be
    /// one that is ready for others' sake, too: who is woken [for nothing](Self::count) may leave the `others` out for a while.
    #[must_use]
    pub fn poll_fds(&self, others: bool) -> Vec<PollFd<'_>> {
        match &self.source {
            _ if self.gone => Vec::new(),
            Source::Legacy { events, .. } => vec![PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN)],
            Source::Unified { own, above } => {
                let files = std::iter::once(own).chain(above.as_ref().filter(|_| others));
                files.map(|kills| PollFd::from_borrowed_fd(kills.file.as_fd(), PollFlags::PRI)).collect()
            }
        }
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
            Source::Unified { own, above } => {
                // Read before the own one, so that it never has more of ours than that.
                let all = above.as_ref().map(Kills::read).transpose()?.flatten();
                match own.read()? {
                    Some(now) => {
                        let more = own.more(now);
                        if let (Some(above), Some(all)) = (above, all) {
                            above.known = all.max(above.known + more);
                        }
                        Ok(more)
                    }
                    None if std::mem::replace(&mut self.gone, true) => Ok(0),
                    // How many of them were ours is not told.
                    None => Ok(above.as_mut().zip(all).map_or(0, |(above, all)| above.more(all).min(1))),
                }
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
    use tempfile::TempDir;

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
        let directory = TempDir::new().unwrap();
        let directory = directory.path();
        let file = directory.join("memory.events");
        std::fs::write(&file, "oom_kill 5\n").unwrap();
        let mut watch = OomWatch::unified(directory).unwrap().unwrap();
        assert_eq!(watch.count().unwrap(), 0);
        std::fs::write(&file, "oom_kill 7\n").unwrap();
        assert_eq!(watch.count().unwrap(), 2);
        assert_eq!(watch.count().unwrap(), 0);
        std::fs::write(&file, "nonsense\n").unwrap();
        assert_eq!(watch.count().unwrap(), 0, "what cannot be read changes nothing");
        std::fs::write(&file, "oom_kill 8\n").unwrap();
        assert_eq!(watch.count().unwrap(), 1);
        std::fs::remove_dir_all(directory).unwrap();
        assert!(OomWatch::unified(directory).unwrap().is_none());
        assert!(OomWatch::legacy(directory).unwrap().is_none());
    }

    #[test]
    fn kills_of_others_in_the_one_above_are_not_counted() {
        let above = TempDir::new().unwrap();
        let above = above.path();
        let own = above.join("own");
        std::fs::create_dir(&own).unwrap();
        let tell = |directory: &Path, number: u64| {
            std::fs::write(directory.join("memory.events"), format!("oom_kill {number}\n")).unwrap();
        };
        tell(above, 3);
        tell(&own, 0);
        let mut watch = OomWatch::unified_in_passing(&own).unwrap().unwrap();
        assert_eq!((watch.poll_fds(true).len(), watch.poll_fds(false).len()), (2, 1));
        tell(above, 4);
        assert_eq!(watch.count().unwrap(), 0, "another's");
        tell(&own, 1);
        assert_eq!(watch.count().unwrap(), 1, "told by the cgroup itself");
        tell(above, 5);
        assert_eq!(watch.count().unwrap(), 0, "which the one above counts, too");
    }
}
