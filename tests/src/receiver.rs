//! Who listens on a socket that a runtime sends a descriptor to.

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::sandbox::until;

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
