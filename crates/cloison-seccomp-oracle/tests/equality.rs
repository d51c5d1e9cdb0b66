//! Our filters and libseccomp's say the same of every call, but where `docs/seccomp.md` says that they do not, and
//! why. What ours say is what the profile means, always.

use std::collections::BTreeMap;
use std::fmt;

use cloison_seccomp::{
    Action, Architecture, Arg, Decision, Explanation, Operator, Otherwise, Profile, Program, Rule, Syscall,
    compile, explain, interpret,
};
use cloison_seccomp_oracle::{ENGINES, Meaning, Model, Reference, calls, engine_profile, known_alike};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// The families of architectures that a filter can hold together, the native one first.
const FAMILIES: [&[Architecture]; 14] = {
    use Architecture::{
        Aarch64, Arm, Mips, Mips64, Mips64n32, Mipsel, Mipsel64, Mipsel64n32, Parisc, Parisc64, Ppc, Ppc64,
        Ppc64le, Riscv64, S390, S390x, X32, X86, X86_64,
    };
    [
        &[X86_64],
        &[X86_64, X86],
        &[X86_64, X32],
        &[X86_64, X86, X32],
        &[X86],
        &[Aarch64, Arm],
        &[Arm],
        &[Mips64, Mips, Mips64n32],
        &[Mipsel64, Mipsel, Mipsel64n32],
        &[Ppc64le],
        &[Ppc64, Ppc],
        &[S390x, S390],
        &[Riscv64],
        &[Parisc64, Parisc],
    ]
};

/// What was compared, and where the two differ for a reason that is documented.
#[derive(Debug, Default)]
struct Counts {
    profiles: usize,
    calls: usize,
    architectures: BTreeMap<Architecture, usize>,
    refused_by_both: usize,
    refused_by_libseccomp: usize,
    /// runc overlooks numbers when it looks for the newest call.
    newest: usize,
    /// Rules that want different things hold for one call.
    conflicts: usize,
    /// libseccomp compares the wrong word.
    confused: usize,
    /// Profiles that libseccomp is not asked about, because it mixes the conditions of rules up.
    tangled: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { profiles, calls, architectures, refused_by_both, refused_by_libseccomp, .. } = self;
        let count = architectures.len();
        writeln!(f, "{profiles} profiles, {count} architectures, {calls} calls compared")?;
        writeln!(f, "refused: by both {refused_by_both}, by libseccomp only {refused_by_libseccomp}")?;
        let Self { newest, conflicts, confused, tangled, .. } = self;
        writeln!(f, "tangled, so compared with their plain reading only: {tangled} profiles")?;
        write!(
            f,
            "documented differences: newest call {newest}, conflicts {conflicts}, wrong word {confused}"
        )
    }
}

/// Compares the verdicts on all calls that can tell the filters apart.
fn compare(profile: &Profile<'_>, native: Architecture, counts: &mut Counts) -> Result<(), String> {
    let model = Model::new(profile, native);
    let ours = compile(profile, native);
    if model.all_conditions().any(|rules| tangles(&rules)) {
        counts.tangled += 1;
        return ours.map_or(Ok(()), |ours| means_what_it_says(&ours, profile, native, &model));
    }
    let (ours, theirs) = match (ours, Reference::compile(profile, native)) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(_), Err(_)) => {
            counts.refused_by_both += 1;
            return Ok(());
        }
        (Ok(_), Err(_)) => {
            counts.refused_by_libseccomp += 1;
            return Ok(());
        }
        (Err(error), Ok(_)) => return Err(format!("only we refuse: {error}")),
    };
    means_what_it_says(&ours, profile, native, &model)?;
    counts.profiles += 1;
    for call in calls(profile, native) {
        counts.calls += 1;
        let verdict = interpret(&ours.filter, &call, native.endianness()).ok_or("an invalid program")?;
        let ours = verdict.returned;
        let abi = model.abi_of(&call);
        if let Some(abi) = abi {
            *counts.architectures.entry(abi).or_default() += 1;
        }
        let hidden = abi.is_some_and(|abi| theirs.hides(&call, abi));
        if hidden != model.is_newer(&call) {
            // Multiplexers, and the calls that only ARM has.
            let overlooks = |abi: Architecture| !abi.has_64_bit_arguments() || is_power_or_s390(abi);
            if !abi.is_some_and(overlooks) {
                return Err(format!("{call:x?}: runc's stub hides it: {hidden}"));
            }
            counts.newest += 1;
        }
        let theirs = theirs.verdict(&call).returned;
        if model.is_newer(&call) || ours == theirs {
            // The model says ENOSYS for newer calls.
        } else if matches!(model.meaning(&call), Meaning::OneOf(_)) {
            counts.conflicts += 1;
        } else if abi.is_some_and(|abi| confuses(&model.conditions(&call), abi)) {
            counts.confused += 1;
        } else {
            return Err(format!("{call:x?}: we say {ours:#x}, libseccomp says {theirs:#x}"));
        }
    }
    Ok(())
}

