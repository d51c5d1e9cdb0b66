//! Messages with descriptors, and sockets that live in a directory, unix(7).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, Mode};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, socket_with,
};

use crate::Result;
use crate::file::proc_path;

/// The longest message that [`receive`] takes, in bytes.
pub const MESSAGE_LIMIT: usize = 64 * 1024;

/// What came through a socket.
#[derive(Debug)]
pub struct Message {
    /// The bytes; none at the end of the stream.
    pub bytes: Vec<u8>,
    /// The descriptor that came with them, close-on-exec.
    pub fd: Option<OwnedFd>,
}

/// A pair of connected `SOCK_SEQPACKET` sockets.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends one message, with at most one descriptor (`SCM_RIGHTS`). `EPIPE` where the other side is gone; no
/// signal is raised.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
    let fds = fd.map(|fd| [fd]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(fds) = &fds {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    let parts = [IoSlice::new(bytes)];
    let sent = retry_on_intr(|| rustix::net::sendmsg(socket, &parts, &mut control, SendFlags::NOSIGNAL))?;
    if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
}

/// Receives one message of at most [`MESSAGE_LIMIT`] bytes; `EMSGSIZE` for a longer one. Where more than one
/// descriptor came, the first is kept and the others are closed.
pub fn receive(socket: BorrowedFd<'_>) -> Result<Message> {
    let mut bytes = vec![0; MESSAGE_LIMIT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = retry_on_intr(|| {
        rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if got.flags.contains(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    bytes.truncate(got.bytes);
    bytes.shrink_to_fit();
    Ok(Message { bytes, fd: fds.into_iter().next() })
}

/// `accept4(2)`.
pub fn accept(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    retry_on_intr(|| rustix::net::accept_with(socket, SocketFlags::CLOEXEC))
}

/// Makes a listening `SOCK_SEQPACKET` socket called `name` in the directory `dir`.
///
/// The address goes through `/proc/self/fd`, because the path of a state directory can be longer than the 108
/// bytes of an address. Only its owner can connect to it. `EADDRINUSE` where the name exists.
pub fn listen_at(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let socket = seqpacket()?;
    // The name gets the mode of the socket less the umask, which engines set to 0: then everybody could connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &address(dir, name)?)?;
    rustix::net::listen(&socket, 16)?;
    Ok(socket)
}

/// Makes a listening `SOCK_STREAM` socket called `name` in the directory `dir`, as [`listen_at`] does: only its owner can connect to it.
pub fn listen_stream_at(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &address(dir, name)?)?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket)
}

/// Lets a receiving on this socket fail with `EAGAIN` after a time (`SO_RCVTIMEO`, socket(7)).
pub fn bound_receiving(socket: BorrowedFd<'_>, patience: Duration) -> Result<()> {
    set_socket_timeout(socket, Timeout::Recv, Some(patience))
}

/// Makes a `SOCK_DGRAM` socket called `name` in the directory `dir`, non-blocking, to which everybody may write who reaches it. A socket
/// that is there is replaced.
pub fn bind_datagrams_at(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    rustix::net::bind(&socket, &address(dir, name)?)?;
    // Whatever the umask is.
    rustix::fs::chmodat(dir, name, Mode::RWXU | Mode::RWXG | Mode::RWXO, AtFlags::empty())?;
    Ok(socket)
}

/// Connects, non-blocking, to the `SOCK_DGRAM` socket that a descriptor (`O_PATH` is enough) refers to. `EPROTOTYPE` where it is one of another
/// kind.
pub fn connect_datagrams(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    connect_datagrams_to(&SocketAddrUnix::new(proc_path(socket))?)
}

/// The same for a socket of this name in the abstract namespace (unix(7)).
pub fn connect_datagrams_abstract(name: &[u8]) -> Result<OwnedFd> {
    connect_datagrams_to(&SocketAddrUnix::new_abstract_name(name)?)
}

fn connect_datagrams_to(address: &SocketAddrUnix) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    rustix::net::connect(&socket, address)?;
    Ok(socket)
}

/// Connects to the socket called `name` in the directory `dir`. `ECONNREFUSED` where nobody listens, `ENOENT`
/// where it is not there.
pub fn connect_at(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let socket = seqpacket()?;
    let address = address(dir, name)?;
    retry_on_intr(|| rustix::net::connect(&socket, &address))?;
    Ok(socket)
}

/// Connects to the `SOCK_STREAM` socket that a descriptor (`O_PATH` is enough) refers to, wherever it lies.
///
/// `ECONNREFUSED` where nobody listens or where it is no socket, `EPROTOTYPE` where it is one of another kind,
/// `EACCES` where the caller may not write to it, `EAGAIN` where the queue of those who wait to be accepted stays full for longer than
/// `patience` (`SO_SNDTIMEO`, socket(7)), which also bounds each sending afterwards.
pub fn connect_stream(socket: BorrowedFd<'_>, patience: Duration) -> Result<OwnedFd> {
    let address = SocketAddrUnix::new(proc_path(socket))?;
    connect_within(&address, patience)
}

/// Connects to the `SOCK_STREAM` socket of this name in the abstract namespace (unix(7)), which is that of the caller's network.
/// `ECONNREFUSED` where nobody listens, `EAGAIN` as in [`connect_stream`].
pub fn connect_abstract(name: &[u8], patience: Duration) -> Result<OwnedFd> {
    connect_within(&SocketAddrUnix::new_abstract_name(name)?, patience)
}

fn connect_within(address: &SocketAddrUnix, patience: Duration) -> Result<OwnedFd> {
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&stream, Timeout::Send, Some(patience))?;
    retry_on_intr(|| rustix::net::connect(&stream, address))?;
    Ok(stream)
}

fn seqpacket() -> Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

fn address(dir: BorrowedFd<'_>, name: &str) -> Result<SocketAddrUnix> {
    SocketAddrUnix::new(Path::new(&proc_path(dir)).join(name))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::OFlags;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn message_brings_a_descriptor() {
        let (left, right) = pair().unwrap();
        let file = std::fs::File::open("/proc/version").unwrap();
        send(left.as_fd(), b"console", Some(file.as_fd())).unwrap();
        let message = receive(right.as_fd()).unwrap();
        assert_eq!(message.bytes, b"console");
        let fd = message.fd.unwrap();
        assert!(crate::file::read_to_end(fd.as_fd(), 4096).unwrap().starts_with(b"Linux"));
        assert_eq!(rustix::io::fcntl_getfd(&fd).unwrap(), rustix::io::FdFlags::CLOEXEC);
    }

    #[test]
    fn messages_keep_their_bounds_and_the_end_is_empty() {
        let (left, right) = pair().unwrap();
        send(left.as_fd(), b"one", None).unwrap();
        send(left.as_fd(), b"two", None).unwrap();
        drop(left);
        assert_eq!(receive(right.as_fd()).unwrap().bytes, b"one");
        assert_eq!(receive(right.as_fd()).unwrap().bytes, b"two");
        assert!(receive(right.as_fd()).unwrap().bytes.is_empty());
        assert_eq!(send(right.as_fd(), b"x", None), Err(Errno::PIPE));
    }

    #[test]
    fn message_over_the_limit_is_refused() {
        let (left, right) = pair().unwrap();
        send(left.as_fd(), &vec![0; MESSAGE_LIMIT + 1], None).unwrap();
        assert_eq!(receive(right.as_fd()).unwrap_err(), Errno::MSGSIZE);
    }

    #[test]
    fn second_descriptor_of_a_message_is_closed() {
        let (left, right) = pair().unwrap();
        let (kept, extra) = (pair().unwrap(), pair().unwrap());
        let fds = [kept.1.as_fd(), extra.1.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        rustix::net::sendmsg(&left, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
        let message = receive(right.as_fd()).unwrap();
        drop(extra.1);
        assert!(message.fd.is_some());
        assert!(receive(extra.0.as_fd()).unwrap().bytes.is_empty(), "no copy of it is open any more");
    }

    #[test]
    fn stream_is_reached_by_a_descriptor_of_its_socket() {
        let scratch = TempDir::new().unwrap();
        let path = scratch.path().join("console");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let place = crate::file::open(&path, OFlags::PATH, Mode::empty()).unwrap();
        let stream = connect_stream(place.as_fd(), Duration::from_secs(10)).unwrap();
        send(stream.as_fd(), b"name", None).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(receive(server.as_fd()).unwrap().bytes, b"name");
        drop(listener);
        assert_eq!(connect_stream(place.as_fd(), Duration::from_secs(10)).unwrap_err(), Errno::CONNREFUSED);
    }

    #[test]
    fn full_queue_is_given_up_after_a_time() {
        let scratch = TempDir::new().unwrap();
        let path = scratch.path().join("console");
        let listener =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let place = crate::file::open(&path, OFlags::PATH, Mode::empty()).unwrap();
        let connect = || connect_stream(place.as_fd(), Duration::from_millis(20));
        let _waits = connect().unwrap();
        assert_eq!(connect().unwrap_err(), Errno::AGAIN);
        accept(listener.as_fd()).unwrap();
        connect().unwrap();
    }

    #[test]
    fn socket_is_reached_below_a_path_longer_than_an_address() {
        let scratch = TempDir::new().unwrap();
        let deep = scratch.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let dir = std::fs::File::open(&deep).unwrap();
        let listener = listen_at(dir.as_fd(), "start").unwrap();
        let client = connect_at(dir.as_fd(), "start").unwrap();
        let server = accept(listener.as_fd()).unwrap();
        send(client.as_fd(), b"start", None).unwrap();
        assert_eq!(receive(server.as_fd()).unwrap().bytes, b"start");
        drop(listener);
        assert_eq!(connect_at(dir.as_fd(), "start").unwrap_err(), Errno::CONNREFUSED);
        assert_eq!(connect_at(dir.as_fd(), "other").unwrap_err(), Errno::NOENT);
        assert_eq!(listen_at(dir.as_fd(), "start").unwrap_err(), Errno::ADDRINUSE);
    }
}
