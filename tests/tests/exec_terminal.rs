//! `exec` at a terminal, in the background, and with the sockets and files by which engines follow it.

use std::fs;
use std::os::fd::AsRawFd;
use std::process::Stdio;

use cloison_tests::receiver::{read_until, receive};
use cloison_tests::sandbox::to_pid;
use cloison_tests::{Container, Foreground, Sandbox, Screen, append_command, json, only_for, until};
use rustix::process::{PidfdFlags, Signal, pidfd_open};
use rustix::termios::tcgetwinsize;

/// Runs a command in a container at a terminal.
fn at_screen<'s>(
    screen: &Screen,
    sandbox: &'s Sandbox,
    container: &Container<'s>,
    script: &str,
) -> Foreground<'s> {
    screen.spawn(sandbox, container.exec_command(&["--tty"], ["sh", "-c", script]))
}

#[test]
fn a_process_gets_a_terminal_of_the_containers_own() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let screen = Screen::sized(101, 33);
    let script = "for n in 0 1 2; do test -t $n || echo not $n; readlink /proc/self/fd/$n; done; tty; \
                  echo to tty >/dev/tty; ls -l /dev/console 2>&1 | wc -l";
    screen.end(at_screen(&screen, &sandbox, &container, script)).ok();
    assert!(screen.shown().starts_with(&("/dev/pts/0\n".repeat(4) + "to tty\n")), "{}", screen.shown());
    container.end();
}

#[test]
fn the_size_is_that_of_the_callers_terminal_and_follows_it() {
    only_for!(Cloison, "runc sets it when the program runs already");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let screen = Screen::sized(101, 33);
    let script = "trap 'stty size; exit 7' WINCH; stty size; while :; do sleep 0.01; done";
    // With the terminal as the controlling one of its session, so that the kernel sends the signal.
    let exec = container.exec_command(&["--tty"], ["sh", "-c", script]);
    let mut command = sandbox.bare_command("setsid");
    command.args(["--ctty", "--wait"]);
    append_command(&mut command, &exec);
    let running = screen.spawn(&sandbox, command);
    screen.until_shows("33 101");
    screen.resize(90, 20);
    screen.until_shows("20 90");
    assert_eq!(screen.end(running).code(), 7);
    container.end();
}

#[test]
fn the_callers_terminal_is_raw_meanwhile_and_afterwards_as_before() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let screen = Screen::new();
    let before = screen.mode();
    let running = at_screen(&screen, &sandbox, &container, "echo ready; read line; echo got $line; exit 3");
    screen.until_shows("ready");
    assert!(screen.is_raw());
    screen.types("words\r");
    assert_eq!(screen.end(running).code(), 3);
    assert!(screen.shown().contains("got words"), "{}", screen.shown());
    assert_eq!(screen.mode(), before);

    let failed = screen.spawn(&sandbox, container.exec_command(&["--tty"], ["/nothing"]));
    assert_eq!(screen.end(failed).code(), 255);
    assert_eq!(screen.mode(), before);
    container.end();
}

#[test]
fn keys_that_are_signals_reach_the_process() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let screen = Screen::new();
    let running = at_screen(
        &screen,
        &sandbox,
        &container,
        "trap 'echo int; exit 5' INT; echo ready; sleep 1000 & wait",
    );
    screen.until_shows("ready");
    screen.types("\u{3}");
    assert_eq!(screen.end(running).code(), 5);
    container.exec_script(&[], "kill $(pidof sleep | tr ' ' '\\n' | grep -vx 1) 2>/dev/null; true").ok();
    container.end();
}

