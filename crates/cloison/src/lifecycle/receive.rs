//! `console`: the other side of a console socket.
//!
//! ```text
//!  cloison console SOCKET                        cloison create --console-socket SOCKET
//!     listens          ◀────── the master ──────    makes the terminal
//!     relays: keyboard, screen, size
//! ```

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use cloison_linux::signals::{self, SignalFd, SignalSet};
use cloison_linux::{Errno, FileType, Mode, OFlags, Signal, file, socket};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, RenameFlags, renameat_with, statat, unlinkat};
use rustix::io::{ioctl_fionbio, read, retry_on_intr};
use rustix::process::getpid;
use rustix::termios::isatty;

use super::Error;
use super::console::{Unreachable, connect};
use super::error::Doing as _;
use crate::console::{Flow, Relay, claim};

/// How many terminals are read at once when nobody looks at them.
const LIMIT: usize = 256;

/// What is done with the terminals that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiving {
    /// Each is attached to, one after the other.
    Each,
    /// One is attached to.
    One,
    /// What they show is read and thrown away, of any number at once.
    Null,
}

/// Listens on a console socket and serves the terminals that are sent to it. Gives 128 and the number of the signal that ended it, or 0 when
/// the one terminal has ended.
///
/// The socket is made for this, and removed at the end; one that nobody listens on any more is replaced. The caller's signals are blocked
/// from then on, and a terminal in the foreground gets the caller's keys.
///
/// # Errors
/// [`Error::Occupied`]; the socket cannot be made; what was sent is no terminal.
pub fn receive(path: &Path, receiving: Receiving) -> Result<u8, Error> {
    if receiving == Receiving::Null {
        // Whoever finds the socket may end us at once, and it goes with us.
        let signals = block_signals()?;
        return read_all(&Door::open(path)?, &signals);
    }
    // While we are kept in the background, where somebody may connect already, nothing is blocked that could end us.
    let door = Door::open(path)?;
    claim()?;
    let signals = block_signals()?;
    loop {
        if let Some(signal) = wait(&[door.listener.as_fd()], &signals)? {
            return Ok(code(signal));
        }
        match door.take() {
            Ok(master) => {
                if let Some(signal) = attend(master, &signals)? {
                    return Ok(code(signal));
                }
                if receiving == Receiving::One {
                    return Ok(0);
                }
            }
            Err(error) if receiving == Receiving::One => return Err(error),
            Err(error) => log::warn!("{error}"),
        }
    }
}

fn block_signals() -> Result<SignalFd, Error> {
    signals::block_all().doing("blocking signals")?;
    SignalFd::new(SignalSet::ALL).doing("watching signals")
}

/// Relays until the terminal has ended, or a signal comes that is to end us.
fn attend(master: OwnedFd, signals: &SignalFd) -> Result<Option<Signal>, Error> {
    let mut relay = Relay::of_another(master)?;
    loop {
        if relay.turn(signals, None, None)? == Flow::HungUp {
            return Ok(None);
        }
        while let Some(signal) = signals.read().doing("reading a signal")? {
            match signal.signal {
                Signal::WINCH => relay.resize(),
                Signal::CONT => relay.resume(),
                Signal::CHILD | Signal::URG => {}
                signal => return Ok(Some(signal)),
            }
        }
    }
}

fn read_all(door: &Door, signals: &SignalFd) -> Result<u8, Error> {
    let mut masters: Vec<OwnedFd> = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let mut watched = vec![signals.as_fd()];
        watched.extend(masters.iter().map(AsFd::as_fd));
        if masters.len() < LIMIT {
            watched.push(door.listener.as_fd());
        }
        if let Some(signal) = wait(&watched, signals)? {
            return Ok(code(signal));
        }
        masters.retain(|master| match retry_on_intr(|| read(master, &mut bytes)) {
            Ok(count) => count > 0,
            Err(errno) => errno == Errno::AGAIN,
        });
        if masters.len() < LIMIT && !wait_is_needed(door) {
            match door.take() {
                Ok(master) => {
                    ioctl_fionbio(&master, true).doing("preparing a terminal")?;
                    masters.push(master);
                }
                Err(error) => log::warn!("{error}"),
            }
        }
    }
}

fn wait_is_needed(door: &Door) -> bool {
    let mut fds = [PollFd::new(&door.listener, PollFlags::IN)];
    !poll(&mut fds, Some(&rustix::event::Timespec::default())).is_ok_and(|count| count > 0)
}

/// Waits for any of the descriptors; gives a signal that is to end us.
fn wait(watched: &[std::os::fd::BorrowedFd<'_>], signals: &SignalFd) -> Result<Option<Signal>, Error> {
    let mut fds: Vec<_> = watched.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    fds.push(PollFd::new(signals, PollFlags::IN));
    loop {
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).doing("waiting for a terminal"),
        }
        while let Some(signal) = signals.read().doing("reading a signal")? {
            if [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].contains(&signal.signal) {
                return Ok(Some(signal.signal));
            }
        }
        if fds[..watched.len()].iter().any(|fd| !fd.revents().is_empty()) {
            return Ok(None);
        }
    }
}

fn code(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX)
}

/// A listening socket at a path, which goes with this.
struct Door {
    listener: OwnedFd,
    dir: OwnedFd,
    name: OsString,
}

impl Door {
    fn open(path: &Path) -> Result<Self, Error> {
        let doing = || format!("listening on {}", path.display());
        let name = path.file_name().ok_or(Errno::INVAL).doing(doing())?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = file::open(parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).doing(doing())?;
        Self::make_room(&dir, &name, path)?;
        // Under another name until it listens: whoever sees the socket can connect to it. And names may be longer than an address.
        let hidden = format!(".cloison-console-{}", getpid());
        let listener = socket::listen_stream_at(dir.as_fd(), &hidden).doing(doing())?;
        let shown = renameat_with(&dir, &hidden, &dir, &name, RenameFlags::NOREPLACE);
        shown.inspect_err(|_| remove(&dir, hidden.as_ref())).doing(doing())?;
        Ok(Self { listener, dir, name })
    }

    /// Removes a socket that nobody listens on any more.
    fn make_room(dir: &OwnedFd, name: &OsStr, path: &Path) -> Result<(), Error> {
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno).doing(format!("looking at {}", path.display())),
        };
        let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
        match is_socket.then(|| connect(path)) {
            Some(Err(Unreachable::NobodyListens)) => {}
            Some(_) => return Err(Error::Occupied { path: path.to_owned(), by: "somebody listens on it" }),
            None => {
                return Err(Error::Occupied {
                    path: path.to_owned(),
                    by: "it is something else than a socket",
                });
            }
        }
        unlinkat(dir, name, AtFlags::empty()).doing(format!("removing {}", path.display()))
    }

    /// The next terminal.
    fn take(&self) -> Result<OwnedFd, Error> {
        let doing = || "receiving a terminal";
        let stream = socket::accept(self.listener.as_fd()).doing(doing())?;
        // Whoever connects and says nothing must not keep the others waiting.
        socket::bound_receiving(stream.as_fd(), super::console::PATIENCE).doing(doing())?;
        let master = socket::receive(stream.as_fd()).doing(doing())?.fd;
        let master = master.filter(|master| isatty(master)).ok_or(Errno::NOTTY).doing(doing())?;
        Ok(master)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        remove(&self.dir, &self.name);
    }
}

fn remove(dir: &OwnedFd, name: &OsStr) {
    if let Err(errno) = unlinkat(dir, name, AtFlags::empty()) {
        log::debug!("the socket {} stays: {errno}", name.display());
    }
}
