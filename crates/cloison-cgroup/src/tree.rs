//! Walking a cgroup and its sub-cgroups, and removing them.
//!
//! A container that may write its own cgroups decides how many there are, how deep they lie and what they are called.
//! So the walk keeps one open directory however deep it is, never recurses, and never builds a path: a nest of
//! sub-cgroups whose path is longer than `PATH_MAX` is walked and removed like any other.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files::{is_gone, open_directory};
use crate::patience::Patience;
use crate::processes;

/// A directory between the top and where the walk is.
struct Level {
    /// What it is called in the one above; empty for the top.
    name: CString,
    /// Its children that are still to be walked.
    pending: Vec<CString>,
}

/// Calls `each` with the directory of the cgroup at `top` and of every cgroup below it. What vanishes meanwhile is
/// left out; a `top` that is not there has no directories.
pub(crate) fn visit(top: &Path, mut each: impl FnMut(BorrowedFd<'_>) -> Result<(), Errno>) -> Result<()> {
    let error = |source| Error::Read { path: top.to_owned(), source };
    let mut here = match open_directory(top) {
        Ok(directory) => directory,
        Err(errno) if is_gone(errno) => return Ok(()),
        Err(errno) => return Err(Error::Open { path: top.to_owned(), source: errno }),
    };
    let mut arrive = |directory: BorrowedFd<'_>| {
        match each(directory) {
            Err(errno) if !is_gone(errno) => return Err(error(errno)),
            _ => {}
        }
        children(directory).map_err(error)
    };
    let mut levels = vec![Level { name: CString::default(), pending: arrive(here.as_fd())? }];
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.pending.pop() else {
            levels.pop();
            if !levels.is_empty() {
                here = parent(here.as_fd()).map_err(error)?;
            }
            continue;
        };
        match child(here.as_fd(), &name) {
            Ok(directory) => {
                let pending = arrive(directory.as_fd())?;
                here = directory;
                levels.push(Level { name, pending });
            }
            Err(errno) if is_gone(errno) => {}
            Err(errno) => return Err(error(errno)),
        }
    }
    Ok(())
}

/// Removes the cgroup at `top` with everything below it, deepest first, and waits within `patience` for processes that
/// are about to be gone. That it is not there is success.
pub(crate) fn remove(top: &Path, patience: &mut Patience) -> Result<()> {
    let failed = |source| Error::Remove { path: top.to_owned(), source };
    match rustix::fs::rmdir(top) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // A read-only or foreign parent gives EROFS or EACCES even for what is not there, so it is looked for below.
        Err(Errno::BUSY | Errno::ROFS | Errno::ACCESS | Errno::PERM) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let directory = match open_directory(top) {
        Ok(directory) => remove_children(top, directory, patience)?,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(failed(errno)),
    };
    patiently(top, directory.as_fd(), patience, || rustix::fs::rmdir(top))
}

/// Removes all that is below `directory`, which is the cgroup at `top`, and gives it back.
fn remove_children(top: &Path, directory: OwnedFd, patience: &mut Patience) -> Result<OwnedFd> {
    let failed = |source| Error::Remove { path: top.to_owned(), source };
    let mut here = directory;
    let mut levels =
        vec![Level { name: CString::default(), pending: children(here.as_fd()).map_err(failed)? }];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.pending.pop() {
            match unlinkat(&here, &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::BUSY) => {}
                Err(errno) => return Err(failed(errno)),
            }
            match child(here.as_fd(), &name) {
                Ok(directory) => {
                    let pending = children(directory.as_fd()).map_err(failed)?;
                    here = directory;
                    levels.push(Level { name, pending });
                }
                Err(errno) if is_gone(errno) => {}
                Err(errno) => return Err(failed(errno)),
            }
        } else if let Some(Level { name, .. }) = levels.pop()
            && !levels.is_empty()
        {
            let above = parent(here.as_fd()).map_err(failed)?;
            patiently(top, here.as_fd(), patience, || unlinkat(&above, &name, AtFlags::REMOVEDIR))?;
            here = above;
        }
    }
    Ok(here)
}

/// Tries `rmdir`, which removes `directory`, until nothing holds it any more or the patience is over.
fn patiently(
    top: &Path,
    directory: BorrowedFd<'_>,
    patience: &mut Patience,
    rmdir: impl Fn() -> Result<(), Errno>,
) -> Result<()> {
    loop {
        match rmdir() {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) => {}
            Err(errno) => return Err(Error::Remove { path: top.to_owned(), source: errno }),
        }
        if !patience.wait_for_empty(directory) {
            let processes = processes::raw(top)?.len();
            return Err(Error::Busy {
                path: top.to_owned(),
                processes,
                waited_ms: patience.waited().as_millis(),
            });
        }
    }
}

/// The names of the sub-cgroups of `directory`.
fn children(directory: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    // kernfs counts a directory's links as its sub-directories and 2: the some 60 files need not be listed to know
    // that there are none.
    if fstat(directory)?.st_nlink <= 2 {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if entry.file_type() == FileType::Directory && entry.file_name() != c"." && entry.file_name() != c".."
        {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn child(directory: BorrowedFd<'_>, name: &CString) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

fn parent(directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    openat(directory, c"..", OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}