#[test]
fn signals_are_forwarded_to_a_process_in_the_foreground() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let script = "trap 'echo usr1; exit 9' USR1; echo ready; while :; do sleep 0.01; done";
    let running = sandbox.spawn(container.exec_command(&[], ["sh", "-c", script]));
    running.until_prints("ready");
    running.signal(Signal::USR1);
    let output = running.wait();
    assert_eq!((output.code(), output.stdout.as_str()), (9, "ready\nusr1\n"));

    let killed = sandbox.spawn(container.exec_command(&[], ["sh", "-c", "echo ready; exec sleep 1000"]));
    killed.until_prints("ready");
    killed.signal(Signal::TERM);
    assert_eq!(killed.wait().code(), 143);
    assert_eq!(container.status(), "running");
    container.end();
}

#[test]
fn a_detached_process_runs_on_and_its_pid_file_is_there() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let file = sandbox.dir().join("pid");
    let flags = ["--detach", "--pid-file", file.to_str().unwrap()];
    container.exec_with(&flags, ["sh", "-c", "echo begun; sleep 0.2; exit 6"]).ok();
    let text = fs::read_to_string(&file).unwrap();
    let pid: u32 = text.parse().expect("digits alone, without a newline");
    assert_ne!(pid, container.pid());
    // It is a child of whoever called, as engines expect.
    assert_eq!(sandbox.wait_for_orphan(pid), 6);
    container.end();
}

#[test]
fn the_pid_file_is_written_in_the_foreground_too_and_relative_to_the_caller() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().set("/process/cwd", "/etc").start();
    let shown =
        container.exec_script(&["--pid-file", "pid.txt"], "grep NSpid /proc/self/status | tr -s '\\t' ' '");
    let inside: Vec<&str> = shown.line().split(' ').collect();
    fs::read_to_string(sandbox.dir().join("pid.txt")).unwrap().parse::<u32>().unwrap();
    assert_eq!(inside.len(), 2, "the container's procfs numbers from its own namespace on: {inside:?}");
    container
        .exec_with(&["--pid-file", "/none/pid"], ["true"])
        .exec_refused_saying(&["/none", "no such file"]);
    container.end();
}

#[test]
fn a_pid_file_goes_with_a_program_that_could_not_be_executed() {
    only_for!(Cloison, "runc leaves it");
    let sandbox = Sandbox::new();
    let rootfs = cloison_tests::Rootfs::busybox().with(|root| {
        fs::write(root.join("broken"), "#!/none\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(root.join("broken"), mode).unwrap();
    });
    let container = sandbox.bundle(rootfs).args(["sleep", "1000"]).start();
    let file = sandbox.dir().join("pid");
    for detach in [&["--detach"][..], &[]] {
        let flags = [detach, &["--pid-file", file.to_str().unwrap()]].concat();
        container.exec_with(&flags, ["/broken"]).exec_refused_saying(&["no such file"]);
        assert!(!file.exists());
    }
    container.end();
}

#[test]
fn a_detached_terminal_goes_to_the_console_socket() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let socket = sandbox.dir().join("console");
    let listener = cloison_tests::receiver::listen(&socket);
    let document = sandbox.file(
        "process.json",
        json!({
            "terminal": true,
            "consoleSize": {"height": 20, "width": 70},
            "args": ["sh", "-c", "stty size; read x; echo got $x"],
            "env": ["PATH=/bin"],
            "cwd": "/",
        })
        .to_string(),
    );
    let (document, socket) = (document.to_str().unwrap(), socket.to_str().unwrap());
    let file = sandbox.dir().join("pid");
    let flags =
        ["--process", document, "--detach", "--console-socket", socket, "--pid-file", file.to_str().unwrap()];
    container.exec_with::<&str>(&flags, []).ok();
    let (name, master) = receive(&listener);
    assert!(name.starts_with("/dev/"), "{name}");
    let size = tcgetwinsize(&master).unwrap();
    assert_eq!((size.ws_col, size.ws_row), (70, 20));
    read_until(&master, "20 70");
    rustix::io::write(&master, b"it\n").unwrap();
    read_until(&master, "got it");
    let pid = fs::read_to_string(file).unwrap().parse().unwrap();
    assert_eq!(sandbox.wait_for_orphan(pid), 0);
    container.end();
}

