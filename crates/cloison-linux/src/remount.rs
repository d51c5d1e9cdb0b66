//! What `mount_setattr(2)` does, on kernels that lack it (before Linux 5.12): by mount(2), and so to mounts that are attached.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountFlags, MountPropagationFlags};

use crate::Result;
use crate::mount::MountAttr;
use crate::mountinfo::{self, Mount};

/// `MS_NOSYMFOLLOW` and `ST_NOSYMFOLLOW` (Linux 5.10), which rustix does not name.
const MS_NOSYMFOLLOW: u32 = 256;
const ST_NOSYMFOLLOW: u64 = 0x2000;

/// `f_type` of a procfs.
const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// Which mounts get attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// One.
    Alone,
    /// It, and all below it.
    Recursive,
    /// It, and all below it, but for those that mount(2) cannot be told of, because they are in a directory that is closed to the caller. Who asks
    /// for this sees to it that they stay out of reach.
    Reachable,
}

/// As [`mount_setattr`](crate::mount::mount_setattr), by mount(2), for a mount that is attached: `EINVAL` where it is not. The mounts below are
/// changed one after another; `EBUSY` where one of them is covered by another, so that nobody can reach it, `EACCES` where one is in a directory
/// that is closed to the caller.
///
/// `ENOSYS` for ids that are to be mapped, and for a file on which something is mounted where `/proc` is not a procfs.
pub fn remount_attributes(fd: BorrowedFd<'_>, reach: Reach, attr: &MountAttr<'_>) -> Result<()> {
    if attr.userns.is_some() || attr.set.contains(MountAttrFlags::MOUNT_ATTR_IDMAP) {
        return Err(Errno::NOSYS);
    }
    if !(attr.set | attr.clear).is_empty() {
        remount(fd, attr)?;
        let below = if reach == Reach::Alone { Vec::new() } else { below(fd, reach)? };
        for mount in below {
            remount(mount.as_fd(), attr)?;
        }
    }
    if let Some(kind) = attr.propagation {
        let kind = kind - MountPropagationFlags::REC;
        let kind = if reach == Reach::Alone { kind } else { kind | MountPropagationFlags::REC };
        at(fd, |path| rustix::mount::mount_change(path, kind))?;
    }
    Ok(())
}

/// One mount. With `MS_BIND` its attributes are changed, and not its file system's; it gets all that are named, and no others.
fn remount(fd: BorrowedFd<'_>, attr: &MountAttr<'_>) -> Result<()> {
    let now = rustix::fs::fstatvfs(fd)?.f_flag;
    let flags = MountFlags::BIND | changed(now, attr.set, attr.clear);
    at(fd, |path| rustix::mount::mount_remount(path, flags, c""))
}

