//! Attributes and propagation of mounts: by `mount_setattr(2)` while a mount is detached, or, before Linux 5.12, by `mount(2)` once it is
//! attached. Until the program begins nobody else is in a new mount namespace, who could use a mount in between; for one that is joined, and for
//! copies that a shared target makes elsewhere, that does not hold (SECURITY.md, "What is not guarded").

use std::os::fd::BorrowedFd;
use std::path::Path;

use cloison_linux::mount::MountAttr;
use cloison_linux::remount::Reach;
use cloison_linux::{Errno, Kernel, MountAttrFlags, MountPropagationFlags};

use super::attach;
use crate::init::error::{Doing, Error};
use crate::plan::mount_options::Attributes;

/// The attributes that a bind mount takes over from its source if nothing is said.
const INHERITED: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC)
    .union(MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW);

/// What a mount gets before it is used, in order.
#[derive(Debug, Default)]
pub(super) struct Changes(Vec<Change>);

#[derive(Debug)]
struct Change {
    attributes: Attributes,
    reach: Reach,
    /// Whether what the source's mount has is taken away as far as that may be.
    of_bind: bool,
    /// What is being done, for the sake of errors.
    doing: String,
}

impl Changes {
    /// As soon as one attribute is asked for, the mount has those and no others, like a bind remount of mount(8). Attributes that a
    /// user namespace may not take away from its parent's mount stay, unless they were to be cleared by name. (`MOUNT_ATTR_NOSYMFOLLOW` is
    /// none of those, `mount_namespaces(7)`.)
    pub(super) fn of_bind(&mut self, attributes: Attributes, source: &Path) {
        let doing = format!("setting the attributes of the bind mount of {}", source.display());
        self.0.push(Change { attributes, reach: Reach::Alone, of_bind: true, doing });
    }

    /// The mount, and all below it, loses these rights, and gets none.
    pub(super) fn restrict(&mut self, attributes: MountAttrFlags, reach: Reach, source: &Path) {
        let attributes = Attributes { set: attributes & INHERITED, clear: MountAttrFlags::empty() };
        let doing = format!("restricting the mounts of {}", source.display());
        self.0.push(Change { attributes, reach, of_bind: false, doing });
    }

    /// What `ro`, `rro` and the like say of the mount and all below it.
    pub(super) fn all_below(&mut self, attributes: Attributes, reach: Reach, destination: &Path) {
        let doing = format!("setting the recursive attributes of {}", destination.display());
        self.0.push(Change { attributes, reach, of_bind: false, doing });
    }

    /// No symbolic link is followed in it.
    pub(super) fn no_symlinks(&mut self, destination: &Path) {
        let attributes =
            Attributes { set: MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW, clear: MountAttrFlags::empty() };
        let doing = format!("setting nosymfollow of {}", destination.display());
        self.0.push(Change { attributes, reach: Reach::Alone, of_bind: false, doing });
    }

    /// The mount itself becomes read-only.
    pub(super) fn read_only(&mut self, path: &Path) {
        let attributes =
            Attributes { set: MountAttrFlags::MOUNT_ATTR_RDONLY, clear: MountAttrFlags::empty() };
        let doing = format!("making {} read-only", path.display());
        self.0.push(Change { attributes, reach: Reach::Alone, of_bind: false, doing });
    }

    /// Makes the changes to a detached mount, and attaches it.
    pub(super) fn set_and_attach(
        &self,
        kernel: &dyn Kernel,
        mount: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        path: &Path,
    ) -> Result<(), Error> {
        let done = self.set_detached(kernel, mount)?;
        attach(kernel, mount, target)
            .doing(|| format!("attaching the mount to {} in the root file system", path.display()))?;
        if done { Ok(()) } else { self.set_attached(kernel, mount) }
    }

    /// Makes the changes to a detached mount. False where this kernel can only make them once it is attached.
    fn set_detached(&self, kernel: &dyn Kernel, mount: BorrowedFd<'_>) -> Result<bool, Error> {
        for change in self.0.iter().filter(|change| !change.attributes.is_empty()) {
            match change.set(&|reach, attr| {
                let done = kernel.mount_setattr(mount, reach != Reach::Alone, attr);
                done.map_err(|errno| if is_lacking(errno, attr) { Errno::NOSYS } else { errno })
            }) {
                Err(Errno::NOSYS) => return Ok(false),
                done => done.doing(|| change.doing.clone())?,
            }
        }
        Ok(true)
    }

    /// Makes the changes to a mount that is attached.
    fn set_attached(&self, kernel: &dyn Kernel, mount: BorrowedFd<'_>) -> Result<(), Error> {
        for change in self.0.iter().filter(|change| !change.attributes.is_empty()) {
            change.set(&|reach, attr| set(kernel, mount, reach, attr)).doing(|| change.doing.clone())?;
        }
        Ok(())
    }
}

impl Change {
    fn set(&self, set: &dyn Fn(Reach, &MountAttr<'_>) -> Result<(), Errno>) -> Result<(), Errno> {
        let asked = self.attributes;
        let set = |clear| set(self.reach, &MountAttr { set: asked.set, clear, ..MountAttr::default() });
        if !self.of_bind {
            return set(asked.clear);
        }
        match set(asked.clear | (INHERITED - asked.set)) {
            Err(Errno::PERM) => set(asked.clear | (MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW - asked.set)),
            done => done,
        }
    }
}

/// Whether an error says that the kernel is too old: it has `mount_setattr(2)` since 5.12, and `nosymfollow` in it since 5.14.
fn is_lacking(errno: Errno, attr: &MountAttr<'_>) -> bool {
    let names = (attr.set | attr.clear).contains(MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW);
    errno == Errno::NOSYS || (errno == Errno::INVAL && names)
}

/// `mount_setattr(2)` of a mount that is attached, or what does the same.
fn set(kernel: &dyn Kernel, mount: BorrowedFd<'_>, reach: Reach, attr: &MountAttr<'_>) -> Result<(), Errno> {
    match kernel.mount_setattr(mount, reach != Reach::Alone, attr) {
        Err(errno) if is_lacking(errno, attr) => kernel.remount_attributes(mount, reach, attr),
        done => done,
    }
}

/// Sets attributes of an attached mount and all below it.
pub(super) fn set_all(
    kernel: &dyn Kernel,
    mount: BorrowedFd<'_>,
    attributes: Attributes,
) -> Result<(), Errno> {
    if attributes.is_empty() {
        return Ok(());
    }
    set(
        kernel,
        mount,
        Reach::Recursive,
        &MountAttr { set: attributes.set, clear: attributes.clear, ..MountAttr::default() },
    )
}

/// After the mount is attached, since attaching below a shared mount would share it again.
pub(super) fn propagate(
    kernel: &dyn Kernel,
    mount: BorrowedFd<'_>,
    changes: &[MountPropagationFlags],
    path: &Path,
) -> Result<(), Error> {
    for change in changes {
        let recursive = change.contains(MountPropagationFlags::REC);
        let reach = if recursive { Reach::Recursive } else { Reach::Alone };
        let propagation = Some(*change - MountPropagationFlags::REC);
        set(kernel, mount, reach, &MountAttr { propagation, ..MountAttr::default() })
            .doing(|| format!("changing the propagation of {}", path.display()))?;
    }
    Ok(())
}

/// Makes an attached mount read-only, whatever else it is.
pub(crate) fn make_read_only(kernel: &dyn Kernel, mount: BorrowedFd<'_>) -> Result<(), Errno> {
    let set_it = MountAttr { set: MountAttrFlags::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
    set(kernel, mount, Reach::Alone, &set_it)
}
