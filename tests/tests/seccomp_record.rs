//! `seccomp record`: the least profile under which a container runs.

use std::fs;
use std::path::Path;

use cloison_tests::{Bundle, Container, Foreground, Output, Sandbox, Value, json, only_for, until};
use rustix::process::Signal;

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
    let text = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
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
    let sandbox = Sandbox::new();
    for mut bundle in [sandbox.busybox(SCRIPT), sandbox.debian(SCRIPT)] {
        for (no_new_privileges, uid) in [(true, 0), (false, 0), (true, 1000), (false, 1000)] {
            bundle = bundle
                .set("/process/noNewPrivileges", no_new_privileges)
                .set("/process/user", json!({"uid": uid, "gid": uid}))
                .without("/linux/seccomp");
            let (output, profile) = record(&sandbox, &bundle);
            assert_eq!((output.code(), output.stdout.as_str()), (3, "text\n"), "{}", output.describe());
            assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
            bundle = bundle.set("/linux/seccomp", profile);
            let again = bundle.run();
            assert_eq!((again.code(), again.stdout.as_str()), (3, "text\n"), "{}", again.describe());
            assert_eq!(again.stderr, "");
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

/// Records a container that runs, from when all of its processes are traced on.
fn begin<'s>(sandbox: &'s Sandbox, container: &Container<'_>, file: &Path) -> Foreground<'s> {
    let mut command = sandbox.command(["seccomp", "record", "--output"]);
    command.arg(file).arg(container.id());
    let recorder = sandbox.spawn(command);
    until("the container is traced", || tracer_of(container.pid()) == Some(recorder.pid()));
    recorder
}

/// Who traces a process, by its number in `/proc/PID/status`.
fn tracer_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap();
    tracer.trim().parse().ok().filter(|tracer| *tracer != 0)
}

fn interrupt(recorder: Foreground<'_>) -> Output {
    recorder.signal(Signal::INT);
    recorder.wait()
}

#[test]
fn a_running_container_is_recorded_until_ctrl_c_and_goes_on() {
    only_for!(Cloison, "no other runtime records");
    let sandbox = Sandbox::new();
    // Its own work, that of processes which it makes, and one that has stopped itself.
    let script = "trap 'echo heard' USR1; sh -c 'kill -STOP $$; echo woken' & \
        n=0; while :; do n=$((n+1)); mkdir /dev/shm/$n; echo $n; sleep 0.05; done";
    let container = sandbox.busybox(script).start();
    container.until_prints("\n3\n");
    let file = sandbox.dir().join("profile.json");
    let recorder = begin(&sandbox, &container, &file);
    let seen = container.stdout();
    until("it goes on", || container.stdout().len() > seen.len() + 20);
    container.kill(&["USR1"]).ok();
    container.until_prints("heard");
    assert_eq!(interrupt(recorder).ok(), "");
    let profile = read(&file);
    let names = names(&profile);
    for made in ["mkdir", "execve", "write", "exit_group"] {
        assert!(names.contains(&made), "{made}: {names:?}");
    }
    assert!(!names.contains(&"mount") && !names.contains(&"socket"), "{names:?}");
    assert_eq!(tracer_of(container.pid()), None);
    let seen = container.stdout();
    until("it goes on afterwards", || container.stdout().len() > seen.len() + 20);
    assert!(!container.stdout().contains("woken"), "who was stopped stays so");
    container.exec_script(&[], "kill -CONT -1").ok();
    container.until_prints("woken");
    container.end();
}

#[test]
fn a_recording_ends_with_its_container_and_tells_what_a_waiting_process_waits_in() {
    only_for!(Cloison, "no other runtime records");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let file = sandbox.dir().join("profile.json");
    let recorder = begin(&sandbox, &container, &file);
    // Who joins is recorded from soon on.
    let joined = container.exec_script(&[], "sleep 0.5; mkdir /dev/shm/joined; sleep 0.2");
    joined.ok();
    container.end();
    assert_eq!(recorder.wait().ok(), "");
    let profile = read(&file);
    let names = names(&profile);
    assert!(names.contains(&"mkdir"), "{names:?}");
    assert!(names.iter().any(|name| name.ends_with("nanosleep")), "{names:?}");
}

#[test]
fn a_container_is_unharmed_by_a_recorder_that_is_killed() {
    only_for!(Cloison, "no other runtime records");
    let sandbox = Sandbox::new();
    let container = sandbox.busybox("n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done").start();
    let file = sandbox.dir().join("profile.json");
    for _ in 0..3 {
        let recorder = begin(&sandbox, &container, &file);
        recorder.signal(Signal::KILL);
        recorder.wait();
        let seen = container.stdout();
        until("it goes on", || container.stdout().len() > seen.len() + 10);
    }
    assert_eq!(tracer_of(container.pid()), None);
    container.end();
}

#[test]
fn what_cannot_be_recorded_is_told() {
    only_for!(Cloison, "no other runtime records");
    let sandbox = Sandbox::new();
    sandbox.cloison(["seccomp", "record", "not-there"]).refused_saying(&["does not exist"]);
    let container = sandbox.sleeper().create();
    sandbox.cloison(["seccomp", "record", container.id()]).refused_saying(&["is not running"]);
    container.start().ok();
    let file = sandbox.dir().join("profile.json");
    let recorder = begin(&sandbox, &container, &file);
    sandbox.cloison(["seccomp", "record", container.id()]).refused_saying(&["cannot be traced"]);
    interrupt(recorder).ok();
    container.end();
    let output = sandbox.cloison(["seccomp", "record"]);
    assert!(output.stderr.contains("ID"), "{}", output.describe());
}
