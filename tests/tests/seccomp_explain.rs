//! `seccomp explain`: what decides about a system call is what happens to it.

use std::path::Path;

use cloison_tests::{Output, Sandbox, Value, json, only_for};

fn explain(sandbox: &Sandbox, file: &Path, call: &[&str]) -> Output {
    let mut command = sandbox.command(["seccomp", "explain"]);
    command.arg(file).args(call);
    sandbox.finish(command)
}

fn profile() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {"names": ["chmod", "fchmod", "fchmodat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 100},
            {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 511, "op": "SCMP_CMP_NE"}]},
        ],
    })
}

#[test]
fn the_rule_that_is_named_is_the_one_that_decides() {
    only_for!(Cloison, "no other runtime explains");
    let sandbox = Sandbox::new();
    let file = sandbox.file("profile.json", profile().to_string());
    let said = explain(&sandbox, &file, &["fchmodat"]);
    let expected =
        "SCMP_ARCH_X86_64 fchmodat (268)\n    SCMP_ACT_ERRNO 100 (network is down)  [/syscalls/0]\n";
    assert_eq!(said.ok(), expected);
    let said = explain(&sandbox, &file, &["mkdir"]);
    let expected = "SCMP_ARCH_X86_64 mkdir (83)\n    SCMP_ACT_ERRNO 1 (operation not permitted) if arg1 != 0x1ff  [/syscalls/1]\n    \
        otherwise SCMP_ACT_ALLOW  [/defaultAction]\n";
    assert_eq!(said.ok(), expected);
    // And so it is.
    let script = "chmod 0700 /tmp 2>&1; mkdir /dev/shm/a && echo made; mkdir -m 700 /dev/shm/b 2>&1";
    let output = sandbox.busybox(script).writable().set("/linux/seccomp", profile()).run();
    assert!(output.stdout.contains("Network is down"), "{}", output.describe());
}

#[test]
fn a_whole_configuration_is_explained_with_its_places() {
    only_for!(Cloison, "no other runtime explains");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").set("/linux/seccomp", profile());
    bundle.write();
    let said = explain(&sandbox, &bundle.dir().join("config.json"), &["fchmodat"]);
    assert!(said.ok().contains("[/linux/seccomp/syscalls/0]"), "{}", said.describe());
    let all = explain(&sandbox, &bundle.dir().join("config.json"), &[]);
    assert!(
        all.ok().contains("fchmodat") && all.ok().contains("/linux/seccomp/defaultAction"),
        "{}",
        all.describe()
    );
}

#[test]
fn what_cannot_be_explained_is_told() {
    only_for!(Cloison, "no other runtime explains");
    let sandbox = Sandbox::new();
    let file = sandbox.file("profile.json", profile().to_string());
    explain(&sandbox, &file, &["frobnicate"]).refused_saying(&["frobnicate"]);
    explain(&sandbox, &sandbox.dir().join("none"), &[]).refused_saying(&["none"]);
    let file = sandbox.file("broken.json", "{\"syscalls\": 5}");
    explain(&sandbox, &file, &[]).refused_saying(&[
        "broken.json",
        "not a seccomp profile",
        "expected a sequence",
    ]);
}
