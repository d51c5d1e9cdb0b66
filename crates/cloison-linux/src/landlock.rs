//! Landlock: rights that a process gives up for itself and all that come from it, landlock(7).
//!
//! A ruleset names what is restricted, and rules say below which files and on which ports it is allowed all the same. Each version of
//! the kernel's interface ([`abi`]) can restrict more than the one before. What a ruleset does not name is as free as without one.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use bitflags::bitflags;

use crate::Result;
use crate::raw::{own, syscall};

bitflags! {
    /// What is done to files: `LANDLOCK_ACCESS_FS_*` of linux/landlock.h.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub struct FileRights: u64 {
        /// Executing a file.
        const EXECUTE = 1;
        /// Opening a file for writing.
        const WRITE_FILE = 1 << 1;
        /// Opening a file for reading.
        const READ_FILE = 1 << 2;
        /// Opening a directory, and listing it.
        const READ_DIR = 1 << 3;
        /// Removing a directory in it, or renaming one.
        const REMOVE_DIR = 1 << 4;
        /// Removing a file in it, or renaming one.
        const REMOVE_FILE = 1 << 5;
        /// Making a character device in it.
        const MAKE_CHAR = 1 << 6;
        /// Making a directory in it.
        const MAKE_DIR = 1 << 7;
        /// Making a regular file in it.
        const MAKE_REG = 1 << 8;
        /// Making a socket in it.
        const MAKE_SOCK = 1 << 9;
        /// Making a named pipe in it.
        const MAKE_FIFO = 1 << 10;
        /// Making a block device in it.
        const MAKE_BLOCK = 1 << 11;
        /// Making a symbolic link in it.
        const MAKE_SYM = 1 << 12;
        /// Linking or renaming a file from or to another directory (Linux 5.19). Where it is not restricted, no ruleset allows it.
        const REFER = 1 << 13;
        /// Truncating a file (Linux 6.2).
        const TRUNCATE = 1 << 14;
        /// `ioctl(2)` of a device that is opened from now on (Linux 6.10).
        const IOCTL_DEV = 1 << 15;
    }
}

bitflags! {
    /// What is done to the network: `LANDLOCK_ACCESS_NET_*` (Linux 6.7).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub struct NetworkRights: u64 {
        /// Binding a TCP socket to a port.
        const BIND_TCP = 1;
        /// Connecting a TCP socket to a port.
        const CONNECT_TCP = 1 << 1;
    }
}

bitflags! {
    /// What reaches only those under the same rules: `LANDLOCK_SCOPE_*` (Linux 6.12).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Scopes: u64 {
        /// Connecting to an abstract unix(7) socket.
        const ABSTRACT_UNIX_SOCKET = 1;
        /// Sending a signal.
        const SIGNAL = 1 << 1;
    }
}

impl FileRights {
    /// What can be done to something that is no directory.
    pub const OF_FILES: Self = Self::EXECUTE
        .union(Self::WRITE_FILE)
        .union(Self::READ_FILE)
        .union(Self::TRUNCATE)
        .union(Self::IOCTL_DEV);

    /// The version of the interface that can restrict all of these.
    pub fn since(self) -> u32 {
        match self {
            rights if rights.contains(Self::IOCTL_DEV) => 5,
            rights if rights.contains(Self::TRUNCATE) => 3,
            rights if rights.contains(Self::REFER) => 2,
            _ => 1,
        }
    }
}

/// All that a ruleset takes away: `struct landlock_ruleset_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restricted {
    /// What is done to files.
    pub files: FileRights,
    /// What is done to the network.
    pub network: NetworkRights,
    /// What reaches others.
    pub scopes: Scopes,
}

/// `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: libc::c_int,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

const RULE_PATH_BENEATH: usize = 1;
const RULE_NET_PORT: usize = 2;
const CREATE_RULESET_VERSION: usize = 1;

/// The version of the kernel's interface; 0 where there is none, or where it is off (`lsm=`).
pub fn abi() -> u32 {
    // SAFETY: with this flag the kernel reads nothing.
    let version = unsafe { syscall(libc::SYS_landlock_create_ruleset, [0, 0, CREATE_RULESET_VERSION]) };
    version.ok().and_then(|version| u32::try_from(version).ok()).unwrap_or(0)
}

