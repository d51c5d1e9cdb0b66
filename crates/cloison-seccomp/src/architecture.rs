//! The architectures whose calls a filter can tell apart.

use crate::syscalls::table;

/// An architecture, or more exactly an ABI of system calls: the names of runtime-spec without `SCMP_ARCH_`
/// ([config-linux.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config-linux.md#seccomp)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Architecture {
    /// 32-bit x86.
    X86,
    /// 64-bit x86.
    X86_64,
    /// x86-64 with 32-bit pointers; the kernel tells it from [`Architecture::X86_64`] by bit 30 of the number only.
    X32,
    /// 32-bit ARM, EABI.
    Arm,
    /// 64-bit ARM.
    Aarch64,
    /// 64-bit `LoongArch`.
    Loongarch64,
    /// Motorola 68000.
    M68k,
    /// 32-bit MIPS (o32), big-endian.
    Mips,
    /// 64-bit MIPS, big-endian.
    Mips64,
    /// 64-bit MIPS with 32-bit pointers, big-endian.
    Mips64n32,
    /// 32-bit MIPS (o32), little-endian.
    Mipsel,
    /// 64-bit MIPS, little-endian.
    Mipsel64,
    /// 64-bit MIPS with 32-bit pointers, little-endian.
    Mipsel64n32,
    /// 32-bit PowerPC.
    Ppc,
    /// 64-bit PowerPC, big-endian.
    Ppc64,
    /// 64-bit PowerPC, little-endian.
    Ppc64le,
    /// 31-bit s390.
    S390,
    /// 64-bit s390.
    S390x,
    /// `SuperH`, little-endian.
    Sh,
    /// `SuperH`, big-endian.
    Sheb,
    /// 32-bit PA-RISC.
    Parisc,
    /// 64-bit PA-RISC.
    Parisc64,
    /// 64-bit RISC-V.
    Riscv64,
}

/// The order of the bytes in memory, and so of the halves of a 64-bit argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endianness {
    /// The low half first.
    Little,
    /// The high half first.
    Big,
}

/// The calls through which older ABIs reach sockets and System V IPC: the first argument says which one is meant
/// (socketcall(2), ipc(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Multiplexers {
    pub(crate) socketcall: u32,
    pub(crate) ipc: u32,
}

