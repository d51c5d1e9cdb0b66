//! The log of a container: lines that are appended to a file, which is put aside when it has grown.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use cloison_linux::{FileType, Mode, OFlags, file};
use rustix::fs::{AtFlags, fstat, openat, renameat, unlinkat};
use rustix::io::{Errno, retry_on_intr, write};

use super::log_format;
use super::protocol::Stream;
use crate::state::{LogDriver, Timestamp};

/// What follows the name of the log that was put aside.
pub(crate) const ASIDE: &str = ".1";

/// How much is kept before a log is put aside, where nothing is said: state directories mostly lie in memory.
pub const DEFAULT_MAX_SIZE: u64 = 10 << 20;

/// A log that is being written. There is one file and at most one that was put aside: never more than twice the size, and one line.
#[derive(Debug)]
pub(crate) struct LogFile {
    dir: OwnedFd,
    name: String,
    file: OwnedFd,
    driver: LogDriver,
    size: u64,
    max_size: u64,
    /// The file was made by us.
    is_new: bool,
    /// What waits for the rest of its character, by stream.
    unfinished: [Vec<u8>; 2],
    /// Lines that could not be written since the last one that was.
    lost: u64,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[error("the log {}: {reason}", path.display())]
pub struct LogError {
    /// Its path.
    pub path: PathBuf,
    /// Why.
    pub reason: LogReason,
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogReason {
    /// The kernel's word.
    #[error("{}", crate::errno::Text(*.0))]
    Kernel(Errno),
    /// It is there, and something that lines cannot be kept in.
    #[error("is not a regular file")]
    NotAFile,
}

impl LogFile {
    /// Opens a log of this name in a directory, or makes it (mode 0600).
    pub(crate) fn open_at(
        dir: OwnedFd,
        name: &str,
        driver: LogDriver,
        max_size: u64,
    ) -> Result<Self, LogReason> {
        let (file, is_new) = open(&dir, name)?;
        let size = fstat(&file).map_err(LogReason::Kernel)?.st_size.cast_unsigned();
        Ok(Self {
            dir,
            name: name.to_owned(),
            file,
            driver,
            size,
            max_size,
            is_new,
            unfinished: Default::default(),
            lost: 0,
        })
    }

    /// Opens a log by its path.
    pub(crate) fn open(path: &Path, driver: LogDriver, max_size: u64) -> Result<Self, LogError> {
        let failed = |reason| LogError { path: path.to_owned(), reason };
        let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Err(failed(LogReason::Kernel(Errno::INVAL)));
        };
        let dir = file::open(directory, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
        let dir = dir.map_err(|errno| failed(LogReason::Kernel(errno)))?;
        Self::open_at(dir, name, driver, max_size).map_err(failed)
    }

    /// Takes an empty log away again that was made for a container that did not come to be.
    pub(crate) fn forget(self) {
        if self.is_new
            && self.size == 0
            && let Err(errno) = unlinkat(&self.dir, &self.name, AtFlags::empty())
        {
            log::debug!("the empty log {} stays: {errno}", self.name);
        }
    }

    /// Keeps bytes of a stream, each line by itself. A log that cannot be written (a full disk) loses lines and never holds the container.
    pub(crate) fn keep(&mut self, stream: Stream, bytes: &[u8]) {
        if self.driver == LogDriver::None {
            return;
        }
        let time = Timestamp::now().with_nine_digits();
        let mut joined = std::mem::take(&mut self.unfinished[stream.index()]);
        let bytes = if joined.is_empty() {
            bytes
        } else {
            joined.extend_from_slice(bytes);
            &joined
        };
        let cut = if self.driver == LogDriver::Json { log_format::unfinished(bytes) } else { 0 };
        let (bytes, rest) = bytes.split_at(bytes.len() - cut);
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let before = lines.len();
            log_format::write(self.driver, stream, &time, piece, &mut lines);
            if before > 0 && self.size + lines.len() as u64 > self.max_size {
                let line = lines.split_off(before);
                self.append(&lines);
                lines = line;
            }
        }
        let rest = rest.to_vec();
        self.append(&lines);
        self.unfinished[stream.index()] = rest;
    }

    /// Keeps what still waits for the rest of its character.
    pub(crate) fn finish(&mut self) {
        for stream in [Stream::Output, Stream::Error] {
            let rest = std::mem::take(&mut self.unfinished[stream.index()]);
            if !rest.is_empty() {
                let mut line = Vec::new();
                let time = Timestamp::now().with_nine_digits();
                log_format::write(self.driver, stream, &time, &rest, &mut line);
                self.append(&line);
            }
        }
    }

    fn append(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        if self.size > 0 && self.size + lines.len() as u64 > self.max_size {
            self.put_aside();
        }
        match write_all(&self.file, lines) {
            Ok(()) => {
                self.size += lines.len() as u64;
                if self.lost > 0 {
                    log::warn!("{} times nothing could be written to the log {}", self.lost, self.name);
                    self.lost = 0;
                }
            }
            Err(errno) => {
                if self.lost == 0 {
                    log::warn!("the log {} loses lines: {errno}", self.name);
                }
                self.lost += 1;
                // A part of a line may have been written, and counts.
                self.size = fstat(&self.file).map_or(self.size, |stat| stat.st_size.cast_unsigned());
            }
        }
    }

