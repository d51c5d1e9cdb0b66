//! `seccomp record`: the least profile under which a container runs.

use std::path::Path;

use cloison_tests::{Bundle, Output, Sandbox, Value, json, only_for};

/// Records a run of the bundle; gives what was printed, and the profile.
fn record(sandbox: &Sandbox, bundle: &Bundle<'_>) -> (Output, Value) {
    bundle.write();
    let file = sandbox.dir().join("profile.json");
    let mut command = sandbox.command(["seccomp", "record", "--output"]);
    command.arg(&file).args(["--", "run", "--bundle"]).arg(bundle.dir()).arg(sandbox.new_id());
    let output = sandbox.finish(command);
    (output, read(&file))
}

fn read(file: &Path) -> Value {
    let text = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&text).expect("a profile is JSON")
}

fn names(profile: &Value) -> Vec<&str> {
    profile["syscalls"][0]["names"].as_array().expect("names").iter().filter_map(Value::as_str).collect()
}

const SCRIPT: &str =
    "mkdir /dev/shm/a && (cd /dev/shm/a && echo text > b && sort b); ls /proc/self/fd > /dev/null; exit 3";

#[test]
fn what_was_recorded_runs_again_under_its_profile() {
    only_for!(Cloison, "no other runtime records");
    for no_new_privileges in [true, false] {
        for uid in [0, 1000] {
            let sandbox = Sandbox::new();
            for bundle in [sandbox.busybox(SCRIPT), sandbox.debian(SCRIPT)] {
                let bundle = bundle
                    .set("/process/noNewPrivileges", no_new_privileges)
                    .set("/process/user", json!({"uid": uid, "gid": uid}));
                let (output, profile) = record(&sandbox, &bundle);
                assert_eq!((output.code(), output.stdout.as_str()), (3, "text\n"), "{}", output.describe());
                assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
                let again = bundle.set("/linux/seccomp", profile).run();
                assert_eq!((again.code(), again.stdout.as_str()), (3, "text\n"), "{}", again.describe());
                assert_eq!(again.stderr, "");
            }
        }
    }
}

#[test]
fn what_was_not_called_is_not_in_the_profile() {
    only_for!(Cloison, "no other runtime records");
    let sandbox = Sandbox::new();
    let (output, profile) = record(&sandbox, &sandbox.busybox("echo text"));
    assert_eq!(output.ok(), "text\n");
    let names = names(&profile);
    assert!(names.contains(&"execve") && names.contains(&"write"), "{names:?}");
    for other in ["mkdir", "mkdirat", "capset", "mount", "sendmsg"] {
        assert!(!names.contains(&other), "{names:?}");
    }
    let output = sandbox.busybox("mkdir /dev/shm/a").set("/linux/seccomp", profile).run();
    assert_eq!(output.code(), 1);
    assert!(output.stderr.contains("Operation not permitted"), "{}", output.describe());
}

#[test]
fn the_recording_takes_the_place_of_the_configurations_profile() {
    only_for!(Cloison, "no other runtime records");
    let sandbox = Sandbox::new();
    let denied = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL"}]});
    let bundle = sandbox.busybox("mkdir /dev/shm/a && echo made").set("/linux/seccomp", denied);
    let (output, profile) = record(&sandbox, &bundle);
    assert_eq!(output.ok(), "made\n");
    assert!(names(&profile).iter().any(|name| name.starts_with("mkdir")), "{profile}");
}

#[test]
fn without_a_file_the_profile_is_printed_at_the_end() {
    only_for!(Cloison, "no other runtime records");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("echo text");
    bundle.write();
    let mut command = sandbox.command(["seccomp", "record", "--", "--bundle"]);
    command.arg(bundle.dir()).arg(sandbox.new_id());
    let output = sandbox.finish(command);
    let profile = output.ok().strip_prefix("text\n").expect("the container's output comes first");
    let profile: Value = serde_json::from_str(profile).expect("a profile is JSON");
    assert!(names(&profile).contains(&"execve"));
}

#[test]
fn a_container_that_cannot_be_is_an_error_and_leaves_no_recorder() {
    only_for!(Cloison, "no other runtime records");
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle(cloison_tests::Rootfs::busybox()).args(["/no/such/program"]);
    bundle.write();
    let mut command = sandbox.command(["seccomp", "record", "--", "--bundle"]);
    command.arg(bundle.dir()).arg(sandbox.new_id());
    sandbox.finish(command).refused_saying(&["no such file"]);
    let mut command = sandbox.command(["seccomp", "record", "--", "--detach", "--bundle"]);
    command.arg(bundle.dir()).arg(sandbox.new_id());
    sandbox.finish(command).refused_saying(&["detached"]);
}
