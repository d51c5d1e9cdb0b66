//! Resource limits and the OOM score.

use std::fs;

use cloison_tests::{Sandbox, host, json, skip_unless};

/// `CAP_SYS_RESOURCE` in `linux/capability.h`: raising a hard limit needs it.
const CAP_SYS_RESOURCE: u32 = 24;

#[test]
fn every_limit_can_be_lowered() {
    let sandbox = Sandbox::new();
    let limits = [
        ("RLIMIT_AS", "Max address space", 4_000_000_000_u64),
        ("RLIMIT_CORE", "Max core file size", 1000),
        ("RLIMIT_CPU", "Max cpu time", 1000),
        ("RLIMIT_DATA", "Max data size", 4_000_000_000),
        ("RLIMIT_FSIZE", "Max file size", 100_000_000),
        ("RLIMIT_LOCKS", "Max file locks", 100),
        ("RLIMIT_MEMLOCK", "Max locked memory", 4096),
        ("RLIMIT_MSGQUEUE", "Max msgqueue size", 8192),
        ("RLIMIT_NICE", "Max nice priority", 0),
        ("RLIMIT_NOFILE", "Max open files", 256),
        ("RLIMIT_NPROC", "Max processes", 900),
        ("RLIMIT_RSS", "Max resident set", 100_000_000),
        ("RLIMIT_RTPRIO", "Max realtime priority", 0),
        ("RLIMIT_RTTIME", "Max realtime timeout", 1_000_000),
        ("RLIMIT_SIGPENDING", "Max pending signals", 500),
        ("RLIMIT_STACK", "Max stack size", 4_000_000),
    ];
    let list: Vec<_> =
        limits.iter().map(|(kind, _, n)| json!({"type": kind, "hard": n, "soft": n / 2})).collect();
    let output = sandbox.busybox("cat /proc/self/limits").set("/process/rlimits", list).run();
    for (kind, name, value) in limits {
        let line = output.ok().lines().find(|line| line.starts_with(name)).unwrap();
        let numbers: Vec<&str> = line[26..].split_whitespace().take(2).collect();
        assert_eq!(numbers, [(value / 2).to_string(), value.to_string()], "{kind}: {line}");
    }
}

#[test]
fn limits_that_are_not_named_are_inherited() {
    let sandbox = Sandbox::new();
    let ours = fs::read_to_string("/proc/self/limits").unwrap();
    let ours = ours.lines().find(|line| line.starts_with("Max processes")).unwrap();
    let output =
        sandbox.busybox("grep 'Max processes' /proc/self/limits").set("/process/rlimits", json!([])).run();
    assert_eq!(output.line(), ours.trim());
}

#[test]
fn hard_limits_are_raised() {
    skip_unless!(host::has_capability(CAP_SYS_RESOURCE), "needs CAP_SYS_RESOURCE");
    let sandbox = Sandbox::new();
    let limit = json!([{"type": "RLIMIT_MSGQUEUE", "hard": 99_999_999, "soft": 99_999_999}]);
    let output = sandbox.busybox("grep msgqueue /proc/self/limits").set("/process/rlimits", limit).run();
    assert!(output.line().contains("99999999"), "{}", output.stdout);
}

#[test]
fn a_hard_limit_that_may_not_be_raised_is_an_error() {
    skip_unless!(!host::has_capability(CAP_SYS_RESOURCE), "needs to lack CAP_SYS_RESOURCE");
    let sandbox = Sandbox::new();
    let limit = json!([{"type": "RLIMIT_MSGQUEUE", "hard": 99_999_999, "soft": 99_999_999}]);
    let output = sandbox.busybox("true").set("/process/rlimits", limit).run();
    output.refused_saying(&["not permitted"]);
}

#[test]
fn the_oom_score_is_set() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("cat /proc/self/oom_score_adj").set("/process/oomScoreAdj", 321);
    assert_eq!(bundle.run().line(), "321");
}

#[test]
fn the_oom_score_is_inherited_when_none_is_given() {
    let sandbox = Sandbox::new();
    // Not 0, which a runtime could have set by itself. Anybody may raise it.
    let ours: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    let raised = (ours + 7).min(1000).to_string();
    fs::write("/proc/self/oom_score_adj", &raised).unwrap();
    assert_eq!(sandbox.busybox("cat /proc/self/oom_score_adj").run().line(), raised);
}
