use std::path::{Path, PathBuf};

use super::*;

/// Ubuntu 18.04 or Debian 10: hybrid, controllers mounted together.
const HYBRID: &str = "\
24 29 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
32 24 0:27 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
33 32 0:28 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime shared:10 - cgroup2 cgroup rw,nsdelegate
34 32 0:29 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,xattr,name=systemd
37 32 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:15 - cgroup cgroup rw,cpu,cpuacct
38 32 0:33 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:16 - cgroup cgroup rw,memory
39 32 0:34 / /sys/fs/cgroup/devices rw,nosuid,nodev,noexec,relatime shared:17 - cgroup cgroup rw,devices
";
const HYBRID_SELF: &str = "\
9:memory:/user.slice/user-1000.slice
4:cpu,cpuacct:/user.slice
3:devices:/user.slice
1:name=systemd:/user.slice/user-1000.slice/session-3.scope
0::/user.slice/user-1000.slice/session-3.scope
";

/// A Docker container without a cgroup namespace on a v1 machine: each hierarchy shows only the container's part.
const DOCKER: &str = "\
1204 1203 0:99 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755
1205 1204 0:29 /docker/abc /sys/fs/cgroup/systemd ro,nosuid master:11 - cgroup cgroup rw,xattr,name=systemd
1206 1204 0:33 /docker/abc /sys/fs/cgroup/memory ro,nosuid master:16 - cgroup cgroup rw,memory
1207 1204 0:35 /docker/abc /sys/fs/cgroup/pids ro,nosuid master:18 - cgroup cgroup rw,pids
";
const DOCKER_SELF: &str = "\
11:memory:/docker/abc/inner
5:pids:/docker/abc
3:hugetlb:/docker/abc
1:name=systemd:/docker/abc
0::/system.slice/containerd.service
";

/// WSL 2 of 2021: every controller by itself, v2 beside them, and everyone in the root.
const WSL: &str = "\
91 70 0:25 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755
92 91 0:26 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw,nsdelegate
93 91 0:27 / /sys/fs/cgroup/cpuset rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,cpuset
94 91 0:28 / /sys/fs/cgroup/cpu rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,cpu
95 91 0:29 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,memory
96 91 0:30 / /sys/fs/cgroup/devices rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,devices
";
const WSL_SELF: &str = "7:devices:/\n4:memory:/\n2:cpu:/\n1:cpuset:/\n0::/\n";

fn paths(mountinfo: &str, self_cgroup: &str, cgroups_path: &str) -> Vec<(String, PathBuf)> {
    let path = CgroupPath::new(Some(cgroups_path), "id").unwrap();
    Layout::parse(mountinfo, self_cgroup).place(&path).unwrap().paths().into_iter().collect()
}

fn assert_paths(found: &[(String, PathBuf)], expected: &[(&str, &str)]) {
    let found: Vec<_> = found.iter().map(|(name, path)| (name.as_str(), path.to_str().unwrap())).collect();
    assert_eq!(found, expected);
}

#[test]
fn an_absolute_path_starts_at_the_root_of_each_hierarchy() {
    assert_paths(
        &paths(HYBRID, HYBRID_SELF, "/docker/c1"),
        &[
            ("", "/sys/fs/cgroup/unified/docker/c1"),
            ("cpu", "/sys/fs/cgroup/cpu,cpuacct/docker/c1"),
            ("cpuacct", "/sys/fs/cgroup/cpu,cpuacct/docker/c1"),
            ("devices", "/sys/fs/cgroup/devices/docker/c1"),
            ("memory", "/sys/fs/cgroup/memory/docker/c1"),
            ("name=systemd", "/sys/fs/cgroup/systemd/docker/c1"),
        ],
    );
}

#[test]
fn a_relative_path_starts_at_our_own_cgroup_of_each_v1_hierarchy() {
    assert_paths(
        &paths(HYBRID, HYBRID_SELF, "c1"),
        &[
            ("", "/sys/fs/cgroup/unified/c1"),
            ("cpu", "/sys/fs/cgroup/cpu,cpuacct/user.slice/c1"),
            ("cpuacct", "/sys/fs/cgroup/cpu,cpuacct/user.slice/c1"),
            ("devices", "/sys/fs/cgroup/devices/user.slice/c1"),
            ("memory", "/sys/fs/cgroup/memory/user.slice/user-1000.slice/c1"),
            ("name=systemd", "/sys/fs/cgroup/systemd/user.slice/user-1000.slice/session-3.scope/c1"),
        ],
    );
}

