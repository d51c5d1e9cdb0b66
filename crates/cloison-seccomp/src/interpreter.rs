//! What the kernel would do with a program: to explain a filter without loading it, and to test this crate.

use crate::architecture::Endianness;
use crate::program::{AND, IF_EQUAL, IF_GREATER, IF_GREATER_OR_EQUAL, JUMP, LOAD, RETURN, SockFilter};

/// A system call as a filter sees it (`struct seccomp_data` of linux/seccomp.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number.
    pub number: u32,
    /// The architecture, see [`crate::Architecture::audit`].
    pub architecture: u32,
    /// The address of the instruction.
    pub instruction_pointer: u64,
    /// The arguments.
    pub arguments: [u64; 6],
}

/// What a program says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The number returned, see [`crate::Action::returned`].
    pub returned: u32,
    /// How many instructions it took.
    pub instructions: usize,
}

/// Runs a program. `None` if it is none that the kernel would take: it loads from outside of the call, jumps past its
/// end, or has an instruction that neither this crate nor libseccomp writes.
pub fn interpret(filter: &[SockFilter], call: &Call, endianness: Endianness) -> Option<Verdict> {
    let data = words(call, endianness);
    let mut accumulator = 0;
    let mut at = 0;
    let mut instructions = 0;
    loop {
        let SockFilter { code, jt, jf, k } = *filter.get(at)?;
        at += 1;
        instructions += 1;
        let branch = |holds| usize::from(if holds { jt } else { jf });
        match code {
            LOAD if k % 4 == 0 => accumulator = *data.get(k as usize / 4)?,
            AND => accumulator &= k,
            JUMP => at = at.checked_add(k as usize)?,
            IF_EQUAL => at += branch(accumulator == k),
            IF_GREATER => at += branch(accumulator > k),
            IF_GREATER_OR_EQUAL => at += branch(accumulator >= k),
            RETURN => return Some(Verdict { returned: k, instructions }),
            _ => return None,
        }
    }
}

/// `struct seccomp_data` as the words that a program can load.
fn words(call: &Call, endianness: Endianness) -> [u32; 16] {
    let mut words = [0; 16];
    words[0] = call.number;
    words[1] = call.architecture;
    for (index, value) in [call.instruction_pointer].iter().chain(&call.arguments).enumerate() {
        let (low, high) = match endianness {
            Endianness::Little => (2 + 2 * index, 3 + 2 * index),
            Endianness::Big => (3 + 2 * index, 2 + 2 * index),
        };
        words[low] = *value as u32;
        words[high] = (*value >> 32) as u32;
    }
    words
}
