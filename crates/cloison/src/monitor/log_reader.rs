//! Reading a log while it is written, and while it is put aside.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cloison_linux::{Mode, OFlags, file};
use rustix::fs::{fstat, inotify, openat};
use rustix::io::{Errno, read, retry_on_intr};

use super::log_file::{ASIDE, LogError, LogReason};
use super::log_format::{self, LogEntry};
use crate::state::LogDriver;

/// The longest line that is read: more than any that is written.
const LONGEST_LINE: usize = 1 << 20;

/// The entries of a log, the oldest first.
#[derive(Debug)]
pub struct LogReader {
    dir: OwnedFd,
    name: String,
    driver: LogDriver,
    /// What is still to be read; the last one is the file that is being written.
    files: VecDeque<OwnedFd>,
    /// What was read and not given yet.
    bytes: Vec<u8>,
    from: usize,
    changes: Option<OwnedFd>,
}

impl LogReader {
    /// A log of this name in a directory.
    pub(crate) fn open_at(dir: OwnedFd, name: &str, driver: LogDriver) -> Result<Self, LogReason> {
        // The file first: should it be put aside meanwhile, it is met again under its other name.
        let aside = format!("{name}{ASIDE}");
        let current = match open(dir.as_fd(), name) {
            // Just now it has been put aside, and the next one is not there yet.
            Err(Errno::NOENT) => open(dir.as_fd(), &aside),
            opened => opened,
        };
        let current = current.map_err(LogReason::Kernel)?;
        let mut files = VecDeque::new();
        match open(dir.as_fd(), &aside) {
            Ok(aside) if !same(&aside, &current).map_err(LogReason::Kernel)? => files.push_back(aside),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(LogReason::Kernel(errno)),
        }
        files.push_back(current);
        Ok(Self { dir, name: name.to_owned(), driver, files, bytes: Vec::new(), from: 0, changes: None })
    }

    /// A log by its path.
    pub(crate) fn open(path: &Path, driver: LogDriver) -> Result<Self, LogError> {
        let failed = |reason| LogError { path: path.to_owned(), reason };
        let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Err(failed(LogReason::Kernel(Errno::INVAL)));
        };
        let dir = file::open(directory, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
        let dir = dir.map_err(|errno| failed(LogReason::Kernel(errno)))?;
        Self::open_at(dir, name, driver).map_err(failed)
    }

    /// Hears of changes from now on.
    pub(crate) fn watch(&mut self) -> Result<BorrowedFd<'_>, Errno> {
        let changes = if let Some(changes) = self.changes.take() {
            changes
        } else {
            let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            let directory = format!("/proc/self/fd/{}", self.dir.as_raw_fd());
            let what = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVE;
            inotify::add_watch(&changes, directory, what)?;
            changes
        };
        let changes: &OwnedFd = self.changes.insert(changes);
        Ok(changes.as_fd())
    }

    /// Whatever has changed was looked at.
    pub(crate) fn forget_changes(&self) {
        let Some(changes) = &self.changes else { return };
        let mut events = [0; 4096];
        while retry_on_intr(|| read(changes, &mut events)).is_ok_and(|count| count > 0) {}
    }

    /// The next entry; none if there is none at the moment.
    pub(crate) fn next(&mut self) -> Result<Option<LogEntry>, Errno> {
        loop {
            while let Some(length) = self.bytes[self.from..].iter().position(|byte| *byte == b'\n') {
                let line = &self.bytes[self.from..self.from + length];
                let entry = log_format::read(self.driver, line);
                self.from += length + 1;
                match entry {
                    Some(entry) => return Ok(Some(entry)),
                    None => log::debug!("a line of the log {} is none", self.name),
                }
            }
            if !self.read_more()? {
                return Ok(None);
            }
        }
    }

    fn read_more(&mut self) -> Result<bool, Errno> {
        self.bytes.drain(..self.from);
        self.from = 0;
        if self.bytes.len() > LONGEST_LINE {
            log::debug!("a line of the log {} has no end", self.name);
            self.bytes.clear();
        }
        loop {
            let Some(file) = self.files.front() else { return Ok(false) };
            self.bytes.reserve(16 * 1024);
            let count = retry_on_intr(|| read(file, rustix::buffer::spare_capacity(&mut self.bytes)))?;
            if count > 0 {
                return Ok(true);
            }
            if self.files.len() == 1 && !self.find_next()? {
                return Ok(false);
            }
            // Not before it was read to its end once more: the writer may have come between.
            let Some(file) = self.files.front() else { return Ok(false) };
            let count = retry_on_intr(|| read(file, rustix::buffer::spare_capacity(&mut self.bytes)))?;
            if count > 0 {
                return Ok(true);
            }
            self.files.pop_front();
        }
    }

    /// Whether the log was put aside: then there is another file, or two.
    fn find_next(&mut self) -> Result<bool, Errno> {
        let Some(last) = self.files.back() else { return Ok(false) };
        let next = match open(self.dir.as_fd(), &self.name) {
            Ok(next) => next,
            // In between, or deleted.
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(errno),
        };
        if same(&next, last)? {
            return Ok(false);
        }
        let aside = open(self.dir.as_fd(), &format!("{}{ASIDE}", self.name));
        if let Ok(aside) = aside
            && !same(&aside, last)?
            && !same(&aside, &next)?
        {
            self.files.push_back(aside);
        }
        self.files.push_back(next);
        Ok(true)
    }
}

