//! How much a container may use: `linux.resources` but for the devices.

use std::time::{Duration, Instant};

use cloison_tests::cgroup::has_controller;
use cloison_tests::host::{CgroupLayout, cgroup_layout, has_file};
use cloison_tests::{Bundle, Sandbox, json, only_for, only_root, skip_unless};
use serde_json::Value;

const MIB: u64 = 1 << 20;

const MEMORY_LIMIT: (&str, &str) = ("memory.limit_in_bytes", "memory.max");
const MEMORY_SOFT: (&str, &str) = ("memory.soft_limit_in_bytes", "memory.low");
const PIDS_MAX: (&str, &str) = ("pids.max", "pids.max");
const CPU_STAT: (&str, &str) = ("cpu.stat", "cpu.stat");

fn is_v1() -> bool {
    cgroup_layout() == CgroupLayout::V1
}

#[test]
fn memory_limits_stand_in_the_cgroup() {
    skip_unless!(has_controller("memory"), "needs the memory controller");
    let sandbox = Sandbox::new();
    let memory = json!({"limit": 64 * MIB, "reservation": 32 * MIB});
    let container = sandbox.sleeper().set("/linux/resources/memory", memory).create();
    assert_eq!(container.cgroup_file("memory", MEMORY_LIMIT), (64 * MIB).to_string());
    assert_eq!(container.cgroup_file("memory", MEMORY_SOFT), (32 * MIB).to_string());
    container.start().ok();
    assert_eq!(container.cgroup_file("memory", MEMORY_LIMIT), (64 * MIB).to_string());
    container.end();
}

#[test]
fn swap_is_limited_together_with_memory() {
    skip_unless!(has_controller("memory"), "needs the memory controller");
    let sandbox = Sandbox::new();
    let file = ("memory.memsw.limit_in_bytes", "memory.swap.max");
    let plain = sandbox.sleeper().create();
    skip_unless!(plain.has_cgroup_file("memory", file), "needs a kernel that counts swap");
    let memory = json!({"limit": 64 * MIB, "swap": 80 * MIB});
    let container = sandbox.sleeper().set("/linux/resources/memory", memory).create();
    let expected = if is_v1() { 80 * MIB } else { 16 * MIB };
    assert_eq!(container.cgroup_file("memory", file), expected.to_string());
    for container in [plain, container] {
        container.start().ok();
        container.end();
    }
}

#[test]
fn who_takes_more_memory_than_the_limit_is_killed() {
    skip_unless!(has_controller("memory"), "needs the memory controller");
    let sandbox = Sandbox::new();
    let memory = json!({"limit": 24 * MIB, "swap": 24 * MIB});
    // The last line of /dev/zero has no end.
    let bundle = sandbox.busybox("tail /dev/zero; echo $?; echo still here");
    let output = bundle.set("/linux/resources/memory", memory).run();
    assert_eq!(output.ok(), "137\nstill here\n");
}

#[test]
fn processes_stop_at_their_limit() {
    skip_unless!(has_controller("pids"), "needs the pids controller");
    let sandbox = Sandbox::new();
    let script = "i=1; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); echo $i; done";
    let output = sandbox.busybox(script).set("/linux/resources/pids/limit", 12).run();
    assert!(output.stderr.contains("can't fork"), "{}", output.describe());
    assert_eq!(output.stdout.lines().last(), Some("12"));
}

#[test]
fn pids_without_limit_and_none_at_all_stand_as_such() {
    skip_unless!(has_controller("pids"), "needs the pids controller");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().set("/linux/resources/pids/limit", -1).start();
    assert_eq!(container.cgroup_file("pids", PIDS_MAX), "max");
    container.end();
    cloison_tests::runc_lacks!("1.5: 0 is a limit");
    let container = sandbox.sleeper().set("/linux/resources/pids/limit", 0).start();
    assert_eq!(container.cgroup_file("pids", PIDS_MAX), "1");
    container.end();
}

