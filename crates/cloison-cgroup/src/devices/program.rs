//! The policy as a `BPF_PROG_TYPE_CGROUP_DEVICE` program.
//!
//! The kernel runs it whenever a process of the cgroup opens or makes a device node; it answers 1 for yes and 0 for no. It
//! goes through the exceptions, those first that decide first, and ends with what is allowed in general. Three things
//! keep it short, because what it costs to load grows with every instruction: there is one way out for each answer,
//! both device numbers are compared at once, and an exception looks at the access only where that makes a difference.

use cloison_linux::bpf::Instruction;

use super::DeviceAccess;
use super::policy::{Policy, Range, Side};

/// `BPF_DEVCG_DEV_*`, the lower half of `access_type`.
const BLOCK: i32 = 1;
const CHAR: i32 = 2;
/// Where the access begins in `access_type`.
const ACCESS_SHIFT: u32 = 16;
/// How many bits a minor number has in the kernel; a major number has the other 12.
const MINOR_BITS: i32 = 20;

/// Where `struct bpf_cgroup_dev_ctx` has its fields.
const ACCESS_TYPE_AT: i16 = 0;
const MAJOR_AT: i16 = 4;
const MINOR_AT: i16 = 8;

// Operations, as linux/bpf.h and linux/bpf_common.h compose them. All of them work on 32 bits.
const LOAD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const SHIFT_LEFT: u8 = 0x64;
const OR_REGISTER: u8 = 0x4c;
const AND: u8 = 0x54;
const JUMP: u8 = 0x05;
const JUMP_EQUAL: u8 = 0x16;
const JUMP_NOT_EQUAL: u8 = 0x56;
const JUMP_SET: u8 = 0x46;
const JUMP_LESS: u8 = 0xa6;
const EXIT: u8 = 0x95;

/// What each register holds.
#[derive(Debug, Clone, Copy)]
enum Register {
    Answer = 0,
    Context = 1,
    /// `access_type`; access that has been found to be allowed is taken out of it.
    Access = 2,
    /// Major and minor number together.
    Device = 3,
    Major = 4,
    Minor = 5,
}

/// Where a jump goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Allow,
    Deny,
    Label(usize),
}

/// The program for a policy; none if it is so long that a jump does not reach across it.
pub(super) fn assemble(policy: &Policy) -> Option<Vec<Instruction>> {
    let mut program = Assembler::default();
    program.put(MOVE, Register::Answer, 1);
    program.load(Register::Access, ACCESS_TYPE_AT);
    program.load_numbers(policy);
    if policy.char == policy.block {
        program.exceptions(&policy.char);
    } else {
        program.both_sides(policy);
    }
    let Policy { char, block } = policy;
    // What was not written yet is the end of the side that comes last.
    program.base(if char.exceptions.is_empty() { char.base } else { block.base });
    program.finish()
}

#[derive(Debug, Default)]
struct Assembler {
    instructions: Vec<Instruction>,
    jumps: Vec<(usize, Target)>,
    labels: Vec<usize>,
}

impl Assembler {
    /// Both kinds of devices, but for the end of the second.
    fn both_sides(&mut self, policy: &Policy) {
        let (char, block) = ((&policy.char, CHAR), (&policy.block, BLOCK));
        let swapped = policy.char.exceptions.is_empty();
        let ((first, _), (second, kind)) = if swapped { (block, char) } else { (char, block) };
        let second_starts = self.new_label();
        self.jump(JUMP_SET, Register::Access, kind, Target::Label(second_starts));
        self.exceptions(first);
        // Often the second has no exceptions, and then both end alike.
        if !second.exceptions.is_empty() || first.base != second.base {
            self.base(first.base);
            self.jump(JUMP, Register::Answer, 0, Target::Deny);
        }
        self.bind(second_starts);
        self.exceptions(second);
    }

