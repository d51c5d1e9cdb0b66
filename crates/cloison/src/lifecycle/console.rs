//! Who gets the container's terminal, and a pidfd of its first process.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use cloison_linux::{Errno, FileType, Mode, OFlags, file, socket};

use super::birth::Birth;
use super::{CreateOptions, Error};
use crate::errno::Text;

/// How long the one who listens may take to accept us when others wait for that, too.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The name that goes with the terminal's master. Receivers show it at most.
const TERMINAL_NAME: &str = "/dev/pts/ptmx";

/// Why a socket did not get its descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// It cannot be looked up: it is not there, or its directory may not be searched.
    Missing(Errno),
    /// There is something else at its path.
    NotASocket,
    /// It is there, but the process that made it has ended or does not listen.
    NobodyListens,
    /// It is a socket of datagrams or packets, not of a stream.
    NotAStream,
    /// The caller has no leave to write to it.
    NotPermitted,
    /// Its queue of those who wait to be accepted stayed full.
    Busy,
    /// The one who listened has gone away before the descriptor was sent.
    Closed,
    /// Another failure of the kernel.
    Other(Errno),
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(errno) | Self::Other(errno) => Text(*errno).fmt(f),
            Self::NotASocket => f.write_str("is not a socket"),
            Self::NobodyListens => write!(f, "nobody listens: {}", Text(Errno::CONNREFUSED)),
            Self::NotAStream => f.write_str("is not a stream socket"),
            Self::NotPermitted => write!(f, "connecting to it: {}", Text(Errno::ACCESS)),
            Self::Busy => write!(
                f,
                "its queue of connections is full, and none was accepted within {} s",
                PATIENCE.as_secs()
            ),
            Self::Closed => f.write_str("was closed by the other side before it got the descriptor"),
        }
    }
}

impl From<Errno> for Unreachable {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::CONNREFUSED => Self::NobodyListens,
            Errno::PROTOTYPE => Self::NotAStream,
            Errno::ACCESS => Self::NotPermitted,
            Errno::AGAIN => Self::Busy,
            Errno::PIPE | Errno::CONNRESET => Self::Closed,
            errno => Self::Other(errno),
        }
    }
}

/// Refuses what does not go together.
pub(super) fn check(console_socket: Option<&Path>, terminal: bool, detached: bool) -> Result<(), Error> {
    match (console_socket, terminal && detached) {
        (None, true) => Err(Error::NoConsoleSocket),
        (Some(_), false) => Err(Error::UselessConsoleSocket),
        _ => Ok(()),
    }
}

/// Sends the terminal's master to the console socket and a pidfd of the init to the pidfd socket: one message with one descriptor each,
/// and a name for it.
pub(super) fn hand_over(options: &CreateOptions, birth: &mut Birth<'_>) -> Result<(), Error> {
    let (console_socket, pidfd_socket) = (options.console_socket.as_deref(), options.pidfd_socket.as_deref());
    if console_socket.is_some()
        && let Some(master) = birth.terminal.take()
    {
        send_terminal(console_socket, &master)?;
    }
    send_pidfd(pidfd_socket, &birth.first_born()?.pidfd)
}

/// The master, to whoever listens; without a socket it is nobody's.
pub(super) fn send_terminal(socket: Option<&Path>, master: &OwnedFd) -> Result<(), Error> {
    socket.map_or(Ok(()), |path| send(path, TERMINAL_NAME, master))
}

/// A process, to whoever wants to watch it.
pub(super) fn send_pidfd(socket: Option<&Path>, pidfd: &OwnedFd) -> Result<(), Error> {
    socket.map_or(Ok(()), |path| send(path, "pidfd", pidfd))
}

fn send(path: &Path, name: &str, fd: &impl AsFd) -> Result<(), Error> {
    let sent = connect(path).and_then(|stream| {
        socket::send(stream.as_fd(), name.as_bytes(), Some(fd.as_fd())).map_err(Unreachable::from)
    });
    sent.map_err(|reason| Error::Socket { path: path.to_owned(), reason })
}

/// Through a descriptor of the socket, because an address has 108 bytes and paths of engines can be longer.
pub(super) fn connect(path: &Path) -> Result<OwnedFd, Unreachable> {
    let place = file::open(path, OFlags::PATH, Mode::empty()).map_err(Unreachable::Missing)?;
    let stat = rustix::fs::fstat(&place).map_err(Unreachable::Other)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(Unreachable::NotASocket);
    }
    socket::connect_stream(place.as_fd(), PATIENCE).map_err(Unreachable::from)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn each_reason_why_a_socket_is_not_reached_is_told_apart() {
        let scratch = TempDir::new().unwrap();
        let at = |name: &str| scratch.path().join(name);
        assert_eq!(connect(&at("missing")).unwrap_err(), Unreachable::Missing(Errno::NOENT));
        std::fs::write(at("file"), "").unwrap();
        assert_eq!(connect(&at("file")).unwrap_err(), Unreachable::NotASocket);
        assert_eq!(connect(&at("file/below")).unwrap_err(), Unreachable::Missing(Errno::NOTDIR));
        let _datagrams = UnixDatagram::bind(at("datagrams")).unwrap();
        assert_eq!(connect(&at("datagrams")).unwrap_err(), Unreachable::NotAStream);
        drop(UnixListener::bind(at("deaf")).unwrap());
        assert_eq!(connect(&at("deaf")).unwrap_err(), Unreachable::NobodyListens);
        let _listener = UnixListener::bind(at("listening")).unwrap();
        connect(&at("listening")).unwrap();
    }
}
