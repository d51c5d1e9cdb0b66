//! `update`: other limits for a container that is there.

use std::fs;
use std::process::Stdio;

use cloison_tests::cgroup::has_controller;
use cloison_tests::host::{CgroupLayout, cgroup_layout};
use cloison_tests::{Bundle, Container, Output, Sandbox, json, only_for, only_root, skip_unless};
use serde_json::Value;

const MIB: u64 = 1 << 20;

const MEMORY_LIMIT: (&str, &str) = ("memory.limit_in_bytes", "memory.max");
const MEMORY_SOFT: (&str, &str) = ("memory.soft_limit_in_bytes", "memory.low");
const MEMORY_SWAP: (&str, &str) = ("memory.memsw.limit_in_bytes", "memory.swap.max");
const PIDS_MAX: (&str, &str) = ("pids.max", "pids.max");
const SHARES: (&str, &str) = ("cpu.shares", "cpu.weight");

fn is_v1() -> bool {
    cgroup_layout() == CgroupLayout::V1
}

fn update(sandbox: &Sandbox, container: &Container<'_>, flags: &[&str]) -> Output {
    sandbox.cloison(["update", container.id()].iter().chain(flags))
}

/// `update --resources -` with this text on standard input.
fn update_from_stdin(sandbox: &Sandbox, container: &Container<'_>, text: &str) -> Output {
    let file = sandbox.dir().join("resources.json");
    fs::write(&file, text).unwrap();
    let mut command = sandbox.command(["update", "--resources", "-", container.id()]);
    command.stdin(Stdio::from(fs::File::open(file).unwrap()));
    sandbox.finish(command)
}

/// What the cgroup has for the quota and the period.
fn quota(container: &Container<'_>) -> String {
    if !is_v1() {
        return container.cgroup_file("cpu", ("", "cpu.max"));
    }
    let quota = container.cgroup_file("cpu", ("cpu.cfs_quota_us", ""));
    let quota = if quota == "-1" { "max".to_owned() } else { quota };
    format!("{quota} {}", container.cgroup_file("cpu", ("cpu.cfs_period_us", "")))
}

/// A running container with some limits; of memory where there are any.
fn limited(sandbox: &Sandbox) -> Bundle<'_> {
    let mut bundle = sandbox.sleeper();
    if has_controller("memory") {
        bundle = bundle.set("/linux/resources/memory", json!({"limit": 32 * MIB, "reservation": 24 * MIB}));
    }
    let bundle = bundle.set("/linux/resources/pids/limit", 20);
    bundle.set("/linux/resources/cpu", json!({"shares": 100, "quota": 500_000, "period": 1_000_000}))
}

macro_rules! needs_controllers {
    ($($name:literal),+) => {
        $( skip_unless!(has_controller($name), "needs the {} controller", $name); )+
    };
}

#[test]
fn options_change_what_they_name_and_nothing_else() {
    needs_controllers!("memory", "pids", "cpu");
    let sandbox = Sandbox::new();
    let container = limited(&sandbox).start();
    let memory = |file| container.cgroup_file("memory", file);
    update(&sandbox, &container, &["--memory", "67108864"]).ok();
    assert_eq!(memory(MEMORY_LIMIT), (64 * MIB).to_string());
    update(&sandbox, &container, &["--memory", "50M"]).ok();
    assert_eq!(memory(MEMORY_LIMIT), (50 * MIB).to_string());
    assert_eq!(memory(MEMORY_SOFT), (24 * MIB).to_string());
    update(&sandbox, &container, &["--memory-reservation", "33554432"]).ok();
    assert_eq!(memory(MEMORY_SOFT), (32 * MIB).to_string());
    assert_eq!(memory(MEMORY_LIMIT), (50 * MIB).to_string());
    update(&sandbox, &container, &["--pids-limit", "10"]).ok();
    assert_eq!(container.cgroup_file("pids", PIDS_MAX), "10");
    update(&sandbox, &container, &["--pids-limit", "-1"]).ok();
    assert_eq!(container.cgroup_file("pids", PIDS_MAX), "max");
    update(&sandbox, &container, &["--memory="]).ok();
    assert_eq!(memory(MEMORY_LIMIT), (50 * MIB).to_string());
    container.end();
}

