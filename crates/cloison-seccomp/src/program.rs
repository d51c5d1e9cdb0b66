//! What the kernel gets.

/// An instruction of classic BPF, as `struct sock_filter` of linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SockFilter {
    /// What it does.
    pub code: u16,
    /// How many instructions to skip if a test holds.
    pub jt: u8,
    /// How many to skip if it does not.
    pub jf: u8,
    /// Its number.
    pub k: u32,
}

/// The most instructions that the kernel takes (`BPF_MAXINSNS`).
pub const MAXIMUM_LENGTH: usize = 4096;

/// A filter, and how to load it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The instructions, at most [`MAXIMUM_LENGTH`].
    pub filter: Vec<SockFilter>,
    /// The flags for seccomp(2), `SECCOMP_FILTER_FLAG_NEW_LISTENER` among them if a rule notifies: then the call
    /// gives the descriptor of the listener.
    pub flags: u32,
    /// The names in the profile that no architecture knows as a call, once each; nothing came of them.
    pub unknown: Vec<String>,
}

impl Program {
    /// Whether loading it gives a descriptor on which a listener answers.
    pub const fn notifies(&self) -> bool {
        self.flags & crate::profile::NEW_LISTENER != 0
    }
}

/// `struct seccomp_data` of linux/seccomp.h: offsets in bytes.
pub(crate) const OFFSET_NUMBER: u32 = 0;
pub(crate) const OFFSET_ARCHITECTURE: u32 = 4;
pub(crate) const OFFSET_ARGUMENTS: u32 = 16;

/// `BPF_LD | BPF_W | BPF_ABS`.
pub(crate) const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`.
pub(crate) const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`.
pub(crate) const JUMP: u16 = 0x05;
/// `BPF_JMP | BPF_JEQ | BPF_K`.
pub(crate) const IF_EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGT | BPF_K`.
pub(crate) const IF_GREATER: u16 = 0x25;
/// `BPF_JMP | BPF_JGE | BPF_K`.
pub(crate) const IF_GREATER_OR_EQUAL: u16 = 0x35;
/// `BPF_RET | BPF_K`.
pub(crate) const RETURN: u16 = 0x06;
