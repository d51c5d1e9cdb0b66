//! From the host's root to the container's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cloison_linux::mountinfo::Mount;
use cloison_linux::{Errno, Kernel, Mode, MountPropagationFlags, OFlags, OpenTreeFlags};

use super::{Root, hide};
use crate::init::error::{Doing, Error};

/// `MS_SLAVE | MS_REC`.
const RSLAVE: MountPropagationFlags = MountPropagationFlags::DOWNSTREAM.union(MountPropagationFlags::REC);

/// Makes the directory at `path` a mount of its own, with all that is mounted below it, and gives its descriptor.
///
/// `pivot_root` wants a mount, and wants the mount it lies on not to be shared.
pub(crate) fn bind_root<'k>(
    kernel: &'k dyn Kernel,
    path: &Path,
    parent: MountPropagationFlags,
) -> Result<Root<'k>, Error> {
    let doing = || format!("binding the root file system {} on itself", path.display());
    let directory = open_root(kernel, path)?;
    make_parent_mount(kernel, path, parent)
        .doing(|| format!("changing the propagation of the mount of {}", path.display()))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE;
    let tree = kernel.open_tree(directory.as_fd(), flags).doing(doing)?;
    kernel.move_mount(tree.as_fd(), directory.as_fd()).doing(doing)?;
    Ok(Root::new(kernel, tree))
}

/// Opens the root file system; a symbolic link in its place is refused.
pub(crate) fn open_root(kernel: &dyn Kernel, path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    kernel
        .open(path, flags, Mode::empty())
        .doing(|| format!("opening the root file system {}", path.display()))
}

/// Another descriptor of a root file system that is opened, whatever is mounted on it.
pub(crate) fn reopen_root(kernel: &dyn Kernel, root: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let opened = kernel.open_in_root(root, Path::new("."), flags, Mode::empty());
    opened.doing(|| "opening the root file system that is held")
}

/// Changes the propagation of the mount that holds `path`. `EINVAL` says that a directory is not a mount itself, so that its parent
/// is asked.
fn make_parent_mount(kernel: &dyn Kernel, path: &Path, flags: MountPropagationFlags) -> Result<(), Errno> {
    let mut path = path;
    loop {
        match kernel.mount_propagation(path, flags) {
            Err(Errno::INVAL) => path = path.parent().ok_or(Errno::INVAL)?,
            done => return done,
        }
    }
}

/// `pivot_root(".", ".")`: the old root lies on the new one at the same place, and is dropped (`pivot_root(2)`).
pub(crate) fn pivot(kernel: &dyn Kernel, root: &Root<'_>, host_may_be_shared: bool) -> Result<(), Error> {
    let doing = || "changing the root to the container's";
    // Its unmounting must not reach the host. Where it is shared, so are mounts of the container that were bound from it, and they are to
    // stay so (Kubernetes' `Bidirectional`): so only the host's tree is made a slave, by a descriptor of it. `.` would be the new root.
    let host = host_may_be_shared.then(|| open_root(kernel, Path::new("/"))).transpose()?;
    kernel.fchdir(root.fd()).doing(doing)?;
    kernel.pivot_root_here().doing(doing)?;
    if let Some(host) = host {
        kernel.fchdir(host.as_fd()).doing(doing)?;
        kernel.mount_propagation(Path::new("."), RSLAVE).doing(doing)?;
    }
    // To unmount `.` is to unmount what lies on top of it.
    kernel.umount_detach(Path::new(".")).doing(|| "dropping the host's root")?;
    kernel.fchdir(root.fd()).doing(doing)
}

/// Without `pivot_root`: moves the root onto `/`. The host's mounts stay below and could be reached through a new procfs or sysfs, which
/// the kernel allows as long as a whole one is visible; so those are removed first.
pub(crate) fn move_root(kernel: &dyn Kernel, root: &Root<'_>) -> Result<(), Error> {
    let doing = || "moving the root to the container's";
    kernel.fchdir(root.fd()).doing(doing)?;
    // As mountinfo has it: without the links and `..` that the bundle's path may have.
    let path = kernel.getcwd().doing(doing)?;
    for mount in whole_proc_and_sysfs(kernel, &path)? {
        let mount = mount.as_path();
        match kernel.mount_propagation(mount, RSLAVE) {
            // It went with the one above it.
            Err(Errno::NOENT) => continue,
            done => done.doing(|| format!("keeping the removal of {} from the host", mount.display()))?,
        }
        match kernel.umount_detach(mount) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::PERM) => cover(kernel, mount)?,
            Err(errno) => return Err(errno).doing(|| format!("removing {}", mount.display())),
        }
    }
    kernel.move_root().doing(doing)?;
    kernel.chroot_here().doing(doing)?;
    kernel.fchdir(root.fd()).doing(doing)
}

/// By descriptors alone: `/proc`, by which others are mounted, may be covered already.
fn cover(kernel: &dyn Kernel, mount: &Path) -> Result<(), Error> {
    let doing = || format!("covering {}", mount.display());
    let fd = kernel.open(mount, OFlags::PATH, Mode::empty()).doing(doing)?;
    let empty = hide::empty_directory(kernel, None).doing(doing)?;
    kernel.move_mount(empty.as_fd(), fd.as_fd()).doing(doing)
}

/// The mount points of every procfs and sysfs that is mounted from its own root and outside of the container's.
fn whole_proc_and_sysfs(kernel: &dyn Kernel, rootfs: &Path) -> Result<Vec<PathBuf>, Error> {
    let whole = |mount: &Mount| {
        mount.root == Path::new("/")
            && matches!(mount.fs_type.as_str(), "proc" | "sysfs")
            && !mount.point.starts_with(rootfs)
    };
    Ok(super::mounts(kernel)?.into_iter().filter(whole).map(|mount| mount.point).collect())
}

/// `chroot` alone.
pub(crate) fn chroot(kernel: &dyn Kernel, root: &Root<'_>) -> Result<(), Error> {
    let doing = || "changing the root to the container's";
    kernel.fchdir(root.fd()).doing(doing)?;
    kernel.chroot_here().doing(doing)?;
    kernel.fchdir(root.fd()).doing(doing)
}