#[test]
fn a_terminal_and_a_socket_that_do_not_go_together_are_refused() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let socket = sandbox.dir().join("console");
    let _listener = cloison_tests::receiver::listen(&socket);
    let socket = socket.to_str().unwrap();
    let missing = "cannot allocate tty if runc will detach without setting console socket";
    let useless = "cannot use console socket if runc will not detach or allocate tty";
    container.exec_with(&["-t", "-d"], ["true"]).exec_refused_saying(&[missing]);
    for flags in [
        &["--console-socket", socket][..],
        &["-d", "--console-socket", socket],
        &["-t", "--console-socket", socket],
    ] {
        container.exec_with(flags, ["true"]).exec_refused_saying(&[useless]);
    }
    let none = sandbox.dir().join("none");
    let none = none.to_str().unwrap();
    container
        .exec_with(&["-t", "-d", "--console-socket", none], ["true"])
        .exec_refused_saying(&[none, "no such file"]);
    container.end();
}

#[test]
fn the_pidfd_socket_gets_the_process() {
    cloison_tests::runc_lacks!("1.2: --pidfd-socket");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let (socket, file) = (sandbox.dir().join("pidfd"), sandbox.dir().join("pid"));
    let listener = cloison_tests::receiver::listen(&socket);
    let flags = ["-d", "--pidfd-socket", socket.to_str().unwrap(), "--pid-file", file.to_str().unwrap()];
    container.exec_with(&flags, ["sleep", "1000"]).ok();
    let (_, pidfd) = receive(&listener);
    let pid: u32 = fs::read_to_string(file).unwrap().parse().unwrap();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    assert!(info.lines().any(|line| line == format!("Pid:\t{pid}")), "{info}");
    rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).unwrap();
    assert_eq!(sandbox.wait_for_orphan(pid), 137);
    container.end();
}

#[test]
fn who_sees_the_end_of_the_output_is_not_kept_waiting_by_the_runtime() {
    use std::io::Read;

    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let file = sandbox.dir().join("pid");
    let flags = ["--detach", "--pid-file", file.to_str().unwrap()];
    let mut command = container.exec_command(&flags, ["echo", "from the container"]);
    command.stdout(Stdio::piped());
    let mut run = sandbox.spawn_with_own_stdio(command);
    let mut out = String::new();
    run.child().stdout.take().unwrap().read_to_string(&mut out).unwrap();
    run.wait().ok();
    assert_eq!(out, "from the container\n");
    sandbox.wait_for_orphan(fs::read_to_string(file).unwrap().parse().unwrap());
    container.end();
}

#[test]
fn a_container_that_ends_meanwhile_ends_the_process() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let running = sandbox.spawn(container.exec_command(&[], ["sh", "-c", "echo ready; exec sleep 1000"]));
    running.until_prints("ready");
    let pid = container.pid();
    container.kill(&["KILL"]).ok();
    assert_eq!(running.wait().code(), 137);
    sandbox.wait_for_orphan(pid);
    container.delete().ok();
}

#[test]
fn many_at_a_time_all_succeed_and_leave_nothing() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let start = |number: usize| {
        let script = format!("echo {number}; exit {}", number % 7);
        (number, sandbox.spawn(container.exec_command(&[], ["sh", "-c", &script])))
    };
    let running: Vec<_> = (0..200).map(start).collect();
    for (number, one) in running {
        let output = one.wait();
        let expected = i32::try_from(number % 7).unwrap();
        assert_eq!(
            (output.code(), output.stdout.trim()),
            (expected, number.to_string().as_str()),
            "{}",
            output.stderr
        );
    }
    until("all are gone", || {
        container.exec_script(&[], "ls -d /proc/[0-9]* | wc -l").line().parse::<u32>().unwrap() <= 5
    });
    let _alive = pidfd_open(to_pid(container.pid()), PidfdFlags::empty()).unwrap();
    container.end();
}
