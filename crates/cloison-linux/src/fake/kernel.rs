//! Each verb of the trait: recorded, then answered.

use std::ffi::CStr;
use std::fmt::Display;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use bitflags::Flags;
use rustix::fs::{FileType, Mode, OFlags, Stat, StatFs};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags};
use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::Fake;
use crate::command::{Command, Finished, Outcome};
use crate::kernel::{Kernel, Result};
use crate::landlock::{FileRights, NetworkRights, Restricted};
use crate::launch::Launch;
use crate::mount::MountAttr;
use crate::namespace::NamespaceFlags;
use crate::network::{Moved, Moving};
use crate::process::{CloneRequest, Ending, Fork};
use crate::remount::Reach;
use crate::schedule::{MemoryPolicy, SchedAttr};
use crate::socket::Message;

/// Beyond the highest pid that Linux gives, `PID_MAX_LIMIT`, so that a signal that escaped would meet nobody.
const FIRST_PID: i32 = 0x4000_0000;

/// Records `verb(arguments)` and leaves the method if it shall fail.
macro_rules! asked {
    ($self:ident, $verb:literal $(, $argument:expr)*) => {
        let arguments: &[String] = &[$($argument.to_string()),*];
        $self.call(format!("{}({})", $verb, arguments.join(", ")))?
    };
}

impl Kernel for Fake {
    fn clone3(&self, request: &CloneRequest<'_>) -> Result<Fork> {
        let cgroup = request.cgroup.map_or_else(|| "no cgroup".to_owned(), |fd| self.name(fd));
        asked!(
            self,
            "clone3",
            request.namespaces,
            cgroup,
            if request.as_sibling { "sibling" } else { "child" }
        );
        if self.state().be_child {
            return Ok(Fork::Child);
        }
        self.state().processes += 1;
        let pid = FIRST_PID + self.state().processes;
        let pidfd = self.named(format!("pidfd {}", self.state().processes))?;
        Ok(Fork::Parent { pid: Pid::from_raw(pid).ok_or(Errno::INVAL)?, pidfd })
    }

    fn setns(&self, namespace: BorrowedFd<'_>, kind: NamespaceFlags) -> Result<()> {
        asked!(self, "setns", self.name(namespace), kind);
        Ok(())
    }

    fn unshare(&self, kinds: NamespaceFlags) -> Result<()> {
        asked!(self, "unshare", kinds);
        Ok(())
    }

    fn setsid(&self) -> Result<()> {
        asked!(self, "setsid");
        Ok(())
    }

    fn prlimit(&self, pid: Option<Pid>, resource: Resource, limit: Rlimit) -> Result<()> {
        let pid = pid.map_or_else(|| "self".to_owned(), |pid| pid.as_raw_pid().to_string());
        let show =
            |value: Option<u64>| value.map_or_else(|| "unlimited".to_owned(), |value| value.to_string());
        asked!(self, "prlimit", pid, debug(resource), show(limit.current), show(limit.maximum));
        Ok(())
    }

    fn getpid(&self) -> Pid {
        // A call that cannot fail.
        let _ = self.call("getpid()".to_owned());
        Pid::INIT
    }

    fn pidfd_open(&self, pid: Pid) -> Result<OwnedFd> {
        asked!(self, "pidfd_open", pid.as_raw_nonzero());
        self.named(format!("process {}", pid.as_raw_nonzero()))
    }

    fn pidfd_send_signal(&self, pidfd: BorrowedFd<'_>, signal: Signal) -> Result<()> {
        asked!(self, "pidfd_send_signal", self.name(pidfd), signal.as_raw());
        Ok(())
    }

    fn wait_pidfd(&self, pidfd: BorrowedFd<'_>) -> Result<Ending> {
        asked!(self, "wait_pidfd", self.name(pidfd));
        Ok(Ending::Exited(0))
    }

    fn pidfd_pid(&self, pidfd: BorrowedFd<'_>) -> Result<Pid> {
        asked!(self, "pidfd_pid", self.name(pidfd));
        Pid::from_raw(FIRST_PID).ok_or(Errno::SRCH)
    }

    fn set_dumpable(&self, dumpable: bool) -> Result<()> {
        asked!(self, "set_dumpable", dumpable);
        Ok(())
    }

