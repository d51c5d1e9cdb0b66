//! What stands between the container and the host, beside its root file system.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::{Errno, FsMountFlags, Kernel, Mode, MountAttrFlags, OFlags};

use super::error::{Doing, Error};
use crate::spec::sysctl_path;

/// Enters an existing namespace.
pub(super) fn join_namespace(kernel: &dyn Kernel, kind: NamespaceFlags, path: &Path) -> Result<(), Error> {
    let doing = || format!("joining the {kind} namespace {}", path.display());
    let namespace = kernel.open(path, OFlags::RDONLY, Mode::empty()).doing(doing)?;
    kernel.setns(namespace.as_fd(), kind).doing(doing)
}

/// Root of the user namespace that was made or entered, without the groups from before.
pub(super) fn become_root(kernel: &dyn Kernel) -> Result<(), Error> {
    let doing = || "becoming root in the user namespace";
    match kernel.become_ids(0, 0, true) {
        // setgroups is denied where an unprivileged user made the maps (user_namespaces(7)).
        Err(Errno::PERM) => kernel.become_ids(0, 0, false).doing(doing),
        done => done.doing(doing),
    }
}

/// Enters the cgroup of each `tasks` file. A process that writes `0` there moves itself, for which the kernel need not stop all
/// others, as it must for another's number.
pub(super) fn join_cgroup(kernel: &dyn Kernel, tasks: &[BorrowedFd<'_>]) -> Result<(), Error> {
    tasks.iter().try_for_each(|file| kernel.write(*file, b"0")).doing(|| "joining the container's cgroup")
}

/// A new session keyring, which whoever has its key may search. A kernel without keyrings has nothing to keep apart.
pub(super) fn session_keyring(kernel: &dyn Kernel, name: &CStr, permissions: u32) -> Result<(), Error> {
    match kernel.join_session_keyring(name) {
        Err(Errno::NOSYS) => {
            log::debug!("no session keyring: this kernel has no keyrings");
            Ok(())
        }
        joined => {
            let serial = joined.doing(|| "joining a new session keyring")?;
            kernel
                .keyring_permissions(serial, u32::MAX, permissions)
                .doing(|| "setting the session keyring's permissions")
        }
    }
}

/// The session keyring of this name, which is the container's, or a new one if that has gone.
pub(super) fn join_session_keyring(kernel: &dyn Kernel, name: &CStr) -> Result<(), Error> {
    match kernel.join_session_keyring(name) {
        Err(Errno::NOSYS) => {
            log::debug!("no session keyring: this kernel has no keyrings");
            Ok(())
        }
        joined => joined.map(drop).doing(|| "joining the container's session keyring"),
    }
}

/// Writes one sysctl, in a procfs of our own that nobody else can have mounted anything into (CVE-2025-52881).
pub(super) fn sysctl(kernel: &dyn Kernel, procfs: &OwnedFd, key: &str, value: &str) -> Result<(), Error> {
    let doing = || format!("setting the sysctl {key}={value}");
    let path =
        sysctl_path(key).ok_or_else(|| Error::Refused(format!("{key:?} is not the name of a sysctl")))?;
    let path = PathBuf::from("sys").join(path);
    let file = kernel.open_beneath(procfs.as_fd(), &path, OFlags::WRONLY, Mode::empty()).doing(doing)?;
    kernel.write(file.as_fd(), value.as_bytes()).doing(doing)
}

/// A procfs of the current PID namespace, mounted nowhere.
pub(super) fn private_procfs(kernel: &dyn Kernel) -> Result<OwnedFd, Error> {
    let doing = || "mounting a private procfs";
    let context = kernel.fsopen("proc").doing(doing)?;
    kernel.fsconfig_create(context.as_fd()).doing(doing)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    kernel.fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).doing(doing)
}
