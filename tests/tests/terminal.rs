//! A terminal in the foreground: the test is the terminal that somebody sits at.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use cloison_tests::leaks::children_of;
use cloison_tests::rootfs::make_dir;
use cloison_tests::{Bundle, Rootfs, Sandbox, Screen, append_command, json, only_for, only_root, until};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;
use rustix::termios::{OutputModes, tcgetattr, tcgetwinsize};

fn at_terminal<'s>(sandbox: &'s Sandbox, script: &str) -> Bundle<'s> {
    sandbox.busybox(script).set("/process/terminal", true)
}

#[test]
fn all_streams_are_a_terminal_of_the_container() {
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let script =
        "for n in 0 1 2; do test -t $n || echo not $n; readlink /proc/self/fd/$n; done; tty; echo ok >&2";
    screen.run(&sandbox, &at_terminal(&sandbox, script)).ok();
    assert_eq!(screen.shown(), "/dev/pts/0\n".repeat(4) + "ok\n");
}

#[test]
fn the_terminal_is_the_controlling_one_and_the_console() {
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let script =
        "echo to tty >/dev/tty; echo to console >/dev/console; stat -Lc %t:%T /dev/console /dev/pts/0 | uniq";
    screen.run(&sandbox, &at_terminal(&sandbox, script)).ok();
    assert_eq!(screen.shown(), "to tty\nto console\n88:0\n");
}

#[test]
fn the_terminal_belongs_to_the_user() {
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let bundle = at_terminal(&sandbox, "stat -c %u:%g /dev/pts/0; echo x >/dev/pts/0")
        .set("/process/user", json!({"uid": 1000, "gid": 100}));
    screen.run(&sandbox, &bundle).ok();
    assert_eq!(screen.shown(), "1000:5\nx\n");
}

#[test]
fn the_size_is_that_of_the_callers_terminal() {
    only_for!(Cloison, "runc sets it when the program runs already");
    let sandbox = Sandbox::new();
    let screen = Screen::sized(101, 33);
    screen.run(&sandbox, &at_terminal(&sandbox, "stty size")).ok();
    assert_eq!(screen.shown(), "33 101\n");
}

#[test]
fn the_configured_size_comes_before_the_callers() {
    only_for!(Cloison, "runc puts the size of the caller's terminal over it");
    let sandbox = Sandbox::new();
    let screen = Screen::sized(101, 33);
    let bundle =
        at_terminal(&sandbox, "stty size").set("/process/consoleSize", json!({"height": 20, "width": 70}));
    screen.run(&sandbox, &bundle).ok();
    assert_eq!(screen.shown(), "20 70\n");
}

#[test]
fn a_terminal_that_does_not_know_its_size_does_not_overwrite_it() {
    only_for!(Cloison, "runc passes 0x0 on");
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let bundle =
        at_terminal(&sandbox, "trap 'stty size; exit' USR1; echo ready; while :; do sleep 0.05; done")
            .set("/process/consoleSize", json!({"height": 20, "width": 70}));
    let run = screen.start(&sandbox, &bundle);
    screen.until_shows("ready");
    run.signal(Signal::WINCH);
    run.signal(Signal::USR1);
    screen.end(run).ok();
    assert_eq!(screen.shown(), "ready\n20 70\n");
}

#[test]
fn a_change_of_the_size_is_passed_on() {
    let sandbox = Sandbox::new();
    let screen = Screen::sized(80, 24);
    let script = "sleep 0.3; trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.05; done";
    let bundle = at_terminal(&sandbox, script);
    // With the terminal as the controlling one of its session, so that the kernel sends the signal.
    let run = Screen::command(&sandbox, &bundle);
    let mut command = sandbox.bare_command("setsid");
    command.args(["--ctty", "--wait"]);
    append_command(&mut command, &run);
    let run = screen.spawn(&sandbox, command);
    screen.until_shows("24 80\n");
    screen.resize(132, 50);
    screen.end(run).ok();
    assert_eq!(screen.shown(), "24 80\n50 132\n");
}