fn is_power_or_s390(abi: Architecture) -> bool {
    matches!(abi, Architecture::Ppc64 | Architecture::Ppc64le | Architecture::S390x)
}

/// Compares a filter with the plain reading of its profile.
fn means_what_it_says(
    ours: &Program,
    profile: &Profile<'_>,
    native: Architecture,
    model: &Model,
) -> Result<(), String> {
    for call in calls(profile, native) {
        let ours = interpret(&ours.filter, &call, native.endianness()).ok_or("an invalid program")?.returned;
        let meaning = model.meaning(&call);
        let is_meant = match &meaning {
            Meaning::Exactly(wanted) => *wanted == ours,
            Meaning::OneOf(wanted) => wanted.contains(&ours),
        };
        if !is_meant {
            return Err(format!("{call:x?}: we say {ours:#x}, and the profile means {meaning:x?}"));
        }
    }
    Ok(())
}

/// Whether libseccomp may mix rules up so that it never comes to an end: two of them look at one argument, and one has
/// several conditions, of which one before the last is not for equality.
fn tangles(rules: &[&[Arg]]) -> bool {
    let branches = |rule: &[Arg]| {
        rule.iter().any(|arg| !is_equality(arg) && rule.iter().any(|later| later.index > arg.index))
    };
    let pair = |one: &[Arg], other: &[Arg]| {
        let shared = one.iter().any(|arg| other.iter().any(|second| arg.index == second.index));
        shared && (branches(one) || branches(other))
    };
    rules.iter().enumerate().any(|(index, one)| rules[..index].iter().any(|other| pair(one, other)))
}

fn is_equality(arg: &Arg) -> bool {
    matches!(arg.op, Operator::Equal | Operator::MaskedEqual)
}

/// Whether libseccomp may go wrong with the rules of a call: two of them look at one argument, not both for equality,
/// and at more than one word, be it another argument or the other half of this one.
fn confuses(rules: &[&[Arg]], abi: Architecture) -> bool {
    let clash =
        |arg: &Arg, second: &Arg| arg.index == second.index && !(is_equality(arg) && is_equality(second));
    let pair = |one: &[Arg], other: &[Arg]| {
        let words = abi.has_64_bit_arguments() || one.len() > 1 || other.len() > 1;
        words && one.iter().any(|arg| other.iter().any(|second| clash(arg, second)))
    };
    rules.iter().enumerate().any(|(index, one)| rules[..index].iter().any(|other| pair(one, other)))
}

/// Compares, and wants no difference but that of the newest call.
fn compare_strictly(name: &str, profile: &Profile<'_>, native: Architecture, counts: &mut Counts) {
    if let Err(difference) = compare(profile, native, counts) {
        panic!("{name} on {native:?}: {difference}");
    }
    assert_eq!((counts.conflicts, counts.confused, counts.tangled), (0, 0, 0), "{name} on {native:?}");
}

