use super::*;
use crate::{Arg, Call, Endianness, Flag, interpret};

const ALLOW: u32 = 0x7fff_0000;
const KILL_THREAD: u32 = 0;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

fn profile(default_action: Action, rules: Vec<Rule<'static>>) -> Profile<'static> {
    Profile { default_action, default_errno: None, architectures: Vec::new(), flags: Vec::new(), rules }
}

fn rule(names: &[&str], action: Action, args: Vec<Arg>) -> Rule<'static> {
    Rule {
        names: names.iter().map(ToString::to_string).collect::<Vec<_>>().into(),
        action,
        errno: None,
        args,
    }
}

fn arg(index: u32, op: Operator, value: u64) -> Arg {
    Arg { index, value, value_two: 0, op }
}

fn asks(program: &Program, architecture: Architecture, number: u32, arguments: [u64; 6]) -> u32 {
    let call = Call { number, architecture: architecture.audit(), instruction_pointer: 0, arguments };
    interpret(&program.filter, &call, architecture.endianness()).expect("a valid program").returned
}

fn on_x86_64(profile: &Profile) -> Program {
    compile(profile, Architecture::X86_64).expect("a good profile")
}

#[test]
fn only_what_is_named_is_allowed() {
    let program =
        on_x86_64(&profile(Action::Errno, vec![rule(&["write", "mkdirat"], Action::Allow, vec![])]));
    assert_eq!(asks(&program, Architecture::X86_64, 1, [0; 6]), ALLOW);
    assert_eq!(asks(&program, Architecture::X86_64, 258, [0; 6]), ALLOW);
    assert_eq!(asks(&program, Architecture::X86_64, 0, [0; 6]), EPERM);
    assert_eq!(asks(&program, Architecture::X86_64, 257, [0; 6]), EPERM);
}

#[test]
fn newer_calls_do_not_exist() {
    let rules = vec![rule(&["mkdirat"], Action::Allow, vec![])];
    let program = on_x86_64(&profile(Action::Errno, rules.clone()));
    assert_eq!(asks(&program, Architecture::X86_64, 259, [0; 6]), ENOSYS);
    let program = on_x86_64(&profile(Action::KillProcess, rules.clone()));
    assert_eq!(asks(&program, Architecture::X86_64, 259, [0; 6]), ENOSYS);
    let mut lenient = profile(Action::Log, rules);
    lenient.rules[0].action = Action::Errno;
    assert_eq!(asks(&on_x86_64(&lenient), Architecture::X86_64, 259, [0; 6]), 0x7ffc_0000);
}

#[test]
fn a_rule_that_repeats_the_default_makes_its_calls_known() {
    let rules = vec![rule(&["read"], Action::Allow, vec![]), rule(&["mkdirat"], Action::Errno, vec![])];
    let program = on_x86_64(&profile(Action::Errno, rules));
    assert_eq!(asks(&program, Architecture::X86_64, 258, [0; 6]), EPERM);
    assert_eq!(asks(&program, Architecture::X86_64, 259, [0; 6]), ENOSYS);
}

#[test]
fn other_architectures_are_killed() {
    let program = on_x86_64(&profile(Action::Allow, vec![]));
    assert_eq!(asks(&program, Architecture::X86_64, 0, [0; 6]), ALLOW);
    assert_eq!(asks(&program, Architecture::X86, 3, [0; 6]), KILL_THREAD);
    assert_eq!(asks(&program, Architecture::X32, 0x4000_0000, [0; 6]), KILL_THREAD);
    // By this number a tracer skips a call.
    assert_eq!(asks(&program, Architecture::X86_64, u32::MAX, [0; 6]), ALLOW);
}

#[test]
fn x32_has_numbers_of_its_own() {
    let mut both = profile(Action::Errno, vec![rule(&["ioctl"], Action::Allow, vec![])]);
    both.architectures = vec![Architecture::X32];
    let program = on_x86_64(&both);
    assert_eq!(asks(&program, Architecture::X86_64, 16, [0; 6]), ALLOW);
    assert_eq!(asks(&program, Architecture::X32, 0x4000_0000 + 514, [0; 6]), ALLOW);
    assert_eq!(asks(&program, Architecture::X32, 0x4000_0000 + 16, [0; 6]), EPERM);
    assert_eq!(asks(&program, Architecture::X32, 0x4000_0000 + 515, [0; 6]), ENOSYS);
}

