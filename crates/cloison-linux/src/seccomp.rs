//! Filters of system calls, seccomp(2). They are loaded by a [launch](crate::launch), as the last thing before the program.

use rustix::io::Errno;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_no_kernel_has_are_not_supported() {
        assert!(flags_supported(LOG | SPEC_ALLOW));
        assert!(!flags_supported(1 << 31));
        assert!(!flags_supported(WAIT_KILLABLE_RECV), "there is no listener");
    }
}
