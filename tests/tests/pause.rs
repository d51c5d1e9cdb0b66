//! `pause` and `resume`, and what other commands do with a container that stands still.

use std::time::Duration;

use cloison_tests::host::{CgroupLayout, cgroup_layout, has_file};
use cloison_tests::{Container, Output, Sandbox, until};

fn can_freeze() -> bool {
    match cgroup_layout() {
        CgroupLayout::V1 => has_file("/sys/fs/cgroup/freezer"),
        // Every cgroup but the root has the file.
        CgroupLayout::V2 => true,
    }
}

macro_rules! needs_freezer {
    () => {
        cloison_tests::skip_unless!(can_freeze(), "needs the freezer hierarchy");
    };
}

fn pause(sandbox: &Sandbox, container: &Container<'_>) -> Output {
    sandbox.cloison(["pause", container.id()])
}

fn resume(sandbox: &Sandbox, container: &Container<'_>) -> Output {
    sandbox.cloison(["resume", container.id()])
}

/// A container that prints a line again and again.
fn ticker(sandbox: &Sandbox) -> Container<'_> {
    let container = sandbox.busybox("while :; do echo tick; sleep 0.01; done").start();
    container.until_prints("tick");
    container
}

#[test]
fn a_paused_container_stands_still_and_a_resumed_one_goes_on() {
    needs_freezer!();
    let sandbox = Sandbox::new();
    let container = ticker(&sandbox);
    assert_eq!(pause(&sandbox, &container).ok(), "");
    assert_eq!(container.status(), "paused");
    let before = container.stdout();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(container.stdout(), before, "it prints while it is paused");
    assert_eq!(resume(&sandbox, &container).ok(), "");
    assert_eq!(container.status(), "running");
    until("it prints again", || container.stdout().len() > before.len());
    container.end();
}

#[test]
fn only_what_runs_is_paused_and_only_what_is_paused_resumed() {
    needs_freezer!();
    let sandbox = Sandbox::new();
    let container = ticker(&sandbox);
    resume(&sandbox, &container).refused_saying(&["container not paused"]);
    pause(&sandbox, &container).ok();
    pause(&sandbox, &container).refused_saying(&["container not running"]);
    resume(&sandbox, &container).ok();
    container.kill(&["KILL"]).ok();
    container.until("stopped");
    pause(&sandbox, &container).refused_saying(&["container not running"]);
    resume(&sandbox, &container).refused_saying(&["container not paused"]);
    container.delete().ok();
    for command in ["pause", "resume"] {
        sandbox.cloison([command, container.id()]).refused_saying(&["container does not exist"]);
    }
}

#[test]
fn a_created_container_is_paused_and_resumed_too() {
    needs_freezer!();
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().create();
    pause(&sandbox, &container).ok();
    assert_eq!(container.status(), "paused");
    resume(&sandbox, &container).ok();
    assert_eq!(container.status(), "created");
    container.start().ok();
    container.end();
}

#[test]
fn a_paused_container_is_killed_at_once() {
    needs_freezer!();
    let sandbox = Sandbox::new();
    let container = ticker(&sandbox);
    let pid = container.pid();
    pause(&sandbox, &container).ok();
    container.kill(&["KILL"]).ok();
    assert_eq!(sandbox.wait_for_orphan(pid), 137);
    container.delete().ok();
}

#[test]
fn other_signals_wait_until_the_container_is_resumed() {
    needs_freezer!();
    let sandbox = Sandbox::new();
    let container =
        sandbox.busybox("trap 'echo got; exit 3' USR1; echo ready; while :; do sleep 0.01; done").start();
    container.until_prints("ready");
    let pid = container.pid();
    pause(&sandbox, &container).ok();
    container.kill(&["USR1"]).ok();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(container.stdout(), "ready\n");
    assert_eq!(container.status(), "paused");
    resume(&sandbox, &container).ok();
    assert_eq!(sandbox.wait_for_orphan(pid), 3);
    assert_eq!(container.stdout(), "ready\ngot\n");
    container.delete().ok();
}

#[test]
fn a_paused_container_is_deleted_by_force_only() {
    needs_freezer!();
    let sandbox = Sandbox::new();
    let container = ticker(&sandbox);
    pause(&sandbox, &container).ok();
    container.delete().refused_saying(&["cannot delete container", "that is not stopped: paused"]);
    assert_eq!(container.status(), "paused");
    container.delete_force().ok();
    container.try_state().refused_saying(&["does not exist"]);
}

#[test]
fn a_paused_container_without_a_pid_namespace_leaves_nobody_behind() {
    needs_freezer!();
    let sandbox = Sandbox::new();
    let script = "for i in 1 2 3; do sleep 1000 & done; echo ready; wait";
    for all in [true, false] {
        let container = sandbox.busybox(script).without_namespace("pid").start();
        container.until_prints("ready");
        pause(&sandbox, &container).ok();
        if all {
            sandbox.cloison(["kill", "--all", container.id(), "KILL"]).ok();
        }
        container.delete_force().ok();
    }
}

#[test]
fn a_container_whose_processes_fork_all_the_time_is_paused() {
    needs_freezer!();
    let sandbox = Sandbox::new();
    let container = sandbox.busybox("while :; do echo tick; true & true | true; done").start();
    container.until_prints("tick");
    for _ in 0..10 {
        pause(&sandbox, &container).ok();
        assert_eq!(container.status(), "paused");
        resume(&sandbox, &container).ok();
    }
    container.end();
}

#[test]
fn a_container_that_nothing_can_freeze_is_told_so() {
    cloison_tests::only_for!(Cloison, "runc always makes cgroups");
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    bundle.write();
    let id = sandbox.new_id();
    let run = |arguments: &[&str]| sandbox.cloison(["--cgroup-manager", "disabled"].iter().chain(arguments));
    run(&["run", "--detach", "--bundle", bundle.dir().to_str().unwrap(), &id]).ok();
    run(&["pause", &id]).refused_saying(&["no cgroup that can be frozen"]);
    run(&["delete", "--force", &id]).ok();
}
