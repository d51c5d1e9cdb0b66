//! The container's root file system, while it is built.
//!
//! Everything in it was written by an enemy, who may also be changing it right now through a volume that another container
//! shares. So no path is ever given to the kernel as text from `/`: [`Root`] resolves each below its descriptor with
//! `openat2(RESOLVE_IN_ROOT)`, and what follows acts on the descriptor that came out (CVE-2019-19921, CVE-2021-30465,
//! CVE-2024-45310).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use cloison_linux::mountinfo::{self, Mount};
use cloison_linux::{Errno, FileType, Kernel, Mode, OFlags, Stat};

use crate::init::error::{Doing, Error};

pub(crate) mod attributes;
pub(crate) mod console;
pub(crate) mod copy_up;
pub(crate) mod device;
pub(crate) mod hide;
mod host_instance;
pub(crate) mod mount;
pub(crate) mod pivot;

/// How many symbolic links without a target are followed when directories are made (as many as `path_resolution(7)` follows).
const MAX_LINKS: u32 = 40;

/// No table of mounts is longer than this, in bytes (`fs.mount-max` allows 100,000 of them).
const LONGEST_TABLE: usize = 64 << 20;

const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// A directory that paths do not lead out of.
pub(crate) struct Root<'k> {
    kernel: &'k dyn Kernel,
    fd: OwnedFd,
    /// `/proc/self/fd` of the host's procfs.
    descriptors: Option<OwnedFd>,
    /// The procfs and the sysfs that were mounted in here, and where.
    kernels_own: Vec<(PathBuf, Rc<OwnedFd>)>,
}

impl<'k> Root<'k> {
    pub(crate) fn new(kernel: &'k dyn Kernel, fd: OwnedFd) -> Self {
        Self { kernel, fd, descriptors: None, kernels_own: Vec::new() }
    }

    /// The same with what was kept of the host's procfs before the root was reached.
    pub(crate) fn with_descriptors(
        kernel: &'k dyn Kernel,
        fd: OwnedFd,
        descriptors: Option<OwnedFd>,
    ) -> Self {
        Self { descriptors, ..Self::new(kernel, fd) }
    }

    /// Keeps what [`reopen`](Self::reopen) needs, while `/proc` is still the host's.
    ///
    /// A joined mount namespace may have no procfs there; then nothing can be reopened.
    pub(crate) fn keep_descriptors(&mut self) -> Result<(), Error> {
        self.descriptors = descriptors(self.kernel)?;
        Ok(())
    }

    /// Opens what an `O_PATH` descriptor refers to, once it was seen to be harmless: opening a device can already do something, and by
    /// its path something else could be opened than was looked at.
    pub(crate) fn reopen(&self, fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
        let descriptors = self.descriptors.as_ref().ok_or(Errno::NOENT)?;
        self.kernel.reopen(descriptors.as_fd(), fd, flags)
    }

    /// Something was mounted at `path`; `own` is the mount if that is a procfs or sysfs.
    pub(crate) fn mounted(&mut self, path: &Path, own: Option<Rc<OwnedFd>>) {
        self.kernels_own.retain(|(covered, _)| !covered.starts_with(path));
        self.kernels_own.extend(own.map(|mount| (path.to_owned(), mount)));
    }

    /// Opens what is to be hidden or locked. A path in our procfs or sysfs is looked up from that mount itself: an enemy who shares
    /// the root file system can move the directory that it covers, and put another in its place.
    pub(crate) fn open_protected(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let plain = !path.components().any(|component| component == Component::ParentDir);
        let own = self.kernels_own.iter().rev().filter(|_| plain);
        let inside = own.filter_map(|(at, mount)| Some((mount, path.strip_prefix(at).ok()?)));
        for (mount, below) in inside.filter(|(_, below)| !below.as_os_str().is_empty()) {
            match self.kernel.open_in_root(mount.as_fd(), below, OFlags::PATH, Mode::empty()) {
                // A link that leads elsewhere, or not there at all.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                found => return found,
            }
        }
        self.open(path, OFlags::PATH)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens what is at `path`, following symbolic links inside the root.
    pub(crate) fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.kernel.open_in_root(self.fd(), path, flags, Mode::empty())
    }

    /// Opens what is at `path`; `ELOOP` where a symbolic link is on the way, or there.
    pub(crate) fn open_without_links(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        self.kernel.open_without_links(self.fd(), path, flags, Mode::empty())
    }

