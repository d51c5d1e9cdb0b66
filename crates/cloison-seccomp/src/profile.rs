//! What a filter is asked to do: `linux.seccomp` without its spelling
//! ([config-linux.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config-linux.md#seccomp)).

use std::borrow::Cow;

use crate::Architecture;

/// Which calls a program may make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile<'a> {
    /// What happens to calls that no rule is about.
    pub default_action: Action,
    /// The errno of the default action, or its number for the tracer; `None` means EPERM.
    pub default_errno: Option<u32>,
    /// The architectures besides the native one, in any order, the native one among them or not.
    pub architectures: Vec<Architecture>,
    /// The flags of seccomp(2).
    pub flags: Vec<Flag>,
    /// The rules.
    pub rules: Vec<Rule<'a>>,
}

/// What happens to some calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// The calls. Those that no architecture has are ignored.
    pub names: Cow<'a, [String]>,
    /// What happens to them.
    pub action: Action,
    /// The errno of the action, or its number for the tracer; `None` means EPERM. Only 16 bits are used, and the
    /// kernel takes errnos above 4095 for 4095.
    pub errno: Option<u32>,
    /// The conditions. All must hold, unless two are about one argument: then one is enough, as runc has it.
    pub args: Vec<Arg>,
}

/// A condition on an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    /// Which argument, from 0 to 5.
    pub index: u32,
    /// What it is compared with; the mask of [`Operator::MaskedEqual`].
    pub value: u64,
    /// What the masked argument is compared with.
    pub value_two: u64,
    /// How it is compared.
    pub op: Operator,
}

/// What happens to a call (seccomp(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The thread ends, as by SIGSYS.
    KillThread,
    /// The process ends, as by SIGSYS (since Linux 4.14).
    KillProcess,
    /// The thread gets a SIGSYS.
    Trap,
    /// The call fails with an errno.
    Errno,
    /// The tracer is told; without one the call fails with ENOSYS.
    Trace,
    /// The call is made.
    Allow,
    /// The call is made and logged (since Linux 4.14).
    Log,
    /// The listener decides (since Linux 5.0).
    Notify,
}

/// How an argument is compared. All numbers are unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// ≠
    NotEqual,
    /// <
    Less,
    /// ≤
    LessOrEqual,
    /// =
    Equal,
    /// ≥
    GreaterOrEqual,
    /// >
    Greater,
    /// Equal in the bits of a mask.
    MaskedEqual,
}

/// A flag of seccomp(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// All threads get the filter. There is only one when it is loaded, so nothing comes of it.
    Tsync,
    /// All actions but [`Action::Allow`] are logged (since Linux 4.14).
    Log,
    /// Speculative store bypass stays as it is (since Linux 4.17).
    SpecAllow,
    /// A call that waits for the listener ends by fatal signals only (since Linux 5.19).
    WaitKillableRecv,
}

impl Flag {
    /// Its bit for seccomp(2).
    pub(crate) const fn bit(self) -> u32 {
        match self {
            Self::Tsync => 0,
            Self::Log => 1 << 1,
            Self::SpecAllow => 1 << 2,
            Self::WaitKillableRecv => 1 << 5,
        }
    }
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
pub(crate) const NEW_LISTENER: u32 = 1 << 3;

const EPERM: u32 = 1;

impl Action {
    /// What the filter returns for it (`SECCOMP_RET_*` of linux/seccomp.h).
    pub const fn returned(self, errno: Option<u32>) -> u32 {
        let errno = match errno {
            Some(errno) => errno & 0xffff,
            None => EPERM,
        };
        match self {
            Self::KillProcess => 0x8000_0000,
            Self::KillThread => 0x0000_0000,
            Self::Trap => 0x0003_0000,
            Self::Errno => 0x0005_0000 | errno,
            Self::Notify => 0x7fc0_0000,
            Self::Trace => 0x7ff0_0000 | errno,
            Self::Log => 0x7ffc_0000,
            Self::Allow => 0x7fff_0000,
        }
    }

    /// Whether calls are made in the end, so that there is no need to hide those that the profile does not know. A
    /// tracer answers for itself.
    pub(crate) const fn lets_through(self) -> bool {
        matches!(self, Self::Allow | Self::Log | Self::Trace)
    }
}