#[test]
fn a_shell_is_used_as_outside() {
    let sandbox = Sandbox::new();
    let screen = Screen::sized(80, 24);
    let bundle = sandbox.bundle(Rootfs::busybox()).args(["sh"]).set("/process/terminal", true).env("PS1=> ");
    let run = screen.start(&sandbox, &bundle);
    screen.until_shows("> ");
    screen.types("echo $((6 * 7))\r");
    screen.until_shows("\n42\n");
    // What is shown must not stand in what is typed, which is shown as well.
    let program = "trap 'echo ba''ck' CONT; echo runs$((1)); while :; do sleep 0.05; done";
    screen.types(&format!("sh -c \"{}\"\r", program.replace('$', "\\$")));
    screen.until_shows("runs1");
    screen.types("\x1a");
    screen.until_shows("Stopped");
    screen.types("fg\r");
    screen.until_shows("\nback");
    screen.types("\x03");
    screen.until_shows("^C");
    screen.types("echo co''de $?\r");
    screen.until_shows("code 130");
    screen.types("exit 5\r");
    assert_eq!(screen.end(run).code(), 5);
}

#[test]
fn control_c_is_for_the_program() {
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let script = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done";
    let run = screen.start(&sandbox, &at_terminal(&sandbox, script));
    screen.until_shows("ready\n");
    screen.types("\x03");
    let output = screen.end(run);
    assert_eq!((output.code(), screen.shown().as_str()), (9, "ready\n^Cinterrupted\n"));
}

#[test]
fn a_megabyte_arrives_whole() {
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    screen.run(&sandbox, &at_terminal(&sandbox, "head -c 1000000 /dev/zero | tr '\\0' x; echo the end")).ok();
    let shown = screen.shown();
    assert_eq!(shown.matches('x').count(), 1_000_000);
    assert!(shown.ends_with("xthe end\n"), "{:?}", &shown[shown.len() - 20..]);
}

#[test]
fn the_last_words_are_not_lost() {
    let sandbox = Sandbox::new();
    let bundle = at_terminal(&sandbox, "seq 3000; exec echo -n last words");
    for _ in 0..10 {
        let screen = Screen::new();
        screen.run(&sandbox, &bundle).ok();
        assert!(screen.shown().ends_with("\n3000\nlast words"), "{:?}", screen.shown());
    }
}

#[test]
fn what_is_typed_arrives_also_before_the_program_reads() {
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let run = screen
        .start(&sandbox, &at_terminal(&sandbox, "stty -echo; echo ready; sleep 0.2; read a b; echo $b $a"));
    screen.until_shows("ready");
    screen.types("one two\r");
    screen.end(run).ok();
    assert_eq!(screen.shown(), "ready\ntwo one\n");
}

#[test]
fn input_may_be_a_file_and_its_end_is_not_the_terminals() {
    let sandbox = Sandbox::new();
    let screen = Screen::sized(90, 30);
    let bundle = at_terminal(&sandbox, "stty size; read line; echo got $line; sleep 0.2; echo on");
    bundle.write();
    let mut command = bundle.run_command(&[]);
    command.stdin(File::open(sandbox.file("input", "from a file\n")).unwrap());
    command.stdout(screen.stream()).stderr(screen.stream());
    screen.end(sandbox.spawn_with_own_stdio(command)).ok();
    let shown = screen.shown();
    assert!(shown.contains("30 90\n") && shown.ends_with("\ngot from a file\non\n"), "{shown:?}");
}

#[test]
fn lines_in_a_file_have_no_carriage_returns() {
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let bundle = at_terminal(&sandbox, "echo one; echo two");
    bundle.write();
    let file = sandbox.file("output", "before\n");
    let mut command = bundle.run_command(&[]);
    command.stdin(screen.stream()).stderr(screen.stream());
    command.stdout(File::options().append(true).open(&file).unwrap());
    screen.end(sandbox.spawn_with_own_stdio(command)).ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "before\none\ntwo\n");
}

#[test]
fn without_any_terminal_outside_there_is_one_inside() {
    only_for!(Cloison, "runc wants one to change the mode of");
    let sandbox = Sandbox::new();
    assert_eq!(at_terminal(&sandbox, "tty; echo problem >&2").run().ok(), "/dev/pts/0\nproblem\n");
}

#[test]
fn the_callers_terminal_is_raw_meanwhile_and_as_before_afterwards() {
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let before = screen.mode();
    let run = screen.start(&sandbox, &at_terminal(&sandbox, "echo ready; read x; exit 3"));
    screen.until_shows("ready");
    assert!(screen.is_raw());
    screen.types("\r");
    assert_eq!(screen.end(run).code(), 3);
    assert_eq!(screen.mode(), before);
}

