//! `cloison try`: a throw-away container over what is there.

use std::fs;
use std::path::Path;

use cloison_tests::user::User;
use cloison_tests::{Rootfs, Sandbox, caller, host, only_for, skip_unless, users_need_usr};

/// Where an ordinary user calls, there must be something of the host's to see.
macro_rules! needs_usr {
    () => {
        if caller::ordinary().is_some() {
            users_need_usr!();
        }
    };
}

#[test]
fn try_runs_a_command_over_the_hosts_own_root() {
    needs_usr!();
    only_for!(Cloison, "no other runtime has `try`");
    let sandbox = Sandbox::new();
    let output = sandbox.cloison(["try", "--", "cat", "/etc/os-release"]);
    assert_eq!(output.ok(), fs::read_to_string("/etc/os-release").unwrap());
}

#[test]
fn an_ordinary_user_tries_commands_over_the_hosts_root() {
    only_for!(Cloison, "no other runtime has `try`");
    users_need_usr!();
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let script =
        "hostname; ls -d /proc/[0-9]*; ls /sys/class/net; id -u; echo new > /tmp/new && cat /tmp/new";
    let output = user.does(&["try", "--", "sh", "-c", script]);
    let lines: Vec<&str> = output.ok().lines().filter(|line| !line.starts_with("/proc/")).collect();
    assert_eq!(lines, ["cloison", "lo", "0", "new"], "{}", output.describe());
    assert!(output.stdout.contains("/proc/1\n"));
    assert!(!Path::new("/tmp/new").exists());
}

#[test]
fn what_is_an_ordinary_users_own_is_changed_in_the_view_only() {
    only_for!(Cloison, "no other runtime has `try`");
    skip_unless!(host::kernel() >= (5, 11), "needs overlays in user namespaces, Linux 5.11");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let bundle = user.bundle("");
    let rootfs = bundle.rootfs();
    let script = "rm /etc/passwd; echo x > /etc/new; ls /etc";
    let output = user.does(&["try", "--rootfs", rootfs.to_str().unwrap(), "--", "sh", "-c", script]);
    assert!(output.ok().contains("new") && !output.stdout.contains("passwd"), "{}", output.describe());
    assert!(rootfs.join("etc/passwd").exists() && !rootfs.join("etc/new").exists());
}

#[test]
fn an_ordinary_user_removes_a_directory_in_the_view_only() {
    only_for!(Cloison, "no other runtime has `try`");
    skip_unless!(host::kernel() >= (6, 6), "needs a tmpfs with attributes of users, Linux 6.6");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let rootfs = user.bundle("").rootfs();
    let script = "rm -r /home; ls -d /home";
    let output = user.does(&["try", "--rootfs", rootfs.to_str().unwrap(), "--", "sh", "-c", script]);
    assert!(output.stderr.contains("/home: No such file"), "{}", output.describe());
    assert!(rootfs.join("home").exists());
}

#[test]
fn try_leaves_no_trace_of_what_it_changed() {
    needs_usr!();
    only_for!(Cloison, "no other runtime has `try`");
    let sandbox = Sandbox::new();
    let mark = format!("/etc/{}", sandbox.name());
    let output = sandbox.cloison(["try", "--", "sh", "-c", &format!("touch {mark} && ls {mark}")]);
    assert_eq!(output.line(), mark);
    assert!(!Path::new(&mark).exists());
}

#[test]
fn try_can_remove_everything_it_sees() {
    only_for!(Cloison, "no other runtime has `try`");
    skip_unless!(
        caller::ordinary().is_none() || host::kernel() >= (6, 6),
        "needs a tmpfs with attributes of users, Linux 6.6"
    );
    let sandbox = Sandbox::new();
    let rootfs = sandbox.bundle(Rootfs::busybox()).rootfs();
    let before = fs::read_dir(rootfs.join("etc")).unwrap().count();
    let output = sandbox.cloison([
        "try",
        "--rootfs",
        rootfs.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        "rm -rf /etc /home; ls /",
    ]);
    assert!(!output.ok().contains("home"), "{}", output.describe());
    assert_eq!(fs::read_dir(rootfs.join("etc")).unwrap().count(), before);
}

#[test]
fn try_has_namespaces_of_its_own() {
    needs_usr!();
    only_for!(Cloison, "no other runtime has `try`");
    let sandbox = Sandbox::new();
    let output =
        sandbox.cloison(["try", "--", "sh", "-c", "echo $$; readlink /proc/self/ns/uts; ls /sys/class/net"]);
    let lines: Vec<&str> = output.ok().lines().collect();
    assert_eq!(lines[0], "1");
    assert_ne!(lines[1], fs::read_link("/proc/self/ns/uts").unwrap().to_str().unwrap());
    assert!(!lines.iter().any(|name| name.starts_with("eth")), "{lines:?}");
}

#[test]
fn try_passes_the_exit_code_on() {
    needs_usr!();
    only_for!(Cloison, "no other runtime has `try`");
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.cloison(["try", "--", "sh", "-c", "exit 42"]).code(), 42);
    assert_eq!(sandbox.cloison(["try", "sh", "-c", "exit 43"]).code(), 43);
}

#[test]
fn try_passes_standard_input_on() {
    needs_usr!();
    only_for!(Cloison, "no other runtime has `try`");
    let sandbox = Sandbox::new();
    let input = sandbox.file("input", "to be counted");
    let mut command = sandbox.command(["try", "--", "wc", "-c"]);
    command.stdin(fs::File::open(input).unwrap());
    assert_eq!(sandbox.finish(command).line(), "13");
}

#[test]
fn try_says_when_the_command_is_not_there() {
    needs_usr!();
    only_for!(Cloison, "no other runtime has `try`");
    let sandbox = Sandbox::new();
    sandbox
        .cloison(["try", "--", "no-such-command"])
        .refused_saying(&["executable file not found", "no-such-command"]);
    sandbox.cloison(["try", "--rootfs", "/no/such/dir", "--", "true"]).refused_saying(&["/no/such/dir"]);
}

#[test]
fn try_twice_at_once_does_no_harm() {
    needs_usr!();
    only_for!(Cloison, "no other runtime has `try`");
    let sandbox = Sandbox::new();
    let runs: Vec<_> = (0..4)
        .map(|_| sandbox.spawn(sandbox.command(["try", "--", "sh", "-c", "touch /etc/x; sleep 0.2"])))
        .collect();
    for run in runs {
        run.wait().ok();
    }
}

#[test]
fn try_that_is_killed_leaves_nothing_mounted() {
    needs_usr!();
    only_for!(Cloison, "no other runtime has `try`");
    let sandbox = Sandbox::new();
    let run = sandbox.spawn(sandbox.command(["try", "--", "sh", "-c", "echo ready; sleep 1000"]));
    run.until_prints("ready");
    run.signal(rustix::process::Signal::TERM);
    // PID 1 of a namespace ignores it, a shell that has no trap for it.
    std::thread::sleep(std::time::Duration::from_millis(50));
    run.signal(rustix::process::Signal::KILL);
    run.wait();
    let list = sandbox.cloison(["list", "-q"]);
    for id in list.ok().lines() {
        sandbox.container(id).delete_force().ok();
    }
}
