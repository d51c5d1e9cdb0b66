//! `tmpcopyup`: a tmpfs begins with a copy of what it covers.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cloison_linux::{Errno, FileType, Kernel, Mode, OFlags, Stat};

use super::Root;
use crate::init::error::{Doing, Error};

/// How deep directories are followed; deeper ones are an attack on the stack.
const MAX_DEPTH: usize = 128;

/// Copies everything in the directory at `path` into the detached mount `to`, with owners and permissions.
pub(crate) fn copy_up(
    kernel: &dyn Kernel,
    root: &Root<'_>,
    path: &Path,
    to: BorrowedFd<'_>,
) -> Result<(), Error> {
    let doing = || format!("copying {} into the tmpfs that covers it", path.display());
    let from = root.open(path, OFlags::RDONLY | OFlags::DIRECTORY).doing(doing)?;
    copy_directory(kernel, root, from.as_fd(), to, MAX_DEPTH).doing(doing)?;
    let stat = kernel.fstat(from.as_fd()).doing(doing)?;
    kernel.fchown(to, stat.st_uid, stat.st_gid).doing(doing)
}

fn copy_directory(
    kernel: &dyn Kernel,
    root: &Root<'_>,
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    depth: usize,
) -> Result<(), Errno> {
    let depth = depth.checked_sub(1).ok_or(Errno::LOOP)?;
    for name in kernel.read_dir(from)? {
        copy_entry(kernel, root, from, to, &name, depth)?;
    }
    Ok(())
}

fn copy_entry(
    kernel: &dyn Kernel,
    root: &Root<'_>,
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &Path,
    depth: usize,
) -> Result<(), Errno> {
    let entry = kernel.open_in_root(from, name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    let stat = kernel.fstat(entry.as_fd())?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    let copy = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            kernel.mkdirat(to, name, mode)?;
            let source = root.reopen(entry.as_fd(), OFlags::RDONLY | OFlags::DIRECTORY)?;
            let copy = kernel.open_in_root(
                to,
                name,
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW,
                Mode::empty(),
            )?;
            copy_directory(kernel, root, source.as_fd(), copy.as_fd(), depth)?;
            copy
        }
        FileType::RegularFile => copy_file(kernel, root, entry.as_fd(), to, name, &stat)?,
        FileType::Symlink => {
            kernel.symlinkat(&kernel.readlinkat(entry.as_fd(), Path::new(""))?, to, name)?;
            kernel.open_in_root(to, name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?
        }
        // A socket belongs to whoever listens on it.
        FileType::Socket => return Ok(()),
        kind => {
            kernel.mknodat(to, name, kind, mode, stat.st_rdev)?;
            kernel.open_in_root(to, name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?
        }
    };
    kernel.fchown(copy.as_fd(), stat.st_uid, stat.st_gid)?;
    // A change of owner takes set-user-ID away, and mkdir(2) gives no set-group-ID.
    if stat.st_mode & 0o6000 != 0 && FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        kernel.fchmod(copy.as_fd(), mode)?;
    }
    Ok(())
}

fn copy_file(
    kernel: &dyn Kernel,
    root: &Root<'_>,
    entry: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &Path,
    stat: &Stat,
) -> Result<OwnedFd, Errno> {
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let mut source = File::from(root.reopen(entry, OFlags::RDONLY | OFlags::NONBLOCK)?);
    let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
    let mut copy = File::from(kernel.open_in_root(to, name, write, mode)?);
    let io = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    std::io::copy(&mut source, &mut copy).map_err(io)?;
    Ok(OwnedFd::from(copy))
}