fn open(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

fn same(one: &OwnedFd, other: &OwnedFd) -> Result<bool, Errno> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::log_file::LogFile;
    use super::super::protocol::Stream;
    use super::*;

    fn rest(reader: &mut LogReader) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            texts.push(String::from_utf8(entry.bytes).unwrap().trim_end().to_owned());
        }
        texts
    }

    #[test]
    fn what_is_written_is_read_across_files_that_are_put_aside() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("log");
        for driver in [LogDriver::File, LogDriver::Json] {
            let mut log = LogFile::open(&path, driver, 250).unwrap();
            let mut write = |number: u32| log.keep(Stream::Output, format!("{number}\n").as_bytes());
            (0..2).for_each(&mut write);
            let mut reader = LogReader::open(&path, driver).unwrap();
            assert_eq!(rest(&mut reader), ["0", "1"]);
            for number in 2..30 {
                write(number);
                assert_eq!(rest(&mut reader), [number.to_string()]);
            }
            write(30);
            let mut late = LogReader::open(&path, driver).unwrap();
            let all = rest(&mut late);
            assert!(all.len() > 2, "the file that was put aside comes first: {all:?}");
            assert_eq!(all.last().unwrap(), "30");
            let first: u32 = all[0].parse().unwrap();
            assert_eq!(all, (first..=30).map(|number| number.to_string()).collect::<Vec<_>>());
            drop(log);
            std::fs::remove_file(&path).unwrap();
            std::fs::remove_file(dir.path().join("log.1")).unwrap();
        }
    }

    #[test]
    fn a_log_that_is_being_put_aside_is_read_and_goes_on_in_the_next() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("log");
        let mut log = LogFile::open(&path, LogDriver::File, 1000).unwrap();
        log.keep(Stream::Output, b"before\n");
        std::fs::rename(&path, dir.path().join("log.1")).unwrap();
        let mut reader = LogReader::open(&path, LogDriver::File).unwrap();
        assert_eq!(rest(&mut reader), ["before"]);
        let mut next = LogFile::open(&path, LogDriver::File, 1000).unwrap();
        next.keep(Stream::Output, b"after\n");
        assert_eq!(rest(&mut reader), ["after"]);
    }

    #[test]
    fn half_a_line_is_none_until_the_rest_has_come() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("log");
        let time = "2026-11-25T12:00:00.000000001Z";
        std::fs::write(&path, format!("nonsense\n{time} stdout F one\n{time} std")).unwrap();
        let mut reader = LogReader::open(&path, LogDriver::File).unwrap();
        assert_eq!(rest(&mut reader), ["one"]);
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, b"err F two\n").unwrap();
        assert_eq!(rest(&mut reader), ["two"]);
    }

    #[test]
    fn changes_are_heard_of() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("log");
        let mut log = LogFile::open(&path, LogDriver::File, 100).unwrap();
        let mut reader = LogReader::open(&path, LogDriver::File).unwrap();
        let changed = |reader: &mut LogReader| {
            let fd = reader.watch().unwrap();
            let mut fds = [rustix::event::PollFd::from_borrowed_fd(fd, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap() > 0
        };
        assert!(!changed(&mut reader));
        log.keep(Stream::Output, b"x\n");
        assert!(changed(&mut reader));
        reader.forget_changes();
        assert!(!changed(&mut reader));
    }
}
