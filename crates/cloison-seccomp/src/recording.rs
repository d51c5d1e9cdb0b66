//! The filter that tells of every call, so that somebody can write down which ones a program makes.

use crate::program::{IF_EQUAL, LOAD, OFFSET_ARCHITECTURE, OFFSET_NUMBER, RETURN};
use crate::{Action, Architecture, Program, SockFilter, Syscall};

/// A filter that tells the listener of all calls of all architectures, but of write(2) of the native one: the runtime could not hand
/// over the listener then.
pub fn recording(native: Architecture) -> Program {
    let write = Syscall::named("write").and_then(|call| call.number(native)).unwrap_or(u32::MAX);
    let [notify, allow] = [Action::Notify, Action::Allow].map(|action| action.returned(None));
    let instruction = |code, jf, k| SockFilter { code, jt: 0, jf, k };
    let filter = vec![
        instruction(LOAD, 0, OFFSET_ARCHITECTURE),
        instruction(IF_EQUAL, 3, native.audit()),
        instruction(LOAD, 0, OFFSET_NUMBER),
        instruction(IF_EQUAL, 1, write),
        instruction(RETURN, 0, allow),
        instruction(RETURN, 0, notify),
    ];
    Program { filter, flags: crate::profile::NEW_LISTENER, unknown: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Call, Endianness, interpret};

    #[test]
    fn only_write_of_the_native_architecture_is_not_told_of() {
        let program = recording(Architecture::X86_64);
        let returned = |architecture: Architecture, number| {
            let call = Call {
                number,
                architecture: architecture.audit(),
                instruction_pointer: 0,
                arguments: [0; 6],
            };
            interpret(&program.filter, &call, Endianness::Little).unwrap().returned
        };
        assert_eq!(returned(Architecture::X86_64, 1), Action::Allow.returned(None));
        for number in [0, 2, 231, 0x4000_0001, u32::MAX] {
            assert_eq!(returned(Architecture::X86_64, number), Action::Notify.returned(None), "{number}");
        }
        for number in [1, 4] {
            assert_eq!(returned(Architecture::X86, number), Action::Notify.returned(None), "{number}");
        }
        assert!(program.notifies());
    }
}
