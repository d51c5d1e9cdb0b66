//! A foreground `run`: signals go through, orphans are reaped, and the exit code comes back.

use cloison_tests::leaks::children_of;
use cloison_tests::{Sandbox, append_command, only_for, until};
use rustix::process::Signal;

#[test]
fn signals_are_forwarded() {
    let sandbox = Sandbox::new();
    let script = "for s in HUP INT QUIT USR1 USR2 TERM CONT; do trap \"echo got-$s\" $s; done; \
                  trap 'echo bye; exit 9' ALRM; echo ready; while :; do sleep 0.05; done";
    let run = sandbox.busybox(script).spawn();
    run.until_prints("ready");
    for (signal, name) in [
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::TERM, "TERM"),
        (Signal::CONT, "CONT"),
    ] {
        run.signal(signal);
        run.until_prints(&format!("got-{name}"));
    }
    run.signal(Signal::ALARM);
    let output = run.wait();
    assert_eq!(output.code(), 9, "{}", output.describe());
}

#[test]
fn a_forwarded_signal_that_kills_the_container_becomes_the_exit_code() {
    let sandbox = Sandbox::new();
    // Not PID 1 of a namespace: that would ignore it.
    let run = sandbox.busybox("echo ready; exec sleep 1000").without_namespace("pid").spawn();
    run.until_prints("ready");
    run.signal(Signal::TERM);
    assert_eq!(run.wait().status.code(), Some(128 + 15));
}

#[test]
fn the_end_is_noticed_though_the_caller_ignores_the_ends_of_its_children() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("exit 3");
    bundle.write();
    let command = bundle.run_command(&[]);
    // Not dash, which does not let it be ignored.
    let mut shell = sandbox.bare_command("/bin/bash");
    shell.args(["-c", "trap '' CHLD; exec \"$0\" \"$@\""]);
    append_command(&mut shell, &command);
    assert_eq!(sandbox.finish(shell).code(), 3);
}

#[test]
fn orphans_of_the_container_are_reaped() {
    let sandbox = Sandbox::new();
    // Without a pid namespace they come to the runtime, which made itself their reaper.
    let script = "for i in 1 2 3; do (sh -c 'sleep 0.1' &) ; done; echo ready; \
                  while ! test -e /tmp/stop; do sleep 0.05; done";
    let bundle = sandbox.busybox(script).without_namespace("pid").writable();
    let run = bundle.spawn();
    run.until_prints("ready");
    until("all orphans are gone", || children_of(run.pid()).len() == 1);
    std::fs::write(bundle.rootfs().join("tmp/stop"), "").unwrap();
    run.wait().ok();
}

#[test]
fn the_exit_code_is_told_though_the_state_cannot_be_removed() {
    only_for!(Cloison, "what is in the way depends on how the state is removed");
    let sandbox = Sandbox::new();
    let bundle =
        sandbox.busybox("echo ready; while ! test -e /tmp/stop; do sleep 0.05; done; exit 3").writable();
    bundle.write();
    let id = sandbox.new_id();
    let run = sandbox.spawn(bundle.run_command_as(&id, &[]));
    run.until_prints("ready");
    let state = sandbox.root().join(&id);
    std::fs::create_dir_all(state.join("d/".repeat(40))).unwrap();
    std::fs::write(bundle.rootfs().join("tmp/stop"), "").unwrap();
    let output = run.wait();
    std::fs::remove_dir_all(state).unwrap();
    assert_eq!(output.code(), 3, "{}", output.describe());
    assert!(output.stderr.contains("was left behind"), "{}", output.describe());
}

#[test]
fn without_subreaper_orphans_go_to_the_caller() {
    let sandbox = Sandbox::new();
    let script =
        "(sleep 1000 & echo $! >/tmp/orphan); echo ready; while ! test -e /tmp/stop; do sleep 0.05; done";
    let bundle = sandbox.busybox(script).without_namespace("pid").writable();
    bundle.write();
    let run = sandbox.spawn(bundle.run_command(&["--no-subreaper"]));
    run.until_prints("ready");
    let orphan: u32 =
        std::fs::read_to_string(bundle.rootfs().join("tmp/orphan")).unwrap().trim().parse().unwrap();
    let parent = || {
        let status = std::fs::read_to_string(format!("/proc/{orphan}/status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().parse::<u32>().unwrap()
    };
    until("the orphan is ours", || parent() == std::process::id());
    std::fs::write(bundle.rootfs().join("tmp/stop"), "").unwrap();
    run.wait().ok();
    assert_eq!(sandbox.wait_for_orphan(orphan), 128 + 9, "it goes with the container");
}

#[test]
fn a_runtime_that_is_killed_leaves_a_container_that_can_be_deleted() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("echo ready; exec sleep 1000");
    bundle.write();
    let id = sandbox.new_id();
    let run = sandbox.spawn(bundle.run_command_as(&id, &[]));
    run.until_prints("ready");
    run.signal(Signal::KILL);
    run.wait();
    sandbox.container(&id).delete_force().ok();
}

#[test]
fn a_terminal_stop_of_the_runtime_does_not_lose_the_exit_code() {
    let sandbox = Sandbox::new();
    let run = sandbox.busybox("echo ready; sleep 0.2; exit 4").spawn();
    run.until_prints("ready");
    run.signal(Signal::STOP);
    std::thread::sleep(std::time::Duration::from_millis(400));
    run.signal(Signal::CONT);
    assert_eq!(run.wait().code(), 4);
}
