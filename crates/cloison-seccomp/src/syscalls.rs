//! The names and numbers of system calls.

use crate::Architecture;

pub(crate) mod table;

/// The kernel whose headers the names and numbers come from, as `7.3.4`.
pub const KERNEL: &str = table::KERNEL;

/// A call that at least one architecture has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Syscall(u16);

impl Syscall {
    /// The call of that name, on whichever architecture.
    pub fn named(name: &str) -> Option<Self> {
        let mut slot = hash(name.as_bytes());
        loop {
            let index = SLOTS[slot % SLOTS.len()];
            if index == EMPTY {
                return None;
            }
            if Self(index).name() == name {
                return Some(Self(index));
            }
            slot += 1;
        }
    }

    /// All calls, by name.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..COUNT as u16).map(Self)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let index = usize::from(self.0);
        &NAMES[usize::from(STARTS[index])..usize::from(STARTS[index + 1])]
    }

    /// Its number on an architecture, as the kernel shows it to filters: with bit 30 for x32, with 4000, 5000 or
    /// 6000 for the ABIs of MIPS. `None` where the architecture has no such call of its own.
    pub fn number(self, architecture: Architecture) -> Option<u32> {
        let number = NUMBERS[architecture.column()][usize::from(self.0)];
        (number != table::NONE).then(|| architecture.number_of(number))
    }

    /// The call of that number on an architecture.
    pub fn numbered(number: u32, architecture: Architecture) -> Option<Self> {
        Self::all().find(|call| call.number(architecture) == Some(number))
    }

    /// How the older ABIs reach it, if they do so by socketcall(2) or ipc(2).
    pub(crate) fn multiplexed(self) -> Option<Multiplexed> {
        match MULTIPLEXED[usize::from(self.0)] {
            0 => None,
            number if number >= IPC => Some(Multiplexed::Ipc(u32::from(number - IPC))),
            number => Some(Multiplexed::Socketcall(u32::from(number))),
        }
    }
}

/// Which call a multiplexer makes, by its first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Multiplexed {
    Socketcall(u32),
    Ipc(u32),
}

/// linux/net.h, `SYS_*`.
const SOCKET_CALLS: [(&str, u8); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

/// linux/ipc.h.
const IPC_CALLS: [(&str, u8); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// What tells the numbers of ipc(2) from those of socketcall(2) in [`MULTIPLEXED`].
const IPC: u8 = 0x80;

/// For each call of the table: 0, its number in socketcall(2), or its number in ipc(2) and [`IPC`].
static MULTIPLEXED: [u8; COUNT] = {
    let mut numbers = [0; table::CALLS.len()];
    let mut index = 0;
    while index < numbers.len() {
        let name = table::CALLS[index].0;
        numbers[index] = find(&SOCKET_CALLS, name);
        if numbers[index] == 0 && find(&IPC_CALLS, name) != 0 {
            numbers[index] = IPC + find(&IPC_CALLS, name);
        }
        index += 1;
    }
    numbers
};

const fn find(calls: &[(&str, u8)], name: &str) -> u8 {
    let mut index = 0;
    while index < calls.len() {
        if same(calls[index].0.as_bytes(), name.as_bytes()) {
            return calls[index].1;
        }
        index += 1;
    }
    0
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

/// How many calls there are.
const COUNT: usize = table::CALLS.len();

/// The numbers by table: a filter is about few of them, and those lie together.
static NUMBERS: [[u16; COUNT]; table::COLUMNS] = {
    let mut numbers = [[0; COUNT]; table::COLUMNS];
    let mut index = 0;
    while index < COUNT {
        let mut column = 0;
        while column < table::COLUMNS {
            numbers[column][index] = table::CALLS[index].1[column];
            column += 1;
        }
        index += 1;
    }
    numbers
};

/// Where each name begins in [`NAMES`], and where the last one ends.
static STARTS: [u16; COUNT + 1] = {
    let mut starts = [0; COUNT + 1];
    let mut index = 0;
    while index < COUNT {
        starts[index + 1] = starts[index] + table::CALLS[index].0.len() as u16;
        index += 1;
    }
    starts
};

/// All names, one behind the other: without pointers, which would have to be put right each time that the runtime starts.
const NAMES: &str = {
    const LENGTH: usize = STARTS[COUNT] as usize;
    const BYTES: [u8; LENGTH] = {
        let mut bytes = [0; LENGTH];
        let (mut index, mut at) = (0, 0);
        while index < COUNT {
            let name = table::CALLS[index].0.as_bytes();
            let mut byte = 0;
            while byte < name.len() {
                bytes[at] = name[byte];
                (byte, at) = (byte + 1, at + 1);
            }
            index += 1;
        }
        bytes
    };
    match std::str::from_utf8(&BYTES) {
        Ok(names) => names,
        Err(_) => panic!("names are ASCII"),
    }
};

const EMPTY: u16 = u16::MAX;

/// Where each name is in the table: open addressing, worked out by the compiler, because a profile names some four
/// hundred calls and a container waits for it.
static SLOTS: [u16; 2048] = {
    let mut slots = [EMPTY; 2048];
    let mut index = 0;
    while index < COUNT {
        let mut slot = hash(table::CALLS[index].0.as_bytes()) % slots.len();
        while slots[slot] != EMPTY {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = index as u16;
        index += 1;
    }
    slots
};

/// FNV-1a.
const fn hash(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut index = 0;
    while index < name.len() {
        hash = (hash ^ name[index] as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    hash as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        for call in Syscall::all() {
            assert_eq!(Syscall::named(call.name()), Some(call));
        }
        assert_eq!(Syscall::named(""), None);
        assert_eq!(Syscall::named("reader"), None);
    }

    #[test]
    fn numbers_are_what_the_kernel_shows_to_filters() {
        let read = Syscall::named("read").unwrap();
        let number = |architecture| read.number(architecture);
        assert_eq!(number(Architecture::X86_64), Some(0));
        assert_eq!(number(Architecture::X86), Some(3));
        assert_eq!(number(Architecture::X32), Some(0x4000_0000));
        assert_eq!(number(Architecture::Mipsel), Some(4003));
        assert_eq!(number(Architecture::Mips64), Some(5000));
        assert_eq!(number(Architecture::Mips64n32), Some(6000));
        assert_eq!(Syscall::named("set_tls").unwrap().number(Architecture::Arm), Some(0x000f_0005));
        assert_eq!(Syscall::named("open").unwrap().number(Architecture::Aarch64), None);
    }

    #[test]
    fn no_number_is_given_twice() {
        for architecture in Architecture::ALL {
            let mut numbers: Vec<_> = Syscall::all().filter_map(|call| call.number(architecture)).collect();
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), count, "{architecture:?}");
            let last = *numbers.last().unwrap();
            assert_eq!(Syscall::numbered(last, architecture).unwrap().number(architecture), Some(last));
        }
    }

    #[test]
    fn every_multiplexed_call_is_in_the_table() {
        for (name, _) in SOCKET_CALLS.iter().chain(&IPC_CALLS) {
            assert!(Syscall::named(name).is_some_and(|call| call.multiplexed().is_some()), "{name}");
        }
    }
}
