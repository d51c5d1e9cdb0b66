//! The kinds of namespace, namespaces(7).

use std::fmt;
use std::os::fd::BorrowedFd;

use rustix::thread::{ThreadNameSpaceType, UnshareFlags};

use crate::Result;

bitflags::bitflags! {
    /// Kinds of namespace, as the `CLONE_NEW*` bits of clone(2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct NamespaceFlags: u32 {
        /// `CLONE_NEWUSER`, `user_namespaces(7)`.
        const USER = 0x1000_0000;
        /// `CLONE_NEWPID`, `pid_namespaces(7)`.
        const PID = 0x2000_0000;
        /// `CLONE_NEWNET`, `network_namespaces(7)`.
        const NETWORK = 0x4000_0000;
        /// `CLONE_NEWNS`, `mount_namespaces(7)`.
        const MOUNT = 0x0002_0000;
        /// `CLONE_NEWIPC`, `ipc_namespaces(7)`.
        const IPC = 0x0800_0000;
        /// `CLONE_NEWUTS`, `uts_namespaces(7)`.
        const UTS = 0x0400_0000;
        /// `CLONE_NEWCGROUP`, `cgroup_namespaces(7)` (Linux 4.6).
        const CGROUP = 0x0200_0000;
        /// `CLONE_NEWTIME`, `time_namespaces(7)` (Linux 5.6).
        const TIME = 0x0000_0080;
    }
}

impl NamespaceFlags {
    /// The name in `/proc/PID/ns` of a single kind: `user`, `pid`, `net`, `mnt`, `ipc`, `uts`, `cgroup` or
    /// `time`. Of a set of kinds, or none, there is no name.
    pub fn proc_name(self) -> Option<&'static str> {
        Some(match self {
            Self::USER => "user",
            Self::PID => "pid",
            Self::NETWORK => "net",
            Self::MOUNT => "mnt",
            Self::IPC => "ipc",
            Self::UTS => "uts",
            Self::CGROUP => "cgroup",
            Self::TIME => "time",
            _ => return None,
        })
    }
}

impl fmt::Display for NamespaceFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().filter_map(Self::proc_name).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

/// `setns(2)` with the descriptor of one namespace, or with a pidfd and several kinds (Linux 5.8).
pub fn setns(namespace: BorrowedFd<'_>, kinds: NamespaceFlags) -> Result<()> {
    rustix::thread::move_into_thread_name_spaces(
        namespace,
        ThreadNameSpaceType::from_bits_retain(kinds.bits()),
    )
}

/// `unshare(2)`.
pub fn unshare(kinds: NamespaceFlags) -> Result<()> {
    // SAFETY: no kind of namespace splits the table of descriptors, which is what makes unshare unsafe.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::from_bits_retain(kinds.bits())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_file_in_proc() {
        for kind in NamespaceFlags::all().iter() {
            let name = kind.proc_name().expect("each single kind has a name");
            assert!(std::path::Path::new("/proc/self/ns").join(name).exists(), "/proc/self/ns/{name}");
        }
    }

    #[test]
    fn a_set_is_printed_by_its_names() {
        assert_eq!((NamespaceFlags::NETWORK | NamespaceFlags::MOUNT).to_string(), "net,mnt");
        assert_eq!(NamespaceFlags::empty().to_string(), "none");
    }
}
