//! `run --timeout`: a container that is ended after a time.

use std::time::{Duration, Instant};

use cloison_tests::patience::patient;
use cloison_tests::screen::Screen;
use cloison_tests::{Sandbox, only_for};

#[test]
fn a_container_that_ends_in_time_has_its_own_exit_code() {
    only_for!(Cloison, "no other runtime has a timeout");
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.busybox("exit 3").run_with(&["--timeout", "1m"]).code(), 3);
}

#[test]
fn a_container_is_asked_to_end_when_its_time_has_run_out() {
    only_for!(Cloison, "no other runtime has a timeout");
    let sandbox = Sandbox::new();
    let script = "trap 'echo asked; exit 0' TERM; while :; do sleep 0.05; done";
    // It has its trap by then.
    let time = format!("{}ms", patient(Duration::from_millis(300)).as_millis());
    let output = sandbox.busybox(script).run_with(&["--timeout", &time]);
    assert_eq!((output.code(), &*output.stdout), (124, "asked\n"), "{}", output.describe());
    let screen = Screen::new();
    let bundle = sandbox.busybox(script).set("/process/terminal", true);
    bundle.write();
    let run = bundle.run_command(&["--timeout", &time]);
    let output = screen.end(screen.spawn(&sandbox, run));
    assert_eq!((output.code(), &*screen.shown()), (124, "asked\n"));
}

#[test]
fn a_container_that_does_not_listen_is_killed_after_the_grace_time() {
    only_for!(Cloison, "no other runtime has a timeout");
    let sandbox = Sandbox::new();
    let begun = Instant::now();
    let output = sandbox.sleeper().run_with(&["--timeout", "200ms", "--timeout-grace", "300ms"]);
    assert_eq!(output.code(), 124, "{}", output.describe());
    assert!(begun.elapsed() >= Duration::from_millis(500));
}

#[test]
fn a_monitor_ends_its_container_too_and_tells_why() {
    only_for!(Cloison, "no other runtime has a timeout");
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    bundle.write();
    let id = sandbox.new_id();
    let flags = ["--detach", "--monitor", "--timeout", "200ms", "--timeout-grace", "100ms"];
    sandbox.finish(bundle.run_command_as(&id, &flags)).ok();
    assert_eq!(sandbox.cloison(["wait", &id]).code(), 124);
    let exit = std::fs::read(sandbox.root().join(&id).join("exit.json")).unwrap();
    let exit: cloison_tests::Value = serde_json::from_slice(&exit).unwrap();
    assert_eq!((exit["timedOut"].as_bool(), exit["signal"].as_u64()), (Some(true), Some(9)));
    sandbox.container(&id).delete().ok();
}

#[test]
fn a_timeout_without_anybody_who_waits_is_refused() {
    only_for!(Cloison, "no other runtime has a timeout");
    let sandbox = Sandbox::new();
    sandbox.sleeper().run_with(&["--detach", "--timeout", "1s"]).refused_saying(&["--timeout", "--monitor"]);
    sandbox.sleeper().run_with(&["--timeout", "0"]).refused_saying(&["greater than 0"]);
    sandbox.sleeper().run_with(&["--timeout-grace", "1s"]).refused_saying(&["--timeout"]);
}
