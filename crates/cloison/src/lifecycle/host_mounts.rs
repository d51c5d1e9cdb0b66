//! The mounts of a container without a mount namespace of its own.
//!
//! They are the host's. So that they can be taken back they all lie on one mount, of the root file system on itself, which the state names by
//! the number that the kernel gave it. Where it goes, they go with it.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cloison_linux::mount;
use cloison_linux::mountinfo::{self, Mount};
use cloison_linux::{Errno, Kernel, Mode, MountPropagationFlags, OFlags, OpenTreeFlags};

use super::Error;
use super::error::Doing as _;
use crate::state::HostMount;

/// The mount before it is anywhere, and the directory that it will cover.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) mount: HostMount,
    directory: OwnedFd,
    tree: OwnedFd,
}

/// Makes the mount, and nobody sees it yet. What is mounted below the root file system already would not be in it: a copy of that would stay
/// in every mount namespace that receives mounts from this one.
pub(super) fn prepare(kernel: &dyn Kernel, path: &Path) -> Result<Prepared, Error> {
    let doing = || format!("binding the root file system {} on itself", path.display());
    let directory = open(kernel, path).doing(doing())?;
    // The root of this process cannot be covered for it. Said before what lies below, of which there is always something.
    let root = open(kernel, Path::new("/")).doing(doing())?;
    if is_same(directory.as_fd(), root.as_fd()).doing(doing())? {
        return Err(Error::RootOfHost { path: path.to_owned() });
    }
    let place =
        std::fs::read_link(in_proc(directory.as_fd())).map_err(|error| errno(&error)).doing(doing())?;
    if let Some(below) =
        table()?.into_iter().find(|mount| mount.point != place && mount.point.starts_with(&place))
    {
        return Err(Error::MountBelowRoot { path: path.to_owned(), below: below.point });
    }
    let tree = kernel.open_tree(directory.as_fd(), OpenTreeFlags::OPEN_TREE_CLONE).doing(doing())?;
    let (id, number) = numbers(tree.as_fd()).doing(doing())?;
    Ok(Prepared { mount: HostMount { path: path.to_owned(), id, number }, directory, tree })
}

impl Prepared {
    /// Puts it where all see it, and gives its descriptor: whatever lies on it later, that is the container's root. The state that names it is
    /// saved before. Nothing that is mounted on it will be seen elsewhere, nor the other way round.
    pub(super) fn attach(self, kernel: &dyn Kernel) -> Result<OwnedFd, Error> {
        let path = &self.mount.path;
        let doing = || format!("binding the root file system {} on itself", path.display());
        kernel.move_mount(self.tree.as_fd(), self.directory.as_fd()).doing(doing())?;
        // Below a mount that is shared it has become shared itself.
        make_private(kernel, self.tree.as_fd()).doing(doing())?;
        Ok(self.tree)
    }
}

/// Takes the mount away, with all that lies on it, wherever it is by now.
///
/// # Errors
/// [`Error::Covered`] where another lies on it: it cannot be reached, and must not be forgotten.
pub(super) fn take_back(kernel: &dyn Kernel, held: Option<&HostMount>) -> Result<(), Error> {
    let Some(held) = held else { return Ok(()) };
    let doing = || format!("taking back the mounts on {}", held.path.display());
    if let Some(top) = ours(kernel, &held.path, held).doing(doing())? {
        return remove(kernel, top.as_fd()).doing(doing());
    }
    let place = std::fs::canonicalize(&held.path).unwrap_or_else(|_| held.path.clone());
    for Mount { point, .. } in table()?.into_iter().filter(|mount| mount.id == held.number) {
        if point == place {
            return Err(Error::Covered { path: held.path.clone() });
        }
        // Its directory has another name. Numbers that are given out again say nothing by themselves.
        if held.id != held.number
            && let Some(top) = ours(kernel, &point, held).doing(doing())?
        {
            return remove(kernel, top.as_fd()).doing(doing());
        }
    }
    log::debug!("{} is not on the host any more", held.path.display());
    Ok(())
}

/// What is at a path, if it is the held mount.
fn ours(kernel: &dyn Kernel, path: &Path, held: &HostMount) -> Result<Option<OwnedFd>, Errno> {
    match open(kernel, path) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        opened => opened.and_then(|top| Ok((numbers(top.as_fd())?.0 == held.id).then_some(top))),
    }
}

fn remove(kernel: &dyn Kernel, top: BorrowedFd<'_>) -> Result<(), Errno> {
    // What was bound from a mount that is shared would take its twins on the host along (mount_namespaces(7)).
    make_private(kernel, top)?;
    mount::umount_detach_opened(top)
}

/// By mount(2), which older kernels have, too.
fn make_private(kernel: &dyn Kernel, mount: BorrowedFd<'_>) -> Result<(), Errno> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    kernel.mount_propagation(&in_proc(mount), private)
}

fn in_proc(fd: BorrowedFd<'_>) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

fn open(kernel: &dyn Kernel, path: &Path) -> Result<OwnedFd, Errno> {
    kernel.open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}

fn table() -> Result<Vec<Mount>, Error> {
    mountinfo::read().doing(format!("reading {}", mountinfo::PATH))
}

/// Whether two descriptors are of one directory in one mount.
fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<bool, Errno> {
    let directory = |fd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    Ok(numbers(one)? == numbers(other)? && directory(one)? == directory(other)?)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// The number that no other mount ever gets, and the one that mountinfo has; the latter twice where the kernel has no other.
fn numbers(fd: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    let number = mountinfo::id_of(fd)?;
    Ok((mountinfo::unique_id_of(fd)?.unwrap_or(number), number))
}