#[test]
fn cpu_quota_holds() {
    skip_unless!(has_controller("cpu"), "needs the cpu controller");
    let sandbox = Sandbox::new();
    // Large, beside the slices of 5 ms by which processors take it.
    let (quota, period) = (50_000, 250_000);
    let bundle = sandbox.busybox("while :; do :; done");
    let container = bundle.set("/linux/resources/cpu", json!({"quota": quota, "period": period})).start();
    let used = || {
        if is_v1() {
            let nanoseconds = container.cgroup_file("cpuacct", ("cpuacct.usage", ""));
            nanoseconds.parse::<u64>().unwrap() / 1000
        } else {
            container.cgroup_number("cpu", CPU_STAT, ("", "usage_usec"))
        }
    };
    let throttled = || container.cgroup_number("cpu", CPU_STAT, ("nr_throttled", "nr_throttled"));
    skip_unless!(
        container.cgroup_file("cpu", CPU_STAT).contains("nr_throttled"),
        "needs CONFIG_CFS_BANDWIDTH"
    );
    let (start, used_before, throttled_before) = (Instant::now(), used(), throttled());
    while start.elapsed() < Duration::from_secs(4) || throttled() - throttled_before < 15 {
        std::thread::sleep(Duration::from_millis(100));
        assert!(start.elapsed() < Duration::from_mins(1), "it is never throttled");
    }
    let (throttled, used) = (throttled() - throttled_before, used() - used_before);
    let elapsed = u64::try_from(start.elapsed().as_micros()).unwrap();
    let share = |used: u64| used * 1000 / elapsed;
    assert!(share(used) <= 230, "{} per mille", share(used));
    // On a busy machine it may get less than its quota, but in each period in which it is stopped it has had all of it.
    // A kernel that counts in ticks counts less, and a slice of 5 ms may be left on another processor.
    let at_least = throttled * quota * 75 / 100;
    assert!(used >= at_least, "{used} µs used in {throttled} periods with {quota} µs each");
    container.end();
}

#[test]
fn cpu_shares_stand_in_the_cgroup() {
    skip_unless!(has_controller("cpu"), "needs the cpu controller");
    if !is_v1() {
        cloison_tests::runc_lacks!("1.4: the formula for v2, which came with 1.3.2");
    }
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().set("/linux/resources/cpu/shares", 512).start();
    let expected = if is_v1() { "512" } else { "59" };
    assert_eq!(container.cgroup_file("cpu", ("cpu.shares", "cpu.weight")), expected);
    container.end();
}

#[test]
fn shares_out_of_range_are_refused_on_v1() {
    skip_unless!(is_v1(), "needs cgroup v1");
    let sandbox = Sandbox::new();
    let output = sandbox.sleeper().set("/linux/resources/cpu/shares", 1).run();
    only_for!(Cloison, "runc says it differently");
    output.refused_saying(&["/linux/resources/cpu/shares", "1 is out of range, the kernel made it 2"]);
}

#[test]
fn processors_are_those_of_the_cpuset() {
    skip_unless!(has_controller("cpuset"), "needs the cpuset controller");
    let sandbox = Sandbox::new();
    let cpus = std::thread::available_parallelism().unwrap().get();
    skip_unless!(cpus > 1, "needs two processors");
    let script = "grep Cpus_allowed_list /proc/self/status | cut -f 2; grep Mems_allowed_list /proc/self/status | cut -f 2";
    let output = sandbox.busybox(script).set("/linux/resources/cpu", json!({"cpus": "1", "mems": "0"})).run();
    assert_eq!(output.ok(), "1\n0\n");
}

#[test]
fn a_processor_that_is_not_there_is_refused_by_name() {
    skip_unless!(has_controller("cpuset"), "needs the cpuset controller");
    let sandbox = Sandbox::new();
    let output = sandbox.sleeper().set("/linux/resources/cpu/cpus", "7000").run();
    only_for!(Cloison, "runc does not name the field");
    output.refused_saying(&["/linux/resources/cpu/cpus", "\"7000\"", "cpuset.cpus", "cpuset controller"]);
}

/// A block device that may be written to: the one that `CLOISON_TEST_DISK` names, or else a loop device.
enum Disk {
    Given(String),
    Loop(String),
}

