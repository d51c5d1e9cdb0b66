//! `attach`, `resize`: the caller's streams at a container that has a monitor.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use cloison_tests::bytes::{Piped, random, rounds};
use cloison_tests::screen::Screen;
use cloison_tests::{Bundle, Container, Foreground, Sandbox, only_for, until};
use rustix::process::Signal;

/// Runs a container with a monitor.
fn run<'s>(sandbox: &'s Sandbox, bundle: &Bundle<'s>) -> Container<'s> {
    bundle.write();
    let id = sandbox.new_id();
    sandbox.finish(bundle.run_command_as(&id, &["--detach", "--monitor"])).ok();
    sandbox.container(&id)
}

fn attach_command(sandbox: &Sandbox, container: &Container<'_>, flags: &[&str]) -> Command {
    let mut command = sandbox.command(["--log"]);
    command.arg(sandbox.dir().join("log")).arg("attach").args(flags).arg(container.id());
    command
}

/// Attaches with a pipe for standard input, and waits until that has happened.
fn attach_piped<'s>(sandbox: &'s Sandbox, container: &Container<'_>, flags: &[&str]) -> Foreground<'s> {
    let mut command = attach_command(sandbox, container, flags);
    command.stdin(Stdio::piped());
    let attached = sandbox.spawn(command);
    until_attached(&attached);
    attached
}

/// Only once it has blocked its signals it relays.
fn until_attached(attached: &Foreground<'_>) {
    until("it is attached", || {
        let status = fs::read_to_string(format!("/proc/{}/status", attached.pid())).unwrap_or_default();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).unwrap_or_default();
        // SIGTTIN is let through at the end.
        u64::from_str_radix(blocked, 16).is_ok_and(|blocked| blocked >> 20 & 1 == 0 && blocked >> 14 & 1 == 1)
    });
}

fn at_terminal<'s>(sandbox: &'s Sandbox, script: &str) -> Bundle<'s> {
    sandbox.busybox(script).set("/process/terminal", true)
}

#[test]
fn input_output_error_and_exit_code_are_the_containers() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let container = run(&sandbox, &sandbox.busybox("read x; echo got $x; echo bad >&2; exit 5"));
    let mut attached = attach_piped(&sandbox, &container, &[]);
    attached.child().stdin.take().unwrap().write_all(b"it\n").unwrap();
    let output = attached.wait();
    assert_eq!((output.code(), &*output.stdout, &*output.stderr), (5, "got it\n", "bad\n"));
    container.delete().ok();
}

#[test]
fn the_end_of_the_input_is_the_end_of_the_containers_unless_others_may_type() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let container = run(&sandbox, &sandbox.busybox("cat; echo end"));
    let mut first = attach_piped(&sandbox, &container, &[]);
    let mut second = attach_piped(&sandbox, &container, &[]);
    first.child().stdin.take().unwrap().write_all(b"one\n").unwrap();
    second.until_prints("one\n");
    thread::sleep(Duration::from_millis(50));
    let mut input = second.child().stdin.take().unwrap();
    input.write_all(b"two\n").unwrap();
    drop(input);
    assert_eq!(first.wait().ok(), "one\ntwo\nend\n");
    assert_eq!(second.wait().ok(), "one\ntwo\nend\n", "all see all");
    container.delete().ok();
}

#[test]
fn who_only_looks_types_nothing_and_closes_nothing() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let container = run(&sandbox, &sandbox.busybox("read x; echo got $x"));
    let looking = sandbox.spawn(attach_command(&sandbox, &container, &["--no-stdin"]));
    until_attached(&looking);
    let mut typing = attach_piped(&sandbox, &container, &[]);
    typing.child().stdin.take().unwrap().write_all(b"it\n").unwrap();
    assert_eq!(looking.wait().ok(), "got it\n");
    typing.wait().ok();
    container.delete().ok();
}

