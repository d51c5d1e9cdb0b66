//! The network interfaces that a runtime has to do with: loopback, and those that are moved into a container.

use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::Result;
use crate::raw::check;

mod device;
mod message;
mod route;

pub use device::{MoveError, Moved, Moving, move_device, return_device};
pub use route::{Address, Identity, Link, Route};

/// Brings the loopback interface of the caller's network namespace up (`SIOCSIFFLAGS`, netdevice(7)).
///
/// Any socket will do for these requests, so it is a UNIX one, which exists on kernels without IPv4 too.
pub fn loopback_up() -> Result<()> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all bytes zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    // SAFETY: the request is an ifreq with a name that ends in zero; the kernel fills in the flags.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) }.into())?;
    // SAFETY: SIOCGIFFLAGS has just filled this field.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    // SAFETY: as above; the kernel only reads.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())?;
    Ok(())
}
