//! Processes: made with `clone3(2)`, held by a pidfd, known by pid and start time.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{
    DumpableBehavior, Gid, Pid, PidfdFlags, Resource, Rlimit, Signal, Uid, WaitId, WaitIdOptions,
    WaitOptions, dumpable_behavior, set_dumpable_behavior,
};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::capability::CapabilitySet;
use crate::namespace::NamespaceFlags;
use crate::raw::{own, syscall};
use crate::{Result, file};

const CLONE_PIDFD: u64 = 0x0000_1000;
const CLONE_PARENT: u64 = 0x0000_8000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What [`clone3`] makes. The child is always held by a pidfd, and tells its end with `SIGCHLD`.
#[derive(Clone, Copy, Debug)]
pub struct CloneRequest<'a> {
    /// The namespaces that are made anew.
    pub namespaces: NamespaceFlags,
    /// The cgroup (v2) that the child is born into (`CLONE_INTO_CGROUP`, Linux 5.7).
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The child becomes a child of the caller's parent (`CLONE_PARENT`), which gets the signal that the
    /// caller would have sent.
    pub as_sibling: bool,
}

/// A copy, close-on-exec, of the descriptor that has this number in another process (`pidfd_getfd(2)`, Linux 5.6).
///
/// `EPERM` where the caller may not trace that process (ptrace(2)), `EBADF` where it has no such descriptor.
pub fn take_descriptor(process: BorrowedFd<'_>, number: RawFd) -> Result<OwnedFd> {
    rustix::process::pidfd_getfd(process, number, rustix::process::PidfdGetfdFlags::empty())
}

/// In which of the two processes [`clone3`] came back.
#[derive(Debug)]
pub enum Fork {
    /// In the new one.
    Child,
    /// In the one that called.
    Parent {
        /// The child, as a number in the caller's pid namespace.
        pid: Pid,
        /// The child, as a descriptor.
        pidfd: OwnedFd,
    },
}

/// `struct clone_args` of linux/sched.h as of Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `clone3(2)` without `CLONE_VM`: returns twice (Linux 5.3).
///
/// The caller must have one thread. Then the child is a full copy that may do all that its parent could.
pub fn clone3(request: &CloneRequest<'_>) -> Result<Fork> {
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: CLONE_PIDFD | u64::from(request.namespaces.bits()),
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if request.as_sibling {
        // The kernel takes over the caller's own exit signal and refuses another.
        args.flags |= CLONE_PARENT;
        args.exit_signal = 0;
    }
    if let Some(cgroup) = request.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().unsigned_abs());
    }
    // SAFETY: without CLONE_VM and with no stack given, the child goes on with a copy of everything, as after
    // fork(2). The kernel writes the pidfd to a variable that outlives the call.
    let pid = unsafe { syscall(libc::SYS_clone3, [(&raw const args) as usize, size_of::<CloneArgs>()]) }?;
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(Fork::Child) };
    // SAFETY: the kernel has just given this descriptor.
    let pidfd = unsafe { own(pidfd as usize) };
    Ok(Fork::Parent { pid, pidfd })
}

/// `pidfd_open(2)` (Linux 5.3). `ESRCH` where there is no such process, `EINVAL` (`ENOENT` since 6.9) where
/// it is only a thread.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    rustix::process::pidfd_open(pid, PidfdFlags::empty())
}

/// `pidfd_send_signal(2)` (Linux 5.1). `ESRCH` where the process has ended and was waited for.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> Result<()> {
    rustix::process::pidfd_send_signal(pidfd, signal)
}

/// What the kernel tells of a descriptor of ours (`proc_pid_fdinfo(5)`).
///
/// Before Linux 5.14 these files are root's while the caller is not dumpable, and an ordinary user's own are closed to him: then he is dumpable
/// for the moment. Whoever could use it is a process of his, outside of the container or with the host's PID namespace, to whom all his other
/// processes are open, too.
fn fdinfo(fd: BorrowedFd<'_>) -> Result<String> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let read = || {
        file::open(path.as_ref(), OFlags::RDONLY, Mode::empty())
            .and_then(|file| file::read_to_end(file.as_fd(), 8192))
    };
    let info = match read() {
        Err(Errno::ACCESS) if dumpable_behavior()? != DumpableBehavior::Dumpable => {
            set_dumpable(true)?;
            let read = read();
            set_dumpable(false)?;
            read?
        }
        read => read?,
    };
    Ok(String::from_utf8_lossy(&info).into_owned())
}