#[test]
fn a_multiplexed_call_is_told_by_the_first_argument() {
    let mut both = profile(Action::Errno, vec![rule(&["accept4", "semget"], Action::Allow, vec![])]);
    both.architectures = vec![Architecture::X86];
    let program = on_x86_64(&both);
    assert_eq!(asks(&program, Architecture::X86, 364, [0; 6]), ALLOW);
    assert_eq!(asks(&program, Architecture::X86, 102, [18, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(asks(&program, Architecture::X86, 102, [1, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(asks(&program, Architecture::X86, 117, [2, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(asks(&program, Architecture::X86, 117, [3, 0, 0, 0, 0, 0]), EPERM);
}

#[test]
fn unknown_numbers_of_s390_do_not_exist() {
    let rules = vec![rule(&["read"], Action::Allow, vec![])];
    let program = compile(&profile(Action::Errno, rules), Architecture::S390x).unwrap();
    assert_eq!(asks(&program, Architecture::S390x, 0, [0; 6]), ENOSYS);
    assert_eq!(asks(&program, Architecture::S390x, 3, [0; 6]), ALLOW);
}

#[test]
fn calls_that_only_arm_has_do_not_hide_newer_ones() {
    let rules = vec![rule(&["read", "set_tls"], Action::Allow, vec![])];
    let program = compile(&profile(Action::Errno, rules), Architecture::Arm).unwrap();
    assert_eq!(asks(&program, Architecture::Arm, 3, [0; 6]), ALLOW);
    assert_eq!(asks(&program, Architecture::Arm, 4, [0; 6]), ENOSYS);
    assert_eq!(asks(&program, Architecture::Arm, 0x000f_0005, [0; 6]), ALLOW);
    assert_eq!(asks(&program, Architecture::Arm, 0x000f_0002, [0; 6]), EPERM);
    assert_eq!(asks(&program, Architecture::Arm, 0x000f_0006, [0; 6]), ENOSYS);
}

#[test]
fn all_operators_compare_64_bits() {
    let value = 0x0000_0002_0000_0005;
    let cases = [
        (Operator::NotEqual, [true, false, true]),
        (Operator::Less, [true, false, false]),
        (Operator::LessOrEqual, [true, true, false]),
        (Operator::Equal, [false, true, false]),
        (Operator::GreaterOrEqual, [false, true, true]),
        (Operator::Greater, [false, false, true]),
    ];
    for (op, expected) in cases {
        for native in [Architecture::X86_64, Architecture::S390x] {
            let rules = vec![rule(&["ioctl"], Action::Trap, vec![arg(5, op, value)])];
            let program = compile(&profile(Action::Allow, rules), native).unwrap();
            let number = Syscall::named("ioctl").unwrap().number(native).unwrap();
            let near = [(value - 1, 0), (value, 1), (value + 1, 2), (0x1_ffff_ffff, 0), (0x3_0000_0000, 2)];
            for (is, side) in near {
                let returned = asks(&program, native, number, [0, 0, 0, 0, 0, is]);
                assert_eq!(
                    returned == 0x0003_0000,
                    expected[side],
                    "{is:#x} {op:?} {value:#x} on {native:?}"
                );
            }
        }
    }
}

#[test]
fn the_first_rule_without_conditions_stands_above_all() {
    let rules = vec![
        rule(&["ioctl"], Action::Trap, vec![arg(0, Operator::Equal, 1)]),
        rule(&["ioctl"], Action::Allow, vec![]),
        rule(&["ioctl"], Action::KillProcess, vec![]),
    ];
    let program = on_x86_64(&profile(Action::Errno, rules));
    assert_eq!(asks(&program, Architecture::X86_64, 16, [1, 0, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn two_conditions_on_one_argument_are_alternatives() {
    let args = vec![arg(0, Operator::Equal, 1), arg(0, Operator::Equal, 2), arg(1, Operator::Equal, 7)];
    let program = on_x86_64(&profile(Action::Errno, vec![rule(&["ioctl"], Action::Allow, args)]));
    let asks = |one, two| asks(&program, Architecture::X86_64, 16, [one, two, 0, 0, 0, 0]);
    assert_eq!([asks(1, 0), asks(2, 0), asks(3, 7)], [ALLOW; 3]);
    assert_eq!(asks(3, 8), EPERM);
}

#[test]
fn names_that_are_no_calls_are_told_once() {
    let names = ["read", "frobnicate", "frobnicate", "defrobnicate"];
    let program = on_x86_64(&profile(Action::Errno, vec![rule(&names, Action::Allow, vec![])]));
    assert_eq!(program.unknown, ["frobnicate", "defrobnicate"]);
}

#[test]
fn flags_are_those_of_the_kernel() {
    let mut notifying = profile(Action::Allow, vec![rule(&["mkdir"], Action::Notify, vec![])]);
    notifying.flags = vec![Flag::Tsync, Flag::Log, Flag::SpecAllow, Flag::WaitKillableRecv];
    let program = on_x86_64(&notifying);
    assert_eq!(program.flags, 2 | 4 | 8 | 32);
    assert!(program.notifies());
    assert_eq!(asks(&program, Architecture::X86_64, 83, [0; 6]), 0x7fc0_0000);
    assert!(!on_x86_64(&profile(Action::Allow, vec![])).notifies());
}

#[test]
fn bad_profiles_are_refused() {
    let refused = |profile| compile(&profile, Architecture::X86_64).unwrap_err();
    assert_eq!(refused(profile(Action::Notify, vec![])), Error::NotifyByDefault);
    let write = rule(&["mkdir", "write"], Action::Notify, vec![]);
    assert_eq!(refused(profile(Action::Allow, vec![write])), Error::NotifyOfWrite { rule: 0 });
    let empty = rule(&[""], Action::Errno, vec![]);
    assert_eq!(refused(profile(Action::Allow, vec![empty])), Error::EmptyName { rule: 0 });
    let seventh = rule(&["read"], Action::Errno, vec![arg(6, Operator::Equal, 1)]);
    let no_such = Error::NoSuchArgument { rule: 0, argument: 6 };
    assert_eq!(refused(profile(Action::Allow, vec![seventh])), no_such);
    let mut mixed = profile(Action::Allow, vec![]);
    mixed.architectures = vec![Architecture::S390x];
    let (architecture, native) = (Architecture::S390x, Architecture::X86_64);
    assert_eq!(refused(mixed), Error::ByteOrder { architecture, native });
}

#[test]
fn rules_that_contradict_each_other_are_refused() {
    let one = || vec![arg(0, Operator::Equal, 1)];
    let both = vec![rule(&["ioctl"], Action::Trap, one()), rule(&["ioctl"], Action::KillProcess, one())];
    let error = compile(&profile(Action::Allow, both), Architecture::X86_64).unwrap_err();
    assert_eq!(error, Error::Contradiction { rule: 1, call: "ioctl", architecture: Architecture::X86_64 });
    let same = vec![rule(&["ioctl"], Action::Trap, one()), rule(&["ioctl"], Action::Trap, one())];
    assert!(compile(&profile(Action::Allow, same), Architecture::X86_64).is_ok());
}

/// As many rules about one call as asked for, each about another value.
fn values(count: u64) -> Profile<'static> {
    let rules = (0..count).map(|value| rule(&["ioctl"], Action::Trap, vec![arg(1, Operator::Equal, value)]));
    profile(Action::Allow, rules.collect())
}

#[test]
fn far_jumps_arrive() {
    let program = on_x86_64(&values(4000));
    assert!(program.filter.len() > 4000, "{}", program.filter.len());
    for value in [0, 1, 255, 256, 1999, 3999] {
        assert_eq!(asks(&program, Architecture::X86_64, 16, [0, value, 0, 0, 0, 0]), 0x0003_0000, "{value}");
    }
    assert_eq!(asks(&program, Architecture::X86_64, 16, [0, 4000, 0, 0, 0, 0]), ALLOW);
    assert_eq!(asks(&program, Architecture::X86_64, 16, [0, 1 << 32, 0, 0, 0, 0]), ALLOW);
    assert_eq!(asks(&program, Architecture::X86_64, 15, [0; 6]), ALLOW);
}

#[test]
fn too_long_filters_are_refused() {
    let error = compile(&values(5000), Architecture::X86_64).unwrap_err();
    assert!(matches!(error, Error::TooLong { length } if length > MAXIMUM_LENGTH), "{error}");
}

#[test]
fn the_machine_is_known() {
    let native = Architecture::NATIVE.expect("tests run where filters can");
    let little = cfg!(target_endian = "little");
    assert_eq!(native.endianness() == Endianness::Little, little);
}
