//! The mounts of a container without a mount namespace of its own.
//!
//! They are the host's. So that they can be taken back they all lie on one mount, of the root file system on itself, which the state names by
//! the number that the kernel gave it. Where it goes, they go with it.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use cloison_linux::mount::{self, MountAttr};
use cloison_linux::{Errno, Kernel, Mode, MountPropagationFlags, OFlags, OpenTreeFlags};
use rustix::fs::{AtFlags, StatxFlags, statx};

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

/// Makes the mount, and nobody sees it yet. Nothing that is mounted on it will be seen elsewhere, nor the other way round.
pub(super) fn prepare(kernel: &dyn Kernel, path: &Path) -> Result<Prepared, Error> {
    let doing = || format!("binding the root file system {} on itself", path.display());
    let directory = open(kernel, path).doing(doing())?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE;
    let tree = kernel.open_tree(directory.as_fd(), flags).doing(doing())?;
    kernel.mount_setattr(tree.as_fd(), true, &private()).doing(doing())?;
    let id = number(tree.as_fd()).doing(doing())?;
    Ok(Prepared { mount: HostMount { path: path.to_owned(), id }, directory, tree })
}

impl Prepared {
    /// Puts it where all see it. The state that names it is saved before.
    pub(super) fn attach(&self, kernel: &dyn Kernel) -> Result<(), Error> {
        kernel
            .move_mount(self.tree.as_fd(), self.directory.as_fd())
            .doing(format!("binding the root file system {} on itself", self.mount.path.display()))
    }
}

/// Takes the mount away, with all that lies on it. What lies there instead, or nothing, is left as it is.
pub(super) fn take_back(kernel: &dyn Kernel, held: Option<&HostMount>) -> Result<(), Error> {
    let Some(held) = held else { return Ok(()) };
    let doing = || format!("taking back the mounts on {}", held.path.display());
    let top = match open(kernel, &held.path) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        opened => opened.doing(doing())?,
    };
    if number(top.as_fd()).doing(doing())? != held.id {
        log::debug!("on {} there is another mount, or none", held.path.display());
        return Ok(());
    }
    // What was bound from a mount that is shared would take its twins on the host along (mount_namespaces(7)).
    kernel.mount_setattr(top.as_fd(), true, &private()).doing(doing())?;
    mount::umount_detach_opened(top.as_fd()).doing(doing())
}

fn private() -> MountAttr<'static> {
    MountAttr { propagation: Some(MountPropagationFlags::PRIVATE), ..MountAttr::default() }
}

fn open(kernel: &dyn Kernel, path: &Path) -> Result<OwnedFd, Errno> {
    kernel.open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}

/// `STATX_MNT_ID_UNIQUE` of statx(2), or, before Linux 6.8, `STATX_MNT_ID`.
fn number(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);
    let answer = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID | MNT_ID_UNIQUE)?;
    let known = StatxFlags::from_bits_retain(answer.stx_mask);
    if known.intersects(StatxFlags::MNT_ID | MNT_ID_UNIQUE) {
        Ok(answer.stx_mnt_id)
    } else {
        log::debug!("the kernel gives descriptor {} no number of its mount", fd.as_raw_fd());
        Err(Errno::OPNOTSUPP)
    }
}