    fn load_numbers(&mut self, policy: &Policy) {
        let ranges =
            || policy.char.exceptions.iter().chain(&policy.block.exceptions).map(|exception| exception.range);
        let exact = ranges().any(|range| range.major.is_some() && range.minor.is_some());
        if ranges().any(|range| range.minor.is_none()) {
            self.load(Register::Major, MAJOR_AT);
        }
        if exact || ranges().any(|range| range.major.is_none()) {
            self.load(Register::Minor, MINOR_AT);
        }
        if exact {
            self.load(Register::Device, MAJOR_AT);
            self.put(SHIFT_LEFT, Register::Device, MINOR_BITS);
            self.put_registers(OR_REGISTER, Register::Device, Register::Minor);
        }
    }

    fn exceptions(&mut self, side: &Side) {
        for (index, exception) in side.exceptions.iter().enumerate().rev() {
            let access = side.widened(index);
            let (register, number) = condition(exception.range);
            let target = if exception.allow { Target::Allow } else { Target::Deny };
            if access.is_all() {
                self.jump(JUMP_EQUAL, register, number, target);
                continue;
            }
            let next = self.new_label();
            self.jump(JUMP_NOT_EQUAL, register, number, Target::Label(next));
            if exception.allow {
                self.put(AND, Register::Access, !bits(access));
                self.jump(JUMP_LESS, Register::Access, 1 << ACCESS_SHIFT, Target::Allow);
            } else {
                self.jump(JUMP_SET, Register::Access, bits(access), Target::Deny);
            }
            self.bind(next);
        }
    }

    /// What is left after the exceptions; goes on behind it to deny.
    fn base(&mut self, base: DeviceAccess) {
        // The lowest bit: nothing else is asked for.
        if base == DeviceAccess::MKNOD {
            self.jump(JUMP_LESS, Register::Access, 2 << ACCESS_SHIFT, Target::Allow);
        } else if base.is_all() {
            self.jump(JUMP, Register::Answer, 0, Target::Allow);
        } else if !base.is_empty() {
            self.jump(JUMP_SET, Register::Access, bits(!base), Target::Deny);
            self.jump(JUMP, Register::Answer, 0, Target::Allow);
        }
    }

    fn finish(mut self) -> Option<Vec<Instruction>> {
        let deny = self.instructions.len();
        self.put(MOVE, Register::Answer, 0);
        let allow = self.instructions.len();
        self.put(EXIT, Register::Answer, 0);
        for (at, target) in self.jumps {
            let place = match target {
                Target::Deny => deny,
                Target::Allow => allow,
                Target::Label(label) => self.labels[label],
            };
            self.instructions[at].offset = i16::try_from(place - at - 1).ok()?;
        }
        Some(self.instructions)
    }

    fn put(&mut self, code: u8, register: Register, immediate: i32) {
        self.instructions.push(Instruction { code, registers: register as u8, offset: 0, immediate });
    }

    fn put_registers(&mut self, code: u8, destination: Register, source: Register) {
        let registers = destination as u8 | (source as u8) << 4;
        self.instructions.push(Instruction { code, registers, offset: 0, immediate: 0 });
    }

    fn load(&mut self, register: Register, offset: i16) {
        self.put_registers(LOAD, register, Register::Context);
        if let Some(load) = self.instructions.last_mut() {
            load.offset = offset;
        }
    }

    fn jump(&mut self, code: u8, register: Register, number: i32, target: Target) {
        self.jumps.push((self.instructions.len(), target));
        self.put(code, register, number);
    }

    fn new_label(&mut self) -> usize {
        self.labels.push(0);
        self.labels.len() - 1
    }

    fn bind(&mut self, label: usize) {
        self.labels[label] = self.instructions.len();
    }
}

/// The register that tells whether a device is in the range, and by which value.
fn condition(range: Range) -> (Register, i32) {
    match (range.major, range.minor) {
        (Some(major), Some(minor)) => (Register::Device, (major << MINOR_BITS | minor).cast_signed()),
        (Some(major), None) => (Register::Major, major.cast_signed()),
        (None, minor) => (Register::Minor, minor.unwrap_or_default().cast_signed()),
    }
}