#[test]
fn the_cpu_quota_and_its_period_are_changed_together_and_alone() {
    needs_controllers!("cpu");
    let sandbox = Sandbox::new();
    let container = limited(&sandbox).start();
    let steps: [(&[&str], &str); 6] = [
        (&["--cpu-period", "900000"], "500000 900000"),
        (&["--cpu-quota", "600000"], "600000 900000"),
        (&["--cpu-quota", "-1"], "max 900000"),
        (&["--cpu-period", "1000000", "--cpu-quota", "500000"], "500000 1000000"),
        (&["--cpu-quota", "-1", "--cpu-period", "100000"], "max 100000"),
        (&["--cpu-quota", "50000", "--cpu-share", "200"], "50000 100000"),
    ];
    // systemd keeps a quota by the whole percent of a processor, rounded up.
    let by_systemd = [("500000 900000", "504000 900000"), ("600000 900000", "603000 900000")];
    assert_eq!(quota(&container), "500000 1000000");
    for (flags, expected) in steps {
        update(&sandbox, &container, flags).ok();
        let rounded = by_systemd.iter().find(|(exact, _)| sandbox.uses_systemd() && *exact == expected);
        let expected = rounded.map_or(expected, |(_, rounded)| rounded);
        assert_eq!(quota(&container), expected, "{flags:?}");
    }
    if is_v1() {
        assert_eq!(container.cgroup_file("cpu", SHARES), "200");
    }
    container.end();
}

#[test]
fn memory_and_swap_are_raised_and_lowered_in_whatever_order_it_takes() {
    needs_controllers!("memory");
    let sandbox = Sandbox::new();
    let container = limited(&sandbox).start();
    skip_unless_ends!(
        container,
        container.has_cgroup_file("memory", MEMORY_SWAP),
        "needs a kernel that counts swap"
    );
    let swap = |memory: u64, both: u64| if is_v1() { both * MIB } else { (both - memory) * MIB };
    for (memory, both) in [(30, 50), (60, 80), (20, 25), (100, 100), (24, 100), (90, 95)] {
        let (limit, sum) = (format!("{memory}M"), format!("{both}M"));
        update(&sandbox, &container, &["--memory", &limit, "--memory-swap", &sum]).ok();
        assert_eq!(container.cgroup_file("memory", MEMORY_LIMIT), (memory * MIB).to_string());
        assert_eq!(container.cgroup_file("memory", MEMORY_SWAP), swap(memory, both).to_string());
    }
    // Without a limit of memory there is none of the sum.
    let unlimited = |file| {
        let top = container.cgroup_file("memory", file);
        if is_v1() { top.parse::<u64>().unwrap() > 1 << 60 } else { top == "max" }
    };
    update(&sandbox, &container, &["--memory", "-1"]).ok();
    assert!(unlimited(MEMORY_LIMIT) && unlimited(MEMORY_SWAP));
    update(&sandbox, &container, &["--memory", "64M"]).ok();
    update(&sandbox, &container, &["--memory-swap", "-1"]).ok();
    assert!(!unlimited(MEMORY_LIMIT) && unlimited(MEMORY_SWAP));
    container.end();
}

#[test]
fn processors_are_changed() {
    needs_controllers!("cpuset");
    skip_unless!(std::thread::available_parallelism().unwrap().get() > 1, "needs two processors");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let allowed = || {
        let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
    };
    for list in ["1", "0", "0-1"] {
        update(&sandbox, &container, &["--cpuset-cpus", list, "--cpuset-mems", "0"]).ok();
        assert_eq!(allowed(), list);
    }
    container.end();
}

