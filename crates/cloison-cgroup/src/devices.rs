//! Which devices a cgroup may use: rules, and what they come to.

pub(crate) mod legacy;
mod policy;
mod program;
#[cfg(test)]
mod reference;
pub(crate) mod unified;

use std::fmt;

pub(crate) use policy::{Exception, Policy, Side};

/// One rule; of all that match a device, the last one decides, for each kind of access by itself. What no rule matches is
/// denied ([config-linux.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config-linux.md#allowed-device-list)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Allowed or denied.
    pub allow: bool,
    /// Character or block devices.
    pub kind: DeviceKind,
    /// The major number, or all; the kernel has no device with more than 12 bits.
    pub major: Option<u32>,
    /// The minor number, or all; the kernel has no device with more than 20 bits.
    pub minor: Option<u32>,
    /// What is allowed or denied.
    pub access: DeviceAccess,
}

/// The kind of devices that a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Both of the others.
    Any,
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

bitflags::bitflags! {
    /// What is done with a device, with the numbers of `BPF_DEVCG_ACC_*`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct DeviceAccess: u8 {
        /// Making a node, mknod(2).
        const MKNOD = 1;
        /// Opening to read.
        const READ = 2;
        /// Opening to write.
        const WRITE = 4;
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::Any => 'a',
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        let what = if self.allow { "allow" } else { "deny" };
        write!(f, "{what} {kind} {}:{} {}", Number(self.major), Number(self.minor), self.access)
    }
}

impl fmt::Display for DeviceAccess {
    /// As the kernel writes them: `rwm`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(Self::READ, "r"), (Self::WRITE, "w"), (Self::MKNOD, "m")];
        letters.iter().filter(|(bit, _)| self.contains(*bit)).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

/// A device number, `*` for all.
struct Number(Option<u32>);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("*"),
        }
    }
}