fn bits(access: DeviceAccess) -> i32 {
    i32::from(access.bits()) << ACCESS_SHIFT
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::devices::reference::{default_list, requests, rule, rules, says};
    use crate::devices::{DeviceKind, DeviceRule};

    fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
        assemble(&Policy::of(rules)).unwrap()
    }

    /// Does what the kernel would; panics at what its verifier would not let pass.
    fn run(program: &[Instruction], kind: DeviceKind, major: u32, minor: u32, access: DeviceAccess) -> bool {
        let kind = if kind == DeviceKind::Block { BLOCK } else { CHAR };
        let context = [(bits(access) | kind).cast_unsigned(), major, minor];
        let mut registers: [Option<u32>; 11] = [None; 11];
        let mut at = 0;
        loop {
            let Instruction { code, registers: operands, offset, immediate } = program[at];
            let number = immediate.cast_unsigned();
            let (to, from) = (usize::from(operands & 0xf), usize::from(operands >> 4));
            let value = || registers[to].expect("the register was written before");
            at += 1;
            let jump = match code {
                EXIT => return value() == 1,
                LOAD => {
                    assert_eq!(from, 1);
                    registers[to] = Some(context[usize::try_from(offset).unwrap() / 4]);
                    false
                }
                MOVE => {
                    registers[to] = Some(number);
                    false
                }
                SHIFT_LEFT => {
                    registers[to] = Some(value() << number);
                    false
                }
                AND => {
                    registers[to] = Some(value() & number);
                    false
                }
                OR_REGISTER => {
                    registers[to] = Some(value() | registers[from].unwrap());
                    false
                }
                JUMP => true,
                JUMP_EQUAL => value() == number,
                JUMP_NOT_EQUAL => value() != number,
                JUMP_SET => value() & number != 0,
                JUMP_LESS => value() < number,
                other => panic!("no such operation: {other:#x}"),
            };
            if jump {
                assert!(offset >= 0, "loops are not for us");
                at += usize::try_from(offset).unwrap();
            }
        }
    }

    #[test]
    fn the_default_list_is_short() {
        assert_eq!(program(&default_list()).len(), 20);
    }

    #[test]
    fn a_container_that_may_nothing_has_the_shortest_program() {
        let nothing = program(&[]);
        assert!(nothing.len() <= 4, "{nothing:?}");
        assert!(!run(&nothing, DeviceKind::Char, 1, 3, DeviceAccess::READ));
    }

    #[test]
    fn reading_and_writing_at_once_needs_both() {
        let both = DeviceAccess::READ | DeviceAccess::WRITE;
        let split = program(&["allow c 1:3 r", "allow c *:* w"].map(rule));
        assert!(run(&split, DeviceKind::Char, 1, 3, both));
        let most = program(&["allow a *:* rwm", "deny c 1:3 w"].map(rule));
        assert!(!run(&most, DeviceKind::Char, 1, 3, both));
        assert!(run(&most, DeviceKind::Char, 1, 3, DeviceAccess::READ));
    }

    #[test]
    fn a_program_that_a_jump_does_not_reach_across_is_refused() {
        for (length, possible) in [(32_000, true), (33_000, false)] {
            let mut program = Assembler::default();
            program.jump(JUMP, Register::Answer, 0, Target::Deny);
            (0..length).for_each(|_| program.put(MOVE, Register::Answer, 1));
            assert_eq!(program.finish().is_some(), possible, "{length}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn the_program_says_what_the_list_says(rules in rules()) {
            let program = program(&rules);
            for (kind, major, minor, access) in requests(&rules) {
                let wanted = says(&rules, kind, major, minor, access);
                prop_assert_eq!(run(&program, kind, major, minor, access), wanted, "{:?} {}:{} {}", kind, major, minor, access);
            }
        }
    }
}
