//! The real kernel.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, StatFs};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags};
use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::command::{self, Command, Finished};
use crate::kernel::{Kernel, Result};
use crate::landlock::{self, FileRights, NetworkRights, Restricted};
use crate::launch::{self, Launch};
use crate::mount::{self, MountAttr};
use crate::namespace::{self, NamespaceFlags};
use crate::network::{self, Moved, Moving};
use crate::process::{self, CloneRequest, Ending, Fork};
use crate::remount::Reach;
use crate::schedule::{self, MemoryPolicy, SchedAttr};
use crate::socket::{self, Message};
use crate::{file, keyring, terminal};

/// The running kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Linux;

impl Kernel for Linux {
    fn clone3(&self, request: &CloneRequest<'_>) -> Result<Fork> {
        process::clone3(request)
    }

    fn setns(&self, namespace: BorrowedFd<'_>, kind: NamespaceFlags) -> Result<()> {
        namespace::setns(namespace, kind)
    }

    fn unshare(&self, kinds: NamespaceFlags) -> Result<()> {
        namespace::unshare(kinds)
    }

    fn setsid(&self) -> Result<()> {
        rustix::process::setsid().map(drop)
    }

    fn prlimit(&self, pid: Option<Pid>, resource: Resource, limit: Rlimit) -> Result<()> {
        process::prlimit(pid, resource, limit)
    }

    fn getpid(&self) -> Pid {
        rustix::process::getpid()
    }

    fn pidfd_open(&self, pid: Pid) -> Result<OwnedFd> {
        process::pidfd_open(pid)
    }

    fn pidfd_send_signal(&self, pidfd: BorrowedFd<'_>, signal: Signal) -> Result<()> {
        process::send_signal(pidfd, signal)
    }

    fn wait_pidfd(&self, pidfd: BorrowedFd<'_>) -> Result<Ending> {
        process::wait_pidfd(pidfd)
    }

    fn pidfd_pid(&self, pidfd: BorrowedFd<'_>) -> Result<Pid> {
        process::pidfd_pid(pidfd)
    }

    fn set_dumpable(&self, dumpable: bool) -> Result<()> {
        process::set_dumpable(dumpable)
    }

    fn set_parent_death_signal(&self, signal: Option<Signal>) -> Result<()> {
        rustix::process::set_parent_process_death_signal(signal)
    }

    fn sched_setaffinity(&self, cpus: &[u32]) -> Result<()> {
        schedule::sched_setaffinity(cpus)
    }

    fn reset_affinity(&self) -> Result<()> {
        schedule::reset_affinity()
    }

    fn sched_setattr(&self, attr: &SchedAttr) -> Result<()> {
        schedule::sched_setattr(attr)
    }

    fn ioprio_set(&self, class: u8, level: u8) -> Result<()> {
        schedule::ioprio_set(class, level)
    }

    fn personality(&self, persona: u32) -> Result<()> {
        process::personality(persona)
    }

    fn set_mempolicy(&self, policy: &MemoryPolicy) -> Result<()> {
        schedule::set_mempolicy(policy)
    }

    fn join_session_keyring(&self, name: &CStr) -> Result<i32> {
        keyring::join_session_keyring(name)
    }

    fn keyring_permissions(&self, serial: i32, and: u32, or: u32) -> Result<()> {
        keyring::keyring_permissions(serial, and, or)
    }

    fn landlock_ruleset(&self, restricted: &Restricted) -> Result<OwnedFd> {
        landlock::create_ruleset(restricted)
    }

    fn landlock_allow_beneath(
        &self,
        ruleset: BorrowedFd<'_>,
        beneath: BorrowedFd<'_>,
        rights: FileRights,
    ) -> Result<()> {
        landlock::allow_beneath(ruleset, beneath, rights)
    }

    fn landlock_allow_port(&self, ruleset: BorrowedFd<'_>, port: u16, rights: NetworkRights) -> Result<()> {
        landlock::allow_port(ruleset, port, rights)
    }

