//! The mount API by descriptors: `open_tree(2)`, `move_mount(2)`, fsopen(2), `mount_setattr(2)`, and what
//! mount(2) alone can do.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use crate::Result;
use crate::file::proc_path;
use crate::raw::syscall;

/// What [`mount_setattr`] changes.
#[derive(Clone, Copy, Debug)]
pub struct MountAttr<'a> {
    /// Attributes to set. One of the access time modes may be among them; `RELATIME` is the mode without a
    /// bit, so name it in `clear` as `MOUNT_ATTR__ATIME` to get it.
    pub set: MountAttrFlags,
    /// Attributes to clear. `MOUNT_ATTR__ATIME` is added when `set` holds an access time mode, as the kernel
    /// demands.
    pub clear: MountAttrFlags,
    /// The new propagation, without `REC`: whether it reaches the mounts below is said by the call.
    pub propagation: Option<MountPropagationFlags>,
    /// The user namespace whose mapping the mount shall have (`MOUNT_ATTR_IDMAP`, which is set where this is
    /// given).
    pub userns: Option<BorrowedFd<'a>>,
}

impl Default for MountAttr<'_> {
    /// Changes nothing.
    fn default() -> Self {
        Self { set: MountAttrFlags::empty(), clear: MountAttrFlags::empty(), propagation: None, userns: None }
    }
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Debug, PartialEq)]
struct RawMountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

impl MountAttr<'_> {
    fn to_raw(self) -> RawMountAttr {
        let mut raw = RawMountAttr {
            set: self.set.bits().into(),
            clear: self.clear.bits().into(),
            propagation: self.propagation.map_or(0, |kind| (kind - MountPropagationFlags::REC).bits().into()),
            userns: 0,
        };
        if self.set.intersects(MountAttrFlags::MOUNT_ATTR__ATIME) {
            raw.clear |= u64::from(MountAttrFlags::MOUNT_ATTR__ATIME.bits());
        }
        if let Some(userns) = self.userns {
            raw.set |= u64::from(MountAttrFlags::MOUNT_ATTR_IDMAP.bits());
            raw.userns = u64::from(userns.as_raw_fd().unsigned_abs());
        }
        raw
    }
}

/// `open_tree(2)` of what `fd` refers to (Linux 5.2).
pub fn open_tree(fd: BorrowedFd<'_>, flags: OpenTreeFlags) -> Result<OwnedFd> {
    rustix::mount::open_tree(fd, c"", flags | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::OPEN_TREE_CLOEXEC)
}

/// `move_mount(2)` of the detached mount `from` onto what `to` refers to (Linux 5.2).
pub fn move_mount(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(from, c"", to, c"", both)
}

/// `fsopen(2)` (Linux 5.2).
pub fn fsopen(fs_type: &str) -> Result<OwnedFd> {
    rustix::mount::fsopen(fs_type, FsOpenFlags::FSOPEN_CLOEXEC)
}

/// The sentences that the kernel has left in a file system context's log, joined by `; `.
///
/// Each `read(2)` gives one, which begins with `e `, `w ` or `i ` for an error, a warning, an information.
pub fn fs_log(fs: BorrowedFd<'_>) -> String {
    let mut sentences = Vec::new();
    let mut buffer = [0; 1024];
    // The kernel keeps at most eight; the bound is against a descriptor that never ends.
    while sentences.len() < 32 {
        let Ok(length @ 1..) = rustix::io::retry_on_intr(|| rustix::io::read(fs, &mut buffer[..])) else {
            break;
        };
        let line = String::from_utf8_lossy(&buffer[..length]);
        let line = line.trim_end();
        let sentence = ["e ", "w ", "i "].iter().find_map(|level| line.strip_prefix(level)).unwrap_or(line);
        sentences.push(sentence.to_owned());
    }
    sentences.join("; ")
}

/// `fsmount(2)`: a detached mount (Linux 5.2).
pub fn fsmount(fs: BorrowedFd<'_>, flags: FsMountFlags, attributes: MountAttrFlags) -> Result<OwnedFd> {
    rustix::mount::fsmount(fs, flags | FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// `mount_setattr(2)` of the mount `fd` refers to, with all below it if `recursive` (Linux 5.12).
pub fn mount_setattr(fd: BorrowedFd<'_>, recursive: bool, attr: &MountAttr<'_>) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let raw = attr.to_raw();
    // SAFETY: the empty path and the structure outlive the call, which only reads them; the size is the
    // structure's.
    unsafe {
        syscall(
            libc::SYS_mount_setattr,
            [
                fd.as_raw_fd() as usize,
                c"".as_ptr() as usize,
                flags as usize,
                (&raw const raw) as usize,
                size_of::<RawMountAttr>(),
            ],
        )
    }?;
    Ok(())
}

/// `mount(2)` of a file system onto `/proc/self/fd/<target>`: for what the newer calls cannot express.
pub fn mount(
    source: &str,
    target: BorrowedFd<'_>,
    fs_type: &str,
    flags: MountFlags,
    data: &str,
) -> Result<()> {
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(source, proc_path(target), fs_type, flags, data.as_c_str())
}

/// `mount(2)` with `MS_REMOUNT` of `/proc/self/fd/<target>`.
pub fn remount(target: BorrowedFd<'_>, flags: MountFlags, data: &str) -> Result<()> {
    rustix::mount::mount_remount(proc_path(target), flags, data)
}

/// `umount2(2)` with `MNT_DETACH`, not following a final symbolic link.
pub fn umount_detach(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
}

/// `umount2(2)` with `MNT_DETACH` of the mount that the directory `fd` is the root of. `EINVAL` if it is none.
pub fn umount_detach_opened(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::mount::unmount(proc_path(fd), UnmountFlags::DETACH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_time_mode_clears_the_old_one() {
        let attr = MountAttr { set: MountAttrFlags::MOUNT_ATTR_NOATIME, ..MountAttr::default() };
        assert_eq!(attr.to_raw().clear, u64::from(MountAttrFlags::MOUNT_ATTR__ATIME.bits()));
        let attr = MountAttr { set: MountAttrFlags::MOUNT_ATTR_NODEV, ..MountAttr::default() };
        assert_eq!(attr.to_raw().clear, 0);
    }

    #[test]
    fn a_user_namespace_sets_the_idmap_bit() {
        let namespace = std::fs::File::open("/proc/self/ns/user").unwrap();
        let userns = std::os::fd::AsFd::as_fd(&namespace);
        let raw = MountAttr { userns: Some(userns), ..MountAttr::default() }.to_raw();
        assert_eq!(raw.set, u64::from(MountAttrFlags::MOUNT_ATTR_IDMAP.bits()));
        assert_eq!(raw.userns, u64::from(userns.as_raw_fd().unsigned_abs()));
    }
}