#[test]
fn the_callers_terminal_translates_what_another_program_writes_to_it() {
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let bundle = at_terminal(&sandbox, "echo ready; read x");
    bundle.write();
    let mut command = bundle.run_command(&[]);
    // As in `cloison run c | tee log`, where tee writes to the terminal.
    command.stdin(screen.stream()).stdout(Stdio::piped()).stderr(screen.stream());
    let mut run = sandbox.spawn_with_own_stdio(command);
    let mut ready = [0; 6];
    run.child().stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    assert!(screen.is_raw());
    assert!(
        tcgetattr(&screen.terminal).unwrap().output_modes.contains(OutputModes::OPOST | OutputModes::ONLCR)
    );
    screen.types("\r");
    screen.end(run).ok();
}

#[test]
fn the_callers_terminal_is_as_before_after_an_error() {
    let sandbox = Sandbox::new();
    let bundle = || sandbox.bundle(Rootfs::busybox()).set("/process/terminal", true);
    for bundle in [
        bundle().args(["/not/there"]),
        bundle().args(["/etc/passwd"]),
        bundle().set("/process/cwd", "/etc/passwd"),
    ] {
        let screen = Screen::new();
        let before = screen.mode();
        assert_eq!(screen.run(&sandbox, &bundle).code(), 1);
        assert_eq!(screen.mode(), before);
    }

    // An error at the last moment before the program starts.
    let (screen, bundle) = (Screen::new(), bundle().args(["true"]));
    bundle.write();
    let before = screen.mode();
    let command = bundle.run_command(&["--pid-file", "missing/pid"]);
    assert_eq!(screen.end(screen.spawn(&sandbox, command)).code(), 1);
    assert_eq!(screen.mode(), before);
}

#[test]
fn the_callers_terminal_is_as_before_after_a_signal() {
    let sandbox = Sandbox::new();
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        let screen = Screen::new();
        let before = screen.mode();
        // Not a shell, which takes SIGQUIT for itself until it becomes something else.
        let bundle = at_terminal(&sandbox, "").args(["tail", "-f", "/etc/group"]).without_namespace("pid");
        let run = screen.start(&sandbox, &bundle);
        screen.until_shows("daemon");
        run.signal(signal);
        assert_eq!(screen.end(run).code(), code);
        assert_eq!(screen.mode(), before);
    }
}

#[test]
fn a_terminal_that_goes_away_hangs_up_the_containers() {
    only_for!(Cloison, "runc leaves a container that nobody can type to");
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let bundle = at_terminal(
        &sandbox,
        "trap 'echo hung up >/tmp/log; exit 0' HUP; echo ready; while :; do sleep 0.05; done",
    );
    let bundle = bundle.writable();
    let run = screen.start(&sandbox, &bundle);
    screen.until_shows("ready");
    drop(screen);
    run.wait().ok();
    assert_eq!(std::fs::read_to_string(bundle.rootfs().join("tmp/log")).unwrap(), "hung up\n");
}

#[test]
fn a_reader_that_goes_away_hangs_up_the_containers_terminal() {
    only_for!(Cloison, "runc stops reading, and the program waits for ever");
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let before = screen.mode();
    let bundle = at_terminal(&sandbox, "trap 'exit 7' HUP; while :; do echo line || sleep 0.05; done");
    bundle.write();
    let mut command = bundle.run_command(&[]);
    command.stdin(screen.stream()).stdout(Stdio::piped()).stderr(screen.stream());
    let mut run = sandbox.spawn_with_own_stdio(command);
    let mut line = [0; 5];
    run.child().stdout.take().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(screen.end(run).code(), 7);
    assert_eq!(screen.mode(), before);
}

#[test]
fn a_reader_that_stops_does_not_keep_signals_and_the_end_away() {
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let bundle = at_terminal(&sandbox, "trap 'exit 7' TERM; while :; do echo line; done");
    bundle.write();
    let mut command = bundle.run_command(&[]);
    command.stdin(screen.stream()).stdout(Stdio::piped()).stderr(screen.stream());
    let mut run = sandbox.spawn_with_own_stdio(command);
    let mut reader = run.child().stdout.take().unwrap();
    let mut line = [0; 5];
    reader.read_exact(&mut line).unwrap();
    // The pipe and the terminal fill up, and the shell waits in a write that a signal interrupts.
    std::thread::sleep(std::time::Duration::from_millis(300));
    run.signal(Signal::TERM);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(screen.end(run).code(), 7);
    assert!(rest.chunks(5).all(|line| line == b"line\n" || line.len() < 5), "nothing was lost in the middle");
}

