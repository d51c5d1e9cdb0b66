//! Locks on the state directory of a container.
//!
//! A directory is locked with flock(2): one command at a time. Whether a container is still "created" is told
//! by a lock on an open file description (fcntl(2), `F_OFD_SETLK`) that its first process holds until
//! `execve(2)` closes the descriptor.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::FlockOperation;
use rustix::io::{Errno, retry_on_intr};

use crate::Result;
use crate::raw::check;

/// Locks a directory for the caller alone; waits while another has it. The lock ends with the descriptor.
pub fn lock_directory(dir: BorrowedFd<'_>) -> Result<()> {
    retry_on_intr(|| rustix::fs::flock(dir, FlockOperation::LockExclusive))
}

/// Locks a directory for the caller alone, or says `false` where another has it.
pub fn try_lock_directory(dir: BorrowedFd<'_>) -> Result<bool> {
    match retry_on_intr(|| rustix::fs::flock(dir, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes a write lock on a whole file, which belongs to the open file description and ends when its last
/// descriptor is closed (Linux 3.15). `EAGAIN` where another has one. The descriptor must be open for
/// writing.
pub fn ofd_write_lock(fd: BorrowedFd<'_>) -> Result<()> {
    let lock = whole_file();
    // SAFETY: the structure outlives the call, which only reads it.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) }.into())?;
    Ok(())
}

/// Whether another open file description has a lock on the file that would stand in the way of a write lock.
pub fn ofd_lock_held(fd: BorrowedFd<'_>) -> Result<bool> {
    let mut lock = whole_file();
    // SAFETY: the structure outlives the call, which writes the lock that stands in the way to it.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) }.into())?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn whole_file() -> libc::flock {
    // SAFETY: all bytes zero is a valid flock; zero start and length mean the whole file, and the pid must be
    // zero.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::fd::AsFd;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn locked_directory_is_refused_to_a_second_descriptor_until_the_first_is_closed() {
        let scratch = TempDir::new().unwrap();
        let (first, second) = (File::open(scratch.path()).unwrap(), File::open(scratch.path()).unwrap());
        lock_directory(first.as_fd()).unwrap();
        assert!(!try_lock_directory(second.as_fd()).unwrap());
        drop(first);
        assert!(try_lock_directory(second.as_fd()).unwrap());
    }

    #[test]
    fn ofd_lock_is_seen_through_another_description_until_closed() {
        let scratch = TempDir::new().unwrap();
        let path = scratch.path().join("created");
        let holder = OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
        let observer = File::open(&path).unwrap();
        assert!(!ofd_lock_held(observer.as_fd()).unwrap());
        ofd_write_lock(holder.as_fd()).unwrap();
        assert!(ofd_lock_held(observer.as_fd()).unwrap());
        let duplicate = holder.try_clone().unwrap();
        drop(holder);
        assert!(
            ofd_lock_held(observer.as_fd()).unwrap(),
            "a duplicate keeps the lock, as a forked process does"
        );
        drop(duplicate);
        assert!(!ofd_lock_held(observer.as_fd()).unwrap());
    }
}
