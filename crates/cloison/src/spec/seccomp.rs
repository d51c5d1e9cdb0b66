//! The `linux.seccomp` section
//! ([config-linux.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config-linux.md#seccomp)).

use serde::{Deserialize, Serialize};

use super::encoding::{is_default, named, non_empty, objects};

/// The annotation that may name the listener instead of `listenerPath`, as with crun.
pub const LISTENER_ANNOTATION: &str = "run.oci.seccomp.receiver";

/// `linux.seccomp`: which system calls the program may make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, remote = "Self")]
pub struct Seccomp {
    /// What happens to calls that no rule names; absent only if there are no rules, see
    /// [`Seccomp::is_empty`].
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub default_action: Option<SeccompAction>,
    /// The errno of the default action, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// The architectures besides the native one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<SeccompArch>,
    /// The flags of seccomp(2). Absent is not the same as none: it means `SPEC_ALLOW` where the kernel can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<SeccompFlag>>,
    /// The Unix socket that gets the descriptor of `SCMP_ACT_NOTIFY`.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    /// What is told to that listener besides.
    #[serde(deserialize_with = "non_empty", skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
    /// The rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub syscalls: Vec<Syscall>,
}

impl Seccomp {
    /// Whether it asks for no filter at all: neither a default action nor a rule.
    pub fn is_empty(&self) -> bool {
        self.default_action.is_none() && self.syscalls.is_empty()
    }

    /// Whether any action hands calls to a listener.
    pub fn notifies(&self) -> bool {
        self.default_action == Some(SeccompAction::Notify)
            || self.syscalls.iter().any(|rule| rule.action == SeccompAction::Notify)
    }
}

/// One rule of `linux.seccomp.syscalls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct Syscall {
    /// The calls it is about; names that the runtime does not know are left out.
    #[serde(default)]
    pub names: Vec<String>,
    /// What happens to them.
    pub action: SeccompAction,
    /// The errno of the action, where it has one; absent means `EPERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// Conditions on the arguments, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<SyscallArg>,
}

/// One condition of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct SyscallArg {
    /// Which argument; checked to be from 0 to 5.
    #[serde(default)]
    pub index: u32,
    /// What it is compared with; the mask for `SCMP_CMP_MASKED_EQ`.
    #[serde(default)]
    pub value: u64,
    /// What the masked argument is compared with.
    #[serde(default, skip_serializing_if = "is_default")]
    pub value_two: u64,
    /// How it is compared.
    pub op: SeccompOperator,
}

named! {
    /// What happens to a call.
    "a seccomp action"
    pub enum SeccompAction {
        /// Ends the thread; the same as `SCMP_ACT_KILL_THREAD`.
        Kill = "SCMP_ACT_KILL",
        /// Ends the process (since Linux 4.14).
        KillProcess = "SCMP_ACT_KILL_PROCESS",
        /// Ends the thread.
        KillThread = "SCMP_ACT_KILL_THREAD",
        /// `SIGSYS`.
        Trap = "SCMP_ACT_TRAP",
        /// An errno.
        Errno = "SCMP_ACT_ERRNO",
        /// Tells a tracer.
        Trace = "SCMP_ACT_TRACE",
        /// Goes ahead.
        Allow = "SCMP_ACT_ALLOW",
        /// Goes ahead and is logged (since Linux 4.14).
        Log = "SCMP_ACT_LOG",
        /// Is decided by the listener (since Linux 5.0).
        Notify = "SCMP_ACT_NOTIFY",
    }
}

impl SeccompAction {
    /// Whether the action carries an errno, or a number for the tracer.
    pub const fn takes_errno(self) -> bool {
        matches!(self, Self::Errno | Self::Trace)
    }
}

named! {
    /// How an argument is compared.
    "a comparison"
    pub enum SeccompOperator {
        /// ≠
        NotEqual = "SCMP_CMP_NE",
        /// <
        Less = "SCMP_CMP_LT",
        /// ≤
        LessOrEqual = "SCMP_CMP_LE",
        /// =
        Equal = "SCMP_CMP_EQ",
        /// ≥
        GreaterOrEqual = "SCMP_CMP_GE",
        /// >
        Greater = "SCMP_CMP_GT",
        /// Equal under a mask.
        MaskedEqual = "SCMP_CMP_MASKED_EQ",
    }
}

named! {
    /// The flags of seccomp(2).
    "a seccomp flag"
    pub enum SeccompFlag {
        /// All threads get the filter; there is only one, so it changes nothing.
        Tsync = "SECCOMP_FILTER_FLAG_TSYNC",
        /// Logs all actions but allow (since Linux 4.14).
        Log = "SECCOMP_FILTER_FLAG_LOG",
        /// Leaves speculative store bypass as it is (since Linux 4.17).
        SpecAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        /// Waits killably for the listener (since Linux 5.19).
        WaitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    }
}

named! {
    /// The architectures whose calls a filter can tell.
    "a seccomp architecture"
    pub enum SeccompArch {
        /// 32-bit x86.
        X86 = "SCMP_ARCH_X86",
        /// 64-bit x86.
        X8664 = "SCMP_ARCH_X86_64",
        /// x86-64 with 32-bit pointers.
        X32 = "SCMP_ARCH_X32",
        /// 32-bit ARM.
        Arm = "SCMP_ARCH_ARM",
        /// 64-bit ARM.
        Aarch64 = "SCMP_ARCH_AARCH64",
        /// 64-bit `LoongArch`.
        Loongarch64 = "SCMP_ARCH_LOONGARCH64",
        /// Motorola 68000.
        M68k = "SCMP_ARCH_M68K",
        /// 32-bit MIPS, big-endian.
        Mips = "SCMP_ARCH_MIPS",
        /// 64-bit MIPS, big-endian.
        Mips64 = "SCMP_ARCH_MIPS64",
        /// 64-bit MIPS with 32-bit pointers, big-endian.
        Mips64n32 = "SCMP_ARCH_MIPS64N32",
        /// 32-bit MIPS, little-endian.
        Mipsel = "SCMP_ARCH_MIPSEL",
        /// 64-bit MIPS, little-endian.
        Mipsel64 = "SCMP_ARCH_MIPSEL64",
        /// 64-bit MIPS with 32-bit pointers, little-endian.
        Mipsel64n32 = "SCMP_ARCH_MIPSEL64N32",
        /// 32-bit PowerPC.
        Ppc = "SCMP_ARCH_PPC",
        /// 64-bit PowerPC, big-endian.
        Ppc64 = "SCMP_ARCH_PPC64",
        /// 64-bit PowerPC, little-endian.
        Ppc64le = "SCMP_ARCH_PPC64LE",
        /// 31-bit s390.
        S390 = "SCMP_ARCH_S390",
        /// 64-bit s390.
        S390x = "SCMP_ARCH_S390X",
        /// `SuperH`, little-endian.
        Sh = "SCMP_ARCH_SH",
        /// `SuperH`, big-endian.
        Sheb = "SCMP_ARCH_SHEB",
        /// 32-bit PA-RISC.
        Parisc = "SCMP_ARCH_PARISC",
        /// 64-bit PA-RISC.
        Parisc64 = "SCMP_ARCH_PARISC64",
        /// 64-bit RISC-V.
        Riscv64 = "SCMP_ARCH_RISCV64",
    }
}

objects!(Seccomp, Syscall, SyscallArg);
