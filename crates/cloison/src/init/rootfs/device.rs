//! Device nodes and links in `/dev`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use cloison_linux::{Errno, FileType, Kernel, Mode, OFlags, OpenTreeFlags, makedev};

use super::{Root, is_null, mount_point};
use crate::init::error::{Doing, Error};
use crate::init::program::streams;
use crate::plan::action::Device;

/// The directory in which the last device was made: nearly all are in the same.
#[derive(Default)]
pub(crate) struct Directory(Option<(PathBuf, OwnedFd)>);

impl Directory {
    fn open(&mut self, root: &Root<'_>, path: &Path) -> Result<&OwnedFd, Errno> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        if self.0.as_ref().is_none_or(|(known, _)| known != parent) {
            self.0 = Some((parent.to_owned(), root.make_directory(parent)?));
        }
        self.0.as_ref().map(|(_, fd)| fd).ok_or(Errno::NOENT)
    }
}

/// How a device gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As a node; `EPERM` where the kernel does not allow `mknod`. For a mount that nobody would take back.
    Node,
    /// As a node, or bound where the kernel does not allow `mknod`.
    Either,
    /// The host's is bound.
    Bind,
}

/// Makes a device node. What is there already stays, but it must be the same device if the configuration asks for it (config-linux.md,
/// "Devices").
pub(crate) fn device(
    kernel: &dyn Kernel,
    root: &Root<'_>,
    directory: &mut Directory,
    device: &Device,
    way: Way,
) -> Result<(), Error> {
    let doing = || format!("making the device {}", device.path.display());
    let directory = directory.open(root, &device.path).doing(doing)?;
    let name = Path::new(device.path.file_name().unwrap_or_default());
    if way == Way::Bind {
        return bind_device(kernel, directory, name, device).doing(doing);
    }
    let kind = device.kind;
    let number = makedev(device.major, device.minor);
    match kernel.mknodat(directory.as_fd(), name, kind, Mode::from_raw_mode(device.mode), number) {
        Ok(()) if (device.uid, device.gid) == (0, 0) => Ok(()),
        Ok(()) => own(kernel, directory, name, device).doing(doing),
        Err(Errno::EXIST) if !device.asked => Ok(()),
        Err(Errno::EXIST) => match open_same(kernel, directory, name, device).doing(doing)? {
            Some(_) => Ok(()),
            None => Err(Error::Refused(format!("{}: something else is there", doing()))),
        },
        Err(Errno::PERM) if way == Way::Either => bind_device(kernel, directory, name, device).doing(doing),
        Err(errno) => Err(errno).doing(doing),
    }
}

/// Only the node that was just made changes its owner, not what may have been put in its place.
fn own(kernel: &dyn Kernel, directory: &OwnedFd, name: &Path, device: &Device) -> Result<(), Errno> {
    let node = open_same(kernel, directory, name, device)?.ok_or(Errno::NODEV)?;
    kernel.fchown(node.as_fd(), device.uid, device.gid)
}

/// A descriptor (`O_PATH`) of what has the name, if it is this device.
fn open_same(
    kernel: &dyn Kernel,
    directory: &OwnedFd,
    name: &Path,
    device: &Device,
) -> Result<Option<OwnedFd>, Errno> {
    let node =
        kernel.open_in_root(directory.as_fd(), name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    let stat = kernel.fstat(node.as_fd())?;
    let same_kind = FileType::from_raw_mode(stat.st_mode) == device.kind;
    let same_number = device.kind == FileType::Fifo || stat.st_rdev == makedev(device.major, device.minor);
    Ok((same_kind && same_number).then_some(node))
}

fn bind_device(kernel: &dyn Kernel, directory: &OwnedFd, name: &Path, device: &Device) -> Result<(), Errno> {
    let source = kernel.open(&device.path, OFlags::PATH, Mode::empty())?;
    let target = mount_point(kernel, directory.as_fd(), name, Mode::empty())?;
    let tree = kernel.open_tree(source.as_fd(), OpenTreeFlags::OPEN_TREE_CLONE)?;
    kernel.move_mount(tree.as_fd(), target.as_fd())
}

/// Makes a symbolic link; what is there already stays, or goes if `replace` says so.
pub(crate) fn link(
    kernel: &dyn Kernel,
    root: &Root<'_>,
    directory: &mut Directory,
    target: &Path,
    path: &Path,
    replace: bool,
) -> Result<(), Error> {
    let doing = || format!("making the link {}", path.display());
    let directory = directory.open(root, path).doing(doing)?;
    let name = Path::new(path.file_name().unwrap_or_default());
    if replace {
        match kernel.unlinkat(directory.as_fd(), name, false) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).doing(doing),
        }
    }
    match kernel.symlinkat(target, directory.as_fd(), name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).doing(doing),
    }
}

/// A descriptor (`O_PATH`) of the container's null device; refused if something else has taken its name (CVE-2025-31133).
pub(crate) fn null(kernel: &dyn Kernel, root: &Root<'_>) -> Result<OwnedFd, Error> {
    let path = Path::new("/dev/null");
    let fd =
        root.open(path, OFlags::PATH | OFlags::NOFOLLOW).doing(|| "opening the container's /dev/null")?;
    let stat = kernel.fstat(fd.as_fd()).doing(|| "checking the container's /dev/null")?;
    if is_null(&stat) {
        Ok(fd)
    } else {
        Err(Error::Refused("container's /dev/null is invalid: not the null device".to_owned()))
    }
}

/// Standard streams that are the host's null device become the container's, so that no descriptor of a host's mount goes in.
pub(crate) fn reopen_null(kernel: &dyn Kernel, root: &Root<'_>) -> Result<(), Error> {
    let mut own = None;
    for (number, stream) in streams().into_iter().enumerate() {
        let Ok(stat) = kernel.fstat(stream) else { continue };
        if is_null(&stat) {
            let null = match &own {
                Some(null) => null,
                None => own.insert(open_null(kernel, root)?),
            };
            kernel
                .dup_onto(null.as_fd(), number as u32)
                .doing(|| "putting the container's /dev/null in place of the host's")?;
        }
    }
    Ok(())
}

fn open_null(kernel: &dyn Kernel, root: &Root<'_>) -> Result<OwnedFd, Error> {
    let null = null(kernel, root)?;
    root.reopen(null.as_fd(), OFlags::RDWR).doing(|| "opening the container's /dev/null")
}
