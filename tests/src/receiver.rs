//! Who listens on a socket that a runtime sends a descriptor to.

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::caller;
use crate::sandbox::until;

/// A socket that the caller of the runtime may connect to.
pub fn listen(path: impl AsRef<Path>) -> UnixListener {
    let path = path.as_ref();
    let listener = UnixListener::bind(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    caller::give(path);
    listener
}

/// The same for single messages.
pub fn listen_for_datagrams(path: impl AsRef<Path>) -> UnixDatagram {
    let path = path.as_ref();
    let socket = UnixDatagram::bind(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    caller::give(path);
    socket
}

/// The one message that a runtime sends: its name, its descriptor, and nothing after it.
pub fn receive(listener: &UnixListener) -> (String, OwnedFd) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut name = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got =
        recvmsg(&stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let mut fds: Vec<OwnedFd> = control
        .drain()
        .flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(fds.len(), 1, "exactly one descriptor");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "exactly one message");
    (String::from_utf8(name[..got.bytes].to_vec()).unwrap(), fds.remove(0))
}

/// Reads a terminal until it has shown this.
pub fn read_until(master: &OwnedFd, text: &str) -> String {
    let mut shown = String::new();
    until(&format!("the terminal shows {text:?}"), || {
        let mut bytes = [0; 4096];
        let count = rustix::io::read(master, &mut bytes).unwrap();
        shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
        shown.contains(text)
    });
    shown
}
