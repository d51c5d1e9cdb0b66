//! `linux.sysctl`: what belongs to a namespace of the container, and nothing else.

use std::fs;

use cloison_tests::{Sandbox, caller, host, json, only_root, skip_unless};

#[test]
fn sysctls_of_the_containers_namespaces_are_set() {
    skip_unless!(
        caller::ordinary().is_none() || host::users_set_ipc(),
        "needs a kernel that lets the root of a user namespace set sysctls of its IPC namespace: Linux 6.9, or a late 6.1 or 6.6"
    );
    let sandbox = Sandbox::new();
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni /proc/sys/fs/mqueue/msg_max \
                  /proc/sys/kernel/msgmax";
    let bundle = sandbox.busybox(script).set(
        "/linux/sysctl",
        json!({"net.ipv4.ip_forward": "1", "kernel.shmmni": "1234", "fs.mqueue.msg_max": "17", "kernel.msgmax": "4444"}),
    );
    let before = fs::read_to_string("/proc/sys/kernel/shmmni").unwrap();
    assert_eq!(bundle.run().ok(), "1\n1234\n17\n4444\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/shmmni").unwrap(), before);
}

#[test]
fn the_name_may_have_slashes_for_interfaces_with_dots() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("cat /proc/sys/net/ipv4/conf/lo/forwarding");
    let output = bundle.set("/linux/sysctl", json!({"net/ipv4/conf/lo/forwarding": "1"})).run();
    assert_eq!(output.line(), "1");
}

#[test]
fn a_sysctl_of_the_whole_machine_is_refused() {
    let sandbox = Sandbox::new();
    for name in ["kernel.panic", "vm.overcommit_memory", "fs.file-max", "kernel.core_pattern"] {
        let output = sandbox.busybox("true").set("/linux/sysctl", json!({name: "1"})).run();
        output.refused_saying(&[name]);
    }
}

#[test]
fn a_sysctl_of_a_namespace_that_is_shared_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").without_namespace("network");
    let output = bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"})).run();
    output.refused_saying(&["net.ipv4.ip_forward"]);
    let bundle = sandbox.busybox("true").without_namespace("ipc");
    let output = bundle.set("/linux/sysctl", json!({"kernel.shmmni": "1"})).run();
    output.refused_saying(&["kernel.shmmni"]);
}

#[test]
fn an_unknown_sysctl_is_an_error() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("true").set("/linux/sysctl", json!({"net.ipv4.no_such_thing": "1"})).run();
    output.refused_saying(&["no_such_thing"]);
}

#[test]
fn a_value_the_kernel_refuses_is_an_error() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("true").set("/linux/sysctl", json!({"net.ipv4.ip_forward": "many"})).run();
    output.refused_saying(&["ip_forward", "invalid argument"]);
}

#[test]
fn a_sysctl_cannot_leave_its_directory() {
    let sandbox = Sandbox::new();
    for name in ["net/../kernel/panic", "net...kernel.panic", "kernel.shm/../panic"] {
        let before = fs::read_to_string("/proc/sys/kernel/panic").unwrap();
        let output = sandbox.busybox("true").set("/linux/sysctl", json!({name: "77"})).run();
        let after = fs::read_to_string("/proc/sys/kernel/panic").unwrap();
        if after != before {
            fs::write("/proc/sys/kernel/panic", &before).unwrap();
        }
        assert_eq!(after, before, "{name} reached the host: {}", output.describe());
    }
}

#[test]
fn the_hostname_is_not_a_sysctl() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("true").set("/linux/sysctl", json!({"kernel.hostname": "other"})).run();
    output.refused_saying(&["kernel.hostname"]);
}

#[test]
fn the_domainname_can_be_a_sysctl() {
    only_root!("right to write kernel.domainname (the field domainname he has)");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("cat /proc/sys/kernel/domainname");
    assert_eq!(bundle.set("/linux/sysctl", json!({"kernel.domainname": "sea"})).run().line(), "sea");
}