/// The profile without what an older libseccomp does not know.
fn comparable(mut profile: Profile<'static>, native: Architecture) -> Profile<'static> {
    let mut architectures = profile.architectures.clone();
    architectures.push(native);
    let known = |name: &String| Syscall::named(name).is_some_and(|call| known_alike(call, &architectures));
    for rule in &mut profile.rules {
        rule.names.to_mut().retain(known);
    }
    profile
}

const CAPABILITIES: [&[&str]; 3] = [
    &[],
    &["CAP_CHOWN", "CAP_SETUID", "CAP_SYS_CHROOT", "CAP_AUDIT_WRITE", "CAP_NET_RAW", "CAP_MKNOD"],
    &[
        "CAP_AUDIT_WRITE",
        "CAP_BPF",
        "CAP_DAC_READ_SEARCH",
        "CAP_PERFMON",
        "CAP_SYS_ADMIN",
        "CAP_SYS_BOOT",
        "CAP_SYS_CHROOT",
        "CAP_SYS_MODULE",
        "CAP_SYS_NICE",
        "CAP_SYS_PACCT",
        "CAP_SYS_PTRACE",
        "CAP_SYS_RAWIO",
        "CAP_SYS_TIME",
        "CAP_SYS_TTY_CONFIG",
        "CAP_SYSLOG",
    ],
];

#[test]
fn default_profiles_of_the_engines_mean_the_same() {
    let mut counts = Counts::default();
    for (name, json) in ENGINES {
        for family in FAMILIES {
            for capabilities in CAPABILITIES {
                let mut profile = engine_profile(json, family[0], capabilities);
                profile.architectures.extend_from_slice(family);
                compare_strictly(name, &comparable(profile, family[0]), family[0], &mut counts);
            }
        }
    }
    println!("the engines' profiles: {counts}");
    assert_eq!(counts.refused_by_both + counts.refused_by_libseccomp, 0);
}

fn arg(index: u32, op: Operator, value: u64, value_two: u64) -> Arg {
    Arg { index, value, value_two, op }
}

fn rule(names: &[&str], action: Action, args: &[Arg]) -> Rule<'static> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    Rule { names: names.into(), action, errno: Some(7), args: args.to_vec() }
}

