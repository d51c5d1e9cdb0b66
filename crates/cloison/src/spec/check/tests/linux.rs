//! The rules of devices, caches, memory policy, seccomp and resources.

use serde_json::{Value, json};

use super::{accepts, namespaces, refuses, with, with_all};

#[test]
fn devices_are_of_a_known_kind_with_numbers_of_the_kernel() {
    let device = |device: Value| with("/linux/devices", json!([device]));
    for good in [
        json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0}),
        json!({"path": "/dev/x", "type": "b", "major": 4095, "minor": 1_048_575}),
        json!({"path": "/dev/x", "type": "u", "major": 1, "minor": 3}),
        json!({"path": "/run/fifo", "type": "p", "major": -1}),
    ] {
        accepts(&device(good));
    }
    for (bad, place, text) in [
        (
            json!({"path": "/dev/x", "type": "z"}),
            "/type",
            "found \"z\", expected a kind of device: c, b, u, p",
        ),
        (json!({"path": "/dev/x"}), "/type", "missing, expected a kind of device"),
        (json!({"path": "/dev/x", "type": "c", "major": -1}), "/major", "from 0 to 4095"),
        (json!({"path": "/dev/x", "type": "b", "minor": 1_048_576}), "/minor", "from 0 to 1048575"),
    ] {
        refuses(&device(bad), &format!("/linux/devices/0{place}"), text);
    }
}

#[test]
fn net_devices_need_a_network_namespace_and_valid_names() {
    let at = "/linux/netDevices";
    let network = ("/linux/namespaces", namespaces(&["network"]));
    let devices = |devices: Value| with_all([(at, devices), network.clone()]);
    accepts(&devices(json!({"eth0": {}, "eth1.5": {"name": "c%d"}, "a2345678901234b": {"name": ""}})));
    refuses(&with(at, json!({"eth0": {}})), at, "without a NET namespace");
    for name in ["", ".", "..", "a b", "a:b", "a23456789012345b", "a\tb"] {
        refuses(&devices(json!({name: {}})), &format!("{at}/{name}"), "invalid network device name");
    }
    refuses(&devices(json!({"e/0": {}})), &format!("{at}/e~10"), "invalid network device name \"e/0\"");
    refuses(&devices(json!({"e": {"name": "a/b"}})), &format!("{at}/e/name"), "\"a/b\"");
}

#[test]
fn a_cache_class_is_a_name_or_the_root() {
    let at = "/linux/intelRdt";
    for class in ["", "/", "guaranteed", "..."] {
        accepts(&with(at, json!({"closID": class, "schemata": ["L3:0=f"], "enableMonitoring": true})));
    }
    for class in [".", "..", "a/b", "//", "/a"] {
        refuses(&with(at, json!({"closID": class})), "/linux/intelRdt/closID", "invalid intelRdt.ClosID");
    }
}

#[test]
fn shares_are_single_lines() {
    let at = "/linux/intelRdt";
    for (field, line) in
        [("l3CacheSchema", "L3:0=f\nMB:0=1"), ("memBwSchema", "MB:0=1\n"), ("memBwSchema", "L3:0=f")]
    {
        refuses(&with(at, json!({field: line})), &format!("{at}/{field}"), "expected");
    }
    refuses(&with(at, json!({"schemata": ["L3:0=f", "MB:0=1\n"]})), &format!("{at}/schemata/1"), "one line");
    accepts(&with(
        at,
        json!({"schemata": ["L2:0=f"], "l3CacheSchema": "L3CODE:0=f", "memBwSchema": "MB:0=1"}),
    ));
}

