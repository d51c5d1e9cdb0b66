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
pub struct Output {
    stream: BorrowedFd<'static>,
    own: Option<OwnedFd>,
    at_once: usize,
}

impl Output {
    /// Looks at what kind of file it is, and opens it once more if that can be.
    #[must_use]
    pub fn of(stream: BorrowedFd<'static>) -> Self {
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
    #[must_use]
    pub fn at_once(&self) -> usize {
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

#[cfg(test)]
mod tests {
    use cloison_linux::{Errno, Mode};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Action, tcflow};

    use super::*;

    #[test]
    fn a_terminal_that_stands_still_does_not_hold_a_writer() {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).and_then(|()| unlockpt(&master)).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let terminal = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let terminal: &'static OwnedFd = Box::leak(Box::new(terminal));
        let output = Output::of(terminal.as_fd());
        assert_eq!(rustix::io::write(&output, b"x"), Ok(1));
        tcflow(terminal, Action::OOff).unwrap();
        assert_eq!(rustix::io::write(&output, b"x"), Err(Errno::AGAIN));
        let flags = rustix::fs::fcntl_getfl(terminal).unwrap();
        assert!(!flags.contains(OFlags::NONBLOCK), "others write as before");
    }
}