    fn set_parent_death_signal(&self, signal: Option<Signal>) -> Result<()> {
        asked!(self, "set_parent_death_signal", signal.map_or(0, Signal::as_raw));
        Ok(())
    }

    fn sched_setaffinity(&self, cpus: &[u32]) -> Result<()> {
        asked!(self, "sched_setaffinity", debug(cpus));
        Ok(())
    }

    fn reset_affinity(&self) -> Result<()> {
        asked!(self, "reset_affinity");
        Ok(())
    }

    fn sched_setattr(&self, attr: &SchedAttr) -> Result<()> {
        asked!(self, "sched_setattr", debug(attr));
        Ok(())
    }

    fn ioprio_set(&self, class: u8, level: u8) -> Result<()> {
        asked!(self, "ioprio_set", class, level);
        Ok(())
    }

    fn personality(&self, persona: u32) -> Result<()> {
        asked!(self, "personality", format!("{persona:#x}"));
        Ok(())
    }

    fn set_mempolicy(&self, policy: &MemoryPolicy) -> Result<()> {
        asked!(self, "set_mempolicy", format!("{:#x}", policy.mode), debug(&policy.nodes));
        Ok(())
    }

    fn join_session_keyring(&self, name: &CStr) -> Result<i32> {
        asked!(self, "join_session_keyring", debug(name));
        Ok(1)
    }

    fn keyring_permissions(&self, serial: i32, and: u32, or: u32) -> Result<()> {
        asked!(self, "keyring_permissions", serial, format!("{and:#x}"), format!("{or:#x}"));
        Ok(())
    }

    fn landlock_ruleset(&self, restricted: &Restricted) -> Result<OwnedFd> {
        let Restricted { files, network, scopes } = restricted;
        asked!(self, "landlock_ruleset", names(*files), names(*network), names(*scopes));
        self.named("ruleset")
    }

    fn landlock_allow_beneath(
        &self,
        ruleset: BorrowedFd<'_>,
        beneath: BorrowedFd<'_>,
        rights: FileRights,
    ) -> Result<()> {
        asked!(self, "landlock_allow_beneath", self.name(ruleset), self.name(beneath), names(rights));
        Ok(())
    }

    fn landlock_allow_port(&self, ruleset: BorrowedFd<'_>, port: u16, rights: NetworkRights) -> Result<()> {
        asked!(self, "landlock_allow_port", self.name(ruleset), port, names(rights));
        Ok(())
    }

    fn landlock_restrict_self(&self, ruleset: BorrowedFd<'_>) -> Result<()> {
        asked!(self, "landlock_restrict_self", self.name(ruleset));
        Ok(())
    }

    fn umask(&self, mask: u32) -> u32 {
        // A call that cannot fail.
        let _ = self.call(format!("umask({mask:#o})"));
        0o027
    }

    fn become_ids(&self, uid: u32, gid: u32, drop_groups: bool) -> Result<()> {
        asked!(self, "become_ids", uid, gid, if drop_groups { "no groups" } else { "same groups" });
        Ok(())
    }

    fn set_fs_ids(&self, uid: u32, gid: u32) {
        // A call that cannot fail.
        let _ = self.call(format!("set_fs_ids({uid}, {gid})"));
    }

    /// Ends at once, with the status that [`set_status`](Fake::set_status) gave.
    fn run_command(&self, command: &Command<'_>) -> Result<Finished> {
        let place = command.directory.map_or_else(|| "the caller's directory".to_owned(), |fd| self.name(fd));
        let mask =
            command.umask.map_or_else(|| "the caller's umask".to_owned(), |mask| format!("umask {mask:#o}"));
        let input = String::from_utf8_lossy(command.input).into_owned();
        asked!(self, "run_command", debug(command.path), debug(command.args), place, mask, input);
        let outcome = Outcome::Ended(Ending::Exited(self.state().status));
        Ok(Finished { outcome, stdout: Vec::new(), stderr: b"the fake's last words\n".to_vec() })
    }

    /// Where it was not told to fail, it gives `ECANCELED`, since it must come back.
    fn launch(&self, launch: Launch) -> Errno {
        self.call(format!("launch({launch})")).err().unwrap_or(Errno::CANCELED)
    }

