//! `events`: what a container uses, and when it runs out of memory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use cloison_tests::cgroup::has_controller;
use cloison_tests::host::{CgroupLayout, cgroup_layout, cgroup_of};
use cloison_tests::{Container, Sandbox, json, only_for, runtime, skip_unless, until};
use rustix::process::Signal;
use serde_json::Value;

/// Five milliseconds apart is often; an hour is never.
const OFTEN: &str = "5ms";
const NEVER: &str = "1h";

#[test]
fn stats_is_one_line_that_begins_as_programs_expect() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let output = sandbox.cloison(["events", "--stats", container.id()]);
    let beginning = format!(r#"{{"type":"stats","id":"{}","data":{{"cpu":{{"#, container.id());
    assert!(output.ok().starts_with(&beginning), "{}", output.describe());
    assert_eq!((output.ok().lines().count(), output.stderr.as_str()), (1, ""), "{}", output.describe());
    container.end();
}

#[test]
fn stats_counts_what_the_container_did() {
    let sandbox = Sandbox::new();
    let script = "sleep 1000 & dd if=/dev/zero of=/dev/shm/file bs=1M count=8 2>/dev/null; i=0; \
                  while test $i -lt 20000; do i=$((i+1)); done; echo done; wait";
    let container = sandbox.busybox(script).start();
    container.until_prints("done");
    let data = &sandbox.cloison(["events", "--stats", container.id()]).json()["data"];
    let number = |pointer: &str| data.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    assert!(number("/cpu/usage/total") > 1_000_000, "nanoseconds: {data}");
    if counts_memory() {
        assert!(number("/memory/usage/usage") >= 8 << 20, "bytes: {data}");
        assert!(number("/memory/usage/limit") > 1 << 60, "no limit: {data}");
        // Each processor counts up to 32 pages for itself (`MEMCG_CHARGE_BATCH`) before it tells them.
        assert!(number("/memory/cache") >= 7 << 20, "bytes: {data}");
    }
    assert_eq!(number("/pids/current"), 2, "the shell and its sleep: {data}");
    container.end();
}

#[test]
fn stats_agree_with_those_of_runc_key_by_key() {
    only_for!(Cloison, "runc agrees with itself");
    let runc = runtime::reference_runc();
    skip_unless!(runc.is_some(), "needs runc to compare with");
    let sandbox = Sandbox::new();
    skip_unless!(!sandbox.uses_systemd(), "runc is given its cgroup by path");
    let state = sandbox.directory("runc");
    let run_runc = |arguments: &[&str]| {
        let mut command = sandbox.bare_command(runc.as_ref().unwrap());
        command.arg("--root").arg(&state).args(arguments);
        sandbox.finish(command)
    };
    // The container is runc's, and has done something of everything.
    let script = "sleep 1000 & dd if=/dev/zero of=/dev/shm/file bs=1M count=8 2>/dev/null; i=0; \
                  while test $i -lt 20000; do i=$((i+1)); done; echo done; wait";
    let id = sandbox.new_id();
    let theirs = sandbox.busybox(script).set("/linux/resources/pids", json!({"limit": 50}));
    theirs.write();
    let started = run_runc(&["run", "--detach", "--bundle", theirs.dir().to_str().unwrap(), &id]);
    started.ok();
    until("it has done all", || fs::read_to_string(&started.stdout_file).unwrap().contains("done"));
    // A container of ours lends its state: in it stand the first process and the cgroup, which are made those of runc's.
    let ours = sandbox.sleeper().start();
    let path = sandbox.root().join(ours.id()).join("state.json");
    let original = fs::read_to_string(&path).unwrap();
    let their_state: Value =
        serde_json::from_slice(&fs::read(state.join(&id).join("state.json")).unwrap()).unwrap();
    let mut borrowed: Value = serde_json::from_str(&original).unwrap();
    borrowed["init"]["pid"] = their_state["init_process_pid"].clone();
    borrowed["init"]["startTime"] = their_state["init_process_start"].clone();
    let cgroup = borrowed["cgroup"].to_string().replace(&format!("{}\"", ours.id()), &format!("{id}\""));
    borrowed["cgroup"] = serde_json::from_str(&cgroup).unwrap();
    fs::write(&path, borrowed.to_string()).unwrap();

    let before = leaves(&run_runc(&["events", "--stats", &id]).json()["data"]);
    let between = leaves(&sandbox.cloison(["events", "--stats", ours.id()]).json()["data"]);
    let after = leaves(&run_runc(&["events", "--stats", &id]).json()["data"]);
    fs::write(&path, original).unwrap();
    ours.end();
    run_runc(&["delete", "--force", &id]).ok();

    assert!(before.len() > if has_controller("memory") { 30 } else { 20 }, "runc tells a lot: {before:?}");
    let mut differences = Vec::new();
    for key in before.keys().chain(between.keys()).chain(after.keys()) {
        let get = |leaves: &BTreeMap<String, f64>| leaves.get(key).copied();
        match (get(&before), get(&between), get(&after)) {
            (Some(before), Some(between), Some(after)) => {
                // The kernel brings its counters up to date when it likes to; a page here and there moves.
                let slack = 0.02 * before.abs().max(after.abs())
                    + if key.starts_with("memory") { 262_144.0 } else { 0.0 };
                if between < before.min(after) - slack || between > before.max(after) + slack {
                    differences.push(format!("{key}: {before}, ours {between}, {after}"));
                }
            }
            (None, Some(_), None) if told_by_us_alone(key) => {}
            // Before 1.2, runc wrote of every part that is all zeros that it is.
            (Some(0.0), None, Some(0.0)) if key.starts_with("memory/kernel") => {}
            // Of v1 it does so of what the kernel has not, or not any more (Linux 6.12 without CONFIG_MEMCG_V1 and CONFIG_CPUSETS_V1).
            (Some(0.0), None, Some(0.0))
                if cgroup_layout() == CgroupLayout::V1
                    && !has_controller(key.split('/').next().unwrap_or_default()) => {}
            (before, between, after) => {
                differences.push(format!("{key}: {before:?}, ours {between:?}, {after:?}"));
            }
        }
    }
    differences.dedup();
    assert_eq!(differences, [""; 0]);
}