#[test]
fn the_end_is_not_kept_away_by_output_that_nobody_reads() {
    only_for!(Cloison, "runc waits for the reader for ever");
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let before = screen.mode();
    // More than the pipe takes, less than the terminal does.
    let bundle = at_terminal(&sandbox, "yes | head -c 8000; touch /tmp/written").writable();
    bundle.write();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    fcntl_setpipe_size(&reader, 4096).expect("it is ours");
    let mut command = bundle.run_command(&[]);
    command.stdin(screen.stream()).stdout(writer).stderr(screen.stream());
    let run = sandbox.spawn_with_own_stdio(command);
    until("all is written", || bundle.rootfs().join("tmp/written").exists());
    until("the program has ended", || children_of(run.pid()).is_empty());
    run.signal(Signal::TERM);
    screen.end(run).ok();
    assert_eq!(screen.mode(), before);
    drop(reader);
}

#[test]
fn a_program_may_close_its_terminal_and_come_back() {
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let script = "echo one; exec <&- >&- 2>&-; sleep 0.2; echo two >/dev/console; exec >/dev/pts/0; sleep 0.1; echo three";
    screen.run(&sandbox, &at_terminal(&sandbox, script)).ok();
    assert_eq!(screen.shown(), "one\ntwo\nthree\n");
}

#[test]
fn a_program_may_hang_its_terminal_up_and_come_back() {
    only_root!("right to hang a terminal up (CAP_SYS_TTY_CONFIG of the machine)");
    only_for!(Cloison, "runc takes the hangup for the end of the output");
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    // vhangup(2), as `systemd` and `agetty` do before they use a terminal.
    let call = if cfg!(target_arch = "x86_64") { 153 } else { 58 };
    let script = format!(
        "trap '' HUP; echo one; perl -e 'exit syscall({call})' || exit 9; sleep 0.2; \
         exec <>/dev/console >&0; stty -echo; echo two; read x; exit $x"
    );
    let bundle = sandbox.debian(&script).set("/process/terminal", true).capabilities(&["CAP_SYS_TTY_CONFIG"]);
    let run = screen.start(&sandbox, &bundle);
    screen.until_shows("one\ntwo\n");
    screen.types("4\r");
    assert_eq!(screen.end(run).code(), 4);
}

#[test]
fn a_multiplexer_that_the_image_has_made_up_is_not_opened() {
    only_for!(Cloison, "other runtimes say it in other words");
    let sandbox = Sandbox::new();
    let screen = Screen::new();
    let rootfs = Rootfs::hostile(|root| {
        make_dir(&root.join("dev/pts"), 0o755);
        let (mode, null) = (Mode::from_raw_mode(0o666), makedev(1, 3));
        mknodat(CWD, root.join("dev/pts/ptmx"), FileType::CharacterDevice, mode, null).expect("mknod");
    });
    let bundle = sandbox.bundle(rootfs).args(["true"]).set("/process/terminal", true).edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().expect("a list");
        mounts.retain(|mount| !mount["destination"].as_str().expect("a path").starts_with("/dev"));
    });
    let output = screen.run(&sandbox, &bundle);
    assert_eq!(output.code(), 1);
    assert!(screen.shown().contains("not the terminal multiplexer"), "{}", screen.shown());
}

#[test]
fn try_gives_a_terminal() {
    if cloison_tests::caller::ordinary().is_some() {
        cloison_tests::users_need_usr!();
    }
    only_for!(Cloison, "no other runtime has `try`");
    let sandbox = Sandbox::new();
    let screen = Screen::sized(77, 22);
    let run = screen
        .spawn(&sandbox, sandbox.command(["try", "-t", "--", "sh", "-c", "tty; stty size; read x; exit $x"]));
    screen.until_shows("22 77\n");
    screen.types("6\r");
    assert_eq!(screen.end(run).code(), 6);
    assert!(screen.shown().contains("/dev/pts/0\n"), "{}", screen.shown());
}

#[test]
fn the_size_of_the_callers_terminal_stays_its_own() {
    let sandbox = Sandbox::new();
    let screen = Screen::sized(80, 24);
    screen.run(&sandbox, &at_terminal(&sandbox, "stty cols 10 rows 5; stty size")).ok();
    assert_eq!(screen.shown(), "5 10\n");
    let size = tcgetwinsize(&screen.terminal).unwrap();
    assert_eq!((size.ws_col, size.ws_row), (80, 24));
}
