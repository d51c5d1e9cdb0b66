//! The filter: what a profile becomes, and when it is loaded.

use cloison_linux::launch::LaunchStep;
use serde_json::{Value, json};

use super::*;

fn with(seccomp: Value) -> Spec {
    let mut spec = example();
    spec.linux.seccomp = Some(serde_json::from_value(seccomp).unwrap());
    spec
}

fn mkdir_denied() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["mkdir", "frobnicate"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}],
    })
}

fn steps(spec: &Spec) -> Vec<LaunchStep> {
    plan(spec).program.launch_steps()
}

/// Where the only step of its kind is.
fn at(steps: &[LaunchStep], is_it: fn(&LaunchStep) -> bool) -> usize {
    let found: Vec<_> = (0..steps.len()).filter(|at| is_it(&steps[*at])).collect();
    assert_eq!(found.len(), 1, "{steps:?}");
    found[0]
}

fn is_filter(step: &LaunchStep) -> bool {
    matches!(step, LaunchStep::Seccomp { .. })
}

#[test]
fn with_no_new_privileges_the_filter_is_the_last_step() {
    let mut spec = with(mkdir_denied());
    spec.process.user.uid = 1000;
    let steps = steps(&spec);
    assert_eq!(at(&steps, is_filter), steps.len() - 1);
}

#[test]
fn without_no_new_privileges_the_filter_comes_while_it_may_be_loaded() {
    let mut spec = with(mkdir_denied());
    spec.process.user.uid = 1000;
    spec.process.no_new_privileges = false;
    let steps = steps(&spec);
    let filter = at(&steps, is_filter);
    let after: [fn(&LaunchStep) -> bool; 3] = [
        |step| matches!(step, LaunchStep::LimitBounding(_)),
        |step| matches!(step, LaunchStep::SetUid(1000)),
        |step| matches!(step, LaunchStep::SetCapabilities { .. }),
    ];
    assert!(after.into_iter().all(|step| filter < at(&steps, step)), "{steps:?}");
    // Nobody who denies these expects them to be needed.
    let before: [fn(&LaunchStep) -> bool; 3] = [
        |step| matches!(step, LaunchStep::CloseFrom(_)),
        |step| matches!(step, LaunchStep::Limit(..)),
        |step| matches!(step, LaunchStep::ResetSignals),
    ];
    assert!(before.into_iter().all(|step| filter > at(&steps, step)), "{steps:?}");
}

#[test]
fn a_profile_that_says_nothing_is_no_filter() {
    assert!(plan(&with(json!({"architectures": ["SCMP_ARCH_X86"]}))).program.seccomp.is_none());
    assert!(!steps(&example()).iter().any(is_filter));
}

#[test]
fn the_plan_tells_of_the_filter() {
    let printed = plan(&with(mkdir_denied())).to_string();
    let line = printed.lines().find(|line| line.ends_with("[/linux/seccomp]")).expect("a line");
    assert!(line.starts_with("  filter system calls: default SCMP_ACT_ALLOW, 1 rules, SCMP_ARCH_"), "{line}");
    assert!(line.contains("SCMP_ARCH_X86,") || line.contains(",SCMP_ARCH_X86,"), "{line}");
    assert!(line.contains(" instructions, flags 0x4 "), "{line}");
    assert_eq!(plan(&with(mkdir_denied())).program.seccomp.unwrap().unknown, ["frobnicate"]);
}

#[test]
fn flags_that_are_absent_leave_speculation_alone_and_none_do_not() {
    let flags = |flags: Value| {
        let mut profile = mkdir_denied();
        profile["flags"] = flags;
        plan(&with(profile)).program.seccomp.unwrap().flags
    };
    assert_eq!(plan(&with(mkdir_denied())).program.seccomp.unwrap().flags, 4);
    assert_eq!(flags(json!([])), 0);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"])), 2);
}

#[test]
fn what_cannot_be_a_filter_is_refused_with_its_place() {
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let contradiction = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["ioctl"], "action": "SCMP_ACT_KILL", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
        {"names": ["ioctl"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
    ]});
    for (profile, pointer, words) in [
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}),
            "/linux/seccomp/flags/0",
            "needs a rule with SCMP_ACT_NOTIFY",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_PPC"]}),
            "/linux/seccomp/architectures/1",
            "byte order",
        ),
        (
            rule(json!({"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"})),
            "/linux/seccomp/syscalls/0",
            "SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        (rule(json!({"names": [""], "action": "SCMP_ACT_KILL"})), "/linux/seccomp/syscalls/0/names", "empty"),
        (contradiction, "/linux/seccomp/syscalls/1", "contradicts"),
    ] {
        let problems = Plan::new(&with(profile), &options(), &facts()).unwrap_err();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!(problem.pointer, pointer);
        assert!(problem.message.contains(words), "{problem}");
    }
}

fn telling() -> Spec {
    let mut spec = with(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": "/run/agent",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    }));
    spec.process.user.uid = 1000;
    spec
}

#[test]
fn a_filter_that_tells_of_calls_is_loaded_before_start_with_all_that_comes_before_it() {
    let mut spec = telling();
    let (early, late) = plan(&spec).program.launch_steps_around_wait();
    assert_eq!(at(&early, is_filter), early.len() - 1);
    assert!(early.contains(&LaunchStep::NoNewPrivileges) && early.contains(&LaunchStep::SetUid(1000)));
    assert_eq!(late.first(), Some(&LaunchStep::CloseFrom(3)));

    spec.process.no_new_privileges = false;
    let (early, late) = plan(&spec).program.launch_steps_around_wait();
    assert_eq!(at(&early, is_filter), 0);
    assert!(early.contains(&LaunchStep::SetUid(1000)) && !late.contains(&LaunchStep::SetUid(1000)));
    assert_eq!([early, late].concat().len(), steps(&spec).len(), "the same steps");
}

#[test]
fn any_other_filter_is_loaded_after_start() {
    let (early, late) = plan(&with(mkdir_denied())).program.launch_steps_around_wait();
    assert_eq!((early, late), (Vec::new(), steps(&with(mkdir_denied()))));
}

#[test]
fn the_listener_is_in_the_plan_and_may_be_named_by_an_annotation() {
    let line = |spec: &Spec| {
        let printed = plan(spec).to_string();
        printed.lines().find(|line| line.ends_with("[/linux/seccomp/listenerPath]")).map(str::to_owned)
    };
    let mut spec = telling();
    let expected =
        |path: &str| format!("  hand the filter's listener to {path}  [/linux/seccomp/listenerPath]");
    assert_eq!(line(&spec), Some(expected("/run/agent")));
    spec.annotations.insert("run.oci.seccomp.receiver".to_owned(), "/run/other".to_owned());
    assert_eq!(line(&spec), Some(expected("/run/agent")));
    spec.linux.seccomp.as_mut().unwrap().listener_path = None;
    assert_eq!(line(&spec), Some(expected("/run/other")));
    assert_eq!(line(&with(mkdir_denied())), None);
}