#[test]
fn resources_come_from_a_file_or_from_standard_input_whatever_the_letter_case_of_their_keys() {
    needs_controllers!("pids", "cpu");
    let sandbox = Sandbox::new();
    let container = limited(&sandbox).start();
    update_from_stdin(&sandbox, &container, r#"{"pids": {"limit": 30}, "CPU": {"Quota": 200000}}"#).ok();
    assert_eq!(container.cgroup_file("pids", PIDS_MAX), "30");
    assert_eq!(quota(&container), "200000 1000000");
    let file = sandbox.dir().join("file.json");
    fs::write(&file, r#"{"Pids": {"LIMIT": 40}, "memory": {}, "blockIO": {"weight": 0}, "unknown": 1}"#)
        .unwrap();
    // The options do not count beside it.
    update(&sandbox, &container, &["--resources", file.to_str().unwrap(), "--cpu-quota", "1"]).ok();
    assert_eq!(container.cgroup_file("pids", PIDS_MAX), "40");
    assert_eq!(quota(&container), "200000 1000000");
    update_from_stdin(&sandbox, &container, "{").refused();
    update(&sandbox, &container, &["--resources", "/nonexistent"]).refused_saying(&["no such file"]);
    container.end();
}

#[test]
fn what_was_updated_is_where_the_next_update_starts_from() {
    needs_controllers!("memory");
    let sandbox = Sandbox::new();
    let container = limited(&sandbox).start();
    skip_unless_ends!(
        container,
        container.has_cgroup_file("memory", MEMORY_SWAP),
        "needs a kernel that counts swap"
    );
    update(&sandbox, &container, &["--memory", "40M", "--memory-swap", "100M"]).ok();
    // The sum stays, so on v2 what is left for swap becomes less.
    update(&sandbox, &container, &["--memory", "60M"]).ok();
    let expected = if is_v1() { 100 * MIB } else { 40 * MIB };
    assert_eq!(container.cgroup_file("memory", MEMORY_SWAP), expected.to_string());
    container.end();
}

#[test]
fn a_created_and_a_paused_container_are_updated_and_a_stopped_one_is_not() {
    needs_controllers!("pids");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().create();
    update(&sandbox, &container, &["--pids-limit", "31"]).ok();
    assert_eq!(container.cgroup_file("pids", PIDS_MAX), "31");
    container.start().ok();
    sandbox.cloison(["pause", container.id()]).ok();
    update(&sandbox, &container, &["--pids-limit", "32"]).ok();
    assert_eq!(container.cgroup_file("pids", PIDS_MAX), "32");
    assert_eq!(container.status(), "paused");
    sandbox.cloison(["resume", container.id()]).ok();
    container.kill(&["KILL"]).ok();
    container.until("stopped");
    update(&sandbox, &container, &["--pids-limit", "33"]).refused_saying(&["container not running"]);
    container.delete().ok();
    update(&sandbox, &container, &["--pids-limit", "33"]).refused_saying(&["container does not exist"]);
}

#[test]
fn an_update_that_fails_changes_nothing_and_says_so() {
    needs_controllers!("pids", "memory", "cpu");
    only_for!(Cloison, "runc does not say what has become of the other limits");
    let sandbox = Sandbox::new();
    skip_unless!(!sandbox.uses_systemd(), "with systemd the quota that is too small is rounded up");
    let container = limited(&sandbox).start();
    let look = || {
        let memory = [MEMORY_LIMIT, MEMORY_SOFT].map(|file| container.cgroup_file("memory", file));
        (
            memory,
            container.cgroup_file("pids", PIDS_MAX),
            quota(&container),
            container.cgroup_file("cpu", SHARES),
        )
    };
    let before = look();
    let all = "--memory 80M --memory-reservation 70M --pids-limit 7 --cpu-share 700 --cpu-quota 5 --cpu-period 100000";
    let output = update(&sandbox, &container, &all.split(' ').collect::<Vec<_>>());
    output.refused_saying(&["no limit was changed", "/linux/resources/cpu/quota", "invalid argument"]);
    assert_eq!(look(), before);
    // Nor is it remembered.
    update(&sandbox, &container, &["--cpu-share", "300"]).ok();
    assert_eq!(container.cgroup_file("pids", PIDS_MAX), "20");
    container.end();
}

#[test]
fn more_than_the_limit_is_not_taken_away_from_who_uses_it() {
    needs_controllers!("memory");
    let sandbox = Sandbox::new();
    // 8 MB that cannot be reclaimed, because nothing is swapped.
    let script = "v=$(head -c 8000000 /dev/zero | tr '\\0' x); echo ready; while :; do sleep 1; done";
    let mut memory = json!({"limit": 200 * MIB, "swap": 200 * MIB});
    if is_v1() {
        memory["swappiness"] = json!(0);
    }
    let container = sandbox.busybox(script).set("/linux/resources/memory", memory).start();
    container.until_prints("ready");
    if is_v1() {
        let output = update(&sandbox, &container, &["--memory", "2M"]);
        output.refused_saying(&["unable to set memory limit to 2097152 (current usage: ", "peak usage: "]);
    } else {
        let text = r#"{"memory": {"limit": 2097152, "checkBeforeUpdate": true}}"#;
        let output = update_from_stdin(&sandbox, &container, text);
        output.refused_saying(&["rejecting memory limit 2097152"]);
    }
    assert_eq!(container.cgroup_file("memory", MEMORY_LIMIT), (200 * MIB).to_string());
    assert_eq!(container.status(), "running");
    container.end();
}

#[test]
fn unified_files_are_updated_on_v2() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let output =
        update_from_stdin(&sandbox, &container, r#"{"unified": {"pids.max": "44", "memory.high": "max"}}"#);
    if is_v1() {
        output.refused_saying(&["cannot use unified on cgroup v1"]);
    } else {
        output.ok();
        assert_eq!(container.cgroup_file("pids", PIDS_MAX), "44");
    }
    container.end();
}

#[test]
fn options_that_make_no_sense_are_usage_errors() {
    only_for!(Cloison, "runc says it differently");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    for flags in
        [["--memory", "much"], ["--cpu-period", "-1"], ["--pids-limit", "x"], ["--blkio-weight", "70000"]]
    {
        update(&sandbox, &container, &flags).refused_saying(&["incorrect usage", flags[0]]);
    }
    container.end();
}

/// A container that tries to open the device 1:11 again and again, and prints when the answer changes.
fn watcher(sandbox: &Sandbox) -> Container<'_> {
    let node = json!({"path": "/dev/t-kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666, "uid": 0, "gid": 0});
    let script = "while :; do if ( : < /dev/t-kmsg ) 2> /dev/null; then now=yes; else now=no; fi; \
                  ( : < /dev/zero ) || echo zero; [ $now = \"$then\" ] || echo $now; then=$now; sleep 0.01; done";
    let bundle = sandbox.busybox(script).push("/linux/devices", node);
    let container = bundle.capabilities(&["CAP_SYSLOG", "CAP_DAC_OVERRIDE"]).start();
    container.until_prints("no\n");
    container
}

fn kmsg(allow: bool) -> Value {
    json!({"allow": allow, "type": "c", "major": 1, "minor": 11, "access": "rw"})
}

#[test]
fn a_denied_device_is_allowed_and_denied_again_while_the_container_runs() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    only_for!(Cloison, "no other runtime can");
    let sandbox = Sandbox::new();
    let container = watcher(&sandbox);
    let rules =
        |rules: Value| update_from_stdin(&sandbox, &container, &json!({"devices": rules}).to_string());
    let denied = json!({"allow": false, "access": "rwm"});
    rules(json!([denied, kmsg(true)])).ok();
    container.until_prints("no\nyes\n");
    // What is about something else leaves them alone.
    update_from_stdin(&sandbox, &container, r#"{"cpu": {"shares": 77}}"#).ok();
    update_from_stdin(&sandbox, &container, r#"{"devices": []}"#).ok();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(container.stdout(), "no\nyes\n");
    rules(json!([denied])).ok();
    container.until_prints("no\nyes\nno\n");
    assert_eq!(container.stdout(), "no\nyes\nno\n", "the default devices stay usable all the time");
    container.end();
}

#[test]
fn device_rules_of_an_update_that_fails_are_taken_back() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    only_for!(Cloison, "no other runtime can");
    needs_controllers!("cpu");
    let sandbox = Sandbox::new();
    skip_unless!(!sandbox.uses_systemd(), "with systemd the quota that is too small is rounded up");
    let container = watcher(&sandbox);
    let text = json!({"devices": [kmsg(true)], "cpu": {"quota": 5, "period": 100_000}}).to_string();
    update_from_stdin(&sandbox, &container, &text).refused_saying(&["no limit was changed"]);
    // It may have seen the new rules for a moment, and on a busy machine tells of it late.
    std::thread::sleep(std::time::Duration::from_millis(500));
    cloison_tests::until("it is denied again", || container.stdout().ends_with("no\n"));
    container.end();
}

#[test]
fn device_rules_that_the_container_has_already_are_not_set_again() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    only_for!(Cloison, "no other runtime can");
    skip_unless!(is_v1(), "needs cgroup v1, where anybody can add a rule");
    let sandbox = Sandbox::new();
    let container = watcher(&sandbox);
    // As engines' plugins do.
    fs::write(container.cgroup_path("devices", ("devices.allow", "")), "c 1:11 rw").unwrap();
    container.until_prints("no\nyes\n");
    update_from_stdin(&sandbox, &container, r#"{"devices": [{"allow": false, "access": "rwm"}]}"#).ok();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(container.stdout(), "no\nyes\n");
    container.end();
}

/// Skips after ending the container.
macro_rules! skip_unless_ends {
    ($container:ident, $condition:expr, $($reason:tt)+) => {
        if !$condition {
            $container.end();
            return cloison_tests::skip::report(&format!($($reason)+));
        }
    };
}
use skip_unless_ends;
