//! What stands between the container and the host, beside its root file system.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::{Errno, FsMountFlags, Kernel, Mode, MountAttrFlags, OFlags};

use super::error::{Doing, Error};
use crate::plan::labels::ExecLabel;
use crate::spec::sysctl_path;

/// The host's procfs, while nothing of the container's can be in its place.
pub(super) fn host_procfs(kernel: &dyn Kernel) -> Result<OwnedFd, Error> {
    let doing = || "opening /proc for the attributes of security modules";
    let procfs =
        kernel.open(Path::new("/proc"), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).doing(doing)?;
    if super::rootfs::is_procfs(kernel, procfs.as_fd()).doing(doing)? {
        return Ok(procfs);
    }
    Err(Error::Refused("/proc is not a procfs: no label could be set".to_owned()))
}

/// Keys that are made from now on get this label; `execve` ends that.
pub(super) fn key_label(kernel: &dyn Kernel, procfs: &OwnedFd, label: &str) -> Result<(), Error> {
    let doing = || format!("writing the SELinux label {label} to /proc/self/attr/keycreate");
    write_attribute(kernel, procfs, &["attr/selinux/keycreate", "attr/keycreate"], label).doing(doing)
}

/// The next `execve` changes to this label.
pub(super) fn exec_label(kernel: &dyn Kernel, procfs: &OwnedFd, label: &ExecLabel) -> Result<(), Error> {
    match label {
        ExecLabel::AppArmor(profile) => {
            let doing =
                || format!("apparmor failed to apply profile: writing {profile:?} to /proc/self/attr/exec");
            let files = ["attr/apparmor/exec", "attr/exec"];
            write_attribute(kernel, procfs, &files, &format!("exec {profile}")).doing(doing)
        }
        ExecLabel::SeLinux(label) => {
            let doing = || format!("can't set process label: writing {label:?} to /proc/self/attr/exec");
            write_attribute(kernel, procfs, &["attr/selinux/exec", "attr/exec"], label).doing(doing)
        }
    }
}

/// Writes to the first of these files of the caller's own directory that is there. Each must be the kernel's own.
fn write_attribute(kernel: &dyn Kernel, procfs: &OwnedFd, files: &[&str], value: &str) -> Result<(), Errno> {
    let own = kernel.readlinkat(procfs.as_fd(), Path::new("self"))?;
    let mut opened = Err(Errno::NOENT);
    for file in files {
        opened = kernel.open_beneath(procfs.as_fd(), &own.join(file), OFlags::WRONLY, Mode::empty());
        if !matches!(opened, Err(Errno::NOENT)) {
            break;
        }
    }
    kernel.write(opened?.as_fd(), value.as_bytes())
}

/// Enters an existing namespace.
pub(super) fn join_namespace(kernel: &dyn Kernel, kind: NamespaceFlags, path: &Path) -> Result<(), Error> {
    let doing = || format!("joining the {kind} namespace {}", path.display());
    let namespace = kernel.open(path, OFlags::RDONLY, Mode::empty()).doing(doing)?;
    kernel.setns(namespace.as_fd(), kind).doing(doing)
}

/// Where a process says how the clocks of the time namespace differ that its children are to be in (`time_namespaces(7)`).
pub(crate) const TIME_OFFSETS: &str = "/proc/self/timens_offsets";

/// Makes a time namespace for the caller's children (Linux 5.6). `file` is [`TIME_OFFSETS`], where it had to be opened before.
///
/// # Errors
/// What was being done, and what the kernel says.
pub(crate) fn new_clocks(
    kernel: &dyn Kernel,
    offsets: &[(&'static str, i64, u32)],
    file: Option<OwnedFd>,
) -> Result<(), (&'static str, Errno)> {
    kernel.unshare(NamespaceFlags::TIME).map_err(|errno| ("making a time namespace", errno))?;
    if offsets.is_empty() {
        return Ok(());
    }
    let written =
        file.map_or_else(|| kernel.open(Path::new(TIME_OFFSETS), OFlags::WRONLY, Mode::empty()), Ok);
    let lines: Vec<_> =
        offsets.iter().map(|(clock, secs, nanos)| format!("{clock} {secs} {nanos}")).collect();
    let written = written.and_then(|file| kernel.write(file.as_fd(), lines.join("\n").as_bytes()));
    written.map_err(|errno| ("writing /proc/self/timens_offsets", errno))
}

/// Makes a time namespace and enters it. Before the ids change: afterwards `/proc/self` belongs to the host's root.
pub(super) fn enter_new_clocks(
    kernel: &dyn Kernel,
    offsets: &[(&'static str, i64, u32)],
) -> Result<(), Error> {
    let made = new_clocks(kernel, offsets, None);
    made.map_err(|(doing, errno)| Error::Call { doing: doing.to_owned(), errno })?;
    let path = Path::new("/proc/self/ns/time_for_children");
    let namespace = kernel.open(path, OFlags::RDONLY, Mode::empty());
    let entered = namespace.and_then(|namespace| kernel.setns(namespace.as_fd(), NamespaceFlags::TIME));
    entered.doing(|| "entering the new time namespace")
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
