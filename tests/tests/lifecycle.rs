//! From `create` to `delete`: the story of one container, and its wrong turns.

use std::fs;

use cloison_tests::{Rootfs, Sandbox, json};

#[test]
fn run_prints_what_the_container_prints() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("echo hello; echo problem >&2").run();
    assert_eq!(output.ok(), "hello\n");
    assert_eq!(output.stderr, "problem\n");
}

#[test]
fn run_exits_as_the_container_does() {
    let sandbox = Sandbox::new();
    for code in [0, 1, 7, 125, 255] {
        let output = sandbox.busybox(&format!("exit {code}")).run();
        assert_eq!(output.code(), code, "{}", output.describe());
    }
}

#[test]
fn run_exits_128_and_the_signal_that_killed_the_container() {
    let sandbox = Sandbox::new();
    // PID 1 of a namespace is not killed by its own signals: let it be the host's namespace.
    for (name, number) in [("KILL", 9), ("TERM", 15), ("SEGV", 11)] {
        let output = sandbox.busybox(&format!("kill -{name} $$")).without_namespace("pid").run();
        assert_eq!(output.status.code(), Some(128 + number), "{}", output.describe());
    }
}

#[test]
fn the_program_runs_only_after_start() {
    let sandbox = Sandbox::new();
    let container = sandbox.busybox("echo begun; sleep 1000").create();
    assert_eq!(container.status(), "created");
    assert_eq!(container.stdout(), "");
    container.start().ok();
    container.until_prints("begun");
    assert_eq!(container.status(), "running");
    container.end();
}

#[test]
fn a_started_container_stops_when_its_process_ends() {
    let sandbox = Sandbox::new();
    let container = sandbox.busybox("exit 3").create();
    let pid = container.pid();
    container.start().ok();
    assert_eq!(sandbox.wait_for_orphan(pid), 3);
    assert_eq!(container.status(), "stopped");
    assert_eq!(container.pid(), 0);
    container.delete().ok();
}

#[test]
fn what_changes_in_the_bundle_after_create_changes_nothing() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("hostname; echo $0 $WORD").set("/hostname", "first").env("WORD=before");
    let container = bundle.create();
    let changed = bundle.set("/process/args", json!(["echo", "changed"])).set("/hostname", "second");
    changed.write();
    let pid = container.pid();
    container.start().ok();
    assert_eq!(sandbox.wait_for_orphan(pid), 0);
    assert_eq!(container.stdout(), "first\nsh before\n");
    container.delete().ok();
}

#[test]
fn the_init_belongs_to_whoever_called_create() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().create();
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
    assert!(status.contains(&format!("\nPPid:\t{}\n", std::process::id())), "{status}");
    container.delete_force().ok();
}

#[test]
fn the_same_id_twice_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    let container = bundle.create();
    let second = bundle.try_create(container.id(), &[]);
    second.refused_saying(&["container with given ID already exists"]);
    assert_eq!(container.status(), "created", "the first one is not disturbed");
    container.delete_force().ok();
}

#[test]
fn an_id_can_be_used_again_after_delete() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    let id = sandbox.new_id();
    for _ in 0..3 {
        bundle.try_create(&id, &[]).ok();
        sandbox.container(&id).delete_force().ok();
    }
}

#[test]
fn ten_containers_live_side_by_side() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    let containers: Vec<_> = (0..10).map(|_| bundle.start()).collect();
    for container in &containers {
        assert_eq!(container.status(), "running");
    }
    let mut pids: Vec<_> = containers.iter().map(cloison_tests::Container::pid).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 10);
    containers.iter().for_each(cloison_tests::Container::end);
}

#[test]
fn start_of_a_running_container_is_refused() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    container.start().refused_saying(&["cannot start an already running container"]);
    assert_eq!(container.status(), "running");
    container.end();
}

#[test]
fn start_of_a_stopped_container_is_refused() {
    let sandbox = Sandbox::new();
    let container = sandbox.busybox("true").create();
    let pid = container.pid();
    container.start().ok();
    sandbox.wait_for_orphan(pid);
    container.start().refused_saying(&["cannot start a container that has stopped"]);
    container.delete().ok();
}

#[test]
fn start_of_an_unknown_container_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.container("nobody").start().refused_saying(&["container does not exist"]);
}

#[test]
fn run_detached_returns_while_the_container_runs() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().run_detached();
    assert_eq!(container.status(), "running");
    container.end();
}

