//! Pseudo terminals by their descriptors (`ioctl_tty(2)`).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::termios::Winsize;

use crate::Result;
use crate::raw::syscall;

/// The other side of the pseudo terminal whose master this is, unlocked and not the controlling terminal of
/// anybody.
///
/// `TIOCGPTPEER` (Linux 4.13) needs no name in any `/dev/pts`, which could be another's. `ENOTTY` if it is no
/// master.
pub fn open_terminal(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let unlocked: libc::c_int = 0;
    // SAFETY: the number outlives the call, which reads it.
    unsafe {
        syscall(libc::SYS_ioctl, [fd(master), libc::TIOCSPTLCK as usize, (&raw const unlocked) as usize])?;
    }
    let flags = (libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) as usize;
    // SAFETY: the call takes no memory.
    let terminal = unsafe { syscall(libc::SYS_ioctl, [fd(master), libc::TIOCGPTPEER as usize, flags]) }?;
    // SAFETY: the kernel has just given the descriptor to us.
    Ok(unsafe { OwnedFd::from_raw_fd(terminal as RawFd) })
}

/// The size that programs see, in characters; they are told of a change by SIGWINCH.
pub fn set_window_size(terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size)
}

/// Makes the terminal the controlling terminal of the caller, who must lead a session without one.
pub fn set_controlling_terminal(terminal: BorrowedFd<'_>) -> Result<()> {
    rustix::process::ioctl_tiocsctty(terminal)
}

fn fd(fd: BorrowedFd<'_>) -> usize {
    fd.as_raw_fd().unsigned_abs() as usize
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::pty::OpenptFlags;

    use crate::Errno;

    use super::*;

    #[test]
    fn the_other_side_is_opened_without_a_name() {
        let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        let terminal = open_terminal(master.as_fd()).unwrap();
        assert!(rustix::termios::isatty(&terminal));
        set_window_size(terminal.as_fd(), 132, 50).unwrap();
        let size = rustix::termios::tcgetwinsize(&master).unwrap();
        assert_eq!((size.ws_col, size.ws_row), (132, 50));
    }

    #[test]
    fn what_is_no_master_has_no_other_side() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(open_terminal(file.as_fd()).unwrap_err(), Errno::NOTTY);
    }
}
