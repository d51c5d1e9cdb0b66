//! `run --detach --monitor`: a process that stays with the container.

use std::fs;

use cloison_tests::sandbox::to_pid;
use cloison_tests::{Bundle, Container, Sandbox, json, only_for, skip_unless, until};
use rustix::process::{Signal, kill_process};

/// Runs a container with a monitor.
fn run<'s>(sandbox: &'s Sandbox, bundle: &Bundle<'s>, flags: &[&str]) -> Container<'s> {
    bundle.write();
    let id = sandbox.new_id();
    let flags = [&["--detach", "--monitor"], flags].concat();
    sandbox.finish(bundle.run_command_as(&id, &flags)).ok();
    sandbox.container(&id)
}

/// The monitor's process id, from the state that only the runtime itself reads.
fn monitor_of(sandbox: &Sandbox, container: &Container<'_>) -> u32 {
    let text = fs::read(sandbox.root().join(container.id()).join("state.json")).unwrap();
    let state: cloison_tests::Value = serde_json::from_slice(&text).unwrap();
    u32::try_from(state["monitor"]["process"]["pid"].as_u64().unwrap()).unwrap()
}

fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn the_exit_code_is_kept_and_nothing_is_left_after_delete() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let container = run(&sandbox, &sandbox.busybox("exit 7"), &[]);
    let waited = sandbox.cloison(["wait", container.id()]);
    assert_eq!((waited.code(), &*waited.stdout), (7, "7\n"));
    container.until("stopped");
    let monitor = monitor_of(&sandbox, &container);
    until("the monitor ends with the container", || !is_running(monitor));
    assert_eq!(sandbox.cloison(["wait", container.id()]).code(), 7, "it is written down");
    let exit = fs::read(sandbox.root().join(container.id()).join("exit.json")).unwrap();
    let exit: cloison_tests::Value = serde_json::from_slice(&exit).unwrap();
    assert_eq!((&exit["code"], &exit["timedOut"]), (&json!(7), &json!(false)));
    let time = exit["time"].as_str().unwrap();
    assert!(*time > *container.state()["created"].as_str().unwrap(), "{time}");
    container.delete().ok();
    sandbox.assert_nothing_left();
}

#[test]
fn who_waits_is_told_of_a_signal_too() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let container = run(&sandbox, &sandbox.sleeper(), &[]);
    let waiting: Vec<_> = (0..3).map(|_| sandbox.spawn(sandbox.command(["wait", container.id()]))).collect();
    container.kill(&["KILL"]).ok();
    for waiting in waiting {
        let waited = waiting.wait();
        assert_eq!((waited.code(), &*waited.stdout), (137, "137\n"), "{}", waited.describe());
    }
    container.delete().ok();
}

#[test]
fn the_command_returns_and_lets_go_of_the_callers_streams() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    bundle.write();
    let id = sandbox.new_id();
    let mut command = bundle.run_command_as(&id, &["--detach", "--monitor", "--preserve-fds", "0"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let output = command.output().unwrap();
    // `output` has waited for the end of both pipes: nobody else has them any more.
    assert!(output.status.success(), "{output:?}");
    let container = sandbox.container(&id);
    let monitor = monitor_of(&sandbox, &container);
    let open: Vec<_> = fs::read_dir(format!("/proc/{monitor}/fd"))
        .unwrap()
        .map(|fd| fs::read_link(fd.unwrap().path()).unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(open.iter().filter(|target| *target == "/dev/null").count() >= 3, "{open:?}");
    assert_eq!(fs::read_link(format!("/proc/{monitor}/cwd")).unwrap().to_str(), Some("/"));
    container.delete_force().ok();
}

#[test]
fn a_program_that_is_not_there_is_told_by_the_command_and_leaves_nothing() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let log = sandbox.dir().join("container.log");
    let bundle = sandbox.busybox("").args(["/no/such"]);
    let flags = ["--detach", "--monitor", "--log-path", log.to_str().unwrap()];
    bundle.run_with(&flags).refused_saying(&["/no/such", "no such file or directory"]);
    sandbox.assert_nothing_left();
    assert!(!log.exists(), "an empty log");
}

#[test]
fn a_killed_monitor_leaves_a_container_that_is_stopped_and_deleted_as_any() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    for terminal in [false, true] {
        let container = run(&sandbox, &sandbox.sleeper().set("/process/terminal", terminal), &[]);
        kill_process(to_pid(monitor_of(&sandbox, &container)), Signal::KILL).unwrap();
        until("the monitor ends", || !is_running(monitor_of(&sandbox, &container)));
        assert_eq!(container.status(), "running");
        sandbox.cloison(["attach", container.id()]).refused_saying(&["the monitor", "has gone"]);
        sandbox.cloison(["resize", container.id(), "80x24"]).refused_saying(&["has gone"]);
        container.end();
        sandbox.assert_nothing_left();
    }
}

#[test]
fn delete_force_of_a_running_container_ends_the_monitor_too() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let container = run(&sandbox, &sandbox.sleeper(), &[]);
    let monitor = monitor_of(&sandbox, &container);
    container.delete_force().ok();
    assert!(!is_running(monitor));
    sandbox.assert_nothing_left();
}

#[test]
fn a_stopped_monitor_is_killed_by_delete() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let container = run(&sandbox, &sandbox.sleeper(), &[]);
    let monitor = monitor_of(&sandbox, &container);
    kill_process(to_pid(monitor), Signal::STOP).unwrap();
    container.delete_force().ok();
    assert!(!is_running(monitor));
}

#[test]
fn orphans_are_reaped_while_the_container_runs() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("(sleep 0.2 &); exec sleep 1000").without_namespace("pid");
    let container = run(&sandbox, &bundle, &[]);
    let monitor = monitor_of(&sandbox, &container);
    until("there is one process", || {
        cloison_tests::leaks::children_of(container.pid()).is_empty()
            && cloison_tests::leaks::children_of(monitor).len() == 1
    });
    container.delete_force().ok();
}