/// What the kernel adds to the numbers of x32.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// Where the calls begin that only 32-bit ARM has (`__ARM_NR_BASE`); in the table they begin at
/// [`ARM_PRIVATE_IN_TABLE`].
pub(crate) const ARM_PRIVATE: u32 = 0x000f_0000;
const ARM_PRIVATE_IN_TABLE: u32 = 0xf000;

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::X86,
        Self::X86_64,
        Self::X32,
        Self::Arm,
        Self::Aarch64,
        Self::Loongarch64,
        Self::M68k,
        Self::Mips,
        Self::Mips64,
        Self::Mips64n32,
        Self::Mipsel,
        Self::Mipsel64,
        Self::Mipsel64n32,
        Self::Ppc,
        Self::Ppc64,
        Self::Ppc64le,
        Self::S390,
        Self::S390x,
        Self::Sh,
        Self::Sheb,
        Self::Parisc,
        Self::Parisc64,
        Self::Riscv64,
    ];

    /// The one that this program was built for, if a filter can tell it.
    pub const NATIVE: Option<Self> = {
        if cfg!(all(target_arch = "x86_64", target_pointer_width = "32")) {
            Some(Self::X32)
        } else if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "x86") {
            Some(Self::X86)
        } else if cfg!(target_arch = "arm") {
            Some(Self::Arm)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Aarch64)
        } else if cfg!(target_arch = "loongarch64") {
            Some(Self::Loongarch64)
        } else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
            Some(Self::Ppc64le)
        } else if cfg!(target_arch = "powerpc64") {
            Some(Self::Ppc64)
        } else if cfg!(target_arch = "powerpc") {
            Some(Self::Ppc)
        } else if cfg!(target_arch = "s390x") {
            Some(Self::S390x)
        } else if cfg!(target_arch = "riscv64") {
            Some(Self::Riscv64)
        } else if cfg!(target_arch = "m68k") {
            Some(Self::M68k)
        } else if cfg!(all(target_arch = "mips64", target_endian = "little")) {
            Some(Self::Mipsel64)
        } else if cfg!(target_arch = "mips64") {
            Some(Self::Mips64)
        } else if cfg!(all(target_arch = "mips", target_endian = "little")) {
            Some(Self::Mipsel)
        } else if cfg!(target_arch = "mips") {
            Some(Self::Mips)
        } else {
            None
        }
    };

    /// Its name in profiles (config-linux.md of runtime-spec).
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86 => "SCMP_ARCH_X86",
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::X32 => "SCMP_ARCH_X32",
            Self::Arm => "SCMP_ARCH_ARM",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
            Self::Loongarch64 => "SCMP_ARCH_LOONGARCH64",
            Self::M68k => "SCMP_ARCH_M68K",
            Self::Mips => "SCMP_ARCH_MIPS",
            Self::Mips64 => "SCMP_ARCH_MIPS64",
            Self::Mips64n32 => "SCMP_ARCH_MIPS64N32",
            Self::Mipsel => "SCMP_ARCH_MIPSEL",
            Self::Mipsel64 => "SCMP_ARCH_MIPSEL64",
            Self::Mipsel64n32 => "SCMP_ARCH_MIPSEL64N32",
            Self::Ppc => "SCMP_ARCH_PPC",
            Self::Ppc64 => "SCMP_ARCH_PPC64",
            Self::Ppc64le => "SCMP_ARCH_PPC64LE",
            Self::S390 => "SCMP_ARCH_S390",
            Self::S390x => "SCMP_ARCH_S390X",
            Self::Sh => "SCMP_ARCH_SH",
            Self::Sheb => "SCMP_ARCH_SHEB",
            Self::Parisc => "SCMP_ARCH_PARISC",
            Self::Parisc64 => "SCMP_ARCH_PARISC64",
            Self::Riscv64 => "SCMP_ARCH_RISCV64",
        }
    }

    /// The one of that name in profiles.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == name)
    }

    /// What the kernel says in `seccomp_data.arch` (`AUDIT_ARCH_*` of linux/audit.h).
    pub const fn audit(self) -> u32 {
        match self {
            Self::X86 => 0x4000_0003,
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::Arm => 0x4000_0028,
            Self::Aarch64 => 0xc000_00b7,
            Self::Loongarch64 => 0xc000_0102,
            Self::M68k => 0x0000_0004,
            Self::Mips => 0x0000_0008,
            Self::Mips64 => 0x8000_0008,
            Self::Mips64n32 => 0xa000_0008,
            Self::Mipsel => 0x4000_0008,
            Self::Mipsel64 => 0xc000_0008,
            Self::Mipsel64n32 => 0xe000_0008,
            Self::Ppc => 0x0000_0014,
            Self::Ppc64 => 0x8000_0015,
            Self::Ppc64le => 0xc000_0015,
            Self::S390 => 0x0000_0016,
            Self::S390x => 0x8000_0016,
            Self::Sh => 0x4000_002a,
            Self::Sheb => 0x0000_002a,
            Self::Parisc => 0x0000_000f,
            Self::Parisc64 => 0x8000_000f,
            Self::Riscv64 => 0xc000_00f3,
        }
    }

    /// The order of its bytes. A filter cannot hold architectures of both.
    pub const fn endianness(self) -> Endianness {
        match self {
            Self::X86
            | Self::X86_64
            | Self::X32
            | Self::Arm
            | Self::Aarch64
            | Self::Loongarch64
            | Self::Mipsel
            | Self::Mipsel64
            | Self::Mipsel64n32
            | Self::Ppc64le
            | Self::Sh
            | Self::Riscv64 => Endianness::Little,
            Self::M68k
            | Self::Mips
            | Self::Mips64
            | Self::Mips64n32
            | Self::Ppc
            | Self::Ppc64
            | Self::S390
            | Self::S390x
            | Self::Sheb
            | Self::Parisc
            | Self::Parisc64 => Endianness::Big,
        }
    }

    /// Whether arguments are compared in all their 64 bits. x32 and n32 have 64-bit registers and 32-bit
    /// arguments: the upper half of a register is left out there, as libseccomp does.
    pub const fn has_64_bit_arguments(self) -> bool {
        matches!(
            self,
            Self::X86_64
                | Self::Aarch64
                | Self::Loongarch64
                | Self::Mips64
                | Self::Mipsel64
                | Self::Ppc64
                | Self::Ppc64le
                | Self::S390x
                | Self::Parisc64
                | Self::Riscv64
        )
    }

    /// Its number for ENOSYS (errno(3)).
    pub(crate) const fn enosys(self) -> u16 {
        match self {
            Self::Mips
            | Self::Mips64
            | Self::Mips64n32
            | Self::Mipsel
            | Self::Mipsel64
            | Self::Mipsel64n32 => 89,
            Self::Parisc | Self::Parisc64 => 251,
            _ => 38,
        }
    }

    pub(crate) const fn multiplexers(self) -> Option<Multiplexers> {
        let base = match self {
            Self::X86
            | Self::M68k
            | Self::Ppc
            | Self::Ppc64
            | Self::Ppc64le
            | Self::S390
            | Self::S390x
            | Self::Sh
            | Self::Sheb => 0,
            Self::Mips | Self::Mipsel => 4000,
            _ => return None,
        };
        Some(Multiplexers { socketcall: base + 102, ipc: base + 117 })
    }

    /// The column of the table that has its numbers.
    pub(crate) const fn column(self) -> usize {
        match self {
            Self::X86 => table::X86,
            Self::X86_64 => table::X86_64,
            Self::X32 => table::X32,
            Self::Arm => table::ARM,
            Self::Aarch64 => table::AARCH64,
            Self::Loongarch64 => table::LOONGARCH64,
            Self::M68k => table::M68K,
            Self::Mips | Self::Mipsel => table::MIPS,
            Self::Mips64 | Self::Mipsel64 => table::MIPS64,
            Self::Mips64n32 | Self::Mipsel64n32 => table::MIPS64N32,
            Self::Ppc => table::PPC,
            Self::Ppc64 | Self::Ppc64le => table::PPC64,
            Self::S390 => table::S390,
            Self::S390x => table::S390X,
            Self::Sh | Self::Sheb => table::SH,
            Self::Parisc => table::PARISC,
            Self::Parisc64 => table::PARISC64,
            Self::Riscv64 => table::RISCV64,
        }
    }

    /// The kernel's number of what the table has for it.
    pub(crate) const fn number_of(self, in_table: u16) -> u32 {
        let number = in_table as u32;
        match self {
            Self::X32 => X32_BIT + number,
            Self::Mips | Self::Mipsel => 4000 + number,
            Self::Mips64 | Self::Mipsel64 => 5000 + number,
            Self::Mips64n32 | Self::Mipsel64n32 => 6000 + number,
            Self::Arm if number >= ARM_PRIVATE_IN_TABLE => number - ARM_PRIVATE_IN_TABLE + ARM_PRIVATE,
            _ => number,
        }
    }
}
