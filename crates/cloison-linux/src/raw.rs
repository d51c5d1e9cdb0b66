//! System calls that no crate wraps.

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::Result;

/// Makes a system call and turns its answer into a result.
///
/// # Safety
///
/// The arguments must be what the system call named by `number` expects; pointers must be valid for what it
/// does with them.
pub(crate) unsafe fn syscall<const N: usize>(number: libc::c_long, arguments: [usize; N]) -> Result<usize> {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    // SAFETY: the caller vouches for the arguments.
    let value = unsafe { libc::syscall(number, all[0], all[1], all[2], all[3], all[4], all[5]) };
    check(value)
}

/// The value of a libc function that gives -1 and `errno` on failure.
pub(crate) fn check(value: libc::c_long) -> Result<usize> {
    usize::try_from(value).map_err(|_| last_errno())
}

/// What `errno` says now.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Takes a descriptor that a system call has just given.
///
/// # Safety
///
/// Nothing else may own `number`.
pub(crate) unsafe fn own(number: usize) -> OwnedFd {
    // SAFETY: the caller vouches that the descriptor is open and unowned; descriptors are small positive
    // numbers.
    unsafe { OwnedFd::from_raw_fd(number as libc::c_int) }
}

/// Bytes of a page of memory.
///
/// From the auxiliary vector that the C library keeps: inside of a container there may be no `/proc` to read
/// another copy from.
pub(crate) fn page_size() -> usize {
    // SAFETY: reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_PAGESZ) as usize }
}