/// `landlock_create_ruleset(2)` (Linux 5.13). The descriptor is close-on-exec.
///
/// `EINVAL` or `E2BIG` where the kernel cannot restrict one of these, `ENOMSG` where there is none, `EOPNOTSUPP` where Landlock is off.
pub fn create_ruleset(restricted: &Restricted) -> Result<OwnedFd> {
    let arguments = [std::ptr::from_ref(restricted).addr(), size_of::<Restricted>(), 0];
    // SAFETY: the kernel reads that many bytes of a structure that has its layout.
    let ruleset = unsafe { syscall(libc::SYS_landlock_create_ruleset, arguments) }?;
    // SAFETY: the call gives a new descriptor.
    Ok(unsafe { own(ruleset) })
}

/// `landlock_add_rule(2)`: these rights on what `beneath` refers to, and on all that is below it.
///
/// `EINVAL` for rights that the ruleset does not restrict, or that only a directory has; `ENOMSG` for none.
pub fn allow_beneath(ruleset: BorrowedFd<'_>, beneath: BorrowedFd<'_>, rights: FileRights) -> Result<()> {
    let rule = PathBeneath { allowed: rights.bits(), parent: beneath.as_raw_fd() };
    add_rule(ruleset, RULE_PATH_BENEATH, (&raw const rule).addr())
}

/// `landlock_add_rule(2)`: these rights on a TCP port (Linux 6.7). Binding to port 0 means any port that the kernel chooses.
///
/// `EINVAL` for rights that the ruleset does not restrict; `EAFNOSUPPORT` where the kernel has no TCP.
pub fn allow_port(ruleset: BorrowedFd<'_>, port: u16, rights: NetworkRights) -> Result<()> {
    let rule = NetPort { allowed: rights.bits(), port: port.into() };
    add_rule(ruleset, RULE_NET_PORT, (&raw const rule).addr())
}

fn add_rule(ruleset: BorrowedFd<'_>, kind: usize, rule: usize) -> Result<()> {
    let arguments = [ruleset.as_raw_fd() as usize, kind, rule, 0];
    // SAFETY: the rule is alive in the callers above, and of the kind that they name.
    unsafe { syscall(libc::SYS_landlock_add_rule, arguments) }.map(drop)
}

/// `landlock_restrict_self(2)`: from now on this thread, and all that come from it, are under these rules, and there is no way back.
///
/// `EPERM` without `no_new_privs` or `CAP_SYS_ADMIN` in the user namespace; `E2BIG` where 16 rulesets are in force.
pub fn restrict_self(ruleset: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: the call takes numbers alone.
    unsafe { syscall(libc::SYS_landlock_restrict_self, [ruleset.as_raw_fd() as usize, 0]) }.map(drop)
}

const _: () = assert!(size_of::<Restricted>() == 24 && size_of::<PathBeneath>() == 12);

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn rules_are_taken_by_a_kernel_that_can_restrict_so_much() {
        let every =
            Restricted { files: FileRights::all(), network: NetworkRights::all(), scopes: Scopes::all() };
        if abi() < 6 {
            assert!(create_ruleset(&every).is_err(), "nothing is less than was asked for");
            return;
        }
        let ruleset = create_ruleset(&every).unwrap();
        let root = std::fs::File::open("/").unwrap();
        allow_beneath(ruleset.as_fd(), root.as_fd(), FileRights::all()).unwrap();
        assert_eq!(allow_beneath(ruleset.as_fd(), root.as_fd(), FileRights::empty()), Err(Errno::NOMSG));
        allow_port(ruleset.as_fd(), 80, NetworkRights::BIND_TCP).unwrap();
        let less = Restricted { files: FileRights::EXECUTE, ..Restricted::default() };
        let ruleset = create_ruleset(&less).unwrap();
        assert_eq!(allow_beneath(ruleset.as_fd(), root.as_fd(), FileRights::READ_FILE), Err(Errno::INVAL));
    }

    #[test]
    fn a_version_of_the_interface_is_that_of_its_newest_right() {
        assert_eq!(FileRights::EXECUTE.since(), 1);
        assert_eq!((FileRights::REFER | FileRights::MAKE_SYM).since(), 2);
        assert_eq!((FileRights::all() - FileRights::IOCTL_DEV).since(), 3);
        assert_eq!(FileRights::all().since(), 5);
    }
}