#[test]
fn signals_go_to_a_container_without_a_terminal_but_for_the_one_that_leaves() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let script =
        "trap 'echo usr1' USR1; trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let container = run(&sandbox, &sandbox.busybox(script));
    let attached = attach_piped(&sandbox, &container, &[]);
    until("it is ready", || sandbox.cloison(["logs", container.id()]).stdout.contains("ready"));
    attached.signal(Signal::USR1);
    attached.until_prints("usr1\n");
    attached.signal(Signal::HUP);
    assert_eq!(attached.wait().code(), 129);
    let deaf = attach_piped(&sandbox, &container, &["--sig-proxy=false"]);
    deaf.signal(Signal::TERM);
    assert_eq!(deaf.wait().code(), 143);
    assert_eq!(container.status(), "running");
    let attached = attach_piped(&sandbox, &container, &[]);
    attached.signal(Signal::TERM);
    assert_eq!(attached.wait().code(), 9);
    container.delete().ok();
}

#[test]
fn a_client_that_is_killed_does_not_take_the_container_with_it() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let screen = Screen::sized(80, 24);
    let container = run(&sandbox, &at_terminal(&sandbox, "while read x; do echo got $x; done"));
    let before = screen.mode();
    let attached = screen.spawn(&sandbox, attach_command(&sandbox, &container, &[]));
    until("the terminal is raw", || screen.is_raw());
    attached.signal(Signal::KILL);
    attached.wait();
    assert!(screen.is_raw(), "nobody was there to set it back");
    let mut reset = sandbox.bare_command("stty");
    reset.arg("sane").stdin(screen.stream());
    sandbox.finish(reset).ok();
    assert!(!screen.is_raw());
    assert_eq!(container.status(), "running");
    // The next one is served, and gives its terminal back.
    let sane = screen.mode();
    assert_ne!(before, "");
    let attached = screen.spawn(&sandbox, attach_command(&sandbox, &container, &[]));
    until("the terminal is raw", || screen.is_raw());
    screen.types("again\r");
    screen.until_shows("got again");
    screen.types("\x10\x11");
    screen.end(attached).ok();
    assert_eq!(screen.mode(), sane);
    container.delete_force().ok();
}

#[test]
fn a_terminal_is_attached_to_left_and_attached_to_again() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let screen = Screen::sized(101, 33);
    let script = "while read x; do echo got $x; test $x = size && stty size; test $x = end && exit 4; done";
    let container = run(&sandbox, &at_terminal(&sandbox, script));
    let before = screen.mode();
    let attached = screen.spawn(&sandbox, attach_command(&sandbox, &container, &[]));
    until("the terminal is raw", || screen.is_raw());
    screen.types("size\r");
    screen.until_shows("33 101\n");
    screen.types("\x10\x11");
    assert_eq!(screen.end(attached).code(), 0);
    assert_eq!(screen.mode(), before);
    assert_eq!(container.status(), "running");
    let attached =
        screen.spawn(&sandbox, attach_command(&sandbox, &container, &["--detach-keys", "ctrl-a,d"]));
    until("the terminal is raw", || screen.is_raw());
    screen.types("\x10\x11\x01x\r");
    // Ctrl-Q is a key of the terminal itself, which eats it.
    screen.until_shows("got \x10\x01x\n");
    screen.types("\x01d");
    assert_eq!(screen.end(attached).code(), 0);
    let attached = screen.spawn(&sandbox, attach_command(&sandbox, &container, &[]));
    until("the terminal is raw", || screen.is_raw());
    screen.types("end\r");
    assert_eq!(screen.end(attached).code(), 4);
    assert_eq!(screen.mode(), before);
    container.delete().ok();
}

#[test]
fn keys_are_the_containers_and_the_size_follows() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let screen = Screen::sized(80, 24);
    let script =
        "trap 'echo in''terrupted' INT; trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done";
    let container = run(&sandbox, &at_terminal(&sandbox, script));
    // Before it has its traps, a change of the size is nothing to it.
    until("it is ready", || sandbox.cloison(["logs", container.id()]).stdout.contains("ready"));
    let attached = screen.spawn(&sandbox, attach_command(&sandbox, &container, &[]));
    screen.until_shows("24 80\n");
    screen.types("\x03");
    screen.until_shows("interrupted\n");
    screen.resize(132, 50);
    attached.signal(Signal::WINCH);
    screen.until_shows("50 132\n");
    screen.resize(0, 0);
    attached.signal(Signal::WINCH);
    sandbox.cloison(["resize", container.id(), "77x11"]).ok();
    screen.until_shows("11 77\n");
    assert!(!screen.shown().contains("0 0"), "{}", screen.shown());
    attached.signal(Signal::TERM);
    assert_eq!(screen.end(attached).code(), 143, "leaving does not end the container");
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
}