/// Rules that are easy to get wrong.
fn corners() -> Vec<(&'static str, Vec<Rule<'static>>)> {
    use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, MaskedEqual, NotEqual};
    let every = |op| [0, 1, 0xffff_ffff, 1 << 32, u64::MAX].map(move |value| arg(2, op, value, 0));
    let mut corners = vec![
        ("nothing", vec![]),
        ("the call 0", vec![rule(&["read", "restart_syscall", "io_setup"], Action::Allow, &[])]),
        ("no call at all", vec![rule(&["frobnicate"], Action::Allow, &[])]),
        (
            "a call twice",
            vec![rule(&["open", "open"], Action::Allow, &[]), rule(&["open"], Action::Log, &[])],
        ),
        (
            "conditions before and after none",
            vec![
                rule(&["ioctl"], Action::Trap, &[arg(1, Equal, 5, 0)]),
                rule(&["ioctl"], Action::Allow, &[]),
                rule(&["ioctl"], Action::Log, &[arg(0, Equal, 5, 0)]),
            ],
        ),
        ("a mask without bits", vec![rule(&["ioctl"], Action::Trap, &[arg(1, MaskedEqual, 0, 5)])]),
        (
            "a mask of the upper half",
            vec![rule(&["ioctl"], Action::Trap, &[arg(1, MaskedEqual, 0xf << 32, 5 << 32)])],
        ),
        (
            "bits outside of the mask",
            vec![rule(&["ioctl"], Action::Trap, &[arg(1, MaskedEqual, 0xf0, 0xff)])],
        ),
        (
            "two conditions on one argument",
            vec![rule(
                &["ioctl"],
                Action::Trap,
                &[arg(1, Less, 5, 0), arg(1, Greater, 9, 0), arg(0, Equal, 1, 0)],
            )],
        ),
        (
            "all six arguments",
            vec![rule(
                &["mmap", "mmap2"],
                Action::Trap,
                &[0, 1, 2, 3, 4, 5].map(|index| arg(index, Equal, 7, 0)),
            )],
        ),
        (
            "arguments in disorder",
            vec![rule(&["ioctl"], Action::Trap, &[arg(4, NotEqual, 1, 0), arg(0, LessOrEqual, 8, 0)])],
        ),
        (
            "< before >",
            vec![
                rule(&["ioctl"], Action::Trap, &[arg(0, Greater, 5, 0)]),
                rule(&["ioctl"], Action::Log, &[arg(0, Less, 3, 0)]),
            ],
        ),
        (
            "the same of two arguments",
            vec![
                rule(&["ioctl"], Action::Trap, &[arg(0, Equal, 5, 0)]),
                rule(&["ioctl"], Action::Trap, &[arg(1, Equal, 5, 0)]),
            ],
        ),
        (
            "a rule that another covers",
            vec![
                rule(&["ioctl"], Action::Trap, &[arg(0, Equal, 5, 0), arg(1, Equal, 6, 0)]),
                rule(&["ioctl"], Action::Trap, &[arg(1, Equal, 6, 0)]),
            ],
        ),
        (
            "different upper halves",
            vec![
                rule(&["ioctl"], Action::Trap, &[arg(1, Equal, 5, 0)]),
                rule(&["ioctl"], Action::Log, &[arg(1, Equal, (1 << 32) + 5, 0)]),
            ],
        ),
        (
            "sockets and multiplexers",
            vec![
                rule(&["socket"], Action::Allow, &[arg(0, NotEqual, 40, 0)]),
                rule(&["accept", "accept4", "sendmsg"], Action::Allow, &[]),
                rule(&["semop", "shmget", "msgrcv"], Action::Log, &[arg(1, Equal, 3, 0)]),
            ],
        ),
        ("multiplexers themselves", vec![rule(&["socketcall", "ipc"], Action::Allow, &[])]),
        (
            "calls of one architecture",
            vec![rule(
                &["set_tls", "cacheflush", "arch_prctl", "swapcontext", "s390_sthyi"],
                Action::Allow,
                &[],
            )],
        ),
    ];
    for op in [NotEqual, Less, LessOrEqual, Equal, GreaterOrEqual, Greater, MaskedEqual] {
        for value in every(op) {
            corners.push(("an operator", vec![rule(&["ioctl", "socket"], Action::Trap, &[value])]));
        }
    }
    corners
}

#[test]
fn corner_cases_mean_the_same() {
    let mut counts = Counts::default();
    let defaults = [Action::Errno, Action::Allow, Action::KillProcess, Action::Trace];
    for (name, rules) in corners() {
        for family in FAMILIES {
            for default_action in defaults {
                let architectures = family[1..].to_vec();
                let (default_errno, flags) = (None, Vec::new());
                let profile =
                    Profile { default_action, default_errno, architectures, flags, rules: rules.clone() };
                compare_strictly(name, &comparable(profile, family[0]), family[0], &mut counts);
            }
        }
    }
    println!("corner cases: {counts}");
}

const NAMES: [&str; 26] = [
    "read",
    "write",
    "open",
    "openat",
    "close",
    "futex",
    "mmap",
    "mmap2",
    "clone",
    "clone3",
    "socket",
    "accept",
    "accept4",
    "socketpair",
    "sendmsg",
    "semop",
    "semget",
    "shmat",
    "msgctl",
    "ipc",
    "socketcall",
    "set_tls",
    "personality",
    "ioctl",
    "rt_sigreturn",
    "s390_runtime_instr",
];

fn value() -> impl Strategy<Value = u64> {
    let edges = [5, 0xffff_ffff, 1 << 32, (1 << 32) + 1, 0x7e02_0000, u64::MAX, u64::MAX - 1];
    prop_oneof![0..4_u64, prop::sample::select(edges.to_vec())]
}

fn any_arg() -> impl Strategy<Value = Arg> {
    use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, MaskedEqual, NotEqual};
    let operators = vec![NotEqual, Less, LessOrEqual, Equal, GreaterOrEqual, Greater, MaskedEqual];
    (0..3_u32, prop::sample::select(operators), value(), value())
        .prop_map(|(index, op, value, value_two)| arg(index, op, value, value_two))
}