    /// A descriptor (`O_PATH`) of the directory at `path`; makes what is missing on the way, mode 0755. A symbolic link whose target
    /// is missing gets its target made, inside the root.
    pub(crate) fn make_directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.make(path, MAX_LINKS)
    }

    fn make(&self, path: &Path, links: u32) -> Result<OwnedFd, Errno> {
        match self.open(path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {}
            done => return done,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().map(Path::new)) else {
            return Err(Errno::NOENT);
        };
        let directory = self.make(parent, links)?;
        match self.kernel.mkdirat(directory.as_fd(), name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        match self.kernel.open_in_root(directory.as_fd(), name, flags, Mode::empty()) {
            Err(errno @ (Errno::LOOP | Errno::NOTDIR)) => {
                // Not what was made: something else was there already, and `path` leads nowhere through it. Only a link can.
                let Ok(target) = self.kernel.readlinkat(directory.as_fd(), name) else { return Err(errno) };
                let links = links.checked_sub(1).ok_or(Errno::LOOP)?;
                // Not worked out on the text: the kernel knows what `..` means behind the links of `parent`.
                self.make(&parent.join(target), links)
            }
            done => done,
        }
    }

    /// The directory that holds the last component of `path`, and that component. Makes what is missing on the way.
    pub(crate) fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p Path), Errno> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().map(Path::new)) else {
            return Err(Errno::EXIST);
        };
        Ok((self.make_directory(parent)?, name))
    }

    /// A descriptor of the file at `path`, made empty if it is missing, mode 0644.
    pub(crate) fn make_file(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.make_empty(path, MAX_LINKS)
    }

    fn make_empty(&self, path: &Path, links: u32) -> Result<OwnedFd, Errno> {
        let (directory, name) = self.parent(path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDONLY;
        match self.kernel.open_in_root(directory.as_fd(), name, flags, Mode::from_raw_mode(0o644)) {
            Err(Errno::EXIST) => {
                // A symbolic link without a target, or a file that somebody has made just now.
                match self.kernel.readlinkat(directory.as_fd(), name) {
                    Ok(target) => {
                        let links = links.checked_sub(1).ok_or(Errno::LOOP)?;
                        self.make_empty(&path.parent().unwrap_or(path).join(target), links)
                    }
                    Err(_) => self.open(path, OFlags::PATH),
                }
            }
            done => done,
        }
    }
}

/// `/proc/self/fd`; none where there is no procfs.
pub(crate) fn descriptors(kernel: &dyn Kernel) -> Result<Option<OwnedFd>, Error> {
    let doing = || "opening /proc/self/fd";
    let opened = kernel.open(Path::new("/proc/self/fd"), OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
    if matches!(opened, Err(Errno::NOENT | Errno::NOTDIR)) {
        log::debug!("no device and no file can be reopened: there is no /proc/self/fd");
        return Ok(None);
    }
    let opened = opened.doing(doing)?;
    Ok(is_procfs(kernel, opened.as_fd()).doing(doing)?.then_some(opened))
}

/// The mounts that the init sees, while `/proc` is still the host's.
pub(crate) fn mounts(kernel: &dyn Kernel) -> Result<Vec<Mount>, Error> {
    let doing = || "reading /proc/self/mountinfo";
    let file = kernel.open(Path::new(mountinfo::PATH), OFlags::RDONLY, Mode::empty()).doing(doing)?;
    let table = kernel.read_to_end(file.as_fd(), LONGEST_TABLE).doing(doing)?;
    Ok(mountinfo::parse(&table).collect())
}

/// A file to mount a device on: made empty, or what is there, which is not opened since it may be any device; `ELOOP` for a symbolic
/// link, because what lies behind one is not ours to cover.
pub(crate) fn mount_point(
    kernel: &dyn Kernel,
    directory: BorrowedFd<'_>,
    name: &Path,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let make = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDONLY;
    match kernel.open_in_root(directory, name, make, mode) {
        Err(Errno::EXIST) => {}
        done => return done,
    }
    let there = kernel.open_in_root(directory, name, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    let kind = FileType::from_raw_mode(kernel.fstat(there.as_fd())?.st_mode);
    if kind == FileType::Symlink { Err(Errno::LOOP) } else { Ok(there) }
}

/// True for a character device with these numbers.
pub(crate) fn is_char_device(stat: &Stat, major: u32, minor: u32) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && cloison_linux::major(stat.st_rdev) == major
        && cloison_linux::minor(stat.st_rdev) == minor
}

/// True for the null device (major 1, minor 3), whatever its name is (CVE-2025-31133).
pub(crate) fn is_null(stat: &Stat) -> bool {
    is_char_device(stat, 1, 3)
}

/// True for what lies in a procfs.
#[allow(clippy::unnecessary_cast, reason = "the field's type differs by architecture")]
pub(crate) fn is_procfs(kernel: &dyn Kernel, fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(kernel.fstatfs(fd)?.f_type as i64 == PROC_SUPER_MAGIC)
}

/// `move_mount(2)` of a detached mount. A directory onto something else, or the other way round, is `ENOTDIR`, as it is for mount(2): the kernel
/// has the `EINVAL` of many another mistake for it, and engines look for the former to tell what is wrong.
pub(crate) fn attach(
    kernel: &dyn Kernel,
    mount: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
) -> Result<(), Errno> {
    kernel.move_mount(mount, target).map_err(|errno| {
        if errno != Errno::INVAL {
            return errno;
        }
        match (kernel.fstat(mount), kernel.fstat(target)) {
            (Ok(mount), Ok(target)) if is_directory(&mount) != is_directory(&target) => Errno::NOTDIR,
            _ => errno,
        }
    })
}

/// True for a directory.
pub(crate) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

#[cfg(test)]
mod tests;