#[test]
fn what_cannot_be_attached_to_or_resized_is_told() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let container = run(&sandbox, &sandbox.busybox("read x"));
    sandbox.cloison(["resize", container.id(), "80x24"]).refused_saying(&["has no terminal"]);
    sandbox.cloison(["resize", container.id(), "80"]).refused_saying(&["80x24"]);
    container.kill(&["KILL"]).ok();
    container.until("stopped");
    sandbox.cloison(["attach", container.id()]).refused_saying(&["is not running"]);
    container.delete().ok();
    let without = sandbox.sleeper().start();
    sandbox.cloison(["attach", without.id()]).refused_saying(&["has no monitor"]);
    sandbox.cloison(["resize", without.id(), "80x24"]).refused_saying(&["has no monitor"]);
    sandbox.cloison(["logs", without.id()]).refused_saying(&["has no monitor"]);
    sandbox.cloison(["attach", "absent"]).refused_saying(&["does not exist"]);
    without.end();
}

/// Sends bytes through a container and gives what comes back.
fn there_and_back(sandbox: &Sandbox, container: &Container<'_>, data: &[u8], ready: &[u8]) -> Vec<u8> {
    let mut attached = Piped::spawn(sandbox, attach_command(sandbox, container, &[]), Stdio::null());
    if !ready.is_empty() {
        until_attached(&attached.command);
        // What was written before is in the log; this is only to know that the other side is raw by now.
        attached.input.write_all(b"\n").unwrap();
        // The newline itself may come back first, from a terminal that was not told in time to be silent.
        attached.until_prints(ready);
    }
    attached.there_and_back(data)
}

#[test]
fn ten_megabytes_go_through_pipes_and_come_back_the_same() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let data = random(10_000_000);
    for round in 0..rounds() {
        let container = run(&sandbox, &sandbox.busybox("exec cat"));
        let got = there_and_back(&sandbox, &container, &data, b"");
        assert!(got == data, "round {round}: {} bytes came back, and not the same", got.len());
        container.delete().ok();
    }
}

#[test]
fn ten_megabytes_go_through_a_raw_terminal_and_come_back_the_same() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let data = random(10_000_000);
    for round in 0..rounds() {
        let bundle =
            at_terminal(&sandbox, "stty -echo; read x; stty raw; printf ready; exec head -c 10000000");
        let container = run(&sandbox, &bundle);
        let got = there_and_back(&sandbox, &container, &data, b"ready");
        assert!(got == data, "round {round}: {} bytes came back, and not the same", got.len());
        container.delete().ok();
    }
}

#[test]
fn a_client_that_stops_reading_holds_the_container_for_a_time_and_not_for_ever() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let container =
        run(&sandbox, &sandbox.busybox("read x; head -c 5000000 /dev/zero; echo; echo done; read y"));
    let mut command = attach_command(&sandbox, &container, &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut deaf = sandbox.spawn_with_own_stdio(command);
    until_attached(&deaf);
    deaf.child().stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    let started = std::time::Instant::now();
    // A busy machine may need longer than the monitor's patience with a client, but not for ever. The log itself is looked at: to print
    // five megabytes each time would keep the monitor from its work.
    let log = sandbox.root().join(container.id()).join("log");
    let has_gone_on =
        || fs::read(&log).is_ok_and(|text| text.windows(4).rev().take(200).any(|word| word == b"done"));
    while !has_gone_on() {
        assert!(started.elapsed() < Duration::from_mins(1), "the container is held for ever");
        thread::sleep(Duration::from_millis(50));
    }
    assert!(started.elapsed() >= Duration::from_secs(4), "it was given time to read");
    drop(deaf);
    container.delete_force().ok();
}
