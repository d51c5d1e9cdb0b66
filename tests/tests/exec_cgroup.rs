//! `exec`: which cgroups the process is in, and containers that are held still.

use std::fs;
use std::path::{Path, PathBuf};

use cloison_tests::cgroup::directory;
use cloison_tests::host::{CgroupLayout, cgroup_layout};
use cloison_tests::{Container, Sandbox, caller, only_for, skip_unless, until};
use rustix::process::Signal;

/// Holds a container still, or lets it go on.
fn freeze(container: &Container<'_>, still: bool) {
    let value = match (cgroup_layout(), still) {
        (CgroupLayout::V1, true) => "FROZEN",
        (CgroupLayout::V1, false) => "THAWED",
        (CgroupLayout::V2, _) => {
            if still {
                "1"
            } else {
                "0"
            }
        }
    };
    let path = container.cgroup_path("freezer", ("freezer.state", "cgroup.freeze"));
    fs::write(&path, value).unwrap();
    until(value, || fs::read_to_string(&path).unwrap().trim() == value);
}

/// A container whose cgroup has these below it, in a hierarchy each.
fn with_cgroups_below<'s>(sandbox: &'s Sandbox, below: &[(&str, &str)]) -> Container<'s> {
    let container = sandbox.sleeper().start();
    for (controller, name) in below {
        let below = directory(container.pid(), controller).unwrap().join(name);
        fs::create_dir(&below).unwrap();
        give_cgroup(&below);
    }
    container
}

/// Gives a cgroup to who calls the runtime.
fn give_cgroup(directory: &Path) {
    caller::give(directory);
    caller::give(&directory.join("cgroup.procs"));
}

/// The line of a controller in `/proc/self/cgroup`.
fn place(memberships: &str, controller: &str) -> String {
    let of = |line: &&str| {
        line.split(':').nth(1).is_some_and(|names| names.split(',').any(|name| name == controller))
    };
    memberships.lines().find(of).and_then(|line| line.splitn(3, ':').nth(2)).unwrap().to_owned()
}

#[test]
fn a_process_joins_the_cgroups_below_that_are_asked_for() {
    skip_unless!(cgroup_layout() == CgroupLayout::V1, "needs cgroup v1");
    let sandbox = Sandbox::new();
    let container = with_cgroups_below(&sandbox, &[("cpu", "m"), ("pids", "p")]);
    let own = container.exec(["cat", "/proc/self/cgroup"]).ok().to_owned();
    let flags = ["--cgroup", "cpu:m", "--cgroup", "pids:/p"];
    let asked = container.exec_with(&flags, ["cat", "/proc/self/cgroup"]);
    for (controller, below) in [("cpu", "/m"), ("pids", "/p"), ("devices", "")] {
        assert_eq!(place(asked.ok(), controller), place(&own, controller) + below);
    }
    assert_eq!(container.exec_with(&["--cgroup", "/"], ["cat", "/proc/self/cgroup"]).ok(), own);
    container.end();
}

#[test]
fn a_process_joins_a_cgroup_below_in_the_one_hierarchy() {
    skip_unless!(cgroup_layout() == CgroupLayout::V2, "needs cgroup v2 alone");
    let sandbox = Sandbox::new();
    let container = with_cgroups_below(&sandbox, &[("", "below")]);
    let own = container.exec(["cat", "/proc/self/cgroup"]).line().to_owned();
    for path in ["below", "/below"] {
        let asked = container.exec_with(&["--cgroup", path], ["cat", "/proc/self/cgroup"]);
        assert_eq!(asked.line(), format!("{}/below", own.trim_end_matches('/')));
    }
    container.end();
}

#[test]
fn no_cgroup_is_joined_but_those_below_the_containers() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    for (path, words) in [
        ("..", "bad sub cgroup path"),
        ("a/../..", "bad sub cgroup path"),
        ("/../x", "bad sub cgroup path"),
        ("nonexistent", "no such file or directory"),
        ("whaaat:/", "unknown controller"),
        (":x", "empty <controller> prefix"),
    ] {
        let refused = container.exec_with(&["--cgroup", path], ["true"]);
        refused.exec_refused_saying(&[words]);
    }
    container
        .exec_with(&["--cgroup", "a", "--cgroup", "b"], ["true"])
        .exec_refused_saying(&["missing <controller>: prefix"]);
    container.end();
}