impl Disk {
    fn new(sandbox: &Sandbox, size: u64) -> Option<Self> {
        if let Ok(given) = std::env::var("CLOISON_TEST_DISK") {
            return Some(Self::Given(given));
        }
        if !has_file("/dev/loop-control") {
            return None;
        }
        let image = sandbox.dir().join("image");
        std::fs::File::create(&image).unwrap().set_len(size).unwrap();
        let mut command = std::process::Command::new("losetup");
        let output = command.args(["--direct-io=off", "-f", "--show"]).arg(image).output().ok()?;
        output.status.success().then(|| Self::Loop(String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    }

    fn number(&self) -> (u32, u32) {
        use std::os::unix::fs::MetadataExt;
        let (Self::Given(path) | Self::Loop(path)) = self;
        let device = std::fs::metadata(path).unwrap_or_else(|error| panic!("{path}: {error}")).rdev();
        (rustix::fs::major(device), rustix::fs::minor(device))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let Self::Loop(path) = self else { return };
        let detached = std::process::Command::new("losetup").arg("-d").arg(&*path).status();
        assert!(detached.is_ok_and(|status| status.success()), "{path} stays");
    }
}

#[test]
fn a_throttled_write_keeps_its_rate() {
    only_root!("device nodes, nor a disk of the host's to write");
    skip_unless!(has_controller("blkio"), "needs the blkio or io controller");
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::new(&sandbox, 8 * MIB) else {
        return cloison_tests::skip::report("needs a free loop device, or CLOISON_TEST_DISK");
    };
    let (major, minor) = disk.number();
    let node = json!({"path": "/dev/disk", "type": "b", "major": major, "minor": minor, "fileMode": 0o666, "uid": 0, "gid": 0});
    let rule = json!({"allow": true, "type": "b", "major": major, "minor": minor, "access": "rw"});
    // What is written directly is certainly the container's on v1, too.
    let dd = "dd if=/dev/zero of=/dev/disk bs=64k count=48 oflag=direct 2> /dev/null";
    let bundle = sandbox
        .debian(&format!("set -e; a=$(date +%s%N); {dd}; b=$(date +%s%N); echo $(( (b - a) / 1000000 ))"))
        .push("/linux/devices", node)
        .push("/linux/resources/devices", rule);
    let free: u64 = bundle.run().line().parse().unwrap();
    let throttle = json!([{"major": major, "minor": minor, "rate": MIB}]);
    let bundle = bundle.set("/linux/resources/blockIO/throttleWriteBpsDevice", throttle);
    let milliseconds: u64 = bundle.run().line().parse().unwrap();
    // 3 MiB at 1 MiB a second; the kernel lets a little pass at first. Slower it may be on a busy machine.
    assert!((2400..60_000).contains(&milliseconds), "{milliseconds} ms, {free} without a throttle");
    assert!(free < milliseconds, "{free} ms without a throttle, {milliseconds} with one");
}

/// The block device that the tests' root file system is on, if it may be read; it is not written to.
fn disk() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let device = std::fs::metadata("/").unwrap().dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let event = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/uevent")).ok()?;
    let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    std::fs::File::open(format!("/dev/{name}")).is_ok().then_some((major, minor))
}

#[test]
fn a_throttled_read_keeps_its_rate() {
    only_root!("device nodes, nor a disk of the host's to read");
    skip_unless!(has_controller("blkio"), "needs the blkio or io controller");
    let Some((major, minor)) = disk() else {
        return cloison_tests::skip::report("needs a root file system on a block device that may be read");
    };
    let sandbox = Sandbox::new();
    let node = json!({"path": "/dev/disk", "type": "b", "major": major, "minor": minor, "fileMode": 0o444, "uid": 0, "gid": 0});
    let rule = json!({"allow": true, "type": "b", "major": major, "minor": minor, "access": "r"});
    let dd = "dd if=/dev/disk of=/dev/null bs=64k count=48 iflag=direct 2> /dev/null";
    let bundle = sandbox
        .debian(&format!("set -e; a=$(date +%s%N); {dd}; b=$(date +%s%N); echo $(( (b - a) / 1000000 ))"))
        .push("/linux/devices", node)
        .push("/linux/resources/devices", rule)
        .set(
            "/linux/resources/blockIO/throttleReadBpsDevice",
            json!([{"major": major, "minor": minor, "rate": MIB}]),
        );
    let milliseconds: u64 = bundle.run().line().parse().unwrap();
    // 3 MiB at 1 MiB a second; the kernel lets a little pass at first. Slower it may be on a busy machine.
    assert!((2400..60_000).contains(&milliseconds), "{milliseconds} ms");
}

#[test]
fn block_weights_stand_in_the_cgroup() {
    skip_unless!(has_controller("blkio"), "needs the blkio or io controller");
    let sandbox = Sandbox::new();
    let plain = sandbox.sleeper().start();
    let files = [("blkio.weight", "io.bfq.weight"), ("blkio.bfq.weight", "io.weight")];
    let file = files.into_iter().find(|file| plain.has_cgroup_file("blkio", *file));
    plain.end();
    let bundle = sandbox.sleeper().set("/linux/resources/blockIO/weight", 500);
    let Some(file) = file else {
        only_for!(Cloison, "runc does not name the field");
        let expected = ["/linux/resources/blockIO/weight", "has no"];
        return bundle.run().refused_saying(&expected);
    };
    let container = bundle.start();
    let expected = match file.1 {
        _ if is_v1() => "500",
        "io.weight" => "default 4950",
        _ => "default 500",
    };
    assert_eq!(container.cgroup_file("blkio", file), expected);
    container.end();
}

#[test]
fn unified_is_for_v2_only() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .sleeper()
        .set("/linux/resources/unified", json!({"memory.high": "50000000", "pids.max": "17"}));
    if is_v1() {
        bundle.run().refused_saying(&["cannot use unified on cgroup v1"]);
        return;
    }
    let container = bundle.start();
    assert_eq!(container.cgroup_file("memory", ("", "memory.high")), "49999872");
    assert_eq!(container.cgroup_file("pids", PIDS_MAX), "17");
    container.end();
}

