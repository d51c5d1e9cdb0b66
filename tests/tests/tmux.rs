//! A person at a terminal: shell, editor, keys and windows, by each of the ways that a container's terminal can have.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use cloison_tests::host::has_program;
use cloison_tests::tmux::{OUTSIDE, Tmux};
use cloison_tests::{Bundle, Rootfs, Sandbox, only_for, skip_unless, until};

/// What the shell in the container says when it waits.
const INSIDE: &str = "inside> ";

/// Tells of the signals that a terminal's size and its jobs bring.
const WATCHER: &str = "\
#!/bin/sh
trap 'stty size; echo resized' WINCH
trap 'echo back' CONT
echo watches
while :; do sleep 0.05; done
";

/// A container with a shell that somebody sits at.
fn shell(sandbox: &Sandbox) -> Bundle<'_> {
    let rootfs = Rootfs::busybox().with(|root| {
        let file = root.join("bin/watcher");
        fs::write(&file, WATCHER).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    });
    let bundle = sandbox.bundle(rootfs).args(["sh"]).writable();
    bundle.set("/process/terminal", true).env("TERM=screen").env(&format!("PS1={INSIDE}"))
}

/// Everything goes to the log that is not the program's.
fn quiet(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(["--log"]);
    command.arg(sandbox.dir().join("log")).args(arguments);
    command
}

/// Enters a line into the container's shell, and waits until it says this. (What is typed is shown as well, and must not contain it.)
fn says(tmux: &Tmux<'_>, line: &str, answer: &str) {
    tmux.enters(line);
    tmux.until_shows(answer);
}

/// The container's shell waits. Uses it for all that one uses a terminal for.
fn works_like_any_other(tmux: &Tmux<'_>) {
    says(tmux, "tty; echo the''re", "/dev/pts/");
    tmux.until_shows("there\n");

    tmux.clear(INSIDE);
    tmux.enters("printf '\\033[31mr''ed\\033[0m \\033[1;44mbold on bl''ue\\033[0m\\n'");
    tmux.until("colours are shown", |tmux| {
        let shown = tmux.shown_in_colour();
        shown.contains("\x1b[31mred") && shown.contains("\x1b[44mbold on blue")
    });

    editor_edits_and_quits(tmux);
    size_follows_the_window(tmux);
    keys_are_for_the_jobs_inside(tmux);
}

fn editor_edits_and_quits(tmux: &Tmux<'_>) {
    tmux.clear(INSIDE);
    says(tmux, "vi /tmp/letter", "~\n~\n~\n");
    tmux.types("iDear reader,");
    tmux.presses(&["Enter"]);
    tmux.types("it works.");
    // When vi has shown it all: a key that comes at once after Escape would be a part of its sequence.
    let escapes_from = |text: &str| {
        tmux.until("vi has inserted what was typed", |tmux| {
            let visible = tmux.visible();
            visible.starts_with(text) && visible.contains("\nI /tmp/letter")
        });
        tmux.presses(&["Escape"]);
        tmux.until("vi takes commands", |tmux| tmux.visible().contains("\n- /tmp/letter"));
    };
    escapes_from("Dear reader,\nit works.\n");
    tmux.types("1GA dear");
    escapes_from("Dear reader, dear\nit works.\n");
    tmux.enters(":wq");
    tmux.until("vi has gone", |tmux| !tmux.visible().contains("\n~\n"));
    tmux.clear(INSIDE);
    says(tmux, "sed s/^/said:/ /tmp/letter", "said:Dear reader, dear\nsaid:it works.\n");
}

fn size_follows_the_window(tmux: &Tmux<'_>) {
    tmux.clear(INSIDE);
    says(tmux, "stty size", "24 80\n");
    // A program is told at once.
    says(tmux, "watcher", "watches\n");
    tmux.resize(101, 33);
    tmux.until_shows("33 101\nresized\n");
    tmux.presses(&["C-c"]);
    tmux.clear(INSIDE);
    says(tmux, "stty size", "33 101\n");
    tmux.resize(80, 24);
    tmux.until("the window is as before", |tmux| {
        tmux.clear(INSIDE);
        tmux.enters("stty size; echo to''ld");
        tmux.until_shows("told\n");
        tmux.shown().contains("24 80\n")
    });
}

fn keys_are_for_the_jobs_inside(tmux: &Tmux<'_>) {
    a_command_can_be_interrupted(tmux, INSIDE);

    says(tmux, "watcher", "watches\n");
    tmux.presses(&["C-z"]);
    tmux.until_shows("Stopped");
    says(tmux, "jobs | sed s/^/job:/", "job:[1]");
    tmux.enters("fg");
    tmux.until_shows("back\n");
    tmux.presses(&["C-c"]);
    says(tmux, "echo co''de $?", "code 130\n");

    // The end of the input ends a program and not the shell.
    tmux.clear(INSIDE);
    says(tmux, "echo read''ing; cat; echo af''ter", "reading\n");
    tmux.presses(&["C-d"]);
    tmux.until_shows("after\n");
    tmux.clear(INSIDE);
}