/// What `runc` leaves out: pressure and the highest use of memory on v2 before 1.2, what the v2 hierarchy of a hybrid machine counts,
/// and on v2 what was discarded.
fn told_by_us_alone(key: &str) -> bool {
    match cgroup_layout() {
        CgroupLayout::V1 => key.contains("psi") || key.starts_with("hugetlb"),
        CgroupLayout::V2 => {
            key.contains("psi")
                || key.ends_with("\"Discard\"")
                || key.starts_with("memory/") && key.ends_with("/max")
        }
    }
}

/// Every number and text of a JSON value by its place; entries of lists by what names them.
fn leaves(value: &Value) -> BTreeMap<String, f64> {
    fn walk(place: &str, value: &Value, all: &mut BTreeMap<String, f64>) {
        match value {
            Value::Object(members) => {
                if let Some(op) = members.get("op") {
                    let number = |key: &str| members.get(key).and_then(Value::as_f64).unwrap_or(0.0);
                    let device = format!("{place}/{}:{}/{op}", number("major"), number("minor"));
                    all.insert(device, number("value"));
                } else {
                    members.iter().for_each(|(key, value)| walk(&format!("{place}/{key}"), value, all));
                }
            }
            Value::Array(list) => {
                let number = |index: usize, value: &Value| {
                    if value.get("op").is_some() { place.to_owned() } else { format!("{place}/{index}") }
                };
                list.iter().enumerate().for_each(|(index, value)| walk(&number(index, value), value, all));
            }
            Value::Null => {
                all.insert(place.to_owned(), f64::NEG_INFINITY);
            }
            other => {
                all.insert(place.to_owned(), other.as_f64().expect("all is numbers"));
            }
        }
    }
    let mut all = BTreeMap::new();
    walk("", value, &mut all);
    all.into_iter().map(|(key, value)| (key.trim_start_matches('/').to_owned(), value)).collect()
}

#[test]
fn statistics_come_after_each_interval_and_end_with_the_container() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let events = sandbox.spawn(sandbox.command(["events", "--interval", OFTEN, container.id()]));
    until("three lines came", || events.stdout_so_far().lines().count() >= 3);
    container.delete_force().ok();
    let output = events.wait();
    for line in output.ok().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["type"], &line["id"]), (&json!("stats"), &json!(container.id())));
    }
}

#[test]
fn the_end_of_the_container_ends_the_events_whatever_the_interval() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let events = sandbox.spawn(sandbox.command(["events", "--interval", NEVER, container.id()]));
    until_it_sleeps(events.pid());
    container.end();
    assert_eq!(events.wait().ok(), "");
}

#[test]
fn a_container_that_was_created_has_statistics_and_events() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().create();
    assert_eq!(sandbox.cloison(["events", "--stats", container.id()]).json()["type"], "stats");
    let events = sandbox.spawn(sandbox.command(["events", "--interval", OFTEN, container.id()]));
    events.until_prints("stats");
    container.start().ok();
    container.delete_force().ok();
    events.wait().ok();
}

#[test]
fn a_container_that_was_killed_for_want_of_memory_is_told_of_at_once() {
    skip_unless!(counts_memory(), "needs a memory controller");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox(
        "echo ready; until test -e /go; do sleep 0.1; done; tail /dev/zero; echo survived; sleep 1000",
    );
    let container = bundle.start();
    limit_memory(&container);
    let events = sandbox.spawn(sandbox.command(["events", "--interval", NEVER, container.id()]));
    until_it_sleeps(events.pid());
    fs::write(bundle.rootfs().join("go"), "").unwrap();
    container.until_prints("survived");
    let expected = format!("{{\"type\":\"oom\",\"id\":\"{}\"}}\n", container.id());
    events.until_prints(&expected);
    container.end();
    let output = events.wait();
    assert!(output.ok().lines().all(|line| line == expected.trim_end()), "{}", output.describe());
}