/// The flags of mount(2) for a mount that has some attributes, and gets and loses others.
fn changed(now: StatVfsMountFlags, set: MountAttrFlags, clear: MountAttrFlags) -> MountFlags {
    use MountAttrFlags as Attr;
    let pairs = [
        (Attr::MOUNT_ATTR_RDONLY, StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (Attr::MOUNT_ATTR_NOSUID, StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (Attr::MOUNT_ATTR_NODEV, StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (Attr::MOUNT_ATTR_NOEXEC, StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (Attr::MOUNT_ATTR_NODIRATIME, StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (
            Attr::MOUNT_ATTR_NOSYMFOLLOW,
            StatVfsMountFlags::from_bits_retain(ST_NOSYMFOLLOW),
            MountFlags::from_bits_retain(MS_NOSYMFOLLOW),
        ),
    ];
    let has = |(attribute, told, _): &(Attr, StatVfsMountFlags, MountFlags)| {
        set.contains(*attribute) || (now.contains(*told) && !clear.contains(*attribute))
    };
    let flags = pairs.iter().filter(|pair| has(pair)).fold(MountFlags::empty(), |all, pair| all | pair.2);
    // RELATIME is the mode without a bit, both where it is set and where the others are cleared.
    let mode = if (set | clear).intersects(Attr::MOUNT_ATTR__ATIME) {
        (set.contains(Attr::MOUNT_ATTR_NOATIME), !set.contains(Attr::MOUNT_ATTR_STRICTATIME))
    } else {
        (now.contains(StatVfsMountFlags::NOATIME), now.contains(StatVfsMountFlags::RELATIME))
    };
    flags
        | match mode {
            (true, _) => MountFlags::NOATIME,
            (false, true) => MountFlags::RELATIME,
            (false, false) => MountFlags::STRICTATIME,
        }
}

/// Calls with a path that means what a descriptor refers to, and that nobody can change.
fn at(fd: BorrowedFd<'_>, call: impl FnOnce(&str) -> Result<()>) -> Result<()> {
    let before = rustix::fs::openat(CWD, c".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let is_directory = FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory;
    let entered = if is_directory { rustix::process::fchdir(fd) } else { Err(Errno::NOTDIR) };
    let name = match entered {
        Ok(()) => ".".to_owned(),
        // A file; or a directory that is closed to an ordinary user, as that of a bpf file system.
        Err(Errno::NOTDIR | Errno::ACCESS) => {
            // The container's own `/proc` may be whatever its image has there.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let descriptors = rustix::fs::openat(CWD, c"/proc/self/fd", flags, Mode::empty());
            let descriptors = descriptors.map_err(|_| Errno::NOSYS)?;
            if rustix::fs::fstatfs(&descriptors)?.f_type as u64 != PROC_SUPER_MAGIC {
                return Err(Errno::NOSYS);
            }
            rustix::process::fchdir(&descriptors)?;
            fd.as_raw_fd().to_string()
        }
        Err(errno) => return Err(errno),
    };
    let done = call(&name);
    rustix::process::fchdir(before)?;
    done
}

/// All mounts below one, those above before those below them.
fn below(fd: BorrowedFd<'_>, reach: Reach) -> Result<Vec<OwnedFd>> {
    let table = mountinfo::read()?;
    let mut known = BTreeSet::from([mountinfo::id_of(fd)?]);
    let mut found = Vec::new();
    // A mount may stand before its parent in the table, if it was moved.
    loop {
        let before = known.len();
        for Mount { id, parent, point, .. } in &table {
            if known.contains(parent) && known.insert(*id) {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mount = match rustix::fs::openat(CWD, point, flags, Mode::empty()) {
                    Err(Errno::ACCESS) if reach == Reach::Reachable => continue,
                    opened => opened?,
                };
                // Another one lies on it, or its place has another name by now.
                if mountinfo::id_of(mount.as_fd())? != *id {
                    return Err(Errno::BUSY);
                }
                found.push(mount);
            }
        }
        if known.len() == before {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays() {
        let now = StatVfsMountFlags::RDONLY | StatVfsMountFlags::NOSUID | StatVfsMountFlags::NOATIME;
        let flags = changed(now, MountAttrFlags::MOUNT_ATTR_NODEV, MountAttrFlags::MOUNT_ATTR_RDONLY);
        assert_eq!(flags, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME);
    }

    #[test]
    fn access_times_have_one_mode() {
        let (none, all) = (MountAttrFlags::empty(), MountAttrFlags::MOUNT_ATTR__ATIME);
        let mode = |now, set, clear| changed(now, set, clear);
        let relatime = StatVfsMountFlags::RELATIME;
        assert_eq!(mode(relatime, none, none), MountFlags::RELATIME);
        assert_eq!(mode(StatVfsMountFlags::empty(), none, none), MountFlags::STRICTATIME);
        assert_eq!(mode(StatVfsMountFlags::NOATIME, none, all), MountFlags::RELATIME);
        assert_eq!(mode(relatime, MountAttrFlags::MOUNT_ATTR_STRICTATIME, none), MountFlags::STRICTATIME);
        assert_eq!(mode(relatime, MountAttrFlags::MOUNT_ATTR_NOATIME, all), MountFlags::NOATIME);
    }

    #[test]
    fn ids_are_not_mapped() {
        let file = std::fs::File::open("/").unwrap();
        let attr = MountAttr { userns: Some(file.as_fd()), ..MountAttr::default() };
        assert_eq!(remount_attributes(file.as_fd(), Reach::Alone, &attr), Err(Errno::NOSYS));
    }
}
