//! The rules of namespaces, id maps, clocks and kernel parameters.

use serde_json::{Value, json};

use crate::spec::sysctl_path;

use super::{accepts, namespaces, problems, refuses, row, user_namespace, with, with_all};

#[test]
fn namespaces_are_known_listed_once_and_joined_by_absolute_paths() {
    let at = "/linux/namespaces";
    accepts(&with(at, namespaces(&["pid", "network", "mount", "ipc", "uts", "cgroup", "time"])));
    accepts(&with(at, json!([{"type": "network", "path": "/run/netns/a"}, {"type": "pid", "path": ""}])));
    refuses(
        &with(at, namespaces(&["pid", "net"])),
        "/linux/namespaces/1/type",
        "found \"net\", expected a namespace: pid,",
    );
    refuses(
        &with(at, json!([{"path": "/x"}])),
        "/linux/namespaces/0/type",
        "missing, expected a namespace: pid,",
    );
    refuses(&with(at, namespaces(&["pid", "pid"])), "/linux/namespaces/1", "duplicated ns \"pid\"");
    refuses(
        &with(at, json!([{"type": "pid", "path": "run/x"}])),
        "/linux/namespaces/0/path",
        "expected an absolute path",
    );
}

#[test]
fn a_new_user_namespace_needs_both_mappings_with_root() {
    let good = json!([row(0, 1000, 10)]);
    accepts(&user_namespace(&good, &good));
    refuses(&user_namespace(&good, &json!([])), "/linux/gidMappings", "nor mappings to apply specified");
    refuses(&user_namespace(&json!([row(1, 1000, 10)]), &good), "/linux/uidMappings", "id 0 is not mapped");
    assert_eq!(problems(&user_namespace(&json!([]), &json!([]))).len(), 2);
}

#[test]
fn a_joined_user_namespace_needs_no_mappings_but_may_have_some() {
    let mut spec = with("/linux/namespaces", json!([{"type": "user", "path": "/proc/1/ns/user"}]));
    accepts(&spec);
    spec["linux"]["uidMappings"] = json!([row(5, 1000, 10)]);
    accepts(&spec);
}

#[test]
fn mappings_without_a_user_namespace_are_refused() {
    for at in ["/linux/uidMappings", "/linux/gidMappings"] {
        refuses(&with(at, json!([row(0, 1000, 10)])), at, "user namespace isn't enabled in the config");
        accepts(&with(at, json!([])));
    }
}

#[test]
fn mappings_are_what_the_kernel_takes() {
    let good = json!([row(0, 1000, 10)]);
    accepts(&user_namespace(&json!([row(0, 1000, 1), row(1, 1001, 4_294_966_294 - 1)]), &good));
    for (rows, place, text) in [
        (json!([row(0, 1000, 1), row(1, 5, 0)]), "/1/size", "found 0"),
        (json!([row(0, 1000, 10), row(9, 5000, 2)]), "/1", "overlaps with an earlier mapping"),
        (json!([row(0, 1000, 10), row(20, 1009, 2)]), "/1", "overlaps with an earlier mapping"),
        (json!([row(0, 4_294_967_290, 6)]), "/0/hostID", "run over the last id"),
        (json!([row(0, 5, 1), row(4_294_967_295, 100, 1)]), "/1/containerID", "run over the last id"),
    ] {
        refuses(&user_namespace(&rows, &good), &format!("/linux/uidMappings{place}"), text);
    }
    let rows = |count| (0..count).map(|index| row(index, index, 1)).collect::<Value>();
    accepts(&user_namespace(&rows(340), &good));
    refuses(&user_namespace(&rows(341), &good), "/linux/uidMappings", "at most 340");
}

#[test]
fn the_programs_user_and_groups_must_be_mapped() {
    let rows = json!([row(0, 1000, 10)]);
    let user = |user: Value| {
        let mut spec = user_namespace(&rows, &rows);
        spec["process"]["user"] = user;
        spec
    };
    accepts(&user(json!({"uid": 9, "gid": 9, "additionalGids": [1, 9]})));
    refuses(&user(json!({"uid": 10})), "/process/user/uid", "cannot set uid to unmapped user");
    refuses(&user(json!({"gid": 10})), "/process/user/gid", "unmapped");
    refuses(&user(json!({"additionalGids": [1, 10]})), "/process/user/additionalGids/1", "unmapped");
}

