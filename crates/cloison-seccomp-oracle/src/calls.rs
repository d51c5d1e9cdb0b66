//! Which calls to try: every number that an architecture has and those around, and for calls with conditions the
//! arguments around what these compare with.

use std::collections::BTreeSet;

use cloison_seccomp::{Architecture, Call, Operator, Profile, Syscall};

/// Calls that most programs make all the time, and that begin and end them.
const TYPICAL: [&str; 14] = [
    "read",
    "write",
    "close",
    "openat",
    "fstat",
    "mmap",
    "futex",
    "epoll_wait",
    "recvfrom",
    "sendto",
    "clock_nanosleep",
    "clone",
    "execve",
    "exit_group",
];

/// Typical calls of x86-64, with their names: what a filter costs.
///
/// # Panics
/// Never: they are in the table.
pub fn typical_calls() -> impl Iterator<Item = (&'static str, Call)> {
    let native = Architecture::X86_64;
    TYPICAL.into_iter().map(move |name| {
        let number = Syscall::named(name).and_then(|call| call.number(native)).expect("a call");
        // The flags with which a program begins another.
        (name, call(native.audit(), number, [0x11, 0, 0, 0, 0, 0]))
    })
}

/// The calls that can tell two filters of a profile apart. With many conditions not all combinations are tried; which
/// ones depends on nothing but the profile.
pub fn calls(profile: &Profile<'_>, native: Architecture) -> Vec<Call> {
    let mut audits: BTreeSet<u32> =
        profile.architectures.iter().map(|architecture| architecture.audit()).collect();
    audits.insert(native.audit());
    let mut calls = Vec::new();
    // Of an architecture that is not in the filter, a few calls do.
    let foreign = Architecture::ALL.iter().map(|other| other.audit()).filter(|audit| !audits.contains(audit));
    calls.extend(foreign.flat_map(|audit| [0, 1, 4001, u32::MAX].map(|number| call(audit, number, [0; 6]))));
    let conditioned = conditioned(profile);
    for audit in audits {
        let numbers = numbers(audit);
        for number in numbers {
            calls.push(call(audit, number, [0; 6]));
            if conditioned.contains(&(audit, number)) {
                let arguments = arguments(profile, u64::from(number));
                calls.extend(arguments.into_iter().map(|arguments| call(audit, number, arguments)));
            }
        }
    }
    calls
}

const fn call(architecture: u32, number: u32, arguments: [u64; 6]) -> Call {
    Call { number, architecture, instruction_pointer: 0x7fff_dead_beef, arguments }
}

/// All numbers in use and their neighbours, and those at which ABIs begin and end.
fn numbers(audit: u32) -> BTreeSet<u32> {
    let mut numbers =
        BTreeSet::from([0x3fff_ffff, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX]);
    numbers.extend([0x000e_ffff, 0x000f_0000, 0x000f_0007, 3999, 4999, 5999]);
    for architecture in Architecture::ALL.into_iter().filter(|architecture| architecture.audit() == audit) {
        for number in Syscall::all().filter_map(|call| call.number(architecture)) {
            numbers.extend([number.saturating_sub(1), number, number + 1]);
        }
    }
    numbers
}

/// The numbers for which the arguments matter.
fn conditioned(profile: &Profile<'_>) -> BTreeSet<(u32, u32)> {
    let mut names: BTreeSet<&str> = BTreeSet::from(["socketcall", "ipc"]);
    names.extend(
        profile
            .rules
            .iter()
            .filter(|rule| !rule.args.is_empty())
            .flat_map(|rule| rule.names.iter().map(String::as_str)),
    );
    let calls: Vec<Syscall> = names.into_iter().filter_map(Syscall::named).collect();
    let all = Architecture::ALL.into_iter();
    all.flat_map(|architecture| {
        calls.iter().filter_map(move |call| Some((architecture.audit(), call.number(architecture)?)))
    })
    .collect()
}

/// Arguments near to what the rules compare with.
fn arguments(profile: &Profile<'_>, seed: u64) -> Vec<[u64; 6]> {
    let mut values: [BTreeSet<u64>; 6] = std::array::from_fn(|_| BTreeSet::from([0, u64::MAX]));
    // The calls of the multiplexers.
    values[0].extend([1, 2, 4, 9, 18, 20, 23]);
    for arg in profile.rules.iter().flat_map(|rule| &rule.args) {
        let value = if arg.op == Operator::MaskedEqual { arg.value & arg.value_two } else { arg.value };
        let around =
            [value.wrapping_sub(1), value, value.wrapping_add(1), value ^ (1 << 32), value & 0xffff_ffff];
        values[arg.index as usize].extend(around);
        if arg.op == Operator::MaskedEqual {
            values[arg.index as usize].extend([
                arg.value,
                value | !arg.value,
                value ^ (arg.value & arg.value.wrapping_neg()),
            ]);
        }
    }
    let values = values.map(|values| values.into_iter().collect::<Vec<u64>>());
    let mut arguments = Vec::new();
    // Each value of each argument with the others at 0, then mixtures.
    for (index, values) in values.iter().enumerate() {
        arguments.extend(values.iter().map(|value| {
            let mut arguments = [0; 6];
            arguments[index] = *value;
            arguments
        }));
    }
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..3 * arguments.len() {
        arguments.push(std::array::from_fn(|index| {
            // xorshift64.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            values[index][(state % values[index].len() as u64) as usize]
        }));
    }
    arguments
}