fn any_action() -> impl Strategy<Value = Action> {
    use Action::{Allow, Errno, KillProcess, KillThread, Log, Trace, Trap};
    prop::sample::select(vec![KillThread, KillProcess, Trap, Errno, Trace, Allow, Log])
}

fn any_rule() -> impl Strategy<Value = Rule<'static>> {
    let names = prop::collection::vec(prop::sample::select(NAMES.to_vec()), 1..4);
    (names, any_action(), prop::option::of(0..3_u32), prop::collection::vec(any_arg(), 0..4))
        .prop_map(|(names, action, errno, args)| Rule { errno, ..rule(&names, action, &args) })
}

fn any_profile() -> impl Strategy<Value = (Profile<'static>, Architecture)> {
    let family = prop::sample::select(FAMILIES.to_vec());
    let rules = prop::collection::vec(any_rule(), 0..6);
    (any_action(), prop::option::of(0..3_u32), family, rules).prop_map(
        |(default_action, default_errno, family, rules)| {
            let (architectures, flags) = (family.to_vec(), Vec::new());
            (Profile { default_action, default_errno, architectures, flags, rules }, family[0])
        },
    )
}

/// `PROPTEST_CASES` says how many.
#[test]
fn random_profiles_mean_the_same() {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let config = Config {
        cases: asked.unwrap_or(2000),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let counts = std::cell::RefCell::new(Counts::default());
    let result = TestRunner::new(config).run(&any_profile(), |(profile, native)| {
        compare(&profile, native, &mut counts.borrow_mut()).map_err(TestCaseError::fail)
    });
    println!("random profiles: {}", counts.borrow());
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// Compares what is said of each call with a number of its own with what the filter does.
fn explains(profile: &Profile<'_>, native: Architecture) -> Result<(), String> {
    let Ok(ours) = compile(profile, native) else { return Ok(()) };
    let model = Model::new(profile, native);
    let named: Vec<_> = calls(profile, native).into_iter().filter(|call| call.number != u32::MAX).collect();
    for call in named {
        let Some(abi) = model.abi_of(&call) else { continue };
        let Some(name) = Syscall::numbered(call.number, abi) else { continue };
        let explanations = explain(profile, native, name).map_err(|error| error.to_string())?;
        let is_it = |one: &&Explanation| one.architecture == abi && one.number == call.number;
        let explanation = explanations.iter().find(is_it).ok_or(format!("{call:x?} is not explained"))?;
        let said = explanation.decisions(&call.arguments).into_iter().map(|decision| match decision {
            Decision::Rule(rule) => {
                let rule = &profile.rules[rule];
                rule.action.returned(rule.errno)
            }
            Decision::Otherwise(Otherwise::Newer { .. }) => Action::Errno.returned(Some(enosys(abi))),
            Decision::Otherwise(_) => profile.default_action.returned(profile.default_errno),
        });
        let done = interpret(&ours.filter, &call, native.endianness()).ok_or("an invalid program")?.returned;
        // Of a multiplexer itself the calls behind it have rules, too.
        let multiplexes = ["socketcall", "ipc"].contains(&name.name());
        if !said.clone().any(|said| said == done) && !multiplexes {
            return Err(format!("{} {call:x?}: {explanation:?}, and it does {done:#x}", name.name()));
        }
    }
    Ok(())
}

const fn enosys(abi: Architecture) -> u32 {
    match abi.audit() & 0xff {
        0x08 => 89,
        0x0f => 251,
        _ => 38,
    }
}

#[test]
fn explanations_say_what_the_filter_does() {
    for (_, json) in ENGINES {
        explains(&engine_profile(json, Architecture::X86_64, CAPABILITIES[1]), Architecture::X86_64).unwrap();
    }
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&any_profile(), |(profile, native)| explains(&profile, native).map_err(TestCaseError::fail))
        .unwrap();
}