#[test]
fn a_memory_policy_has_nodes_where_its_mode_needs_them() {
    let at = "/linux/memoryPolicy";
    for good in [
        json!({"mode": "MPOL_DEFAULT", "nodes": ""}),
        json!({"mode": "MPOL_LOCAL"}),
        json!({"mode": "MPOL_PREFERRED"}),
        json!({"mode": "MPOL_PREFERRED", "nodes": "0"}),
        json!({"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]}),
        json!({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}),
    ] {
        accepts(&with(at, good));
    }
    for (bad, place, text) in [
        (
            json!({"mode": "MPOL_DEFAULT", "nodes": "0-7"}),
            "/nodes",
            "MPOL_DEFAULT mode requires 0 nodes but got 8",
        ),
        (json!({"mode": "MPOL_LOCAL", "nodes": "0"}), "/nodes", "mode requires 0 nodes but got 1"),
        (json!({"mode": "MPOL_BIND"}), "/nodes", "MPOL_BIND requires at least one node"),
        (json!({"mode": "MPOL_PREFERRED_MANY", "nodes": ""}), "/nodes", "at least one node"),
        (
            json!({"mode": "MPOL_BIND", "nodes": "x"}),
            "/nodes",
            "invalid memory policy node: \"x\" is neither a number nor a range",
        ),
        (
            json!({"nodes": "0"}),
            "/mode",
            "invalid memory policy mode: missing, expected a memory policy's mode: MPOL_DEFAULT",
        ),
        (
            json!({"mode": "MPOL_LOCAL", "flags": ["MPOL_F_X"]}),
            "/flags/0",
            "invalid memory policy flag: found",
        ),
    ] {
        refuses(&with(at, bad), &format!("{at}{place}"), text);
    }
}

#[test]
fn personality_and_propagation_are_known_names() {
    accepts(&with("/linux/personality", json!({"domain": "LINUX32"})));
    refuses(
        &with("/linux/personality", json!({"domain": "BSD"})),
        "/linux/personality/domain",
        "LINUX, LINUX32",
    );
    for propagation in ["", "private", "rslave", "runbindable"] {
        accepts(&with("/linux/rootfsPropagation", json!(propagation)));
    }
    refuses(
        &with("/linux/rootfsPropagation", json!("public")),
        "/linux/rootfsPropagation",
        "private, shared, slave",
    );
}

#[test]
fn seccomp_names_and_arguments_are_known() {
    let at = "/linux/seccomp";
    for good in [
        json!({}),
        json!({"defaultAction": ""}),
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "flags": [],
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_RISCV64"],
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 5, "value": u64::MAX, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]}]}),
        json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/run/l"}),
    ] {
        accepts(&with(at, good));
    }
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    for (bad, place, text) in [
        (
            json!({"defaultAction": "NO"}),
            "/defaultAction",
            "found \"NO\", expected a seccomp action: SCMP_ACT_KILL,",
        ),
        (json!({"syscalls": [{"names": ["a"], "action": "SCMP_ACT_LOG"}]}), "/defaultAction", "missing"),
        (json!({"defaultAction": "SCMP_ACT_LOG", "flags": ["X"]}), "/flags/0", "a seccomp flag"),
        (
            json!({"defaultAction": "SCMP_ACT_LOG", "architectures": ["X"]}),
            "/architectures/0",
            "SCMP_ARCH_X86,",
        ),
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "/listenerPath", "needs the path of a socket"),
        (rule(json!({"names": ["a"]})), "/syscalls/0/action", "missing, expected a seccomp action"),
        (
            json!({"defaultAction": "SCMP_ACT_LOG", "defaultErrnoRet": 1}),
            "/defaultErrnoRet",
            "found 1, but SCMP_ACT_LOG has no errno",
        ),
        (
            rule(json!({"names": ["a"], "action": "SCMP_ACT_KILL", "errnoRet": 38})),
            "/syscalls/0/errnoRet",
            "found 38, but SCMP_ACT_KILL has no errno",
        ),
        (
            rule(
                json!({"names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}),
            ),
            "/syscalls/0/args/0/index",
            "from 0 to 5",
        ),
        (
            rule(json!({"names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "op": "EQ"}]})),
            "/syscalls/0/args/0/op",
            "a comparison: SCMP_CMP_NE,",
        ),
    ] {
        refuses(&with(at, bad), &format!("{at}{place}"), text);
    }
    accepts(&with_all([
        (at, rule(json!({"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}))),
        ("/annotations", json!({"run.oci.seccomp.receiver": "/run/l"})),
    ]));
}

#[test]
fn resources_that_the_kernel_cannot_take_are_refused() {
    let at = "/linux/resources";
    for good in [
        json!({"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "access": "r"}]}),
        json!({"devices": [{"access": "rwa"}]}),
        json!({"memory": {"limit": -1, "swappiness": 100}, "pids": {"limit": 0}}),
        json!({"unified": {"memory.high": "max", "hugetlb.1GB.max": "0"}}),
        json!({"hugepageLimits": [{"pageSize": "64KB", "limit": 0}, {"pageSize": "2MB", "limit": 1}, {"pageSize": "1GB", "limit": 1}]}),
        json!({"blockIO": {"throttleReadBpsDevice": [{"major": 0, "minor": 1_048_575, "rate": 0}]}}),
    ] {
        accepts(&with(at, good));
    }
    for (bad, place, text) in [
        (json!({"devices": [{"allow": true}]}), "/devices/0/access", "device access field cannot be empty"),
        (json!({"devices": [{"access": "x"}]}), "/devices/0/access", "found \"x\""),
        (json!({"devices": [{"type": "u", "access": "r"}]}), "/devices/0/type", "a kind of device: a, b, c"),
        (json!({"memory": {"swappiness": 101}}), "/memory/swappiness", "from 0 to 100"),
        (
            json!({"hugepageLimits": [{"limit": 1}]}),
            "/hugepageLimits/0/pageSize",
            "a size of huge pages like 2MB",
        ),
        (
            json!({"hugepageLimits": [{"pageSize": "2M/../../x", "limit": 1}]}),
            "/hugepageLimits/0/pageSize",
            "like 2MB",
        ),
        (
            json!({"hugepageLimits": [{"pageSize": "MB", "limit": 1}]}),
            "/hugepageLimits/0/pageSize",
            "like 2MB",
        ),
        (
            json!({"blockIO": {"weightDevice": [{"major": -1, "minor": 0, "weight": 10}]}}),
            "/blockIO/weightDevice/0/major",
            "found -1, expected the number of a device",
        ),
        (
            json!({"blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 4_294_967_296_i64, "rate": 1}]}}),
            "/blockIO/throttleWriteIOPSDevice/0/minor",
            "found 4294967296, expected the number of a device",
        ),
        (json!({"unified": {"../x.y": "1"}}), "/unified/..~1x.y", "no slashes"),
        (json!({"unified": {"memory": "1"}}), "/unified/memory", "CONTROLLER.PARAMETER"),
        (json!({"unified": {".high": "1"}}), "/unified/.high", "CONTROLLER.PARAMETER"),
    ] {
        refuses(&with(at, bad), &format!("{at}{place}"), text);
    }
}