#[test]
fn a_unified_name_that_is_not_there_is_refused_by_name() {
    skip_unless!(!is_v1(), "needs cgroup v2");
    only_for!(Cloison, "runc says it differently");
    let sandbox = Sandbox::new();
    let with = |name: &str| sandbox.sleeper().set("/linux/resources/unified", json!({name: "1"})).run();
    with("memory.nonsense")
        .refused_saying(&["/linux/resources/unified/memory.nonsense", "has no memory.nonsense"]);
    with("nonsense.max").refused_saying(&["needs nonsense.max of the nonsense controller", "not available"]);
}

#[test]
fn what_only_v1_has_is_refused_on_v2() {
    only_for!(Cloison, "runc ignores it");
    let sandbox = Sandbox::new();
    for (section, value) in [
        ("memory/swappiness", json!(5)),
        ("memory/disableOOMKiller", json!(true)),
        ("cpu/realtimeRuntime", json!(1000)),
        ("network/classID", json!(1_048_577)),
    ] {
        let controller =
            if section.starts_with("network") { "net_cls" } else { &section[..section.find('/').unwrap()] };
        let bundle = sandbox.sleeper().set(&format!("/linux/resources/{section}"), value);
        if !is_v1() {
            bundle.run().refused_saying(&[section, "cgroup v2 has no such limit"]);
        } else if !has_controller(controller) {
            bundle.run().refused_saying(&[section, controller, "no hierarchy of it is mounted"]);
        }
    }
}

#[test]
fn swappiness_and_the_oom_killer_are_as_asked_on_v1() {
    skip_unless!(is_v1() && has_controller("memory"), "needs the memory controller of cgroup v1");
    let sandbox = Sandbox::new();
    let memory = json!({"swappiness": 7, "disableOOMKiller": true});
    let container = sandbox.sleeper().set("/linux/resources/memory", memory).start();
    assert_eq!(container.cgroup_file("memory", ("memory.swappiness", "")), "7");
    assert_eq!(container.cgroup_number("memory", ("memory.oom_control", ""), ("oom_kill_disable", "")), 1);
    container.end();
}