    /// Goes on in the same file where that is not possible.
    fn put_aside(&mut self) {
        let aside = format!("{}{ASIDE}", self.name);
        let put = renameat(&self.dir, &self.name, &self.dir, &aside).map_err(LogReason::Kernel);
        match put.and_then(|()| open(&self.dir, &self.name)) {
            Ok((file, _)) => {
                self.file = file;
                self.size = 0;
            }
            Err(error) => log::warn!("the log {} was not put aside: {error}", self.name),
        }
    }
}

/// Whether it was made is told, too. Never through a link, and never something that could hold the writer: a pipe, a device.
fn open(dir: &OwnedFd, name: &str) -> Result<(OwnedFd, bool), LogReason> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let make = || openat(dir.as_fd(), name, flags | OFlags::CREATE | OFlags::EXCL, mode);
    let (file, is_new) = match make() {
        Ok(file) => (file, true),
        Err(Errno::EXIST) => (openat(dir.as_fd(), name, flags, mode).map_err(not_a_file)?, false),
        Err(errno) => return Err(LogReason::Kernel(errno)),
    };
    let stat = fstat(&file).map_err(LogReason::Kernel)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((file, is_new)),
        _ => Err(LogReason::NotAFile),
    }
}

/// What opening something else for writing says: a pipe that nobody reads, a directory, a link.
fn not_a_file(errno: Errno) -> LogReason {
    match errno {
        Errno::NXIO | Errno::ISDIR | Errno::LOOP => LogReason::NotAFile,
        errno => LogReason::Kernel(errno),
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match retry_on_intr(|| write(file, bytes))? {
            0 => return Err(Errno::NOSPC),
            count => bytes = &bytes[count..],
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn log(dir: &TempDir, driver: LogDriver, max_size: u64) -> LogFile {
        LogFile::open(&dir.path().join("log"), driver, max_size).unwrap()
    }

    fn text(dir: &TempDir, name: &str) -> String {
        fs::read_to_string(dir.path().join(name)).unwrap()
    }

    #[test]
    fn lines_are_kept_one_by_one_with_time_and_stream() {
        let dir = TempDir::new().unwrap();
        let mut log = log(&dir, LogDriver::File, 1 << 20);
        log.keep(Stream::Output, b"one\ntwo\nthr");
        log.keep(Stream::Error, b"bad\n");
        let text = text(&dir, "log");
        let ends: Vec<_> = text.lines().map(|line| &line[31..]).collect();
        assert_eq!(ends, ["stdout F one", "stdout F two", "stdout P thr", "stderr F bad"]);
    }

    #[test]
    fn a_log_that_has_grown_is_put_aside_and_no_byte_is_lost_in_between() {
        let dir = TempDir::new().unwrap();
        let mut log = log(&dir, LogDriver::File, 200);
        for number in 0..7 {
            log.keep(Stream::Output, format!("line {number}\n").as_bytes());
        }
        let (aside, now) = (text(&dir, "log.1"), text(&dir, "log"));
        assert!(aside.len() <= 200 && now.len() <= 200, "{aside}{now}");
        let all = [aside, now].concat();
        let last: Vec<_> = all.lines().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(last, ["0", "1", "2", "3", "4", "5", "6"]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_character_in_two_pieces_is_one_in_json() {
        let dir = TempDir::new().unwrap();
        let mut log = log(&dir, LogDriver::Json, 1 << 20);
        log.keep(Stream::Output, b"caf\xc3");
        log.keep(Stream::Output, b"\xa9\n\xe4");
        log.finish();
        let text = text(&dir, "log");
        let texts: Vec<String> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["log"].as_str().unwrap().into()
            })
            .collect();
        assert_eq!(texts, ["caf", "\u{e9}\n", "\u{fffd}"]);
    }

    #[test]
    fn what_would_hold_the_monitor_is_no_log() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("log");
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let refused = |path: &Path| LogFile::open(path, LogDriver::File, 100).unwrap_err().to_string();
        assert!(refused(&path).ends_with("is not a regular file"), "{}", refused(&path));
        assert!(refused(dir.path()).ends_with("is not a regular file"));
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        assert!(refused(&dir.path().join("link")).ends_with("is not a regular file"));
        assert!(refused(&dir.path().join("no/log")).contains("o such file"));
    }

    #[test]
    fn an_empty_log_of_a_container_that_did_not_come_to_be_is_taken_away() {
        let dir = TempDir::new().unwrap();
        log(&dir, LogDriver::File, 100).forget();
        assert!(!dir.path().join("log").exists());
        let mut kept = log(&dir, LogDriver::File, 100);
        kept.keep(Stream::Output, b"x");
        kept.forget();
        log(&dir, LogDriver::File, 100).forget();
        assert!(dir.path().join("log").exists());
    }
}
