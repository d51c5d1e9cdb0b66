//! `console`: the other side of a console socket.

use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use cloison_tests::screen::Screen;
use cloison_tests::{Bundle, Container, Sandbox, only_for, until};
use rustix::process::Signal;

fn at_terminal<'s>(sandbox: &'s Sandbox, script: &str) -> Bundle<'s> {
    sandbox.busybox(script).set("/process/terminal", true)
}

fn console(sandbox: &Sandbox, flags: &[&str], socket: &Path) -> Command {
    let mut command = sandbox.command(["--log"]);
    command.arg(sandbox.dir().join("log")).arg("console").args(flags).arg(socket);
    command
}

fn until_listening(socket: &Path) {
    until("somebody listens", || {
        std::fs::symlink_metadata(socket).is_ok_and(|file| file.file_type().is_socket())
    });
}

fn run<'s>(sandbox: &'s Sandbox, script: &str, socket: &Path) -> Container<'s> {
    let bundle = at_terminal(sandbox, script);
    bundle.write();
    let id = sandbox.new_id();
    let flags = ["--detach", "--console-socket", socket.to_str().unwrap()];
    sandbox.finish(bundle.run_command_as(&id, &flags)).ok();
    sandbox.container(&id)
}

/// Waits for its end and deletes it.
fn finish(container: &Container<'_>) {
    container.until("stopped");
    container.delete().ok();
}

fn socket(sandbox: &Sandbox) -> PathBuf {
    sandbox.dir().join("console")
}

#[test]
fn a_terminal_is_used_by_its_console_socket_as_by_run() {
    only_for!(Cloison, "runc has recvtty, a program of its tests");
    let sandbox = Sandbox::new();
    let (screen, socket) = (Screen::sized(101, 33), socket(&sandbox));
    let before = screen.mode();
    let console = screen.spawn(&sandbox, console(&sandbox, &["--single"], &socket));
    until_listening(&socket);
    let container = run(&sandbox, "while read x; do eval $x; done", &socket);
    until("the terminal is raw", || screen.is_raw());
    screen.types("stty size\r");
    screen.until_shows("33 101\n");
    screen.resize(77, 11);
    console.signal(Signal::WINCH);
    until("the container's terminal has the new size", || {
        screen.types("stty size\r");
        std::thread::sleep(std::time::Duration::from_millis(50));
        screen.shown().contains("11 77\n")
    });
    screen.types("exit\r");
    screen.end(console).ok();
    assert_eq!(screen.mode(), before);
    assert!(!socket.exists());
    finish(&container);
}

#[test]
fn several_are_served_one_after_the_other() {
    only_for!(Cloison, "runc has recvtty, a program of its tests");
    let sandbox = Sandbox::new();
    let (screen, socket) = (Screen::new(), socket(&sandbox));
    let before = screen.mode();
    let console = screen.spawn(&sandbox, console(&sandbox, &[], &socket));
    until_listening(&socket);
    let first = run(&sandbox, "echo first; read x", &socket);
    screen.until_shows("first\n");
    let second = run(&sandbox, "echo second; read x", &socket);
    screen.types("\r");
    screen.until_shows("second\n");
    finish(&first);
    console.signal(Signal::TERM);
    assert_eq!(screen.end(console).code(), 143);
    assert_eq!(screen.mode(), before);
    assert!(!socket.exists());
    finish(&second);
}

#[test]
fn nothing_is_shown_of_any_number_if_nobody_looks() {
    only_for!(Cloison, "runc has recvtty, a program of its tests");
    let sandbox = Sandbox::new();
    let socket = socket(&sandbox);
    let console = sandbox.spawn(console(&sandbox, &["--null"], &socket));
    until_listening(&socket);
    let all: Vec<_> = (0..3).map(|_| run(&sandbox, "head -c 200000 /dev/zero; exit 3", &socket)).collect();
    for container in all {
        finish(&container);
    }
    console.signal(Signal::INT);
    let ended = console.wait();
    assert_eq!((ended.code(), &*ended.stdout), (130, ""));
    assert!(!socket.exists());
}

#[test]
fn a_socket_that_is_not_ours_to_make_is_refused_and_one_that_is_dead_is_replaced() {
    only_for!(Cloison, "runc has recvtty, a program of its tests");
    let sandbox = Sandbox::new();
    let file = sandbox.file("file", "kept");
    sandbox.finish(console(&sandbox, &["--null"], &file)).refused_saying(&["something else than a socket"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    let socket = socket(&sandbox);
    let listener = cloison_tests::receiver::listen(&socket);
    sandbox.finish(console(&sandbox, &["--null"], &socket)).refused_saying(&["somebody listens"]);
    drop(listener);
    assert!(socket.exists());
    let console = sandbox.spawn(console(&sandbox, &["--null"], &socket));
    until("it listens", || UnixStream::connect(&socket).is_ok());
    console.signal(Signal::TERM);
    console.wait();
    assert!(!socket.exists());
}

#[test]
fn the_path_may_be_longer_than_an_address() {
    only_for!(Cloison, "runc has recvtty, a program of its tests");
    let sandbox = Sandbox::new();
    let deep = sandbox.directory(&format!("{}/{}", "d".repeat(100), "e".repeat(100))).join("c".repeat(200));
    let console = sandbox.spawn(console(&sandbox, &["--null"], &deep));
    until_listening(&deep);
    finish(&run(&sandbox, "exit 3", &deep));
    console.signal(Signal::TERM);
    console.wait();
}

#[test]
fn a_peer_that_closes_at_once_or_sends_no_terminal_is_passed_over() {
    only_for!(Cloison, "runc has recvtty, a program of its tests");
    let sandbox = Sandbox::new();
    let socket = socket(&sandbox);
    let console = sandbox.spawn(console(&sandbox, &["--null"], &socket));
    until("it listens", || UnixStream::connect(&socket).is_ok());
    for _ in 0..3 {
        drop(UnixStream::connect(&socket).unwrap());
    }
    finish(&run(&sandbox, "exit 3", &socket));
    console.signal(Signal::TERM);
    assert_eq!(console.wait().code(), 143);
}
