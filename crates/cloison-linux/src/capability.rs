//! Capabilities, capabilities(7): their names, their numbers, and sets of them.

use std::fmt;

use rustix::io::Errno;

use crate::raw::syscall;

/// A capability, by its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

/// The names, where the place in the list is the number (linux/capability.h as of Linux 5.9, the last that
/// brought one).
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

impl Capability {
    /// `CAP_SETGID`.
    pub const SETGID: Self = Self(6);
    /// `CAP_SETUID`.
    pub const SETUID: Self = Self(7);
    /// `CAP_SETPCAP`.
    pub const SETPCAP: Self = Self(8);
    /// `CAP_SYS_ADMIN`.
    pub const SYS_ADMIN: Self = Self(21);
    /// `CAP_MKNOD`.
    pub const MKNOD: Self = Self(27);
    /// `CAP_CHECKPOINT_RESTORE` (Linux 5.9).
    pub const CHECKPOINT_RESTORE: Self = Self(40);

    /// The capability with a name like `CAP_KILL`, in exactly this spelling.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().position(|known| *known == name).map(|number| Self(number as u8))
    }

    /// The capability with a number of 0 to 63; newer kernels may know more than have a name here.
    pub fn from_number(number: u8) -> Option<Self> {
        (number < 64).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The name, `CAP_KILL` say; none for one that is newer than this table.
    pub fn name(self) -> Option<&'static str> {
        NAMES.get(usize::from(self.0)).copied()
    }

    /// Every capability that has a name here, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..NAMES.len() as u8).map(Self)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "CAP_{}", self.0),
        }
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The last capability that the running kernel knows.
///
/// Found by asking for the bounding set (`PR_CAPBSET_READ`), because `/proc/sys/kernel/cap_last_cap` may lie
/// out of reach.
pub fn last_supported() -> Capability {
    let mut last = NAMES.len() as u8 - 1;
    while last > 0 && !is_known(last) {
        last -= 1;
    }
    while last < 63 && is_known(last + 1) {
        last += 1;
    }
    Capability(last)
}

fn is_known(number: u8) -> bool {
    // SAFETY: the call takes numbers alone.
    let answer =
        unsafe { syscall(libc::SYS_prctl, [libc::PR_CAPBSET_READ as usize, number.into(), 0, 0, 0]) };
    answer != Err(Errno::INVAL)
}

/// A set of capabilities: bit `n` is capability `n`, as in the `Cap…` lines of `/proc/PID/status`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// No capability.
    pub const EMPTY: Self = Self(0);

    /// All that the running kernel knows.
    pub fn all_supported() -> Self {
        Self(u64::MAX >> (63 - last_supported().0))
    }

    /// Whether a capability is in the set.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// Adds a capability.
    pub fn insert(&mut self, capability: Capability) {
        self.0 |= 1 << capability.0;
    }

    /// Takes a capability out.
    pub fn remove(&mut self, capability: Capability) {
        self.0 &= !(1 << capability.0);
    }

    /// What is in both sets.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The capabilities in the set, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0..64).map(Capability).filter(move |capability| self.contains(*capability))
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        let mut set = Self::EMPTY;
        capabilities.into_iter().for_each(|capability| set.insert(capability));
        set
    }
}

impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (place, capability) in self.iter().enumerate() {
            write!(f, "{}{capability}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_each_other() {
        for capability in Capability::all() {
            assert_eq!(Capability::from_name(capability.name().unwrap()), Some(capability));
        }
        assert_eq!(Capability::from_name("CAP_SYS_ADMIN"), Some(Capability::SYS_ADMIN));
        assert_eq!(Capability::from_name("CAP_CHECKPOINT_RESTORE"), Some(Capability::CHECKPOINT_RESTORE));
        assert_eq!(Capability::from_name("sys_admin"), None);
        assert_eq!(Capability::from_number(64), None);
        assert_eq!(Capability::from_number(63).unwrap().to_string(), "CAP_63");
    }

    #[test]
    fn last_capability_is_the_kernels() {
        let told = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
        assert_eq!(last_supported().number(), told.trim().parse::<u8>().unwrap());
        assert_eq!(CapabilitySet::all_supported().iter().last(), Some(last_supported()));
    }

    #[test]
    fn set_is_printed_by_its_names() {
        let set: CapabilitySet =
            ["CAP_KILL", "CAP_CHOWN"].into_iter().filter_map(Capability::from_name).collect();
        assert_eq!(set.to_string(), "CAP_CHOWN,CAP_KILL");
        assert_eq!(set.0, 0b10_0001);
        assert_eq!(CapabilitySet::EMPTY.to_string(), "none");
    }
}
