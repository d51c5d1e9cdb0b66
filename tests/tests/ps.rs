//! `ps`: who is in a container.

use std::os::unix::fs::PermissionsExt;

use cloison_tests::{Container, Sandbox, append_command, caller, json, only_for, until};

/// A container with a shell and its child, both started.
fn two_processes(sandbox: &Sandbox) -> Container<'_> {
    let container = sandbox.busybox("sleep 1000; true").start();
    until("the child is there, and what it will be", || {
        let pids = sandbox.cloison(["ps", "-f", "json", container.id()]).json();
        let is_sleep = |pid| std::fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"sleep\n");
        pids.as_array().unwrap().iter().any(is_sleep)
    });
    container
}

/// What the host's `ps` says instead of working, as it does under User Mode Linux.
fn complaint_of_ps() -> Option<String> {
    match std::process::Command::new("ps").arg("-ef").output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

macro_rules! needs_ps {
    () => {
        if let Some(complaint) = complaint_of_ps() {
            return cloison_tests::skip::report(&format!("needs a ps of the host's that works: {complaint}"));
        }
    };
}

#[test]
fn json_is_an_array_of_process_ids() {
    let sandbox = Sandbox::new();
    let container = two_processes(&sandbox);
    for flags in [&["-f", "json"][..], &["--format", "json"], &["--format=json"]] {
        let output = sandbox.cloison(["ps"].iter().chain(flags).chain([&container.id()]));
        let pids: Vec<u32> = serde_json::from_str(output.ok()).unwrap();
        assert_eq!(pids.len(), 2, "{}", output.describe());
        assert!(pids.contains(&container.pid()) && pids.is_sorted(), "{}", output.describe());
        assert!(output.ok().ends_with("]\n") && !output.ok().contains(' '), "{}", output.describe());
        assert_eq!(output.stderr, "");
    }
    container.end();
}

#[test]
fn table_is_the_title_of_the_hosts_ps_and_the_containers_lines() {
    needs_ps!();
    let sandbox = Sandbox::new();
    let container = two_processes(&sandbox);
    let output = sandbox.cloison(["ps", container.id()]);
    let lines: Vec<Vec<&str>> = output.ok().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert_eq!((lines.len(), output.stderr.as_str()), (3, ""), "{}", output.describe());
    assert!(lines[1..].iter().any(|line| line[1] == container.pid().to_string()), "{}", output.describe());
    let pid = container.pid().to_string();
    let owner =
        std::process::Command::new("ps").args(["-o", "user=", "-p", &pid]).output().expect("ps is there");
    let owner = String::from_utf8(owner.stdout).expect("it is a name");
    assert_eq!(owner.trim() == "root", caller::ordinary().is_none(), "{owner:?}");
    assert!(lines[1..].iter().all(|line| line[0] == owner.trim()), "{}", output.describe());
    container.end();
}

#[test]
fn what_follows_the_id_goes_to_the_hosts_ps() {
    needs_ps!();
    let sandbox = Sandbox::new();
    let container = two_processes(&sandbox);
    let output = sandbox.cloison(["ps", container.id(), "-e", "-x"]);
    let title: Vec<&str> = output.ok().lines().next().unwrap().split_whitespace().collect();
    assert_eq!(title, ["PID", "TTY", "STAT", "TIME", "COMMAND"], "{}", output.describe());
    let output = sandbox.cloison(["ps", container.id(), "-eo", "ppid,pid,comm", "--sort=-pid"]);
    let lines: Vec<&str> = output.ok().lines().collect();
    assert_eq!(lines.len(), 3, "{}", output.describe());
    assert!(lines[1].ends_with(" sleep") && lines[2].ends_with(" sh"), "{}", output.describe());
    // Options that we have, too, are not ours there; those before the id are.
    let output = sandbox.cloison(["ps", "--format", "table", container.id(), "-f", "-e"]);
    assert!(output.ok().starts_with("UID "), "{}", output.describe());
    container.end();
}

#[test]
fn options_by_which_nobody_can_be_told_are_refused() {
    needs_ps!();
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let output = sandbox.cloison(["ps", container.id(), "-e", "-o", "comm"]);
    output.refused_saying(&["couldn't find PID field in ps output"]);
    let output = sandbox.cloison(["ps", container.id(), "--no-such-option"]);
    output.refused_saying(&["exit status", "--help"]);
    assert_eq!(output.stdout, "");
    container.end();
}

#[test]
fn a_container_that_has_stopped_has_no_processes() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let pid = container.pid();
    container.kill(&["KILL"]).ok();
    sandbox.wait_for_orphan(pid);
    let pids = sandbox.cloison(["ps", "-f", "json", container.id()]).json();
    assert!(pids == json!([]) || pids.is_null(), "{pids}");
    if complaint_of_ps().is_none() {
        assert_eq!(sandbox.cloison(["ps", container.id()]).ok().lines().count(), 1);
    }
    container.delete().ok();
}

#[test]
fn a_container_that_is_not_there_has_no_processes() {
    let sandbox = Sandbox::new();
    sandbox.directory("state");
    sandbox.cloison(["ps", "absent"]).refused_saying(&["does not exist"]);
    assert_eq!(sandbox.cloison(["ps", "-f", "yaml", "absent"]).code(), 1);
    assert_eq!(sandbox.cloison(["ps"]).code(), 1);
}

#[test]
fn a_host_without_ps_is_told_as_such() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let mut command = sandbox.command(["ps", container.id()]);
    command.env("PATH", sandbox.dir());
    let output = sandbox.finish(command);
    output.refused_saying(&["ps"]);
    let mut command = sandbox.command(["ps", "-f", "json", container.id()]);
    command.env("PATH", sandbox.dir());
    assert_eq!(sandbox.finish(command).json(), json!([container.pid()]), "JSON needs no ps");
    container.end();
}

#[test]
fn ps_is_waited_for_though_the_caller_ignores_its_children() {
    needs_ps!();
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let inner = sandbox.command(["ps", container.id()]);
    // Not dash, which does not let it be ignored.
    let mut command = sandbox.bare_command("/bin/bash");
    command.args(["-c", "trap '' CHLD; exec \"$@\"", "bash"]);
    append_command(&mut command, &inner);
    let output = sandbox.finish(command);
    assert_eq!(output.ok().lines().count(), 2, "{}", output.describe());
    container.end();
}

#[test]
fn what_ps_says_beside_its_list_is_not_printed() {
    only_for!(Cloison, "runc takes what ps says for its list");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let script = format!("#!/bin/sh\necho noise >&2\nprintf 'PID CMD\\n{} x\\n1 y\\n'\n", container.pid());
    let ps = sandbox.file("ps", script);
    std::fs::set_permissions(&ps, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = sandbox.command(["ps", container.id()]);
    command.env("PATH", format!("{}:/usr/bin:/bin", sandbox.dir().display()));
    let output = sandbox.finish(command);
    assert_eq!(output.ok(), format!("PID CMD\n{} x\n", container.pid()));
    assert_eq!(output.stderr, "");
    container.end();
}
