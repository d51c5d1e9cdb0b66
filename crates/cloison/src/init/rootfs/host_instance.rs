//! A procfs, sysfs or mqueue of the host's, where the kernel gives the root of a user namespace none of its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cloison_linux::{Errno, Kernel, Mode, OFlags, OpenTreeFlags};

use super::{hide, is_directory};
use crate::init::error::{Doing, Error};

/// A detached copy of the host's mounts at a path. The root of a user namespace may not uncover what they cover, and gets all or nothing.
pub(super) fn copy(kernel: &dyn Kernel, path: &Path) -> Result<OwnedFd, Errno> {
    let source = kernel.open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE;
    kernel.open_tree(source.as_fd(), flags)
}

/// Covers the directories at which something is mounted in the host's file system at `path`, of which `copy` is the attached copy: in a new
/// instance they would be empty. In `/sys` that hides the cgroups of the host, some of which may be the user's own (CVE-2023-25809).
///
/// # Errors
/// When the table of mounts cannot be read, or a directory cannot be covered.
pub(super) fn cover(kernel: &dyn Kernel, copy: BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
    let mounts = super::mounts(kernel)?;
    let mut below: Vec<&Path> = mounts
        .iter()
        .filter_map(|mount| mount.point.strip_prefix(path).ok())
        .filter(|below| *below != "")
        .collect();
    below.sort();
    // What is in a covered directory is covered with it.
    below.dedup_by(|inner, outer| inner.starts_with(outer));
    let mut empty: Option<OwnedFd> = None;
    for below in below {
        let doing =
            || format!("covering what is mounted in the host's {} at {}", path.display(), below.display());
        let target = match reachable(kernel, copy, below) {
            // Unmounted meanwhile, with its directory.
            Err(Errno::NOENT) => continue,
            opened => opened.doing(doing)?,
        };
        // A file is what a container around this one has put there to hide one.
        if !is_directory(&kernel.fstat(target.as_fd()).doing(doing)?) {
            continue;
        }
        let tree = match &empty {
            Some(first) => kernel.open_tree(first.as_fd(), OpenTreeFlags::OPEN_TREE_CLONE).doing(doing)?,
            None => hide::empty_directory(kernel, None).doing(doing)?,
        };
        kernel.move_mount(tree.as_fd(), target.as_fd()).doing(doing)?;
        empty.get_or_insert(tree);
    }
    Ok(())
}

/// What is at a path; or the directory on the way to it that is closed to us.
fn reachable(kernel: &dyn Kernel, copy: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let open = |path| kernel.open_in_root(copy, path, OFlags::PATH, Mode::empty());
    match (open(path), path.parent()) {
        (Err(Errno::ACCESS), Some(parent)) if parent != "" => reachable(kernel, copy, parent),
        (opened, _) => opened,
    }
}
