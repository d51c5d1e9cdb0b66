//! A filter says of every call what the plain reading of its profile says, and the explanation of a call agrees.
#![no_main]

use cloison_seccomp::{Action, Architecture, Arg, Operator, Profile, Rule, compile, interpret};
use cloison_seccomp_oracle::{Meaning, Model, calls};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// Which architectures a filter can hold together, the native one first.
const FAMILIES: [&[Architecture]; 8] = {
    use Architecture::{
        Aarch64, Arm, Mips, Mips64, Mips64n32, Ppc64le, Riscv64, S390, S390x, X32, X86, X86_64,
    };
    [
        &[X86_64, X86, X32],
        &[X86_64],
        &[X86],
        &[Aarch64, Arm],
        &[S390x, S390],
        &[Mips64, Mips, Mips64n32],
        &[Ppc64le],
        &[Riscv64],
    ]
};

/// Calls of every kind: the first and the last, those that some architectures pass through `socketcall` and `ipc`, those that only some
/// have, and one that nobody has.
const NAMES: [&str; 32] = [
    "read",
    "write",
    "open",
    "openat",
    "openat2",
    "close",
    "ioctl",
    "mmap",
    "mmap2",
    "clone",
    "clone3",
    "socket",
    "socketcall",
    "accept",
    "accept4",
    "sendmsg",
    "ipc",
    "semop",
    "semtimedop",
    "shmget",
    "msgrcv",
    "kill",
    "personality",
    "arch_prctl",
    "restart_syscall",
    "io_setup",
    "futex_waitv",
    "map_shadow_stack",
    "statmount",
    "landlock_create_ruleset",
    "breakpoint",
    "frobnicate",
];

const ACTIONS: [Action; 8] = [
    Action::Allow,
    Action::Errno,
    Action::KillThread,
    Action::KillProcess,
    Action::Trap,
    Action::Trace,
    Action::Log,
    Action::Notify,
];
const OPERATORS: [Operator; 7] = [
    Operator::Equal,
    Operator::NotEqual,
    Operator::Less,
    Operator::LessOrEqual,
    Operator::Greater,
    Operator::GreaterOrEqual,
    Operator::MaskedEqual,
];

#[derive(Debug, Arbitrary)]
struct Input {
    family: u8,
    others: u8,
    default_action: u8,
    default_errno: Option<u16>,
    rules: Vec<InputRule>,
}

#[derive(Debug, Arbitrary)]
struct InputRule {
    names: Vec<u8>,
    action: u8,
    errno: Option<u16>,
    args: Vec<InputArg>,
}

#[derive(Debug, Arbitrary)]
struct InputArg {
    index: u8,
    op: u8,
    value: Number,
    value_two: Number,
}

/// Numbers that meet each other at the edges of words.
#[derive(Debug, Arbitrary)]
enum Number {
    Small(u8),
    High(u8),
    Low32,
    Any(u64),
}

impl Number {
    fn get(&self) -> u64 {
        match self {
            Self::Small(value) => u64::from(value & 7),
            Self::High(value) => u64::from(value & 3) << 32,
            Self::Low32 => u64::from(u32::MAX),
            Self::Any(value) => *value,
        }
    }
}

fn pick<T: Clone>(list: &[T], place: u8) -> T {
    list[usize::from(place) % list.len()].clone()
}

fuzz_target!(|input: Input| {
    let family = pick(&FAMILIES, input.family);
    let native = family[0];
    let also = family
        .iter()
        .skip(1)
        .enumerate()
        .filter(|(bit, _)| input.others >> bit & 1 != 0)
        .map(|(_, other)| *other);
    let rule = |rule: &InputRule| Rule {
        names: rule
            .names
            .iter()
            .take(4)
            .map(|place| pick(&NAMES, *place).to_owned())
            .collect::<Vec<_>>()
            .into(),
        action: pick(&ACTIONS, rule.action),
        errno: rule.errno.map(u32::from),
        args: rule
            .args
            .iter()
            .take(6)
            .map(|arg| Arg {
                index: u32::from(arg.index % 6),
                value: arg.value.get(),
                value_two: arg.value_two.get(),
                op: pick(&OPERATORS, arg.op),
            })
            .collect(),
    };
    let profile = Profile {
        default_action: pick(&ACTIONS, input.default_action),
        default_errno: input.default_errno.map(u32::from),
        architectures: also.collect(),
        flags: Vec::new(),
        rules: input.rules.iter().take(12).map(rule).collect(),
    };
    let Ok(program) = compile(&profile, native) else { return };
    let model = Model::new(&profile, native);
    for call in calls(&profile, native) {
        let verdict = interpret(&program.filter, &call, native.endianness()).expect("the program is valid");
        let meaning = model.meaning(&call);
        let is_meant = match &meaning {
            Meaning::Exactly(wanted) => *wanted == verdict.returned,
            Meaning::OneOf(wanted) => wanted.contains(&verdict.returned),
        };
        assert!(
            is_meant,
            "{call:x?}: we say {:#x}, and the profile means {meaning:x?}\n{profile:#?}",
            verdict.returned
        );
    }
});
