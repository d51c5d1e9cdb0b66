//! Filters of system calls, seccomp(2). They are loaded by a [launch](crate::launch), as the last thing before the program.
//! The listener of a filter hears of calls, and answers them (`seccomp_unotify(2)`).

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::ioctl::{Opcode, opcode};

use crate::Result;
use crate::launch::SockFilter;
use crate::raw::syscall;

/// `SECCOMP_FILTER_FLAG_LOG`: all actions but "allow" are logged (Linux 4.14).
pub const LOG: u32 = 1 << 1;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: speculative store bypass stays as it is (Linux 4.17).
pub const SPEC_ALLOW: u32 = 1 << 2;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: loading gives a descriptor that calls are told to (Linux 5.0).
pub const NEW_LISTENER: u32 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`: a call that is told waits killably; with a listener only (Linux 5.19).
pub const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// Whether this kernel loads filters with these flags.
pub fn flags_supported(flags: u32) -> bool {
    // SAFETY: the kernel looks at the flags first, and there is nothing to read at the null pointer for the program.
    let answer =
        unsafe { syscall(libc::SYS_seccomp, [libc::SECCOMP_SET_MODE_FILTER as usize, flags as usize, 0]) };
    answer == Err(Errno::FAULT)
}

/// Loads a filter for this thread, which has `no_new_privs` or `CAP_SYS_ADMIN` in its user namespace. A container's filter is loaded by a
/// [launch](crate::launch) instead; this is for trying filters out.
///
/// `EACCES` without those, `EINVAL` where it is no filter.
pub fn load(filter: &[SockFilter], flags: u32) -> Result<()> {
    let length = u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut().cast() };
    let arguments = [libc::SECCOMP_SET_MODE_FILTER as usize, flags as usize, (&raw const program).addr()];
    // SAFETY: the kernel reads so many instructions, which have its layout.
    unsafe { syscall(libc::SYS_seccomp, arguments) }.map(drop)
}

/// A call that waits for an answer: `struct seccomp_notif` of linux/seccomp.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// Its name, for the answer.
    pub id: u64,
    /// The thread that makes it, as the listener's pid namespace numbers it; 0 if it is not in there.
    pub pid: u32,
    /// None so far.
    pub flags: u32,
    /// The number of the call.
    pub number: i32,
    /// `AUDIT_ARCH_*`.
    pub architecture: u32,
    /// The address of the instruction.
    pub instruction_pointer: u64,
    /// The arguments.
    pub arguments: [u64; 6],
}

/// `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is made (`SECCOMP_USER_NOTIF_FLAG_CONTINUE`, Linux 5.5). Its memory may have changed since it was looked at.
    Continue,
    /// It is not made, and gives this.
    Value(i64),
    /// It is not made, and fails with this.
    Error(Errno),
}

const RECEIVE: Opcode = opcode::read_write::<Notification>(b'!', 0);
const SEND: Opcode = opcode::read_write::<Response>(b'!', 1);

/// Waits for a call. `ENOENT` where the one that was there has gone, by a signal or its thread's end.
pub fn receive(listener: BorrowedFd<'_>) -> Result<Notification> {
    retry_on_intr(|| {
        // The kernel wants zeros.
        let mut notification = Notification::default();
        // SAFETY: the structure is as large as the opcode says, and the kernel fills it.
        unsafe { ioctl(listener, RECEIVE, (&raw mut notification).addr()) }?;
        Ok(notification)
    })
}

/// Answers a call. `ENOENT` where it waits no more.
pub fn respond(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> Result<()> {
    let (value, error, flags) = match answer {
        Answer::Continue => (0, 0, 1),
        Answer::Value(value) => (value, 0, 0),
        Answer::Error(errno) => (0, -errno.raw_os_error(), 0),
    };
    let mut response = Response { id, value, error, flags };
    // SAFETY: the structure is as large as the opcode says, and the kernel reads it.
    retry_on_intr(|| unsafe { ioctl(listener, SEND, (&raw mut response).addr()) })
}

/// # Safety
///
/// `argument` must be the address of what the opcode wants.
unsafe fn ioctl(listener: BorrowedFd<'_>, opcode: Opcode, argument: usize) -> Result<()> {
    let arguments = [listener.as_raw_fd() as usize, opcode as usize, argument];
    // SAFETY: the caller vouches for the argument.
    unsafe { syscall(libc::SYS_ioctl, arguments) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_are_those_of_the_header() {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        assert_eq!((RECEIVE, SEND), (0xc050_2100, 0xc018_2101));
    }

    #[test]
    fn flags_that_no_kernel_has_are_not_supported() {
        assert!(flags_supported(LOG | SPEC_ALLOW));
        assert!(!flags_supported(1 << 31));
        assert!(!flags_supported(WAIT_KILLABLE_RECV), "there is no listener");
    }
}
