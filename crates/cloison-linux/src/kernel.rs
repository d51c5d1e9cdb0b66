//! The verbs that a container's birth needs, as one trait.
//!
//! [`Linux`](crate::Linux) asks the real kernel; [`Fake`](crate::fake::Fake) records what was asked and can
//! be told to fail at the n-th call, so that "what happens when `move_mount` gives `EPERM`" is a unit test.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, StatFs};
use rustix::mount::{FsMountFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags};
use rustix::process::{Pid, Resource, Rlimit, Signal};

use crate::command::{Command, Finished};
use crate::landlock::{FileRights, NetworkRights, Restricted};
use crate::launch::Launch;
use crate::mount::MountAttr;
use crate::namespace::NamespaceFlags;
use crate::network::{Moved, Moving};
use crate::process::{CloneRequest, Ending, Fork};
use crate::remount::Reach;
use crate::schedule::{MemoryPolicy, SchedAttr};
use crate::socket::Message;

/// What a system call gives: a value, or the errno.
pub type Result<T> = std::result::Result<T, rustix::io::Errno>;

/// System calls as the steps of a plan use them.
///
/// Each method is one system call unless it says otherwise, restarts on `EINTR`, and opens descriptors
/// close-on-exec.
pub trait Kernel {
    // ---- processes ----------------------------------------------------------------------------------------