    fn landlock_restrict_self(&self, ruleset: BorrowedFd<'_>) -> Result<()> {
        landlock::restrict_self(ruleset)
    }

    fn umask(&self, mask: u32) -> u32 {
        rustix::process::umask(Mode::from_raw_mode(mask)).as_raw_mode()
    }

    fn become_ids(&self, uid: u32, gid: u32, drop_groups: bool) -> Result<()> {
        process::become_ids(uid, gid, drop_groups)
    }

    fn set_fs_ids(&self, uid: u32, gid: u32) {
        process::set_fs_ids(uid, gid);
    }

    fn run_command(&self, command: &Command<'_>) -> Result<Finished> {
        command::run(command)
    }

    fn launch(&self, launch: Launch) -> Errno {
        launch::launch(&launch)
    }

    fn sethostname(&self, name: &str) -> Result<()> {
        rustix::system::sethostname(name.as_bytes())
    }

    fn setdomainname(&self, name: &str) -> Result<()> {
        rustix::system::setdomainname(name.as_bytes())
    }

    fn loopback_up(&self) -> Result<()> {
        network::loopback_up()
    }

    fn move_network_device(&self, name: &str, inside: &str, namespace: BorrowedFd<'_>) -> Moving<Moved> {
        network::move_device(name, inside, namespace)
    }

    fn return_network_device(&self, moved: &Moved, namespace: BorrowedFd<'_>) -> Moving<()> {
        network::return_device(moved, namespace)
    }

    fn open(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        file::open(path, flags, mode)
    }

    fn open_in_root(&self, root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        file::open_in_root(root, path, flags, mode)
    }

