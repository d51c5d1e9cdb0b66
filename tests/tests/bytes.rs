//! Ten megabytes of random bytes go into a container and come back the same, by each of the ways that have somebody in the foreground. (By a
//! monitor they do in `attach.rs`.)

use std::process::Command;

use cloison_tests::bytes::{Piped, random, rounds};
use cloison_tests::{Sandbox, Screen};

const LENGTH: usize = 10_000_000;

/// What a terminal would change, it does not.
const AT_TERMINAL: &str = "stty raw -echo; printf ready; exec head -c 10000000";

/// Sends the bytes there and back many times, each time through a new command.
fn go_round(sandbox: &Sandbox, terminal: bool, command: impl Fn() -> Command) {
    let data = random(LENGTH);
    // A runtime may need some terminal for its mode.
    let screen = Screen::new();
    for round in 0..rounds() {
        let mut piped = Piped::spawn(sandbox, command(), screen.stream());
        if terminal {
            piped.until_prints(b"ready");
        }
        let got = piped.there_and_back(&data);
        assert!(got == data, "round {round}: {} bytes came back, and not the same", got.len());
    }
}

fn through_exec(terminal: bool, script: &str) {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let flags: &[&str] = if terminal { &["--tty"] } else { &[] };
    go_round(&sandbox, terminal, || container.exec_command(flags, ["sh", "-c", script]));
    assert_eq!(container.status(), "running");
    container.end();
}

#[test]
fn ten_megabytes_go_through_the_pipes_of_run() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("exec cat");
    bundle.write();
    go_round(&sandbox, false, || bundle.run_command(&[]));
}

#[test]
fn ten_megabytes_go_through_the_raw_terminal_of_run() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox(AT_TERMINAL).set("/process/terminal", true);
    bundle.write();
    go_round(&sandbox, true, || bundle.run_command(&[]));
}

#[test]
fn ten_megabytes_go_through_the_pipes_of_exec() {
    through_exec(false, "exec cat");
}

#[test]
fn ten_megabytes_go_through_the_raw_terminal_of_exec() {
    through_exec(true, AT_TERMINAL);
}
