//! `stats`: what containers use, for people.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use cloison_tests::cgroup::has_controller;
use cloison_tests::host::{CgroupLayout, cgroup_layout, cgroup_of};
use cloison_tests::{Sandbox, Screen, append_command, json, only_for, skip_unless, until};
use rustix::process::Signal;
use serde_json::Value;

/// Ends a test on a runtime that has no `stats`.
macro_rules! only_ours {
    () => {
        only_for!(Cloison, "no other runtime has it");
    };
}

/// The title's columns.
fn columns(line: &str) -> Vec<String> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
}

#[test]
fn once_prints_a_row_for_each_container_that_has_not_stopped() {
    only_ours!();
    let sandbox = Sandbox::new();
    let running = sandbox.sleeper().start();
    let created = sandbox.sleeper().create();
    let stopped = sandbox.sleeper().start();
    let pid = stopped.pid();
    stopped.kill(&["KILL"]).ok();
    sandbox.wait_for_orphan(pid);
    let output = sandbox.cloison(["stats", "--once"]);
    let lines: Vec<&str> = output.ok().lines().collect();
    let expected = [
        "ID",
        "CPU %",
        "MEMORY",
        "LIMIT",
        "MEM %",
        "SWAP",
        "PIDS",
        "READ",
        "WRITTEN",
        "STALLED C/M/I %",
        "THROTTLED",
        "OOM KILLS",
    ];
    assert_eq!(columns(lines[0]), expected, "{}", output.describe());
    let names: BTreeSet<&str> = lines[1..].iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, BTreeSet::from([running.id(), created.id()]), "{}", output.describe());
    assert_eq!(output.stderr, "");
    assert!(!output.stdout.contains('\x1b'), "no terminal, no cursor: {}", output.describe());
    running.end();
    created.delete_force().ok();
    stopped.delete().ok();
}

#[test]
fn json_has_the_numbers_of_the_kernel() {
    only_ours!();
    let sandbox = Sandbox::new();
    let busy = sandbox.busybox("while :; do :; done").start();
    let idle = sandbox.sleeper().start();
    let percent = |row: &Value| row["cpuPercent"].as_f64().unwrap();
    let mut rows = Value::Null;
    // The other tests of the run take their share of the processors, and of a slow machine all of it for a while.
    until("the busy one is busy", || {
        let words = ["stats", "--once", "--interval", "500ms", "--format", "json", busy.id(), idle.id()];
        rows = sandbox.cloison(words).json();
        percent(&rows[0]) > 5.0
    });
    let (first, second) = (&rows[0], &rows[1]);
    assert_eq!((&first["id"], &second["id"]), (&json!(busy.id()), &json!(idle.id())), "{rows}");
    assert_eq!((&first["pid"], &first["status"]), (&json!(busy.pid()), &json!("running")), "{rows}");
    assert!(percent(first) < 110.0, "{rows}");
    assert!(percent(second) < 5.0, "{rows}");
    assert!(first["stats"]["cpu"]["usage"]["totalNs"].as_u64().unwrap() > 1_000_000, "{rows}");
    assert_eq!(second["stats"]["pids"]["current"], 1, "{rows}");
    let directory = cgroup_of(idle.pid(), "memory");
    if directory.is_some_and(|directory| directory.join("memory.stat").exists()) {
        let limit = second["stats"]["memory"]["usage"]["limit"].as_u64().unwrap();
        assert!(limit > 1 << 60, "unlimited is a number, as events has it: {rows}");
        assert!(second["workingSet"].as_u64().unwrap() > 0, "{rows}");
    }
    busy.end();
    idle.end();
}