    /// `clone3(2)` without `CLONE_VM`: returns twice.
    fn clone3(&self, request: &CloneRequest<'_>) -> Result<Fork>;
    /// `setns(2)` with the descriptor of a namespace, or with a pidfd and several kinds at once (Linux 5.8).
    fn setns(&self, namespace: BorrowedFd<'_>, kind: NamespaceFlags) -> Result<()>;
    /// `unshare(2)`.
    fn unshare(&self, kinds: NamespaceFlags) -> Result<()>;
    /// `setsid(2)`.
    fn setsid(&self) -> Result<()>;
    /// `prlimit(2)` of another process, or of the caller if `pid` is none.
    fn prlimit(&self, pid: Option<Pid>, resource: Resource, limit: Rlimit) -> Result<()>;
    /// `getpid(2)`: the caller's number in its own pid namespace.
    fn getpid(&self) -> Pid;
    /// `pidfd_open(2)` (Linux 5.3).
    fn pidfd_open(&self, pid: Pid) -> Result<OwnedFd>;
    /// `pidfd_send_signal(2)` (Linux 5.1).
    fn pidfd_send_signal(&self, pidfd: BorrowedFd<'_>, signal: Signal) -> Result<()>;
    /// Waits for the end of a child, and reaps it (`waitid(2)` with `P_PIDFD`, Linux 5.4).
    fn wait_pidfd(&self, pidfd: BorrowedFd<'_>) -> Result<Ending>;
    /// The number of a process in the pid namespace of the caller's procfs.
    fn pidfd_pid(&self, pidfd: BorrowedFd<'_>) -> Result<Pid>;
    /// `prctl(PR_SET_DUMPABLE)`.
    fn set_dumpable(&self, dumpable: bool) -> Result<()>;
    /// `prctl(PR_SET_PDEATHSIG)`.
    fn set_parent_death_signal(&self, signal: Option<Signal>) -> Result<()>;
    /// `sched_setaffinity(2)` of the caller. `cpus` is a list of CPU numbers; there is no limit of 1024.
    fn sched_setaffinity(&self, cpus: &[u32]) -> Result<()>;
    /// `sched_setaffinity(2)` of the caller to every CPU, of which the kernel takes those that its cpuset
    /// allows.
    fn reset_affinity(&self) -> Result<()>;
    /// `sched_setattr(2)` of the caller.
    fn sched_setattr(&self, attr: &SchedAttr) -> Result<()>;
    /// `ioprio_set(2)` of the caller's process group; `class` 1 to 3 (realtime, best effort, idle), `level` 0
    /// to 7.
    fn ioprio_set(&self, class: u8, level: u8) -> Result<()>;
    /// `personality(2)`.
    fn personality(&self, persona: u32) -> Result<()>;
    /// `set_mempolicy(2)`.
    fn set_mempolicy(&self, policy: &MemoryPolicy) -> Result<()>;
    /// `keyctl(KEYCTL_JOIN_SESSION_KEYRING)`: a new session keyring with this name; gives its serial number.
    fn join_session_keyring(&self, name: &CStr) -> Result<i32>;
    /// Widens the permissions of a keyring: `KEYCTL_DESCRIBE`, then `KEYCTL_SETPERM` of `(old & and) | or`.
    fn keyring_permissions(&self, serial: i32, and: u32, or: u32) -> Result<()>;
    /// `landlock_create_ruleset(2)` (Linux 5.13).
    fn landlock_ruleset(&self, restricted: &Restricted) -> Result<OwnedFd>;
    /// `landlock_add_rule(2)`: these rights on what `beneath` refers to, and on all that is below it.
    fn landlock_allow_beneath(
        &self,
        ruleset: BorrowedFd<'_>,
        beneath: BorrowedFd<'_>,
        rights: FileRights,
    ) -> Result<()>;
    /// `landlock_add_rule(2)`: these rights on a TCP port (Linux 6.7).
    fn landlock_allow_port(&self, ruleset: BorrowedFd<'_>, port: u16, rights: NetworkRights) -> Result<()>;
    /// `landlock_restrict_self(2)` of the caller, for ever.
    fn landlock_restrict_self(&self, ruleset: BorrowedFd<'_>) -> Result<()>;
    /// `umask(2)`; gives the mask from before.
    fn umask(&self, mask: u32) -> u32;
    /// `setresuid`, `setresgid` to one id each and `setgroups` to none (if `drop_groups`), as the first
    /// process of a user namespace does.
    fn become_ids(&self, uid: u32, gid: u32, drop_groups: bool) -> Result<()>;
    /// `setfsuid(2)` and `setfsgid(2)`: the identity for file access alone.
    fn set_fs_ids(&self, uid: u32, gid: u32);
    /// Runs a program of the host to its end; see [`command::run`](crate::command::run).
    fn run_command(&self, command: &Command<'_>) -> Result<Finished>;
    /// Everything between "ready" and the container's program; see [`Launch`]. Gives back only an error.
    fn launch(&self, launch: Launch) -> rustix::io::Errno;

    // ---- the machine's names ------------------------------------------------------------------------------

    /// `sethostname(2)`.
    fn sethostname(&self, name: &str) -> Result<()>;
    /// `setdomainname(2)`.
    fn setdomainname(&self, name: &str) -> Result<()>;
    /// Brings the loopback interface of the caller's network namespace up (`SIOCSIFFLAGS`, netdevice(7)).
    fn loopback_up(&self) -> Result<()>;
    /// Moves a device from the caller's network namespace into another one; see [`network::move_device`](crate::network::move_device).
    fn move_network_device(&self, name: &str, inside: &str, namespace: BorrowedFd<'_>) -> Moving<Moved>;
    /// Brings it back; see [`network::return_device`](crate::network::return_device).
    fn return_network_device(&self, moved: &Moved, namespace: BorrowedFd<'_>) -> Moving<()>;

    // ---- files --------------------------------------------------------------------------------------------

    /// `openat(2)` of a path of the host, relative to the working directory. Never for a path that an image
    /// can influence.
    fn open(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd>;
    /// `openat2(2)` with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`: `path` as a process whose root is `root`
    /// would see it. No component, symbolic link or race leads out of `root` (Linux 5.6). `EAGAIN` is tried
    /// again.
    fn open_in_root(&self, root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd>;
    /// The same with `RESOLVE_NO_SYMLINKS`: `ELOOP` where a symbolic link is on the way, or at its end.
    fn open_without_links(
        &self,
        root: BorrowedFd<'_>,
        path: &Path,
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd>;
    /// `openat2(2)` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV`:
    /// for a procfs or cgroupfs whose every component must be the kernel's own.
    fn open_beneath(&self, dir: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd>;
    /// Opens anew what `fd` refers to, with other flags, through `descriptors`, which is `/proc/self/fd` of a true procfs.
    fn reopen(&self, descriptors: BorrowedFd<'_>, fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd>;
    /// `mkdirat(2)`; `name` is a single component.
    fn mkdirat(&self, dir: BorrowedFd<'_>, name: &Path, mode: Mode) -> Result<()>;
    /// `mknodat(2)`; `name` is a single component.
    fn mknodat(
        &self,
        dir: BorrowedFd<'_>,
        name: &Path,
        kind: FileType,
        mode: Mode,
        device: u64,
    ) -> Result<()>;
    /// `symlinkat(2)`; `name` is a single component.
    fn symlinkat(&self, target: &Path, dir: BorrowedFd<'_>, name: &Path) -> Result<()>;
    /// `unlinkat(2)`; `name` is a single component.
    fn unlinkat(&self, dir: BorrowedFd<'_>, name: &Path, directory: bool) -> Result<()>;
    /// `readlinkat(2)`; an empty `name` reads the link that `dir` itself refers to.
    fn readlinkat(&self, dir: BorrowedFd<'_>, name: &Path) -> Result<PathBuf>;
    /// `fstat(2)`; also of an `O_PATH` descriptor.
    fn fstat(&self, fd: BorrowedFd<'_>) -> Result<Stat>;
    /// `fstatfs(2)`.
    fn fstatfs(&self, fd: BorrowedFd<'_>) -> Result<StatFs>;
    /// `fchownat(2)` with `AT_EMPTY_PATH`: the owner of what `fd` refers to.
    fn fchown(&self, fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()>;
    /// `fchmodat(2)` through `/proc/self/fd` for an `O_PATH` descriptor (works before `pivot_root`, when
    /// `/proc` is the host's), `fchmod(2)` otherwise.
    fn fchmod(&self, fd: BorrowedFd<'_>, mode: Mode) -> Result<()>;
    /// `setxattr(2)` of `security.selinux` of what `fd` refers to, through `/proc/self/fd`.
    fn set_label(&self, fd: BorrowedFd<'_>, label: &str) -> Result<()>;
    /// One `write(2)` of all of `bytes`; a short write is `EIO`.
    fn write(&self, fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<()>;
    /// Reads to the end, at most `limit` bytes (`EFBIG` beyond).
    fn read_to_end(&self, fd: BorrowedFd<'_>, limit: usize) -> Result<Vec<u8>>;
    /// The names in a directory, without `.` and `..`.
    fn read_dir(&self, fd: BorrowedFd<'_>) -> Result<Vec<PathBuf>>;

    // ---- mounts -------------------------------------------------------------------------------------------

    /// `open_tree(2)` (Linux 5.2) of what `fd` refers to.
    fn open_tree(&self, fd: BorrowedFd<'_>, flags: OpenTreeFlags) -> Result<OwnedFd>;
    /// `move_mount(2)` (Linux 5.2) of the detached mount `from` onto what `to` refers to.
    fn move_mount(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()>;
    /// `fsopen(2)` (Linux 5.2).
    fn fsopen(&self, fs_type: &str) -> Result<OwnedFd>;
    /// `fsconfig(FSCONFIG_SET_STRING)`; the kernel takes at most 255 bytes of value.
    fn fsconfig_string(&self, fs: BorrowedFd<'_>, key: &str, value: &str) -> Result<()>;
    /// `fsconfig(FSCONFIG_SET_FLAG)`.
    fn fsconfig_flag(&self, fs: BorrowedFd<'_>, key: &str) -> Result<()>;
    /// `fsconfig(FSCONFIG_CMD_CREATE)`.
    fn fsconfig_create(&self, fs: BorrowedFd<'_>) -> Result<()>;
    /// The sentences that the kernel has left in a file system context's log, joined by `; `. Empty where it
    /// left none.
    fn fs_log(&self, fs: BorrowedFd<'_>) -> String;
    /// `fsmount(2)`: a detached mount.
    fn fsmount(&self, fs: BorrowedFd<'_>, flags: FsMountFlags, attributes: MountAttrFlags)
    -> Result<OwnedFd>;
    /// `mount_setattr(2)` (Linux 5.12) of the mount `fd` refers to, with all below it if `recursive`.
    fn mount_setattr(&self, fd: BorrowedFd<'_>, recursive: bool, attr: &MountAttr<'_>) -> Result<()>;
    /// The same by mount(2), for kernels that lack it, and only for a mount that is attached: see
    /// [`remount_attributes`](crate::remount::remount_attributes).
    fn remount_attributes(&self, fd: BorrowedFd<'_>, reach: Reach, attr: &MountAttr<'_>) -> Result<()>;
    /// `mount(2)` of a file system onto `/proc/self/fd/<target>`: for what the newer calls cannot express.
    fn mount(
        &self,
        source: &str,
        target: BorrowedFd<'_>,
        fs_type: &str,
        flags: MountFlags,
        data: &str,
    ) -> Result<()>;
    /// `mount(2)` with `MS_REMOUNT` (and `MS_BIND` where the flags have it) of `/proc/self/fd/<target>`.
    fn remount(&self, target: BorrowedFd<'_>, flags: MountFlags, data: &str) -> Result<()>;
    /// `mount(2)` that changes the propagation of the mount at `path`, `/` or `.`.
    fn mount_propagation(&self, path: &Path, flags: MountPropagationFlags) -> Result<()>;
    /// `mount(2)` with `MS_MOVE` of `.` to `/`.
    fn move_root(&self) -> Result<()>;
    /// `umount2(2)` with `MNT_DETACH`, of `path` (`.` after `pivot_root`) or, without one, of
    /// `/proc/self/fd/<fd>`.
    fn umount_detach(&self, path: &Path) -> Result<()>;
    /// `pivot_root(".", ".")`, as `pivot_root(2)` describes.
    fn pivot_root_here(&self) -> Result<()>;
    /// `fchdir(2)`.
    fn fchdir(&self, dir: BorrowedFd<'_>) -> Result<()>;
    /// `chroot(".")`.
    fn chroot_here(&self) -> Result<()>;
    /// `getcwd(2)` as the kernel says it: not absolute (`(unreachable)…`) when the directory is outside the
    /// root.
    fn getcwd(&self) -> Result<PathBuf>;

    // ---- terminals ----------------------------------------------------------------------------------------

    /// The other side of a pseudo terminal, from its master alone: `TIOCSPTLCK`, then `TIOCGPTPEER` (Linux
    /// 4.13), `ioctl_tty(2)`.
    fn open_terminal(&self, master: BorrowedFd<'_>) -> Result<OwnedFd>;
    /// `TIOCSWINSZ`.
    fn set_window_size(&self, terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> Result<()>;
    /// `TIOCSCTTY` of a session leader.
    fn set_controlling_terminal(&self, terminal: BorrowedFd<'_>) -> Result<()>;

    // ---- descriptors and sockets --------------------------------------------------------------------------

    /// `close_range(2)` with `CLOSE_RANGE_CLOEXEC` (Linux 5.11; by `/proc/self/fd` before) from `first` on.
    fn cloexec_from(&self, first: u32) -> Result<()>;
    /// `dup3(2)` onto a number, without close-on-exec.
    fn dup_onto(&self, fd: BorrowedFd<'_>, number: u32) -> Result<()>;
    /// A pair of connected `SOCK_SEQPACKET` sockets.
    fn socketpair(&self) -> Result<(OwnedFd, OwnedFd)>;
    /// One message, with at most one descriptor (`SCM_RIGHTS`).
    fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()>;
    /// One message of at most 64 KiB; empty at the end of the stream.
    fn receive(&self, socket: BorrowedFd<'_>) -> Result<Message>;
}