#[test]
fn the_want_of_memory_that_ends_the_container_is_told_before_its_end() {
    only_for!(Cloison, "runc may see the end first");
    skip_unless!(counts_memory(), "needs a memory controller");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("echo ready; until test -e /go; do sleep 0.1; done; exec tail /dev/zero");
    let container = bundle.start();
    limit_memory(&container);
    let pid = container.pid();
    let events = sandbox.spawn(sandbox.command(["events", "--interval", NEVER, container.id()]));
    until_it_sleeps(events.pid());
    // Once it goes on, both have happened.
    events.signal(Signal::STOP);
    fs::write(bundle.rootfs().join("go"), "").unwrap();
    assert_eq!(sandbox.wait_for_orphan(pid), 128 + 9);
    events.signal(Signal::CONT);
    let output = events.wait();
    assert!(output.ok().contains(r#"{"type":"oom","id":"#), "{}", output.describe());
    container.delete().ok();
}

/// Gives the container 32 MiB and no swap beside it, from outside.
fn limit_memory(container: &Container<'_>) {
    container.until_prints("ready");
    let cgroup = cgroup_of(container.pid(), "memory").unwrap();
    let limits = match cgroup_layout() {
        CgroupLayout::V1 => {
            [("memory.limit_in_bytes", "33554432"), ("memory.memsw.limit_in_bytes", "33554432")]
        }
        CgroupLayout::V2 => [("memory.max", "33554432"), ("memory.swap.max", "0")],
    };
    for (name, value) in limits {
        let file = cgroup.join(name);
        // Swap need not be counted.
        if file.exists() {
            fs::write(&file, value).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }
}

/// Whether this machine counts the memory of cgroups.
fn counts_memory() -> bool {
    match cgroup_layout() {
        CgroupLayout::V1 => cgroup_of(std::process::id(), "memory").is_some(),
        CgroupLayout::V2 => {
            fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap().contains("memory")
        }
    }
}

#[test]
fn a_container_that_has_stopped_has_no_events() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let pid = container.pid();
    container.kill(&["KILL"]).ok();
    sandbox.wait_for_orphan(pid);
    for arguments in [&["events", "--stats", container.id()][..], &["events", container.id()]] {
        let output = sandbox.cloison(arguments);
        output.refused_saying(&[&format!("container with id {} is not running", container.id())]);
    }
    container.delete().ok();
}

#[test]
fn a_container_that_is_not_there_has_no_events() {
    let sandbox = Sandbox::new();
    sandbox.directory("state");
    sandbox.cloison(["events", "absent"]).refused_saying(&["does not exist"]);
    sandbox.cloison(["events", "--stats", "absent"]).refused_saying(&["does not exist"]);
}

#[test]
fn an_interval_must_be_longer_than_nothing() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().create();
    for interval in ["0s", "0", "-1s"] {
        let output = sandbox.cloison(["events", "--interval", interval, container.id()]);
        output.refused_saying(&["duration interval must be greater than 0"]);
    }
    assert_eq!(sandbox.cloison(["events", "--interval", "soon", container.id()]).code(), 1);
    container.delete_force().ok();
}

#[test]
fn events_end_when_nobody_reads_them_any_more() {
    only_for!(Cloison, "runc goes on");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let mut command = sandbox.command(["events", "--interval", OFTEN, container.id()]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut events = sandbox.spawn_with_own_stdio(command);
    let mut line = String::new();
    BufReader::new(events.child().stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("stats"), "{line}");
    assert_eq!(events.wait().code(), 128 + 13);
    container.end();
}

#[test]
fn a_frozen_container_has_statistics() {
    skip_unless!(cgroup_of(std::process::id(), "freezer").is_some(), "needs a freezer");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let cgroup = cgroup_of(container.pid(), "freezer").unwrap();
    freeze(&cgroup, true);
    let output = sandbox.cloison(["events", "--stats", container.id()]);
    let status = container.status();
    let list = sandbox.cloison(["list", "--format", "json"]).json();
    freeze(&cgroup, false);
    assert_eq!(output.json()["type"], "stats");
    assert_eq!((status.as_str(), &list[0]["status"]), ("paused", &json!("paused")));
    container.until("running");
    container.end();
}

fn freeze(cgroup: &Path, frozen: bool) {
    let (file, value) = match cgroup_layout() {
        CgroupLayout::V1 => ("freezer.state", if frozen { "FROZEN" } else { "THAWED" }),
        CgroupLayout::V2 => ("cgroup.freeze", if frozen { "1" } else { "0" }),
    };
    fs::write(cgroup.join(file), value).unwrap();
}

/// Waits until the command has begun to wait itself: it sleeps, with a descriptor of the container's process open.
fn until_it_sleeps(pid: u32) {
    until("events waits for something", || {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let waits_for = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| {
            ["anon_inode:[pidfd]", "anon_inode:[eventfd]", "anon_inode:inotify", "memory.events"]
                .iter()
                .any(|what| target.to_string_lossy().contains(what))
        });
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        waits_for && stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    });
}
