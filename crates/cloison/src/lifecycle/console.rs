//! Who gets the container's terminal.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use cloison_linux::socket;

use super::birth::Birth;
use super::error::Doing as _;
use super::{CreateOptions, Error};

/// Refuses what does not go together.
pub(super) fn check(options: &CreateOptions, terminal: bool, detached: bool) -> Result<(), Error> {
    match (&options.console_socket, terminal && detached) {
        (None, true) => Err(Error::NoConsoleSocket),
        (Some(_), false) => Err(Error::UselessConsoleSocket),
        _ => Ok(()),
    }
}

/// Sends the terminal's master to the console socket and a pidfd of the init to the pidfd socket: one message with one descriptor each,
/// and a name for it.
pub(super) fn hand_over(options: &CreateOptions, birth: &mut Birth<'_>) -> Result<(), Error> {
    if let (Some(path), Some(master)) = (&options.console_socket, birth.terminal.take()) {
        send(path, "/dev/pts/ptmx", &master)?;
    }
    if let Some(path) = &options.pidfd_socket {
        send(path, "pidfd", &birth.first_born()?.pidfd)?;
    }
    Ok(())
}

fn send(path: &Path, name: &str, fd: &impl AsFd) -> Result<(), Error> {
    let stream =
        UnixStream::connect(path).map_err(|source| Error::Socket { path: path.to_owned(), source })?;
    socket::send(stream.as_fd(), name.as_bytes(), Some(fd.as_fd()))
        .doing(format!("sending a descriptor to {}", path.display()))
}
