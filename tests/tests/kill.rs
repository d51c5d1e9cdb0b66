//! `kill`: names, numbers, `--all`, and containers that cannot be killed.

use std::fs;

use cloison_tests::{Sandbox, only_for, runc_lacks, until};

/// A shell that prints each signal it gets.
const TRAPS: &str = "for s in HUP INT USR1 USR2 TERM WINCH; do trap \"echo got-$s\" $s; done; echo ready; \
                     while :; do sleep 0.05; done";

#[test]
fn a_signal_is_given_by_name_with_or_without_sig_or_by_number() {
    let sandbox = Sandbox::new();
    for (given, name) in
        [("USR1", "USR1"), ("SIGUSR2", "USR2"), ("1", "HUP"), ("sigint", "INT"), ("winch", "WINCH")]
    {
        let container = sandbox.busybox(TRAPS).start();
        container.until_prints("ready");
        container.kill(&[given]).ok();
        container.until_prints(&format!("got-{name}"));
        container.end();
    }
}

#[test]
fn the_signal_is_sigterm_when_none_is_given() {
    let sandbox = Sandbox::new();
    let container = sandbox.busybox(TRAPS).start();
    container.until_prints("ready");
    container.kill(&[]).ok();
    container.until_prints("got-TERM");
    container.end();
}

#[test]
fn an_unknown_signal_is_refused() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    for signal in ["FOO", "SIGFOO", "SIG"] {
        container.kill(&[signal]).refused_saying(&["unknown signal"]);
    }
    assert_eq!(container.status(), "running");
    container.end();
}

#[test]
fn a_number_that_is_no_signal_is_refused() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    for signal in ["65", "1000", "-5", "99999999999999999999"] {
        assert_eq!(container.kill(&["--", signal]).code(), 1, "{signal}");
    }
    assert_eq!(container.status(), "running");
    container.end();
}

#[test]
fn a_created_container_can_be_killed() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().create();
    let pid = container.pid();
    container.kill(&["KILL"]).ok();
    assert_eq!(sandbox.wait_for_orphan(pid), 128 + 9);
    assert_eq!(container.status(), "stopped");
    container.delete().ok();
}

#[test]
fn kill_of_a_stopped_container_says_that_it_is_not_running() {
    let sandbox = Sandbox::new();
    let container = sandbox.busybox("true").create();
    let pid = container.pid();
    container.start().ok();
    sandbox.wait_for_orphan(pid);
    // containerd and CRI-O look for this text.
    container.kill(&["TERM"]).refused_saying(&["container not running"]);
    container.kill(&["9"]).refused_saying(&["container not running"]);
    container.delete().ok();
}

#[test]
fn kill_of_an_unknown_container_says_that_it_does_not_exist() {
    let sandbox = Sandbox::new();
    sandbox.container("nobody").kill(&["9"]).refused_saying(&["does not exist"]);
}

#[test]
fn kill_all_reaches_every_process_of_a_container_without_pid_namespace() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("sleep 1000 & sleep 1000 & echo ready; wait");
    let container = bundle.without_namespace("pid").start();
    container.until_prints("ready");
    let pid = container.pid();
    sandbox.cloison(["kill", "--all", container.id(), "KILL"]).ok();
    sandbox.wait_for_orphan(pid);
    container.delete().ok();
}

/// With the first process such a container's others do not end: SIGKILL, which is for the container, goes to all.
#[test]
fn sigkill_reaches_every_process_of_a_container_without_pid_namespace() {
    runc_lacks!("1.2: SIGKILL for all that is in a container without a PID namespace");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("sleep 1000 & echo $!; wait");
    let container = bundle.without_namespace("pid").start();
    until("it tells the number of the other", || container.stdout().ends_with('\n'));
    let processes = [container.pid(), container.stdout().trim().parse().unwrap()];
    container.kill(&["KILL"]).ok();
    for pid in processes {
        sandbox.wait_for_orphan(pid);
    }
    container.delete().ok();
}

#[test]
fn kill_all_is_also_called_a() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let pid = container.pid();
    sandbox.cloison(["kill", "-a", container.id(), "KILL"]).ok();
    sandbox.wait_for_orphan(pid);
    container.delete().ok();
}

#[test]
fn kill_all_of_a_stopped_container_succeeds() {
    let sandbox = Sandbox::new();
    let container = sandbox.busybox("true").create();
    let pid = container.pid();
    container.start().ok();
    sandbox.wait_for_orphan(pid);
    sandbox.cloison(["kill", "--all", container.id(), "9"]).ok();
    container.delete().ok();
}

#[test]
fn kill_reaches_the_first_process_only() {
    let sandbox = Sandbox::new();
    let container = sandbox
        .busybox(
            "trap '' TERM; (trap 'echo child-got-it' TERM; echo ready; sleep 1000 & wait) & \
                                     trap 'echo init-got-it' TERM; echo set; while :; do sleep 0.05; done",
        )
        .start();
    container.until_prints("ready");
    container.until_prints("set");
    // By the second time the child would have said something about the first.
    for times in 1..=2 {
        container.kill(&["TERM"]).ok();
        until("the init has it", || container.stdout().matches("init-got-it").count() == times);
    }
    assert!(!container.stdout().contains("child-got-it"));
    container.end();
}

#[test]
fn a_process_that_took_over_the_pid_is_never_signalled() {
    only_for!(Cloison, "runc's state file has another layout");
    let sandbox = Sandbox::new();
    let container = sandbox.busybox("true").create();
    let pid = container.pid();
    container.start().ok();
    sandbox.wait_for_orphan(pid);
    // Another process of ours plays the one that got the same number: the start time tells them apart.
    let mut bystander = sandbox.bare_command("/bin/sleep");
    bystander.arg("1000");
    let bystander = sandbox.spawn(bystander);
    let file = sandbox.root().join(container.id()).join("state.json");
    let state = fs::read_to_string(&file).unwrap();
    let changed = state.replace(&format!("{pid}"), &format!("{}", bystander.pid()));
    assert_ne!(state, changed, "the pid stands in {state}");
    fs::write(&file, changed).unwrap();
    assert_eq!(container.status(), "stopped");
    container.kill(&["KILL"]).refused_saying(&["container not running"]);
    container.delete_force().ok();
    assert!(fs::read_to_string(format!("/proc/{}/stat", bystander.pid())).unwrap().contains(") S "));
}

#[test]
fn signal_0_asks_whether_there_is_a_process() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    container.kill(&["0"]).ok();
    let pid = container.pid();
    container.kill(&["KILL"]).ok();
    assert_eq!(sandbox.wait_for_orphan(pid), 128 + 9);
    container.kill(&["0"]).refused_saying(&["container not running"]);
    container.delete().ok();
}

#[test]
fn a_created_container_ends_by_the_signals_that_ask_for_it() {
    let sandbox = Sandbox::new();
    for signal in ["TERM", "INT", "HUP"] {
        let container = sandbox.sleeper().create();
        let pid = container.pid();
        container.kill(&[signal]).ok();
        sandbox.wait_for_orphan(pid);
        assert_eq!(container.status(), "stopped", "{signal}");
        container.delete().ok();
    }
}