#[test]
fn run_forgets_the_container_afterwards() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true");
    bundle.write();
    let id = sandbox.new_id();
    sandbox.finish(bundle.run_command_as(&id, &[])).ok();
    sandbox.container(&id).try_state().refused_saying(&["container does not exist"]);
}

#[test]
fn run_with_keep_remembers_the_container() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("exit 5");
    bundle.write();
    let id = sandbox.new_id();
    let output = sandbox.finish(bundle.run_command_as(&id, &["--keep"]));
    assert_eq!(output.code(), 5);
    let container = sandbox.container(&id);
    assert_eq!(container.status(), "stopped");
    container.delete().ok();
}

#[test]
fn run_kills_what_the_first_process_leaves_in_its_pid_namespace() {
    let sandbox = Sandbox::new();
    sandbox.busybox("sleep 1000 & sleep 1000 & exit 0").run().ok();
}

#[test]
fn the_bundle_is_the_current_directory_by_default() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("echo here");
    bundle.write();
    let id = sandbox.new_id();
    let mut command = sandbox.command(["run", &id]);
    command.current_dir(bundle.dir());
    assert_eq!(sandbox.finish(command).ok(), "here\n");
}

#[test]
fn a_relative_bundle_is_looked_up_from_the_current_directory() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    bundle.write();
    let id = sandbox.new_id();
    let mut command = sandbox.command(["create", "--bundle", "."]);
    command.arg(&id).current_dir(bundle.dir());
    sandbox.finish(command).ok();
    let container = sandbox.container(&id);
    assert_eq!(container.state()["bundle"], bundle.dir().to_str().unwrap(), "state tells the absolute path");
    container.delete_force().ok();
}

#[test]
fn a_root_file_system_elsewhere_is_given_by_its_absolute_path() {
    let sandbox = Sandbox::new();
    let other = sandbox.busybox("true");
    let bundle = sandbox.bundle(Rootfs::empty()).args(["echo", "found"]);
    let bundle = bundle.set("/root/path", other.rootfs().to_str().unwrap());
    assert_eq!(bundle.run().ok(), "found\n");
}

#[test]
fn debian_runs() {
    let sandbox = Sandbox::new();
    let output =
        sandbox.debian(". /etc/os-release; echo $ID $VERSION_CODENAME; dpkg --print-architecture").run();
    assert!(output.ok().starts_with("debian bookworm\n"), "{}", output.describe());
}

#[test]
fn without_pivot_the_container_still_sees_only_its_own_root() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("ls / | tr '\\n' ' '; ls -d /lib64 2>&1").run_with(&["--no-pivot"]);
    assert!(output.stdout.starts_with("bin dev etc home"), "{}", output.describe());
    assert!(output.stdout.contains("No such file"), "{}", output.describe());
}

#[test]
fn a_root_beside_the_bundle_keeps_its_proc_without_pivot_and_is_told_without_dots() {
    let sandbox = Sandbox::new();
    let other = sandbox.busybox("true");
    let beside = format!("../{}/rootfs", other.dir().file_name().unwrap().to_str().unwrap());
    let bundle = sandbox.busybox("ls -d /proc/self/status /sys/class").set("/root/path", beside);
    assert_eq!(bundle.run_with(&["--no-pivot"]).ok(), "/proc/self/status\n/sys/class\n");
    let container = bundle.create();
    assert_eq!(container.state()["rootfs"], other.rootfs().to_str().unwrap());
    container.end();
}

#[test]
fn a_fixed_state_directory_survives_a_long_path() {
    let sandbox = Sandbox::new();
    let long = sandbox.directory(&"d".repeat(120)).join("e".repeat(100));
    let bundle = sandbox.sleeper();
    bundle.write();
    let id = sandbox.new_id();
    let command = |arguments: &[&str]| {
        let mut command = sandbox.bare_command(cloison_tests::runtime::binary());
        command.arg("--root").arg(&long).args(arguments).arg(&id);
        sandbox.finish(command)
    };
    command(&["create", "--bundle", bundle.dir().to_str().unwrap()]).ok();
    command(&["start"]).ok();
    assert_eq!(command(&["state"]).json()["status"], "running");
    command(&["delete", "--force"]).ok();
    assert_eq!(fs::read_dir(&long).unwrap().count(), 0);
}