/// The command has ended, and the terminal is the caller's again.
fn terminal_is_healthy(tmux: &Tmux<'_>, before: &str, code: u8) {
    tmux.until_shows(OUTSIDE);
    says(tmux, "echo en''ded $?", &format!("ended {code}\n"));
    assert_eq!(tmux.mode(), before);
    a_command_can_be_interrupted(tmux, OUTSIDE);
}

/// By the shell with this prompt, which waits before and afterwards.
fn a_command_can_be_interrupted(tmux: &Tmux<'_>, prompt: &str) {
    tmux.clear(prompt);
    // It says so itself: what a shell has forked and is not yet the program may lose the signal to the shell's own handler.
    says(tmux, "sh -c 'echo slee\"\"ps; sleep 1000'", "sleeps\n");
    tmux.presses(&["C-c"]);
    says(tmux, "echo co''de $?", "code 130\n");
    tmux.clear(prompt);
}

#[test]
fn a_shell_by_run_is_used_as_outside() {
    skip_unless!(has_program("tmux"), "needs tmux");
    let sandbox = Sandbox::new();
    let tmux = Tmux::new(&sandbox, 80, 24);
    let before = tmux.mode();
    let bundle = shell(&sandbox);
    bundle.write();
    let id = sandbox.new_id();
    tmux.runs(&quiet(&sandbox, &["run", "--bundle", bundle.dir().to_str().unwrap(), &id]));
    tmux.until_shows(INSIDE);
    works_like_any_other(&tmux);
    tmux.enters("exit 5");
    terminal_is_healthy(&tmux, &before, 5);
}

#[test]
fn a_shell_by_exec_is_used_as_outside() {
    skip_unless!(has_program("tmux"), "needs tmux");
    let sandbox = Sandbox::new();
    let tmux = Tmux::new(&sandbox, 80, 24);
    let before = tmux.mode();
    let container = shell(&sandbox).set("/process/terminal", false).args(["sleep", "1000"]).start();
    tmux.runs(&quiet(&sandbox, &["exec", "--tty", container.id(), "sh"]));
    tmux.until_shows(INSIDE);
    works_like_any_other(&tmux);
    tmux.enters("exit 5");
    terminal_is_healthy(&tmux, &before, 5);
    assert_eq!(container.status(), "running");
    container.end();
}

#[test]
fn a_shell_by_a_console_socket_is_used_as_outside() {
    only_for!(Cloison, "runc has recvtty, a program of its tests");
    skip_unless!(has_program("tmux"), "needs tmux");
    let sandbox = Sandbox::new();
    let tmux = Tmux::new(&sandbox, 80, 24);
    let before = tmux.mode();
    let socket = sandbox.dir().join("console");
    tmux.runs(&quiet(&sandbox, &["console", "--single", socket.to_str().unwrap()]));
    until("somebody listens", || socket.exists());
    let bundle = shell(&sandbox);
    bundle.write();
    let id = sandbox.new_id();
    let flags = ["--detach", "--console-socket", socket.to_str().unwrap()];
    sandbox.finish(bundle.run_command_as(&id, &flags)).ok();
    tmux.until_shows(INSIDE);
    works_like_any_other(&tmux);
    tmux.enters("exit 5");
    // Whose exit code it is, the other side of a socket cannot know.
    terminal_is_healthy(&tmux, &before, 0);
    sandbox.container(&id).until("stopped");
    sandbox.container(&id).delete().ok();
}

#[test]
fn a_shell_by_attach_is_used_as_outside_and_left_and_come_back_to() {
    only_for!(Cloison, "no other runtime has a monitor");
    skip_unless!(has_program("tmux"), "needs tmux");
    let sandbox = Sandbox::new();
    let tmux = Tmux::new(&sandbox, 80, 24);
    let before = tmux.mode();
    let bundle = shell(&sandbox);
    bundle.write();
    let id = sandbox.new_id();
    sandbox.finish(bundle.run_command_as(&id, &["--detach", "--monitor"])).ok();
    let container = sandbox.container(&id);
    let attach = quiet(&sandbox, &["attach", &id]);
    let comes = || {
        tmux.runs(&attach);
        // What was shown before is in the log; the shell says it again on the next line.
        tmux.until("the shell answers", |tmux| {
            tmux.presses(&["Enter"]);
            tmux.shown().contains(&format!("\n{INSIDE}"))
        });
    };
    comes();
    tmux.clear(INSIDE);
    works_like_any_other(&tmux);
    tmux.presses(&["C-p", "C-q"]);
    terminal_is_healthy(&tmux, &before, 0);
    assert_eq!(container.status(), "running");
    comes();
    tmux.clear(INSIDE);
    tmux.enters("exit 5");
    terminal_is_healthy(&tmux, &before, 5);
    container.until("stopped");
    container.delete().ok();
}