#[test]
fn where_the_containers_cgroup_has_gone_that_of_its_first_process_is_joined() {
    only_for!(Cloison, "runc does so on v2 alone, since 1.4");
    let sandbox = Sandbox::new();
    skip_unless!(!sandbox.uses_systemd(), "systemd ends a scope whose cgroup is taken away");
    let container = sandbox.sleeper().start();
    let pid = container.pid();
    // As a container with rights over its cgroups could do: everything moves elsewhere, and the directories go.
    let mut made = Vec::new();
    for line in fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().lines() {
        let controller = line.split(':').nth(1).unwrap().split(',').next().unwrap();
        let old = if controller.is_empty() { unified(line) } else { directory(pid, controller).unwrap() };
        let new = old.with_file_name(format!("{}-moved", sandbox.name()));
        fs::create_dir_all(&new).unwrap();
        give_cgroup(&new);
        if controller == "cpuset" {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(new.join(file), fs::read(old.join(file)).unwrap()).unwrap();
            }
        }
        fs::write(new.join("cgroup.procs"), pid.to_string()).unwrap();
        fs::remove_dir(&old).unwrap();
        made.push(new);
    }
    let now = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let output = container.exec(["cat", "/proc/self/cgroup"]);
    // Chosen by name, it is not replaced by another.
    let chosen = container.exec_with(&["--cgroup", "/"], ["true"]);
    container.end();
    for path in made {
        fs::remove_dir(path).unwrap();
    }
    assert_eq!(places(output.ok()), places(&now));
    chosen.exec_refused_saying(&["to cgroups", "no such file or directory"]);
}

/// The v2 directory of a line of `/proc/PID/cgroup`.
fn unified(line: &str) -> PathBuf {
    let mount = match cgroup_layout() {
        CgroupLayout::V2 => "/sys/fs/cgroup",
        CgroupLayout::V1 => "/sys/fs/cgroup/unified",
    };
    PathBuf::from(mount).join(line.trim_start_matches("0::/"))
}

/// The v1 places of `/proc/PID/cgroup`, and the v2 one where it is alone.
fn places(memberships: &str) -> Vec<&str> {
    memberships
        .lines()
        .filter(|line| cgroup_layout() == CgroupLayout::V2 || !line.starts_with("0::"))
        .collect()
}

#[test]
fn a_paused_container_is_not_joined_unless_asked_for() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    freeze(&container, true);
    container
        .exec(["true"])
        .exec_refused_saying(&["cannot exec in a paused container (use --ignore-paused to override)"]);
    let waiting = sandbox.spawn(container.exec_command(&["--ignore-paused"], ["echo", "resumed"]));
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(waiting.stdout_so_far(), "");
    freeze(&container, false);
    assert_eq!(waiting.wait().line(), "resumed");
    container.end();
}

#[test]
fn who_waits_for_a_paused_container_can_be_told_to_end() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    freeze(&container, true);
    let waiting = sandbox.spawn(container.exec_command(&["--ignore-paused"], ["echo", "resumed"]));
    until("the process is in the cgroup", || others(&container).len() == 1);
    let pid = others(&container)[0];
    waiting.signal(Signal::TERM);
    let output = waiting.wait();
    freeze(&container, false);
    assert_eq!((output.code(), output.stdout.as_str()), (143, ""));
    // On v1 the freezer holds what was killed; on v2 it has ended before the command.
    match cgroup_layout() {
        CgroupLayout::V1 => assert_eq!(sandbox.wait_for_orphan(pid), 137),
        CgroupLayout::V2 => assert!(others(&container).is_empty()),
    }
    container.end();
}

/// The processes of a container but for its first one.
fn others(container: &Container<'_>) -> Vec<u32> {
    let path = container.cgroup_path("freezer", ("cgroup.procs", "cgroup.procs"));
    let all = fs::read_to_string(path).unwrap();
    all.lines().map(|line| line.parse().unwrap()).filter(|pid| *pid != container.pid()).collect()
}