#[test]
fn time_offsets_need_a_new_time_namespace_and_known_clocks() {
    let time = ("/linux/namespaces", namespaces(&["time"]));
    let offsets = json!({"monotonic": {"secs": -5, "nanosecs": 999_999_999}, "boottime": {"secs": 1}});
    accepts(&with_all([("/linux/timeOffsets", offsets.clone()), time.clone()]));
    accepts(&with("/linux/timeOffsets", json!({})));
    refuses(
        &with("/linux/timeOffsets", offsets.clone()),
        "/linux/timeOffsets",
        "time namespace isn't enabled",
    );
    refuses(
        &with_all([
            ("/linux/timeOffsets", offsets),
            ("/linux/namespaces", json!([{"type": "time", "path": "/proc/1/ns/time"}])),
        ]),
        "/linux/timeOffsets",
        "you may only provide one",
    );
    refuses(
        &with_all([("/linux/timeOffsets", json!({"real/time": {"secs": 1}})), time.clone()]),
        "/linux/timeOffsets/real~1time",
        "expected monotonic or boottime",
    );
    refuses(
        &with_all([("/linux/timeOffsets", json!({"boottime": {"nanosecs": 1_000_000_000}})), time]),
        "/linux/timeOffsets/boottime/nanosecs",
        "from 0 to 999999999",
    );
}

#[test]
fn masked_and_readonly_paths_need_a_mount_namespace() {
    for at in ["/linux/maskedPaths", "/linux/readonlyPaths"] {
        let paths = json!(["/proc/kcore"]);
        accepts(&with_all([(at, paths.clone()), ("/linux/namespaces", namespaces(&["mount"]))]));
        refuses(&with(at, paths), at, "unable to restrict sys entries without a private MNT namespace");
    }
}

#[test]
fn nothing_is_mounted_or_made_read_only_by_a_user_namespace_without_a_mount_namespace() {
    let none = || ("/linux/namespaces", json!([{"type": "user", "path": "/proc/1/ns/user"}]));
    let of_host = || ("/linux/namespaces", namespaces(&["uts"]));
    let mounts = json!([{"destination": "/proc", "type": "proc"}]);
    accepts(&with("/mounts", mounts.clone()));
    accepts(&with_all([("/mounts", mounts.clone()), of_host()]));
    refuses(&with_all([("/mounts", mounts), none()]), "/mounts", "the host's mounts");
    let root = json!({"path": "rootfs", "readonly": true});
    accepts(&with("/root", root.clone()));
    accepts(&with_all([("/root", root.clone()), of_host()]));
    refuses(&with_all([("/root", root), none()]), "/root/readonly", "cannot be made read-only");
}

#[test]
fn parameters_are_set_only_in_namespaces_of_the_container() {
    for (name, kind) in [
        ("kernel.msgmax", "ipc"),
        ("kernel/shm_rmid_forced", "ipc"),
        ("fs.mqueue.msg_max", "ipc"),
        ("net.ipv4.ip_forward", "network"),
        ("net/ipv4/conf/eth0.1/forwarding", "network"),
        ("kernel.domainname", "uts"),
    ] {
        let sysctl = ("/linux/sysctl", json!({name: "1"}));
        accepts(&with_all([sysctl.clone(), ("/linux/namespaces", namespaces(&[kind]))]));
        let pointer = format!("/linux/sysctl/{}", name.replace('/', "~1"));
        refuses(&with_all([sysctl]), &pointer, "");
    }
    let mut users = user_namespace(&json!([row(0, 1, 1)]), &json!([row(0, 1, 1)]));
    users["linux"]["sysctl"] = json!({"user.max_user_namespaces": "0"});
    accepts(&users);
}

#[test]
fn parameters_of_the_whole_machine_are_refused_by_name() {
    let all = ("/linux/namespaces", namespaces(&["pid", "network", "mount", "ipc", "uts", "cgroup", "time"]));
    for (name, text) in [
        ("kernel.core_pattern", "is not in a separate kernel namespace"),
        ("vm.swappiness", "is not in a separate kernel namespace"),
        ("network.x", "is not in a separate kernel namespace"),
        ("kernel.hostname", "conflicts with the OCI \"hostname\" field"),
        ("user.max_user_namespaces", "setting ucounts without a user namespace"),
        ("net/../kernel/core_pattern", "is not the name of a kernel parameter"),
        ("net.//.kernel.core_pattern", "is not the name of a kernel parameter"),
        ("net..x", "is not the name of a kernel parameter"),
        ("", "is not the name of a kernel parameter"),
    ] {
        let pointer = format!("/linux/sysctl/{}", name.replace('/', "~1"));
        refuses(&with_all([("/linux/sysctl", json!({name: "1"})), all.clone()]), &pointer, text);
    }
}

#[test]
fn a_parameter_becomes_a_path_that_stays_below_proc_sys() {
    for (name, path) in [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("hostname", "hostname"),
    ] {
        assert_eq!(sysctl_path(name).as_deref(), Some(path), "{name}");
    }
    for name in ["", ".", "..", "/", "a..b", "a.", ".a", "/a", "net/../x", "net/./x", "net.//.x"] {
        assert_eq!(sysctl_path(name), None, "{name}");
    }
}