/// The number of a process in the pid namespace that `/proc` shows: the `Pid` of `/proc/self/fdinfo`, `pidfd_open(2)`.
///
/// `ESRCH` where the process has ended and was waited for, or is in a pid namespace that is not below.
pub fn pidfd_pid(pidfd: BorrowedFd<'_>) -> Result<Pid> {
    let info = fdinfo(pidfd)?;
    let number = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    let number = number.and_then(|number| number.trim().parse().ok()).ok_or(Errno::INVAL)?;
    // -1 for one that has ended, 0 for one that cannot be seen from here.
    if number > 0 { Pid::from_raw(number).ok_or(Errno::SRCH) } else { Err(Errno::SRCH) }
}

/// The number of a process in its own pid namespace, the innermost one: the last `NSpid` of `/proc/self/fdinfo` (Linux 5.5, `pidfd_open(2)`).
///
/// `ESRCH` where the process has ended and was waited for, or is in a pid namespace that is not below.
pub fn pid_inside(pidfd: BorrowedFd<'_>) -> Result<i32> {
    let info = fdinfo(pidfd)?;
    let numbers = info.lines().find_map(|line| line.strip_prefix("NSpid:")).ok_or(Errno::INVAL)?;
    let innermost = numbers.split_whitespace().next_back().and_then(|number| number.parse().ok());
    innermost.filter(|number| *number > 0).ok_or(Errno::SRCH)
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It called `_exit(2)` with this status, 0 to 255.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

impl Ending {
    /// The status that a shell gives: the process's own, or 128 and the signal's number.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => 128 + signal,
        }
    }

    fn new(status: Option<i32>, signal: Option<i32>) -> Result<Self> {
        status.map(Self::Exited).or(signal.map(Self::Killed)).ok_or(Errno::INVAL)
    }
}

/// Waits for the end of a child by its pidfd, and reaps it (`waitid(2)` with `P_PIDFD`, Linux 5.4). `ECHILD`
/// where it is not ours.
pub fn wait_pidfd(pidfd: BorrowedFd<'_>) -> Result<Ending> {
    let status = retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED))?;
    let status = status.ok_or(Errno::CHILD)?;
    Ending::new(status.exit_status(), status.terminating_signal())
}

