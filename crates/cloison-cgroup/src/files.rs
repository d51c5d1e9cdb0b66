//! The few ways in which a cgroup's small files are read and written, each with as few system calls as it takes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read, write};

/// Opens a cgroup's directory so that its files and children can be reached without its path.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a file for writing; a cgroup's files are never created by opening them, so neither is this one.
pub(crate) fn open_to_write(path: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Writes `value` in one piece, as the kernel's cgroup files want it.
pub(crate) fn write_value(path: &Path, value: &str) -> Result<(), Errno> {
    let file = open_to_write(path)?;
    write(&file, value.as_bytes()).map(drop)
}

/// The whole of a file that the kernel makes up, which says that its size is 0.
pub(crate) fn read_whole(path: &Path) -> Result<String, Errno> {
    read_whole_at(CWD, path)
}

/// The same of a file that is named from a directory.
pub(crate) fn read_whole_at(directory: BorrowedFd<'_>, name: &Path) -> Result<String, Errno> {
    let bytes = read_bytes_at(directory, name)?;
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// What is in a file, whether it is text or not.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, Errno> {
    read_bytes_at(CWD, path)
}

fn read_bytes_at(directory: BorrowedFd<'_>, name: &Path) -> Result<Vec<u8>, Errno> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::with_capacity(4096);
    loop {
        let mut chunk = [0; 4096];
        match read(file.as_fd(), &mut chunk)? {
            0 => break,
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(bytes)
}

/// A short value (one line), read with a single `read(2)`, without its line break.
pub(crate) fn read_value(path: &Path) -> Result<String, Errno> {
    let file = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut line = [0; 4096];
    let count = read(file.as_fd(), &mut line)?;
    Ok(String::from_utf8_lossy(&line[..count]).trim_ascii_end().to_owned())
}

/// Whether `errno` is what opening, reading or writing a file of a cgroup gives once that cgroup is gone: ENOENT by
/// its path, ENODEV through a descriptor.
pub(crate) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NODEV)
}