#[test]
fn a_quota_and_the_oom_killer_are_shown() {
    only_ours!();
    skip_unless!(has_controller("memory"), "needs the memory controller");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox(
        "echo ready; until test -e /go; do sleep 0.1; done; tail /dev/zero; echo survived; while :; do :; done",
    );
    let container = bundle.start();
    container.until_prints("ready");
    let limits = match cgroup_layout() {
        CgroupLayout::V1 => [
            ("memory", "memory.limit_in_bytes", "33554432"),
            ("memory", "memory.memsw.limit_in_bytes", "33554432"),
            ("cpu", "cpu.cfs_quota_us", "10000"),
        ],
        CgroupLayout::V2 => [
            ("memory", "memory.max", "33554432"),
            ("memory", "memory.swap.max", "0"),
            ("cpu", "cpu.max", "10000 100000"),
        ],
    };
    for (controller, file, value) in limits {
        let file = cgroup_of(container.pid(), controller).unwrap().join(file);
        fs::write(&file, value).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    fs::write(bundle.rootfs().join("go"), "").unwrap();
    until("it was killed and is held back", || {
        let row = &sandbox.cloison(["stats", "--once", "--interval", "300ms", "--format", "json"]).json()[0];
        row["stats"]["memory"]["events"]["oomKill"].as_u64() >= Some(1)
            && row["throttledPercent"].as_f64().is_some_and(|percent| percent > 50.0)
    });
    let output = sandbox.cloison(["stats", "--once", "--interval", "300ms"]);
    let row = output.ok().lines().nth(1).unwrap();
    assert!(row.contains("32.0 MiB") && row.trim_end().ends_with('1'), "{}", output.describe());
    container.end();
}

#[test]
fn who_is_named_has_to_run() {
    only_ours!();
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    sandbox.cloison(["stats", "--once", container.id(), "absent"]).refused_saying(&["does not exist"]);
    sandbox.cloison(["stats", "--once", "no/name"]).refused_saying(&["invalid container id"]);
    sandbox.cloison(["stats", "--interval", "0s"]).refused_saying(&["must be greater than 0"]);
    let pid = container.pid();
    container.kill(&["KILL"]).ok();
    sandbox.wait_for_orphan(pid);
    sandbox.cloison(["stats", "--once", container.id()]).refused_saying(&["is not running"]);
    container.delete().ok();
}

#[test]
fn without_containers_there_is_a_title_alone() {
    only_ours!();
    let sandbox = Sandbox::new();
    sandbox.directory("state");
    assert_eq!(sandbox.cloison(["stats", "--once"]).ok().lines().count(), 1);
    assert_eq!(sandbox.cloison(["stats", "--once", "--format", "json"]).ok(), "[]\n");
}

#[test]
fn containers_come_and_go_while_it_looks() {
    only_ours!();
    let sandbox = Sandbox::new();
    let first = sandbox.sleeper().start();
    let stats = sandbox.spawn(sandbox.command(["stats", "--interval", "20ms"]));
    stats.until_prints(first.id());
    let second = sandbox.sleeper().start();
    stats.until_prints(second.id());
    first.end();
    until("the first has gone from the table", || {
        let shown = stats.stdout_so_far();
        let tables: Vec<&str> = shown.split("\n\n").collect();
        // The last table may be half written.
        let last = tables.iter().rev().nth(1).unwrap_or(&"");
        last.contains(second.id()) && !last.contains(first.id())
    });
    second.end();
    stats.signal(Signal::INT);
    let output = stats.wait();
    assert!(!output.ok().contains('\x1b'));
    assert_eq!(output.stderr, "", "{}", output.describe());
}

#[test]
fn it_ends_when_the_named_containers_have_ended() {
    only_ours!();
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let other = sandbox.sleeper().start();
    let stats =
        sandbox.spawn(sandbox.command(["stats", "--interval", "20ms", "--format", "json", container.id()]));
    stats.until_prints(container.id());
    container.end();
    let output = stats.wait();
    for line in output.ok().lines() {
        let rows: Value = serde_json::from_str(line).unwrap();
        assert_eq!((rows.as_array().unwrap().len(), &rows[0]["id"]), (1, &json!(container.id())), "{line}");
    }
    other.end();
}

#[test]
fn signals_end_it_as_a_shell_expects() {
    only_ours!();
    let sandbox = Sandbox::new();
    sandbox.directory("state");
    for (signal, code) in [(Signal::INT, 0), (Signal::TERM, 128 + 15), (Signal::HUP, 128 + 1)] {
        let stats = sandbox.spawn(sandbox.command(["stats", "--interval", "20ms"]));
        stats.until_prints("CPU %");
        stats.signal(signal);
        assert_eq!(stats.wait().code(), code, "{signal:?}");
    }
}

#[test]
fn what_nohup_has_it_ignore_it_ignores() {
    only_ours!();
    let sandbox = Sandbox::new();
    sandbox.directory("state");
    let inner = sandbox.command(["stats", "--interval", "20ms"]);
    let mut command = sandbox.bare_command("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    append_command(&mut command, &inner);
    let stats = sandbox.spawn(command);
    stats.until_prints("CPU %");
    stats.signal(Signal::HUP);
    let so_far = stats.stdout_so_far().len();
    until("it goes on", || stats.stdout_so_far().len() > so_far + 1000);
    stats.signal(Signal::INT);
    stats.wait().ok();
}

#[test]
fn it_ends_when_nobody_reads_any_more() {
    only_ours!();
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    // Not even after an hour would there be anything to write.
    for interval in ["20ms", "1h"] {
        let mut command = sandbox.command(["stats", "--interval", interval]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut stats = sandbox.spawn_with_own_stdio(command);
        let mut line = String::new();
        BufReader::new(stats.child().stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("ID "), "{line}");
        assert_eq!(stats.wait().code(), 128 + 13, "{interval}");
    }
    container.end();
}

/// `stats` at a terminal of this kind, with the log elsewhere.
fn at_terminal(sandbox: &Sandbox, kind: &str, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(["--log"]);
    command.arg(sandbox.dir().join("log")).arg("stats").args(arguments).env("TERM", kind);
    command
}

#[test]
fn at_a_terminal_each_table_takes_the_place_of_the_one_before() {
    only_ours!();
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let screen = Screen::sized(200, 50);
    let mode = screen.mode();
    let stats = screen.spawn(&sandbox, at_terminal(&sandbox, "xterm", &["--interval", "20ms"]));
    screen.until_shows("\x1b[2A\x1b[2KID ");
    assert_eq!(screen.mode(), mode, "the terminal is left as it is while the table is shown");
    stats.signal(Signal::INT);
    assert_eq!(screen.end(stats).code(), 0);
    let shown = screen.shown();
    assert!(shown.ends_with("\x1b[J\x1b[K"), "the last line is free for a prompt: {shown:?}");
    assert_eq!(screen.mode(), mode);
    for changed in ["\x1b[?25l", "\x1b[?1049h", "\x1b[?7l"] {
        assert!(!shown.contains(changed), "something would have to be restored: {shown:?}");
    }
    container.end();
}

#[test]
fn ctrl_c_at_the_terminal_ends_it() {
    only_ours!();
    skip_unless!(std::path::Path::new("/usr/bin/setsid").exists(), "needs setsid of util-linux");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let screen = Screen::sized(100, 24);
    let inner = at_terminal(&sandbox, "xterm", &["--interval", "20ms"]);
    let mut command = sandbox.bare_command("setsid");
    command.args(["--ctty", "--wait"]);
    append_command(&mut command, &inner);
    let stats = screen.spawn(&sandbox, command);
    screen.until_shows(&container.id()[..11]);
    screen.types("\x03");
    assert_eq!(screen.end(stats).code(), 0);
    assert!(screen.shown().ends_with("\x1b[K"), "{:?}", screen.shown());
    container.end();
}

#[test]
fn ctrl_c_is_heard_while_the_terminal_stands_still() {
    only_ours!();
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let screen = Screen::sized(100, 24);
    let stats = screen.spawn(&sandbox, at_terminal(&sandbox, "xterm", &["--interval", "20ms"]));
    screen.until_shows(&container.id()[..11]);
    rustix::termios::tcflow(&screen.terminal, rustix::termios::Action::OOff).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    stats.signal(Signal::INT);
    let code = stats.wait().code();
    rustix::termios::tcflow(&screen.terminal, rustix::termios::Action::OOn).unwrap();
    assert_eq!(code, 0);
    container.end();
}

#[test]
fn a_narrow_and_low_terminal_gets_what_fits() {
    only_ours!();
    let sandbox = Sandbox::new();
    let containers: Vec<_> = (0..4).map(|_| sandbox.sleeper().start()).collect();
    let screen = Screen::sized(30, 4);
    let stats = screen.spawn(&sandbox, at_terminal(&sandbox, "xterm", &["--interval", "20ms"]));
    screen.until_shows("\u{2026} and 3 more\n");
    let text = screen.shown();
    for line in text.replace("\x1b[3A", "\n").lines() {
        let line = line.replace("\x1b[2K", "").replace("\x1b[J", "");
        assert!(line.chars().count() <= 30, "{line:?} is too long");
    }
    // Wider and higher: all are there, and the screen is begun anew.
    screen.resize(200, 50);
    stats.signal(Signal::WINCH);
    screen.until_shows("\x1b[H\x1b[2J\x1b[2KID ");
    screen.until_shows("STALLED");
    screen.until_shows(containers[3].id());
    stats.signal(Signal::INT);
    screen.end(stats);
    for container in &containers {
        container.end();
    }
}

#[test]
fn a_dumb_terminal_gets_one_table_after_the_other() {
    only_ours!();
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let screen = Screen::sized(80, 24);
    let stats = screen.spawn(&sandbox, at_terminal(&sandbox, "dumb", &["--interval", "20ms"]));
    screen.until_shows("\n\nID ");
    stats.signal(Signal::INT);
    screen.end(stats);
    assert!(!screen.shown().contains('\x1b'), "{:?}", screen.shown());
    container.end();
}

#[test]
fn a_terminal_that_is_hung_up_ends_it() {
    only_ours!();
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let screen = Screen::sized(80, 24);
    let stats = screen.spawn(&sandbox, at_terminal(&sandbox, "xterm", &["--interval", "1h"]));
    screen.until_shows(&container.id()[..11]);
    drop(screen);
    assert_eq!(stats.wait().code(), 128 + 1);
    container.end();
}

#[test]
fn the_work_for_a_table_grows_with_its_rows_and_not_faster() {
    only_ours!();
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    let mut containers: Vec<_> = (0..8).map(|_| bundle.start()).collect();
    let few = ticks_of(&sandbox, containers.len());
    containers.extend((8..32).map(|_| bundle.start()));
    let many = ticks_of(&sandbox, containers.len());
    // Four times the rows; what grew with their square would take sixteen times as long. Beginning and end are part of both.
    assert!(many < few.max(1) * 10, "{few} ticks for 8 rows, {many} for 32");
    let list = sandbox.cloison(["list", "--quiet"]);
    assert_eq!(list.ok().lines().count(), 32);
    for container in &containers {
        let pids = sandbox.cloison(["ps", "--format", "json", container.id()]).json();
        assert_eq!(pids, json!([container.pid()]), "nobody else's");
        container.end();
    }
}

/// How much processor time ten tables with so many rows take, in ticks.
fn ticks_of(sandbox: &Sandbox, rows: usize) -> u64 {
    let ticks = || -> u64 {
        // Fields 16 and 17, time of children that were waited for; the name in field 2 may hold blanks.
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        fields[13..15].iter().map(|field| field.parse::<u64>().unwrap()).sum()
    };
    let before = ticks();
    for _ in 0..10 {
        let output = sandbox.cloison(["stats", "--once", "--interval", "1ms"]);
        assert_eq!(output.ok().lines().count(), rows + 1, "{}", output.describe());
    }
    ticks() - before
}
