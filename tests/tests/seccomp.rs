//! Filters of system calls.

use cloison_tests::{Bundle, Sandbox, Value, json};

/// A profile that allows all but what its rules say.
fn but(rules: &Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": rules})
}

fn mkdir(action: &str) -> Value {
    but(&json!([{"names": ["mkdir", "mkdirat"], "action": action}]))
}

/// A shell that makes a directory, with a filter, with and without `no_new_privs`.
fn both<'s>(sandbox: &'s Sandbox, profile: &Value) -> [Bundle<'s>; 2] {
    [true, false].map(|no_new_privileges| {
        sandbox
            .busybox("mkdir /dev/shm/a && echo made")
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/linux/seccomp", profile.clone())
    })
}

#[test]
fn a_call_that_is_denied_fails_with_its_errno() {
    let sandbox = Sandbox::new();
    for bundle in both(&sandbox, &mkdir("SCMP_ACT_ERRNO")) {
        let output = bundle.run();
        assert_eq!(output.code(), 1);
        assert!(output.stderr.contains("Operation not permitted"), "{}", output.describe());
    }
    let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 100}]);
    for bundle in both(&sandbox, &but(&rules)) {
        let output = bundle.run();
        assert!(output.stderr.contains("Network is down"), "{}", output.describe());
    }
}

#[test]
fn the_program_is_under_a_filter_as_its_status_says() {
    let sandbox = Sandbox::new();
    let status = |bundle: Bundle<'_>| bundle.run().line().to_owned();
    let look = "grep -E '^(Seccomp|Seccomp_filters|NoNewPrivs):' /proc/self/status | tr '\\n\\t' ' '";
    let bundle = sandbox.busybox(look).set("/linux/seccomp", mkdir("SCMP_ACT_ERRNO"));
    assert_eq!(status(bundle), "NoNewPrivs: 1 Seccomp: 2 Seccomp_filters: 1");
    let bundle = sandbox.busybox(look).set("/linux/seccomp", mkdir("SCMP_ACT_ERRNO"));
    let bundle = bundle.set("/process/noNewPrivileges", false);
    assert_eq!(status(bundle), "NoNewPrivs: 0 Seccomp: 2 Seccomp_filters: 1");
    let bundle = sandbox.busybox(look).set("/linux/seccomp", json!({"architectures": ["SCMP_ARCH_X86_64"]}));
    assert_eq!(status(bundle), "NoNewPrivs: 1 Seccomp: 0 Seccomp_filters: 0");
}

#[test]
fn names_that_are_no_calls_are_ignored_and_told_to_who_debugs() {
    let sandbox = Sandbox::new();
    let rules = json!([{"names": ["frobnicate", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    let bundle = sandbox.busybox("mkdir /dev/shm/a").set("/linux/seccomp", but(&rules));
    bundle.write();
    let mut command = sandbox.command(["--debug", "run", "--bundle"]);
    command.arg(bundle.dir()).arg(sandbox.new_id());
    let output = sandbox.finish(command);
    assert!(output.stderr.contains("Operation not permitted"), "{}", output.describe());
    assert!(output.stderr.contains("frobnicate"), "{}", output.describe());
    let quiet = bundle.run();
    assert!(!quiet.stderr.contains("frobnicate"), "{}", quiet.describe());
}

#[test]
fn a_filter_holds_for_another_user_without_capabilities() {
    let sandbox = Sandbox::new();
    for bundle in both(&sandbox, &mkdir("SCMP_ACT_ERRNO")) {
        let bundle = bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})).capabilities(&[]);
        let output = bundle.run();
        assert!(output.stderr.contains("Operation not permitted"), "{}", output.describe());
    }
}

#[test]
fn a_filter_holds_in_a_user_namespace() {
    let sandbox = Sandbox::new();
    for bundle in both(&sandbox, &mkdir("SCMP_ACT_ERRNO")) {
        let output = bundle.user_namespace(100_000).run();
        assert!(output.stderr.contains("Operation not permitted"), "{}", output.describe());
    }
}

#[test]
fn a_container_that_is_created_gets_its_filter_with_the_program() {
    let sandbox = Sandbox::new();
    let profile = mkdir("SCMP_ACT_ERRNO");
    for no_new_privileges in [true, false] {
        let bundle = sandbox
            .busybox("grep Seccomp: /proc/self/status; mkdir /dev/shm/a; echo $?")
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/linux/seccomp", profile.clone());
        let container = bundle.create();
        let pid = container.pid();
        container.start().ok();
        assert_eq!(sandbox.wait_for_orphan(pid), 0);
        container.delete().ok();
        assert_eq!(container.stdout(), "Seccomp:\t2\n1\n");
    }
}

#[test]
fn a_start_container_hook_is_under_the_filter() {
    let sandbox = Sandbox::new();
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "mkdir /dev/shm/a"]}]);
    let bundle = sandbox
        .busybox("echo run")
        .set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]))
        .set("/linux/seccomp", mkdir("SCMP_ACT_KILL"))
        .set("/hooks", json!({"startContainer": hook}));
    let output = bundle.run();
    output.refused_saying(&["error running startContainer hook", "bad system call"]);
    assert!(!output.stdout.contains("run"), "{}", output.describe());
}