/// How the process of a pidfd has ended, whoever's child it was (`PIDFD_GET_INFO` with `PIDFD_INFO_EXIT`, Linux 6.15): none while nobody
/// has waited for it, and on older kernels.
///
/// The pidfd must have been opened before the end.
pub fn ending_of(pidfd: BorrowedFd<'_>) -> Result<Option<Ending>> {
    // struct pidfd_info of linux/pidfd.h; PIDFD_GET_INFO is _IOWR(0xFF, 11, struct pidfd_info).
    const PIDFD_INFO_EXIT: u64 = 1 << 3;
    #[repr(C)]
    #[derive(Default)]
    struct PidfdInfo {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const SIZE: usize = size_of::<PidfdInfo>();
    const PIDFD_GET_INFO: usize = (3 << 30) | (SIZE << 16) | (0xff << 8) | 0xb;
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    let arguments = [pidfd.as_raw_fd() as usize, PIDFD_GET_INFO, (&raw mut info) as usize];
    // SAFETY: the kernel writes at most as many bytes as the number of the request says.
    match unsafe { syscall(libc::SYS_ioctl, arguments) } {
        Ok(_) if info.mask & PIDFD_INFO_EXIT != 0 => {}
        Ok(_) | Err(Errno::NOTTY | Errno::INVAL | Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    let status = info.exit_code;
    Ok(Some(if libc::WIFSIGNALED(status) {
        Ending::Killed(libc::WTERMSIG(status))
    } else {
        Ending::Exited(libc::WEXITSTATUS(status))
    }))
}

/// Reaps one child of the caller that has ended, whichever it is, without waiting for one. `ECHILD` where
/// there is none at all.
pub fn reap() -> Result<Option<(Pid, Ending)>> {
    match retry_on_intr(|| rustix::process::wait(WaitOptions::NOHANG))? {
        None => Ok(None),
        Some((pid, status)) => {
            Ok(Some((pid, Ending::new(status.exit_status(), status.terminating_signal())?)))
        }
    }
}

/// When a process started, in clock ticks since the machine booted: field 22 of `/proc/PID/stat`,
/// `proc_pid_stat(5)`. `ESRCH` where there is no such process.
///
/// With its pid it names a process for ever, since the same pid comes again only later.
pub fn start_time(pid: Pid) -> Result<u64> {
    state_and_start_time(pid).map(|(_, start)| start)
}

/// The state letter of a process (`R`, `S`, `D`, `T`, `Z` …) and when it started, as [`start_time`] counts,
/// of one reading.
pub fn state_and_start_time(pid: Pid) -> Result<(char, u64)> {
    let path = format!("/proc/{}/stat", pid.as_raw_pid());
    let stat = file::open(path.as_ref(), OFlags::RDONLY, Mode::empty())
        .and_then(|file| file::read_to_end(file.as_fd(), 8192))
        .map_err(|error| if error == Errno::NOENT { Errno::SRCH } else { error })?;
    parse_stat(&stat).ok_or(Errno::INVAL)
}

/// Fields 3 and 22. The second, the name in parentheses, is the program's own choice and may hold anything,
/// `)` included.
fn parse_stat(line: &[u8]) -> Option<(char, u64)> {
    let end_of_name = line.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(line.get(end_of_name + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let letter = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((letter, start))
}

/// `prctl(PR_SET_CHILD_SUBREAPER)`: orphans below the caller become its children (Linux 3.4).
pub fn set_child_subreaper(reap: bool) -> Result<()> {
    rustix::process::set_child_subreaper(reap.then(rustix::process::getpid))
}

/// Who the caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The effective user id, in the caller's user namespace.
    pub uid: u32,
    /// The effective group id.
    pub gid: u32,
    /// The capabilities in effect.
    pub capabilities: CapabilitySet,
}

/// Who the caller is: effective ids and capabilities.
pub fn identity() -> Result<Identity> {
    let sets = rustix::thread::capabilities(None)?;
    Ok(Identity {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        capabilities: CapabilitySet(sets.effective.bits()),
    })
}

/// `prlimit(2)` of another process, or of the caller if `pid` is none.
pub fn prlimit(pid: Option<Pid>, resource: Resource, limit: Rlimit) -> Result<()> {
    rustix::process::prlimit(pid, resource, limit).map(drop)
}

/// `prctl(PR_SET_DUMPABLE)`: whether others of the same user may look into the caller's `/proc` files and
/// trace it.
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    set_dumpable_behavior(if dumpable { DumpableBehavior::Dumpable } else { DumpableBehavior::NotDumpable })
}

/// `personality(2)`. `EINVAL` where the kernel does not have this persona.
pub fn personality(persona: u32) -> Result<()> {
    // SAFETY: the call takes a number alone.
    unsafe { syscall(libc::SYS_personality, [persona as usize]) }.map(drop)
}

/// `setgroups` to none if `drop_groups`, then `setresgid` and `setresuid` to one id each.
pub fn become_ids(uid: u32, gid: u32, drop_groups: bool) -> Result<()> {
    if drop_groups {
        set_thread_groups(&[])?;
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

/// `setfsuid(2)` and `setfsgid(2)`: the identity for file access alone.
///
/// The kernel tells no failure. Away from 0, the user loses the capabilities over files in effect; back to 0,
/// it regains them.
pub fn set_fs_ids(uid: u32, gid: u32) {
    // SAFETY: the calls take a number alone. Their answer is the id from before, never an error.
    unsafe {
        let _ = syscall(libc::SYS_setfsgid, [gid as usize]);
        let _ = syscall(libc::SYS_setfsuid, [uid as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `body` in a forked child that exits with what it gives; says how the child ended.
    fn in_child(namespaces: NamespaceFlags, body: impl FnOnce() -> i32) -> Result<Ending> {
        match clone3(&CloneRequest { namespaces, cgroup: None, as_sibling: false })? {
            // SAFETY: ends the child without running what its parent had registered.
            Fork::Child => unsafe { libc::_exit(body()) },
            Fork::Parent { pidfd, .. } => wait_pidfd(pidfd.as_fd()),
        }
    }

    #[test]
    fn child_exits_with_its_status() {
        assert_eq!(in_child(NamespaceFlags::empty(), || 42).unwrap(), Ending::Exited(42));
    }

    #[test]
    fn pidfd_knows_the_number_of_its_process_until_it_is_waited_for() {
        let me = rustix::process::getpid();
        assert_eq!(pidfd_pid(pidfd_open(me).unwrap().as_fd()).unwrap(), me);
        let request = CloneRequest { namespaces: NamespaceFlags::empty(), cgroup: None, as_sibling: false };
        match clone3(&request).unwrap() {
            // SAFETY: ends the child without running what its parent had registered.
            Fork::Child => unsafe { libc::_exit(0) },
            Fork::Parent { pid, pidfd } => {
                assert_eq!(pidfd_pid(pidfd.as_fd()).unwrap(), pid);
                wait_pidfd(pidfd.as_fd()).unwrap();
                assert_eq!(pidfd_pid(pidfd.as_fd()), Err(Errno::SRCH));
            }
        }
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(pidfd_pid(file.as_fd()), Err(Errno::INVAL));
    }

    #[test]
    fn killed_child_tells_its_signal() {
        let ending = in_child(NamespaceFlags::empty(), || {
            let me = pidfd_open(rustix::process::getpid()).unwrap();
            send_signal(me.as_fd(), Signal::KILL).map_or(1, |()| 0)
        });
        assert_eq!(ending.unwrap(), Ending::Killed(9));
        assert_eq!(ending.unwrap().exit_code(), 137);
    }

    #[test]
    fn child_of_a_pid_namespace_is_the_first_process() {
        let kinds = NamespaceFlags::PID | NamespaceFlags::USER;
        match in_child(kinds, || (rustix::process::getpid() != Pid::INIT).into()) {
            Err(error @ (Errno::PERM | Errno::NOSPC)) => {
                eprintln!("skipped: no user namespaces here: {error}");
            }
            ending => assert_eq!(ending.unwrap(), Ending::Exited(0)),
        }
    }

    #[test]
    fn sibling_belongs_to_the_parent_of_the_caller() {
        let (ours, theirs) = crate::socket::pair().unwrap();
        let middle = in_child(NamespaceFlags::empty(), || {
            let request =
                CloneRequest { namespaces: NamespaceFlags::empty(), cgroup: None, as_sibling: true };
            if let Fork::Child = clone3(&request).unwrap() {
                let ids = [rustix::process::getpid(), rustix::process::getppid().unwrap()];
                let bytes = ids.map(|id| id.as_raw_pid().to_ne_bytes()).concat();
                crate::socket::send(theirs.as_fd(), &bytes, None).unwrap();
                // SAFETY: ends the sibling.
                unsafe { libc::_exit(5) }
            }
            0
        });
        assert_eq!(middle.unwrap(), Ending::Exited(0));
        let told = crate::socket::receive(ours.as_fd()).unwrap().bytes;
        let id = |bytes: &[u8]| Pid::from_raw(i32::from_ne_bytes(bytes.try_into().unwrap())).unwrap();
        assert_eq!(id(&told[4..]), rustix::process::getpid());
        let sibling = pidfd_open(id(&told[..4])).unwrap();
        assert_eq!(wait_pidfd(sibling.as_fd()).unwrap(), Ending::Exited(5));
    }

    #[test]
    fn name_of_a_process_does_not_disturb_its_start_time() {
        let stat = b"12 (a) Z 1 (b) ) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 123456 20 21";
        assert_eq!(parse_stat(stat), Some(('S', 123_456)));
        assert_eq!(parse_stat(b"12 (a) S 1 2"), None);
        assert_eq!(parse_stat(b""), None);
    }

    #[test]
    fn start_time_is_the_same_at_each_reading() {
        let me = rustix::process::getpid();
        assert_eq!(start_time(me).unwrap(), start_time(me).unwrap());
        assert!(start_time(me).unwrap() > start_time(Pid::INIT).unwrap());
        assert_eq!(start_time(Pid::from_raw(0x3fff_ffff).unwrap()), Err(Errno::SRCH));
    }

    #[test]
    fn identity_is_what_proc_says() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
        assert_eq!(identity().unwrap().capabilities.0, u64::from_str_radix(line, 16).unwrap());
    }
}