#[test]
fn huge_pages_are_limited_or_refused_by_name() {
    let sandbox = Sandbox::new();
    let limit = json!([{"pageSize": "2MB", "limit": 4 * MIB}]);
    let bundle = sandbox.sleeper().set("/linux/resources/hugepageLimits", limit);
    let size = has_file("/sys/kernel/mm/hugepages/hugepages-2048kB");
    if has_controller("hugetlb") && size {
        let container = bundle.start();
        let file = ("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max");
        assert_eq!(container.cgroup_file("hugetlb", file), (4 * MIB).to_string());
        return container.end();
    }
    only_for!(Cloison, "runc does not name the field");
    bundle.run().refused_saying(&["/linux/resources/hugepageLimits/0/limit", "hugetlb"]);
}

#[test]
fn a_limit_that_the_init_does_not_survive_is_told_as_such() {
    skip_unless!(has_controller("memory"), "needs the memory controller");
    only_for!(Cloison, "runc's own process needs more, and its words are its own");
    let sandbox = Sandbox::new();
    let memory = json!({"limit": 4096, "swap": 4096});
    let output = sandbox.busybox("true").set("/linux/resources/memory", memory).run();
    assert!(!output.status.success(), "{}", output.describe());
    let told = ["unable to set memory limit to 4096", "OOM-killed (memory limit too low?)"];
    // The kernel charges many pages at once: who has some left may come as far as the program, which is killed then.
    let is_killed = output.code() == 137 && output.stderr.is_empty();
    assert!(is_killed || told.iter().any(|words| output.stderr.contains(words)), "{}", output.describe());
}

#[test]
fn the_runtime_needs_little_memory_of_the_containers() {
    skip_unless!(has_controller("memory"), "needs the memory controller");
    only_for!(Cloison, "runc's own process needs megabytes");
    let sandbox = Sandbox::new();
    let memory = json!({"limit": MIB, "swap": MIB});
    let output = sandbox.busybox("echo ok").set("/linux/resources/memory", memory).run();
    assert_eq!(output.ok(), "ok\n");
}

#[test]
fn limits_hold_for_a_terminal_and_a_user_namespace_too() {
    skip_unless!(has_controller("pids"), "needs the pids controller");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("sleep 1000").user_namespace(100_000);
    let container = bundle.set("/linux/resources/pids/limit", 33).start();
    assert_eq!(container.cgroup_file("pids", PIDS_MAX), "33");
    container.end();
}

#[test]
fn zeros_and_nulls_are_not_set() {
    let sandbox = Sandbox::new();
    let resources = json!({
        "memory": {"limit": 0, "reservation": 0, "swap": 0}, "pids": null,
        "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""}, "blockIO": {"weight": 0},
    });
    let bundle = sandbox.busybox("echo ok").edit(|spec| {
        let section = spec["linux"]["resources"].as_object_mut().unwrap();
        let Value::Object(new) = resources else { unreachable!() };
        section.extend(new);
    });
    assert_eq!(bundle.run().ok(), "ok\n");
}

#[test]
fn who_may_make_no_cgroup_is_told_which_limits_will_not_hold() {
    only_for!(Cloison, "runc refuses");
    let sandbox = Sandbox::new();
    let limits = json!({"pids": {"limit": 5}, "cpu": {"shares": 7}});
    let bundle = sandbox.sleeper().set("/linux/resources", limits);
    let plan = |bundle: &Bundle<'_>, rootless: &str| {
        bundle.write();
        let mut command = sandbox.bare_command("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(cloison_tests::runtime::binary());
        sandbox.finish({
            command.arg("--root").arg(sandbox.root()).args([rootless, "plan"]).arg(bundle.dir());
            command
        })
    };
    plan(&bundle, "--rootless=auto").refused_saying(&["cannot set cpu and pids limit", "--rootless=true"]);
    let output = plan(&bundle, "--rootless=true");
    for section in ["pids", "cpu"] {
        let warning = format!(
            "/linux/resources/{section}: ignored without a cgroup of the container's own: nothing is limited"
        );
        assert!(output.ok().contains(&warning), "{}", output.describe());
    }
    assert!(!output.stdout.contains("make the cgroup"));
    // Who asks for a certain one means it.
    let bundle = bundle.set("/linux/cgroupsPath", format!("/{}-here", sandbox.name()));
    assert!(plan(&bundle, "--rootless=auto").ok().contains("make the cgroup  [/linux/cgroupsPath]"));
}
