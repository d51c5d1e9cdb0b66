//! The eight kinds of namespaces: made, joined, shared with the host.

use std::fs;

use cloison_tests::{Sandbox, caller, host, json, only_for, only_root, runc_lacks, skip_unless};

/// Names in `/proc/self/ns` and in a specification.
const KINDS: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("net", "network"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mnt", "mount"),
    ("cgroup", "cgroup"),
];

fn of_host(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_str().unwrap().to_owned()
}

#[test]
fn each_namespace_is_new_when_it_is_asked_for() {
    let sandbox = Sandbox::new();
    let bundle =
        sandbox.busybox("for n in pid net ipc uts mnt cgroup user time; do readlink /proc/self/ns/$n; done");
    let output = bundle.namespace("cgroup", None).run();
    let inside: Vec<&str> = output.ok().lines().collect();
    for (at, (kind, _)) in KINDS.iter().enumerate() {
        assert!(inside[at].starts_with(&format!("{kind}:[")), "{inside:?}");
        assert_ne!(inside[at], of_host(kind), "{kind}");
    }
    assert_eq!(inside[6] == of_host("user"), caller::ordinary().is_none());
    if host::has_namespace("time") {
        assert_eq!(inside[7], of_host("time"));
    }
}

#[test]
fn each_namespace_is_the_hosts_when_it_is_left_out() {
    let sandbox = Sandbox::new();
    for (kind, name) in
        [("pid", "pid"), ("net", "network"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")]
    {
        let mut bundle = sandbox.busybox(&format!("readlink /proc/self/ns/{kind}")).without_namespace(name);
        if name == "uts" {
            bundle = bundle.without("/hostname");
        }
        assert_eq!(bundle.run().line(), of_host(kind), "{kind}");
    }
}

#[test]
fn a_namespace_is_joined_by_its_path() {
    let sandbox = Sandbox::new();
    let first = sandbox.sleeper().namespace("cgroup", None).start();
    for (kind, name) in
        [("net", "network"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroup")]
    {
        let path = format!("/proc/{}/ns/{kind}", first.pid());
        let mut bundle =
            sandbox.busybox(&format!("readlink /proc/self/ns/{kind}")).namespace(name, Some(&path));
        bundle = bundle.in_user_namespace_of(first.pid());
        if name == "uts" {
            bundle = bundle.without("/hostname");
        }
        let expected = fs::read_link(&path).unwrap();
        assert_eq!(bundle.run().line(), expected.to_str().unwrap(), "{kind}");
    }
    first.end();
}

#[test]
fn all_namespaces_of_another_container_are_joined_at_once() {
    let sandbox = Sandbox::new();
    let first = sandbox.sleeper().start();
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", first.pid());
    let bundle = sandbox
        .busybox("for n in net ipc uts pid; do readlink /proc/self/ns/$n; done")
        .namespace("network", Some(&path("net")))
        .namespace("ipc", Some(&path("ipc")))
        .namespace("uts", Some(&path("uts")))
        .namespace("pid", Some(&path("pid")))
        .without("/hostname");
    let bundle = bundle.in_user_namespace_of(first.pid());
    let expected: Vec<_> = ["net", "ipc", "uts", "pid"]
        .map(|kind| fs::read_link(path(kind)).unwrap().to_str().unwrap().to_owned())
        .into();
    assert_eq!(bundle.run().ok().lines().collect::<Vec<_>>(), expected);
    first.end();
}

#[test]
fn the_program_is_process_1_of_its_pid_namespace() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("echo $$; ls -d /proc/[0-9]*").run();
    assert_eq!(output.ok().lines().next(), Some("1"));
    assert!(output.stdout.lines().count() <= 3, "no other process is seen: {}", output.stdout);
}

#[test]
fn hostname_is_set_in_the_container_only() {
    let sandbox = Sandbox::new();
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(sandbox.busybox("hostname").set("/hostname", "ship").run().ok(), "ship\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

#[test]
fn domainname_is_set() {
    runc_lacks!("1.2: domainname");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("cat /proc/sys/kernel/domainname").set("/domainname", "sea.example");
    assert_eq!(bundle.run().ok(), "sea.example\n");
}

#[test]
fn a_hostname_without_uts_namespace_is_refused() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("true").without_namespace("uts").set("/hostname", "ship").run();
    output.refused_saying(&["uts", "hostname"]);
}

#[test]
fn the_network_namespace_has_its_loopback_up() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("ls /sys/class/net; ip -o link show lo; ip -o addr show lo").run();
    assert!(output.ok().contains("LOOPBACK,UP"), "{}", output.describe());
    assert!(output.ok().contains("127.0.0.1/8"), "{}", output.describe());
}

#[test]
fn time_offsets_move_the_clocks() {
    runc_lacks!("1.2: time namespaces");
    skip_unless!(host::has_namespace("time"), "needs a kernel with time namespaces");
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox("cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime; readlink /proc/self/ns/time")
        .namespace("time", None)
        .set(
            "/linux/timeOffsets",
            json!({"monotonic": {"secs": 7_000}, "boottime": {"secs": 1_000_000, "nanosecs": 5}}),
        );
    let output = bundle.run();
    let lines: Vec<Vec<&str>> = output.ok().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["monotonic", "7000", "0"]);
    assert_eq!(lines[1], ["boottime", "1000000", "5"]);
    assert!(lines[2][0].parse::<u64>().unwrap() >= 1_000_000);
    assert_ne!(lines[3][0], of_host("time"));
}

#[test]
fn time_offsets_without_time_namespace_are_refused() {
    runc_lacks!("1.2: time namespaces");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").set("/linux/timeOffsets", json!({"boottime": {"secs": 5}}));
    bundle.run().refused_saying(&["time"]);
}

#[test]
fn the_cgroup_namespace_hides_the_hosts_paths() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("cat /proc/self/cgroup").namespace("cgroup", None).run();
    for line in output.ok().lines() {
        assert!(line.ends_with(":/"), "{}", output.stdout);
    }
}

#[test]
fn a_namespace_path_of_another_kind_is_refused() {
    let sandbox = Sandbox::new();
    let first = sandbox.sleeper().start();
    for (name, other) in
        [("network", "ipc"), ("pid", "net"), ("ipc", "uts"), ("uts", "cgroup"), ("cgroup", "net")]
    {
        let wrong = format!("/proc/{}/ns/{other}", first.pid());
        let bundle = sandbox.busybox("echo it runs").namespace(name, Some(&wrong));
        // Where the caller has rights over it: or it would be refused for want of them.
        let mut bundle = bundle.in_user_namespace_of(first.pid());
        if name == "uts" {
            bundle = bundle.without("/hostname");
        }
        let output = bundle.run();
        assert_eq!((output.code(), output.stdout.as_str()), (1, ""), "{name}: {}", output.describe());
    }
    let missing = sandbox.dir().join("nowhere");
    let output = sandbox.busybox("true").namespace("network", Some(missing.to_str().unwrap())).run();
    output.refused_saying(&[missing.to_str().unwrap()]);
    first.end();
}

#[test]
fn the_error_about_a_wrong_kind_of_namespace_names_both() {
    only_for!(Cloison, "runc only passes the errno on");
    let sandbox = Sandbox::new();
    let first = sandbox.sleeper().start();
    let wrong = format!("/proc/{}/ns/ipc", first.pid());
    let output = sandbox.busybox("true").namespace("network", Some(&wrong)).run();
    output.refused_saying(&[&wrong, "net namespace"]);
    first.end();
}

#[test]
fn the_hosts_mount_namespace_is_used_or_refused_when_none_is_asked_for() {
    only_root!("device nodes of his own, and without a mount namespace no mounts to bind the host's");
    only_for!(Cloison, "runc leaves the mount of the root file system on the host");
    let sandbox = Sandbox::new();
    // Everything that is mounted is then the host's: mount nothing.
    let bundle = sandbox
        .busybox("/bin/readlink /proc/self/ns/mnt 2>/dev/null; echo done")
        .without_namespace("mount")
        .set("/mounts", json!([]))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .writable();
    let output = bundle.run();
    if output.status.success() {
        assert!(output.stdout.ends_with("done\n"), "{}", output.describe());
    } else {
        output.refused_saying(&["mount"]);
    }
}