    fn open_without_links(
        &self,
        root: BorrowedFd<'_>,
        path: &Path,
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd> {
        file::open_without_links(root, path, flags, mode)
    }

    fn open_beneath(&self, dir: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        file::open_beneath(dir, path, flags, mode)
    }

    fn reopen(&self, descriptors: BorrowedFd<'_>, fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd> {
        file::reopen_through(descriptors, fd, flags)
    }

    fn mkdirat(&self, dir: BorrowedFd<'_>, name: &Path, mode: Mode) -> Result<()> {
        rustix::fs::mkdirat(dir, name, mode)
    }

    fn mknodat(
        &self,
        dir: BorrowedFd<'_>,
        name: &Path,
        kind: FileType,
        mode: Mode,
        device: u64,
    ) -> Result<()> {
        rustix::fs::mknodat(dir, name, kind, mode, device)
    }

    fn symlinkat(&self, target: &Path, dir: BorrowedFd<'_>, name: &Path) -> Result<()> {
        rustix::fs::symlinkat(target, dir, name)
    }

    fn unlinkat(&self, dir: BorrowedFd<'_>, name: &Path, directory: bool) -> Result<()> {
        file::unlinkat(dir, name, directory)
    }

    fn readlinkat(&self, dir: BorrowedFd<'_>, name: &Path) -> Result<PathBuf> {
        file::readlinkat(dir, name)
    }

    fn fstat(&self, fd: BorrowedFd<'_>) -> Result<Stat> {
        rustix::fs::fstat(fd)
    }

    fn fstatfs(&self, fd: BorrowedFd<'_>) -> Result<StatFs> {
        rustix::fs::fstatfs(fd)
    }

    fn fchown(&self, fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()> {
        file::fchown(fd, uid, gid)
    }

    fn fchmod(&self, fd: BorrowedFd<'_>, mode: Mode) -> Result<()> {
        file::fchmod(fd, mode)
    }

    fn set_label(&self, fd: BorrowedFd<'_>, label: &str) -> Result<()> {
        file::set_label(fd, label)
    }

    fn write(&self, fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
        file::write(fd, bytes)
    }

    fn read_to_end(&self, fd: BorrowedFd<'_>, limit: usize) -> Result<Vec<u8>> {
        file::read_to_end(fd, limit)
    }

    fn read_dir(&self, fd: BorrowedFd<'_>) -> Result<Vec<PathBuf>> {
        file::read_dir(fd)
    }

    fn open_tree(&self, fd: BorrowedFd<'_>, flags: OpenTreeFlags) -> Result<OwnedFd> {
        mount::open_tree(fd, flags)
    }

    fn move_mount(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
        mount::move_mount(from, to)
    }

    fn fsopen(&self, fs_type: &str) -> Result<OwnedFd> {
        mount::fsopen(fs_type)
    }

    fn fsconfig_string(&self, fs: BorrowedFd<'_>, key: &str, value: &str) -> Result<()> {
        rustix::mount::fsconfig_set_string(fs, key, value)
    }

    fn fsconfig_flag(&self, fs: BorrowedFd<'_>, key: &str) -> Result<()> {
        rustix::mount::fsconfig_set_flag(fs, key)
    }

    fn fsconfig_create(&self, fs: BorrowedFd<'_>) -> Result<()> {
        rustix::mount::fsconfig_create(fs)
    }

    fn fs_log(&self, fs: BorrowedFd<'_>) -> String {
        mount::fs_log(fs)
    }

    fn fsmount(
        &self,
        fs: BorrowedFd<'_>,
        flags: FsMountFlags,
        attributes: MountAttrFlags,
    ) -> Result<OwnedFd> {
        mount::fsmount(fs, flags, attributes)
    }

    fn mount_setattr(&self, fd: BorrowedFd<'_>, recursive: bool, attr: &MountAttr<'_>) -> Result<()> {
        mount::mount_setattr(fd, recursive, attr)
    }

    fn remount_attributes(&self, fd: BorrowedFd<'_>, reach: Reach, attr: &MountAttr<'_>) -> Result<()> {
        crate::remount::remount_attributes(fd, reach, attr)
    }

    fn mount(
        &self,
        source: &str,
        target: BorrowedFd<'_>,
        fs_type: &str,
        flags: MountFlags,
        data: &str,
    ) -> Result<()> {
        mount::mount(source, target, fs_type, flags, data)
    }

    fn remount(&self, target: BorrowedFd<'_>, flags: MountFlags, data: &str) -> Result<()> {
        mount::remount(target, flags, data)
    }

    fn mount_propagation(&self, path: &Path, flags: MountPropagationFlags) -> Result<()> {
        rustix::mount::mount_change(path, flags)
    }

    fn move_root(&self) -> Result<()> {
        rustix::mount::mount_move(c".", c"/")
    }

    fn umount_detach(&self, path: &Path) -> Result<()> {
        mount::umount_detach(path)
    }

    fn pivot_root_here(&self) -> Result<()> {
        rustix::process::pivot_root(c".", c".")
    }

    fn fchdir(&self, dir: BorrowedFd<'_>) -> Result<()> {
        rustix::process::fchdir(dir)
    }

    fn chroot_here(&self) -> Result<()> {
        rustix::process::chroot(c".")
    }

    fn getcwd(&self) -> Result<PathBuf> {
        file::getcwd()
    }

    fn open_terminal(&self, master: BorrowedFd<'_>) -> Result<OwnedFd> {
        terminal::open_terminal(master)
    }

    fn set_window_size(&self, terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> Result<()> {
        terminal::set_window_size(terminal, columns, rows)
    }

    fn set_controlling_terminal(&self, terminal: BorrowedFd<'_>) -> Result<()> {
        terminal::set_controlling_terminal(terminal)
    }

    fn cloexec_from(&self, first: u32) -> Result<()> {
        file::cloexec_from(first)
    }

    fn dup_onto(&self, fd: BorrowedFd<'_>, number: u32) -> Result<()> {
        file::dup_onto(fd, number)
    }

    fn socketpair(&self) -> Result<(OwnedFd, OwnedFd)> {
        socket::pair()
    }

    fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
        socket::send(socket, bytes, fd)
    }

    fn receive(&self, socket: BorrowedFd<'_>) -> Result<Message> {
        socket::receive(socket)
    }
}