    fn sethostname(&self, name: &str) -> Result<()> {
        asked!(self, "sethostname", debug(name));
        Ok(())
    }

    fn setdomainname(&self, name: &str) -> Result<()> {
        asked!(self, "setdomainname", debug(name));
        Ok(())
    }

    fn loopback_up(&self) -> Result<()> {
        asked!(self, "loopback_up");
        Ok(())
    }

    fn move_network_device(&self, name: &str, inside: &str, namespace: BorrowedFd<'_>) -> Moving<Moved> {
        asked!(self, "move_network_device", name, inside, self.name(namespace));
        Ok(Moved::named(name, inside))
    }

    fn return_network_device(&self, moved: &Moved, namespace: BorrowedFd<'_>) -> Moving<()> {
        asked!(self, "return_network_device", moved.inside, moved.name, self.name(namespace));
        Ok(())
    }

    fn open(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        asked!(self, "open", debug(path), names(flags), octal(mode));
        self.named(path.display().to_string())
    }

    fn open_in_root(&self, root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        asked!(self, "open_in_root", self.name(root), debug(path), names(flags), octal(mode));
        self.named(self.below(root, path))
    }

    fn open_without_links(
        &self,
        root: BorrowedFd<'_>,
        path: &Path,
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd> {
        asked!(self, "open_without_links", self.name(root), debug(path), names(flags), octal(mode));
        self.named(self.below(root, path))
    }

    fn open_beneath(&self, dir: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        asked!(self, "open_beneath", self.name(dir), debug(path), names(flags), octal(mode));
        self.named(self.below(dir, path))
    }

    fn reopen(&self, descriptors: BorrowedFd<'_>, fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd> {
        asked!(self, "reopen", self.name(descriptors), self.name(fd), names(flags));
        self.named(self.name(fd))
    }

    fn mkdirat(&self, dir: BorrowedFd<'_>, name: &Path, mode: Mode) -> Result<()> {
        asked!(self, "mkdirat", self.name(dir), debug(name), octal(mode));
        Ok(())
    }

    fn mknodat(
        &self,
        dir: BorrowedFd<'_>,
        name: &Path,
        kind: FileType,
        mode: Mode,
        device: u64,
    ) -> Result<()> {
        let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        asked!(self, "mknodat", self.name(dir), debug(name), debug(kind), octal(mode), device);
        Ok(())
    }

    fn symlinkat(&self, target: &Path, dir: BorrowedFd<'_>, name: &Path) -> Result<()> {
        asked!(self, "symlinkat", debug(target), self.name(dir), debug(name));
        Ok(())
    }

    fn unlinkat(&self, dir: BorrowedFd<'_>, name: &Path, directory: bool) -> Result<()> {
        asked!(self, "unlinkat", self.name(dir), debug(name), if directory { "directory" } else { "file" });
        Ok(())
    }

    fn readlinkat(&self, dir: BorrowedFd<'_>, name: &Path) -> Result<PathBuf> {
        asked!(self, "readlinkat", self.name(dir), debug(name));
        let link = self.below(dir, name);
        self.state().links.get(&link).cloned().ok_or(Errno::INVAL)
    }

    fn fstat(&self, fd: BorrowedFd<'_>) -> Result<Stat> {
        asked!(self, "fstat", self.name(fd));
        let told = self.state_of(fd, |state| &state.stats);
        Ok(told.unwrap_or_else(|| super::stat(FileType::Directory, 0o755, 0)))
    }

    fn fstatfs(&self, fd: BorrowedFd<'_>) -> Result<StatFs> {
        asked!(self, "fstatfs", self.name(fd));
        let mut statfs = super::statfs()?;
        if let Some(f_type) = self.state_of(fd, |state| &state.file_systems) {
            statfs.f_type = f_type.into();
        }
        Ok(statfs)
    }

    fn fchown(&self, fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()> {
        asked!(self, "fchown", self.name(fd), uid, gid);
        Ok(())
    }

    fn fchmod(&self, fd: BorrowedFd<'_>, mode: Mode) -> Result<()> {
        asked!(self, "fchmod", self.name(fd), octal(mode));
        Ok(())
    }

    fn set_label(&self, fd: BorrowedFd<'_>, label: &str) -> Result<()> {
        asked!(self, "set_label", self.name(fd), label);
        Ok(())
    }

    fn write(&self, fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
        asked!(self, "write", self.name(fd), text(bytes));
        Ok(())
    }

    fn read_to_end(&self, fd: BorrowedFd<'_>, limit: usize) -> Result<Vec<u8>> {
        asked!(self, "read_to_end", self.name(fd), limit);
        let content = self.state_of(fd, |state| &state.contents).unwrap_or_default();
        if content.len() <= limit { Ok(content) } else { Err(Errno::FBIG) }
    }

    fn read_dir(&self, fd: BorrowedFd<'_>) -> Result<Vec<PathBuf>> {
        asked!(self, "read_dir", self.name(fd));
        Ok(self.state_of(fd, |state| &state.entries).unwrap_or_default())
    }

    fn open_tree(&self, fd: BorrowedFd<'_>, flags: OpenTreeFlags) -> Result<OwnedFd> {
        asked!(self, "open_tree", self.name(fd), names(flags));
        self.named(format!("tree of {}", self.name(fd)))
    }

    fn move_mount(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
        asked!(self, "move_mount", self.name(from), self.name(to));
        Ok(())
    }

    fn fsopen(&self, fs_type: &str) -> Result<OwnedFd> {
        asked!(self, "fsopen", debug(fs_type));
        self.named(fs_type)
    }

    fn fsconfig_string(&self, fs: BorrowedFd<'_>, key: &str, value: &str) -> Result<()> {
        asked!(self, "fsconfig_string", self.name(fs), debug(key), debug(value));
        Ok(())
    }

    fn fsconfig_flag(&self, fs: BorrowedFd<'_>, key: &str) -> Result<()> {
        asked!(self, "fsconfig_flag", self.name(fs), debug(key));
        Ok(())
    }

    fn fsconfig_create(&self, fs: BorrowedFd<'_>) -> Result<()> {
        asked!(self, "fsconfig_create", self.name(fs));
        Ok(())
    }

    fn fs_log(&self, fs: BorrowedFd<'_>) -> String {
        // A call that cannot fail.
        let _ = self.call(format!("fs_log({})", self.name(fs)));
        self.state().fs_log.clone()
    }

    fn fsmount(
        &self,
        fs: BorrowedFd<'_>,
        flags: FsMountFlags,
        attributes: MountAttrFlags,
    ) -> Result<OwnedFd> {
        asked!(self, "fsmount", self.name(fs), names(flags), names(attributes));
        self.named(format!("mount of {}", self.name(fs)))
    }

    fn mount_setattr(&self, fd: BorrowedFd<'_>, recursive: bool, attr: &MountAttr<'_>) -> Result<()> {
        let reach = if recursive { "recursive" } else { "alone" };
        let propagation = attr.propagation.map_or_else(|| "same propagation".to_owned(), names);
        let userns =
            attr.userns.map_or_else(|| "no idmap".to_owned(), |fd| format!("idmap {}", self.name(fd)));
        let (set, clear) = (format!("+{}", names(attr.set)), format!("-{}", names(attr.clear)));
        asked!(self, "mount_setattr", self.name(fd), reach, set, clear, propagation, userns);
        Ok(())
    }

    fn remount_attributes(&self, fd: BorrowedFd<'_>, reach: Reach, attr: &MountAttr<'_>) -> Result<()> {
        let reach = match reach {
            Reach::Alone => "alone",
            Reach::Recursive => "recursive",
            Reach::Reachable => "reachable",
        };
        let propagation = attr.propagation.map_or_else(|| "same propagation".to_owned(), names);
        let (set, clear) = (format!("+{}", names(attr.set)), format!("-{}", names(attr.clear)));
        asked!(self, "remount_attributes", self.name(fd), reach, set, clear, propagation);
        Ok(())
    }

    fn mount(
        &self,
        source: &str,
        target: BorrowedFd<'_>,
        fs_type: &str,
        flags: MountFlags,
        data: &str,
    ) -> Result<()> {
        asked!(self, "mount", debug(source), self.name(target), debug(fs_type), names(flags), debug(data));
        Ok(())
    }

    fn remount(&self, target: BorrowedFd<'_>, flags: MountFlags, data: &str) -> Result<()> {
        asked!(self, "remount", self.name(target), names(flags), debug(data));
        Ok(())
    }

    fn mount_propagation(&self, path: &Path, flags: MountPropagationFlags) -> Result<()> {
        asked!(self, "mount_propagation", debug(path), names(flags));
        Ok(())
    }

    fn move_root(&self) -> Result<()> {
        asked!(self, "move_root");
        Ok(())
    }

    fn umount_detach(&self, path: &Path) -> Result<()> {
        asked!(self, "umount_detach", debug(path));
        Ok(())
    }

    fn pivot_root_here(&self) -> Result<()> {
        asked!(self, "pivot_root_here");
        Ok(())
    }

    fn fchdir(&self, dir: BorrowedFd<'_>) -> Result<()> {
        asked!(self, "fchdir", self.name(dir));
        Ok(())
    }

    fn chroot_here(&self) -> Result<()> {
        asked!(self, "chroot_here");
        Ok(())
    }

    fn getcwd(&self) -> Result<PathBuf> {
        asked!(self, "getcwd");
        Ok(self.state().working_directory.clone().unwrap_or_else(|| "/".into()))
    }

    fn open_terminal(&self, master: BorrowedFd<'_>) -> Result<OwnedFd> {
        asked!(self, "open_terminal", self.name(master));
        self.named(format!("terminal of {}", self.name(master)))
    }

    fn set_window_size(&self, terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> Result<()> {
        asked!(self, "set_window_size", self.name(terminal), columns, rows);
        Ok(())
    }

    fn set_controlling_terminal(&self, terminal: BorrowedFd<'_>) -> Result<()> {
        asked!(self, "set_controlling_terminal", self.name(terminal));
        Ok(())
    }

    fn cloexec_from(&self, first: u32) -> Result<()> {
        asked!(self, "cloexec_from", first);
        Ok(())
    }

    fn dup_onto(&self, fd: BorrowedFd<'_>, number: u32) -> Result<()> {
        asked!(self, "dup_onto", self.name(fd), number);
        Ok(())
    }

    fn socketpair(&self) -> Result<(OwnedFd, OwnedFd)> {
        asked!(self, "socketpair");
        self.state().sockets += 1;
        let number = self.state().sockets;
        Ok((self.named(format!("socket {number}"))?, self.named(format!("peer of socket {number}"))?))
    }

    fn send(&self, socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let fd = fd.map_or_else(|| "no descriptor".to_owned(), |fd| self.name(fd));
        asked!(self, "send", self.name(socket), text(bytes), fd);
        Ok(())
    }

    fn receive(&self, socket: BorrowedFd<'_>) -> Result<Message> {
        asked!(self, "receive", self.name(socket));
        let end = Message { bytes: Vec::new(), fd: None };
        Ok(self.state().messages.pop_front().unwrap_or(end))
    }
}

impl Fake {
    /// The name of a path below a descriptor.
    fn below(&self, dir: BorrowedFd<'_>, path: &Path) -> String {
        let path = path.to_string_lossy();
        match path.trim_matches('/') {
            "" | "." => self.name(dir),
            path => format!("{}/{path}", self.name(dir)),
        }
    }

    /// What the test has told of a descriptor.
    fn state_of<T: Clone>(
        &self,
        fd: BorrowedFd<'_>,
        told: impl Fn(&super::State) -> &std::collections::HashMap<String, T>,
    ) -> Option<T> {
        let name = self.name(fd);
        told(&self.state()).get(&name).cloned()
    }
}

fn debug(value: impl std::fmt::Debug) -> impl Display {
    format!("{value:?}")
}

fn octal(mode: Mode) -> impl Display {
    format!("{:#o}", mode.as_raw_mode())
}

fn text(bytes: &[u8]) -> impl Display {
    format!("\"{}\"", bytes.escape_ascii())
}

/// The names of flags, as the kernel's headers have them but for prefixes: `RDONLY|NOSUID`; `0` for none.
fn names<F: Flags<Bits: bitflags::parser::WriteHex> + Copy>(flags: F) -> String {
    let mut names = String::new();
    // Writing to a string cannot fail.
    let _ = bitflags::parser::to_writer(&flags, &mut names);
    let names = names.replace(" | ", "|").replace("MOUNT_ATTR_", "");
    if names.is_empty() { "0".to_owned() } else { names }
}
