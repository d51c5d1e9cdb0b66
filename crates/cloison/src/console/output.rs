//! The caller's standard output or error, without waiting for whoever reads it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cloison_linux::{FileType, OFlags, file, major, minor};
use rustix::fs::{Stat, fstat};

/// What a pipe takes without waiting once `poll(2)` has said that it takes anything (`PIPE_BUF`, pipe(7)).
const ONE_PIECE: usize = 4096;

/// Standard output or error.
///
/// `O_NONBLOCK` belongs to an open file, which the caller and whatever else writes there share with us; set on it, it would make their
/// writes fail. So pipes and terminals are opened once more, for us alone. Where that is not allowed, small pieces are written
/// whenever `poll(2)` says so.
#[derive(Debug)]
pub(crate) struct Output {
    stream: BorrowedFd<'static>,
    own: Option<OwnedFd>,
    at_once: usize,
}

impl Output {
    pub(crate) fn of(stream: BorrowedFd<'static>) -> Self {
        let kind = fstat(stream).ok();
        // What is written to a file is taken without waiting, and opened again it would be written from its start.
        if kind.as_ref().is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile) {
            return Self { stream, own: None, at_once: usize::MAX };
        }
        let own = kind.filter(opens_the_same).and_then(|_| {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
            file::reopen(stream, flags)
                .inspect_err(|errno| log::debug!("a standard stream cannot be opened again: {errno}"))
                .ok()
        });
        Self { stream, at_once: if own.is_some() { usize::MAX } else { ONE_PIECE }, own }
    }

    /// How many bytes may be written in one call.
    pub(crate) fn at_once(&self) -> usize {
        self.at_once
    }

    /// Whether it may be tried to write without asking `poll(2)` before.
    pub(crate) fn never_waits(&self) -> bool {
        self.at_once == usize::MAX
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.own {
            Some(own) => own.as_fd(),
            None => self.stream,
        }
    }
}

/// Not so for sockets, and for `/dev/ptmx`, which is a new terminal each time.
fn opens_the_same(stat: &Stat) -> bool {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => true,
        FileType::CharacterDevice => (major(stat.st_rdev), minor(stat.st_rdev)) != (5, 2),
        _ => false,
    }
}
