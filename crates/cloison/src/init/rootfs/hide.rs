//! Masked and read-only paths (runtime-spec, config-linux.md, "Masked Paths", "Readonly Paths").

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use cloison_linux::{Errno, FsMountFlags, Kernel, MountAttrFlags, OpenTreeFlags};

use super::attributes::Changes;
use super::{Root, device, is_directory};
use crate::init::error::{Doing, Error};
use crate::plan::action::Masks;

/// Makes one path read-only by binding it onto itself. What is not there needs no protection.
pub(crate) fn read_only(kernel: &dyn Kernel, root: &Root<'_>, path: &Path) -> Result<(), Error> {
    let doing = || format!("making {} read-only", path.display());
    let target = match root.open_protected(path) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        found => found.doing(doing)?,
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE;
    let tree = kernel.open_tree(target.as_fd(), flags).doing(doing)?;
    let mut changes = Changes::default();
    changes.read_only(path);
    changes.set_and_attach(kernel, tree.as_fd(), target.as_fd(), path)
}

/// Hides paths: a file behind the null device, a directory behind an empty read-only tmpfs, which all directories share, since each
/// one of its own would cost the kernel a super block to make and to tear down.
pub(crate) fn mask(kernel: &dyn Kernel, root: &Root<'_>, masks: &Masks) -> Result<(), Error> {
    let Masks { paths, label } = masks;
    let mut null = None;
    let mut empty: Option<OwnedFd> = None;
    let mut done: Vec<&PathBuf> = Vec::with_capacity(paths.len());
    for path in paths {
        if done.contains(&path) {
            continue;
        }
        done.push(path);
        let doing = || format!("masking {}", path.display());
        let target = match root.open_protected(path) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            found => found.doing(doing)?,
        };
        let tree = if is_directory(&kernel.fstat(target.as_fd()).doing(doing)?) {
            match &empty {
                Some(first) => {
                    kernel.open_tree(first.as_fd(), OpenTreeFlags::OPEN_TREE_CLONE).doing(doing)?
                }
                None => empty_directory(kernel, label.as_deref()).doing(doing)?,
            }
        } else {
            let null = match &null {
                Some(null) => null,
                None => null.insert(device::null(kernel, root)?),
            };
            kernel.open_tree(null.as_fd(), OpenTreeFlags::OPEN_TREE_CLONE).doing(doing)?
        };
        kernel.move_mount(tree.as_fd(), target.as_fd()).doing(doing)?;
        if empty.is_none() && is_directory(&kernel.fstat(tree.as_fd()).doing(doing)?) {
            empty = Some(tree);
        }
    }
    Ok(())
}

/// A tmpfs without room for anything.
pub(super) fn empty_directory(kernel: &dyn Kernel, label: Option<&str>) -> Result<OwnedFd, Errno> {
    let context = kernel.fsopen("tmpfs")?;
    kernel.fsconfig_string(context.as_fd(), "source", "tmpfs")?;
    kernel.fsconfig_string(context.as_fd(), "nr_blocks", "1")?;
    // Some kernels (Ubuntu's 5.4) refuse a single inode.
    if kernel.fsconfig_string(context.as_fd(), "nr_inodes", "1").is_err() {
        kernel.fsconfig_string(context.as_fd(), "nr_inodes", "2")?;
    }
    if let Some(label) = label {
        kernel.fsconfig_string(context.as_fd(), "context", label)?;
    }
    kernel.fsconfig_flag(context.as_fd(), "ro")?;
    kernel.fsconfig_create(context.as_fd())?;
    kernel.fsmount(context.as_fd(), FsMountFlags::empty(), MountAttrFlags::MOUNT_ATTR_RDONLY)
}