#[test]
fn inside_docker_our_own_cgroup_is_below_the_part_that_is_mounted() {
    assert_eq!(Layout::parse(DOCKER, DOCKER_SELF).mode(), Mode::V1);
    assert_paths(
        &paths(DOCKER, DOCKER_SELF, "c1"),
        &[
            ("memory", "/sys/fs/cgroup/memory/inner/c1"),
            ("name=systemd", "/sys/fs/cgroup/systemd/c1"),
            ("pids", "/sys/fs/cgroup/pids/c1"),
        ],
    );
}

#[test]
fn a_mount_that_does_not_reach_our_own_cgroup_is_itself_the_start() {
    let foreign = DOCKER.replace("/docker/abc ", "/docker/abcd ");
    assert_paths(
        &paths(&foreign, DOCKER_SELF, "c1"),
        &[
            ("memory", "/sys/fs/cgroup/memory/c1"),
            ("name=systemd", "/sys/fs/cgroup/systemd/c1"),
            ("pids", "/sys/fs/cgroup/pids/c1"),
        ],
    );
}

#[test]
fn of_two_mounts_of_a_hierarchy_the_one_that_reaches_us_counts() {
    let mountinfo = "\
        50 40 0:33 /lxc/other /var/lib/other/sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        51 40 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    assert_paths(&paths(mountinfo, "4:memory:/a\n", "c1"), &[("memory", "/sys/fs/cgroup/memory/a/c1")]);
}

#[test]
fn memory_is_joined_last_whatever_its_place_in_the_kernel() {
    let path = CgroupPath::new(None, "c1").unwrap();
    let Record::Legacy(legacy) = Layout::parse(WSL, WSL_SELF).place(&path).unwrap() else { panic!("not v1") };
    let order: Vec<&str> =
        legacy.directories.iter().map(|directory| directory.controllers[0].as_str()).collect();
    assert_eq!(order, ["devices", "cpu", "cpuset", "memory"]);
    assert_eq!(legacy.unified.as_deref(), Some(Path::new("/sys/fs/cgroup/unified/c1")));
}

#[test]
fn the_modes_are_told_apart() {
    let v2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    assert_eq!(Layout::parse(v2, "0::/init.scope\n").mode(), Mode::V2);
    assert_eq!(Layout::parse(HYBRID, HYBRID_SELF).mode(), Mode::Hybrid);
    assert_eq!(Layout::parse(WSL, WSL_SELF).mode(), Mode::Hybrid);
    assert_eq!(Layout::parse("23 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "").mode(), Mode::Absent);
    // Controllers that the kernel has but nobody mounted.
    assert_eq!(Layout::parse("", HYBRID_SELF).mode(), Mode::Absent);
}

#[test]
fn on_v2_a_relative_path_starts_beside_our_own_cgroup() {
    let v2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    let own = "0::/user.slice/session-1.scope\n";
    assert_paths(&paths(v2, own, "c1"), &[("", "/sys/fs/cgroup/user.slice/c1")]);
    assert_paths(&paths(v2, own, "/c1"), &[("", "/sys/fs/cgroup/c1")]);
    assert_paths(&paths(v2, "0::/\n", "c1"), &[("", "/sys/fs/cgroup/c1")]);
}

#[test]
fn v2_mounted_elsewhere_is_found() {
    let android = "88 60 0:24 / /dev/cg2 rw,nosuid - cgroup2 none rw\n";
    assert_paths(&paths(android, "0::/apps/uid_1\n", "c1"), &[("", "/dev/cg2/apps/c1")]);
}

#[test]
fn outside_of_our_cgroup_namespace_the_mount_is_the_start() {
    let v2 = "30 24 0:26 /../.. /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
    assert_paths(&paths(v2, "0::/\n", "c1"), &[("", "/sys/fs/cgroup/c1")]);
    let v1 = "51 40 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    assert_paths(&paths(v1, "4:memory:/../other\n", "c1"), &[("memory", "/sys/fs/cgroup/memory/c1")]);
}

#[test]
fn without_cgroups_nothing_is_placed() {
    let path = CgroupPath::new(Some("/c1"), "c1").unwrap();
    assert!(matches!(Layout::Absent.place(&path), Err(Error::NotMounted)));
}

#[test]
fn without_our_own_cgroup_only_an_absolute_path_is_placed() {
    let layout = Layout::Unified { mount: "/sys/fs/cgroup".into(), own: None };
    let relative = CgroupPath::new(Some("c1"), "c1").unwrap();
    assert!(matches!(layout.place(&relative), Err(Error::OwnCgroupUnknown(_))));
    let absolute = CgroupPath::new(Some("/c1"), "c1").unwrap();
    assert!(layout.place(&absolute).is_ok());
}