#[test]
fn the_monitor_is_not_in_the_containers_procfs_and_not_open_to_the_hosts() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let script = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo; grep ^PPid /proc/1/status; exec sleep 1000";
    let container = run(&sandbox, &sandbox.busybox(script), &[]);
    let logs = || sandbox.cloison(["logs", container.id()]).stdout;
    until("it has looked", || logs().contains("PPid"));
    assert!(!logs().contains("--monitor"), "{}", logs());
    assert!(logs().contains("PPid:\t0\n"), "{}", logs());
    let monitor = monitor_of(&sandbox, &container);
    container.delete_force().ok();
    // With the host's processes in view, its files are closed to a root without CAP_SYS_PTRACE.
    let bundle = sandbox
        .busybox("read pid; for f in exe root fd/0 mem environ; do cat /proc/$pid/$f >/dev/null && echo open $f; done 2>/dev/null; echo done")
        .without_namespace("pid");
    let container = run(&sandbox, &bundle, &[]);
    let _ = monitor;
    let monitor = monitor_of(&sandbox, &container);
    let mut attach = sandbox.command(["attach", container.id()]);
    attach.stdin(fs::File::open(sandbox.file("pid", format!("{monitor}\n"))).unwrap());
    assert_eq!(sandbox.finish(attach).ok(), "done\n");
    container.delete().ok();
}

/// What a process has in memory, in KiB: of its own, and of files that others may have as well (`proc_pid_status(5)`).
fn resident(pid: u32) -> (u32, u32) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kilobytes = |name: &str| -> u32 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    (kilobytes("RssAnon:") + kilobytes("RssShmem:"), kilobytes("RssFile:"))
}

#[test]
fn the_monitor_is_small() {
    only_for!(Cloison, "no other runtime has a monitor");
    let built_for_speed = std::env::var_os("CLOISON_TEST_RELEASE").is_some() || !cfg!(debug_assertions);
    skip_unless!(
        built_for_speed,
        "the size of a debug build says nothing; `cargo xtask size` measures a release"
    );
    let sandbox = Sandbox::new();
    let container =
        run(&sandbox, &sandbox.busybox("while read x; do head -c 1000000 /dev/zero; echo $x; done"), &[]);
    let monitor = monitor_of(&sandbox, &container);
    let mut attach = sandbox.command(["attach", container.id()]);
    attach.stdin(std::process::Stdio::piped());
    let mut attached = sandbox.spawn(attach);
    let input = attached.child().stdin.as_mut().unwrap();
    for word in ["one", "two", "three"] {
        std::io::Write::write_all(input, format!("{word}\n").as_bytes()).unwrap();
    }
    attached.until_prints("three\n");
    let (own, files) = resident(monitor);
    println!("at work: {own} KiB of its own, {files} KiB of its executable");
    assert!(own + files < 2048, "{own} + {files} KiB");
    let at_rest = || {
        let (own, files) = resident(monitor);
        (own + files < 1024).then(|| format!("at rest: {own} KiB of its own, {files} KiB of its executable"))
    };
    until("it is smaller when there is nothing to do", || at_rest().is_some());
    println!("{}", at_rest().unwrap_or_default());
    attached.signal(Signal::HUP);
    attached.wait();
    container.delete_force().ok();
}

#[test]
fn a_console_socket_and_a_monitor_are_two_keepers_of_one_terminal() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let socket = sandbox.dir().join("console");
    let _listener = cloison_tests::receiver::listen(&socket);
    let bundle = sandbox.sleeper().set("/process/terminal", true);
    bundle
        .run_with(&["--detach", "--monitor", "--console-socket", socket.to_str().unwrap()])
        .refused_saying(&["cannot use console socket"]);
    bundle.run_with(&["--monitor"]).refused_saying(&["--detach"]);
}

#[test]
fn the_pid_file_names_the_containers_process() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let file = sandbox.dir().join("pid");
    let container = run(&sandbox, &sandbox.sleeper(), &["--pid-file", file.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&file).unwrap(), container.pid().to_string());
    container.delete_force().ok();
}

#[test]
fn streams_belong_to_the_user_so_that_they_are_opened_again() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox("echo a >/dev/stdout; echo b >/dev/stderr; id -u")
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let container = run(&sandbox, &bundle, &[]);
    sandbox.cloison(["wait", container.id()]).ok();
    let logs = sandbox.cloison(["logs", container.id()]);
    assert_eq!((&*logs.stdout, &*logs.stderr), ("a\n1000\n", "b\n"));
    container.delete().ok();
}

#[test]
fn wait_for_a_container_without_a_monitor_tells_what_can_be_known() {
    only_for!(Cloison, "runc has no wait");
    let sandbox = Sandbox::new();
    let container = sandbox.busybox("read x; exit 3").create();
    let waiting = sandbox.spawn(sandbox.command(["wait", container.id()]));
    let pid = container.pid();
    container.start().ok();
    let waited = waiting.wait();
    // Linux 6.15 and later tell it once the parent has waited; that is us, and we have not. Older ones never do.
    assert_eq!(waited.code(), 255, "{}", waited.describe());
    assert!(waited.stderr.contains("is not known"), "{}", waited.describe());
    assert_eq!(sandbox.wait_for_orphan(pid), 3);
    assert_eq!(sandbox.cloison(["wait", container.id()]).code(), 255);
    container.delete().ok();
    let absent = sandbox.cloison(["wait", "absent"]);
    assert!(absent.code() == 255 && absent.stderr.contains("does not exist"), "{}", absent.describe());
}
