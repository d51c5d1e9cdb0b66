//! Against directories of plain files: which value goes to which file. What the kernel makes of them is tested in
//! `tests/limits.rs`.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::{Cgroup, Directory, Disabled, Legacy, Resources, Unified};

/// A directory with empty files, which is gone when the test is over.
struct Tree(TempDir);

impl Tree {
    fn new(files: &[&str]) -> Self {
        let tree = Self(TempDir::new().unwrap());
        for file in files {
            tree.write(file, "");
        }
        tree
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path().join(file), text).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path().join(file)).unwrap()
    }

    /// A v1 cgroup whose controllers share the directory.
    fn legacy(&self, controllers: &[&str]) -> Legacy {
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        Legacy { directories: vec![Directory { controllers, path: self.path().to_owned() }], unified: None }
    }

    fn unified(&self) -> Unified {
        Unified { mount: self.path().to_owned(), directory: self.path().to_owned() }
    }
}

const ALL: [&str; 10] =
    ["memory", "cpu", "cpuset", "pids", "blkio", "hugetlb", "net_cls", "net_prio", "rdma", "devices"];

/// From JSON, as the state has it.
fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

/// Applies `json` to `cgroup`, whose files are in a new tree, and looks at them.
fn shows(json: &str, cgroup: impl Fn(&Tree) -> Box<dyn Cgroup>, files: &[(&str, &str)]) {
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    let tree = Tree::new(&names);
    let unheld = cgroup(&tree).apply(&resources(json), Terms::default()).unwrap();
    assert!(unheld.is_empty());
    for (file, value) in files {
        assert_eq!(tree.read(file), *value, "{file}");
    }
}

fn shows_on_v1(json: &str, files: &[(&str, &str)]) {
    shows(json, |tree| Box::new(tree.legacy(&ALL)), files);
}

fn shows_on_v2(json: &str, files: &[(&str, &str)]) {
    shows(json, |tree| Box::new(tree.unified()), files);
}

fn refusal(json: &str, cgroup: &dyn Cgroup) -> String {
    let error = cgroup.apply(&resources(json), Terms::default()).unwrap_err();
    let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

const MEMORY: &str =
    r#"{"memory": {"limit": 100, "reservation": 50, "swap": 300, "disableOOMKiller": false}}"#;

#[test]
fn memory_goes_to_its_files() {
    shows_on_v1(
        MEMORY,
        &[
            ("memory.limit_in_bytes", "100"),
            ("memory.memsw.limit_in_bytes", "300"),
            ("memory.soft_limit_in_bytes", "50"),
        ],
    );
    shows_on_v2(MEMORY, &[("memory.max", "100"), ("memory.swap.max", "200"), ("memory.low", "50")]);
    let legacy = r#"{"memory": {"swappiness": 7, "disableOOMKiller": true}}"#;
    shows_on_v1(legacy, &[("memory.swappiness", "7"), ("memory.oom_control", "1")]);
}

#[test]
fn no_limit_is_minus_one_on_v1_and_max_on_v2() {
    let json =
        r#"{"memory": {"limit": "max", "reservation": "max"}, "pids": "max", "cpu": {"quota": "max"}}"#;
    shows_on_v1(
        json,
        &[
            ("memory.limit_in_bytes", "-1"),
            ("memory.memsw.limit_in_bytes", "-1"),
            ("memory.soft_limit_in_bytes", "-1"),
            ("pids.max", "max"),
            ("cpu.cfs_quota_us", "-1"),
        ],
    );
    shows_on_v2(
        json,
        &[
            ("memory.max", "max"),
            ("memory.swap.max", "max"),
            ("memory.low", "max"),
            ("pids.max", "max"),
            ("cpu.max", "max"),
        ],
    );
}

#[test]
fn where_swap_is_not_counted_none_and_no_limit_hold_anyway() {
    for swap in ["100", "\"max\""] {
        let json = format!(r#"{{"memory": {{"limit": 100, "swap": {swap}}}}}"#);
        shows_on_v2(&json, &[("memory.max", "100"), ("cgroup.controllers", "")]);
    }
    shows_on_v1(r#"{"memory": {"limit": 100, "swap": "max"}}"#, &[("memory.limit_in_bytes", "100")]);
    let tree = Tree::new(&["memory.max"]);
    tree.write("cgroup.controllers", "cpu memory\n");
    let said = refusal(r#"{"memory": {"limit": 100, "swap": 200}}"#, &tree.unified());
    let expected =
        "/linux/resources/memory/swap: the memory controller of this kernel has no memory.swap.max in ";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn cpu_goes_to_its_files() {
    let json = r#"{"cpu": {"shares": 1024, "quota": 20000, "period": 50000, "burst": 7, "idle": 1, "cpus": "0-1", "mems": "0"}}"#;
    shows_on_v1(
        json,
        &[
            ("cpu.shares", "1024"),
            ("cpu.cfs_quota_us", "20000"),
            ("cpu.cfs_period_us", "50000"),
            ("cpu.cfs_burst_us", "7"),
            ("cpu.idle", "1"),
            ("cpuset.cpus", "0-1"),
            ("cpuset.mems", "0"),
        ],
    );
    shows_on_v2(
        json,
        &[
            ("cpu.weight", "100"),
            ("cpu.max", "20000 50000"),
            ("cpu.max.burst", "7"),
            ("cpu.idle", "1"),
            ("cpuset.cpus", "0-1"),
            ("cpuset.mems", "0"),
        ],
    );
    let realtime = r#"{"cpu": {"realtimeRuntime": 5, "realtimePeriod": 9, "cpus": "1"}}"#;
    shows_on_v1(realtime, &[("cpu.rt_runtime_us", "5"), ("cpu.rt_period_us", "9"), ("cpus", "1")]);
}

#[test]
fn a_period_alone_keeps_the_quota() {
    let tree = Tree::new(&[]);
    tree.write("cpu.max", "20000 100000\n");
    tree.unified().apply(&resources(r#"{"cpu": {"period": 5000}}"#), Terms::default()).unwrap();
    assert!(tree.read("cpu.max").starts_with("20000 5000"), "{}", tree.read("cpu.max"));
}

#[test]
fn what_the_kernel_does_anyway_needs_no_file() {
    let json = r#"{"cpu": {"burst": 0, "idle": 0}, "memory": {"disableOOMKiller": false}}"#;
    shows_on_v1(json, &[]);
    shows_on_v2(json, &[]);
}

#[test]
fn block_devices_go_to_their_files() {
    let throttle = |name: &str| format!(r#""{name}": [{{"major": 8, "minor": 16, "rate": 5}}]"#);
    let json = format!(
        r#"{{"blockIO": {{"weight": 500, "weightDevice": [{{"major": 8, "minor": 0, "weight": 10}}],
            {}, {}, {}, {}}}}}"#,
        throttle("readBps"),
        throttle("writeBps"),
        throttle("readIops"),
        throttle("writeIops")
    );
    let throttles = [
        ("blkio.throttle.read_bps_device", "8:16 5"),
        ("blkio.throttle.write_bps_device", "8:16 5"),
        ("blkio.throttle.read_iops_device", "8:16 5"),
        ("blkio.throttle.write_iops_device", "8:16 5"),
    ];
    let weights = |bfq: &[(&'static str, &'static str)]| [bfq, &throttles].concat();
    shows_on_v1(&json, &weights(&[("blkio.weight", "500"), ("blkio.weight_device", "8:0 10")]));
    shows_on_v1(&json, &weights(&[("blkio.bfq.weight", "500"), ("blkio.bfq.weight_device", "8:0 10")]));
    let only = |json: &str, files: &[(&str, &str)]| shows_on_v2(json, files);
    only(r#"{"blockIO": {"weight": 500}}"#, &[("io.bfq.weight", "500"), ("io.weight", "4950")]);
    only(r#"{"blockIO": {"weight": 500}}"#, &[("io.weight", "4950")]);
    let device = r#"{"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 1000}]}}"#;
    only(device, &[("io.bfq.weight", "8:0 1000"), ("io.weight", "8:0 10000")]);
    for (name, word) in
        [("readBps", "rbps"), ("writeBps", "wbps"), ("readIops", "riops"), ("writeIops", "wiops")]
    {
        only(&format!(r#"{{"blockIO": {{{}}}}}"#, throttle(name)), &[("io.max", &format!("8:16 {word}=5"))]);
    }
    let unlimited = r#"{"blockIO": {"readBps": [{"major": 8, "minor": 0, "rate": "max"}]}}"#;
    only(unlimited, &[("io.max", "8:0 rbps=max")]);
    shows_on_v1(unlimited, &[("blkio.throttle.read_bps_device", "8:0 0")]);
}

#[test]
fn the_rest_goes_to_its_files() {
    let huge = r#"{"hugepages": [{"pageSize": "2MB", "limit": 9}]}"#;
    shows_on_v1(huge, &[("hugetlb.2MB.limit_in_bytes", "9"), ("hugetlb.2MB.rsvd.limit_in_bytes", "9")]);
    shows_on_v1(huge, &[("hugetlb.2MB.limit_in_bytes", "9")]);
    shows_on_v2(huge, &[("hugetlb.2MB.max", "9"), ("hugetlb.2MB.rsvd.max", "9")]);
    shows_on_v2(huge, &[("hugetlb.2MB.max", "9")]);
    let network = r#"{"network": {"classID": 1048577, "priorities": [{"name": "lo", "priority": 3}]}}"#;
    shows_on_v1(network, &[("net_cls.classid", "1048577"), ("net_prio.ifpriomap", "lo 3")]);
    let rdma = r#"{"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}}"#;
    shows_on_v1(rdma, &[("rdma.max", "mlx5_1 hca_handle=3 hca_object=10000")]);
    shows_on_v2(rdma, &[("rdma.max", "mlx5_1 hca_handle=3 hca_object=10000")]);
    shows_on_v2(r#"{"rdma": {"mlx5_1": {}}}"#, &[]);
    shows_on_v2(
        r#"{"unified": {"memory.high": "5", "cgroup.max.depth": "3"}}"#,
        &[("memory.high", "5"), ("cgroup.max.depth", "3")],
    );
}

#[test]
fn names_in_unified_lead_nowhere_else() {
    let tree = Tree::new(&["memory.high"]);
    for name in [
        "../memory.high",
        "a/memory.high",
        "/etc/passwd",
        "memory",
        ".high",
        "memory.",
        "",
        "..",
        "cgroup.procs",
        "cgroup.kill",
        "memory.\0high",
    ] {
        let mut resources = Resources::default();
        resources.unified.insert(name.to_owned(), "1".to_owned());
        let error = tree.unified().apply(&resources, Terms::default()).unwrap_err();
        assert!(
            matches!(&error, Error::Limit(error) if matches!(**error, LimitError::UnifiedName { .. })),
            "{name:?}: {error}"
        );
    }
}

#[test]
fn sizes_of_huge_pages_lead_nowhere_else() {
    let tree = Tree::new(&[]);
    for size in ["", "2MB/../../x", "..", "2MB.rsvd", "/"] {
        let json = format!(r#"{{"hugepages": [{{"pageSize": "{size}", "limit": 1}}]}}"#);
        let expected =
            format!("/linux/resources/hugepageLimits/0/pageSize: {size:?} is not a size of huge pages");
        assert_eq!(refusal(&json, &tree.unified()), expected);
        assert_eq!(refusal(&json, &tree.legacy(&ALL)), expected);
    }
}

#[test]
fn what_only_the_other_version_has_is_refused_by_name() {
    let tree = Tree::new(&[]);
    let table = [
        (r#"{"memory": {"swappiness": 7}}"#, "memory/swappiness"),
        (r#"{"memory": {"disableOOMKiller": true}}"#, "memory/disableOOMKiller"),
        (r#"{"cpu": {"realtimeRuntime": 7}}"#, "cpu/realtimeRuntime"),
        (r#"{"cpu": {"realtimePeriod": 7}}"#, "cpu/realtimePeriod"),
        (r#"{"blockIO": {"leafWeight": 7}}"#, "blockIO/leafWeight"),
        (r#"{"network": {"classID": 7}}"#, "network/classID"),
        (r#"{"network": {"priorities": [{"name": "lo", "priority": 3}]}}"#, "network/priorities"),
    ];
    for (json, field) in table {
        let expected = format!("/linux/resources/{field}: cgroup v2 has no such limit, only v1");
        assert_eq!(refusal(json, &tree.unified()), expected);
    }
    let said = refusal(r#"{"unified": {"memory.high": "1"}}"#, &tree.legacy(&ALL));
    assert_eq!(
        said,
        "/linux/resources/unified/memory.high: invalid configuration: cannot use unified on cgroup v1"
    );
}

#[test]
fn an_error_names_the_field_the_file_and_the_controller() {
    let tree = Tree::new(&["memory.max"]);
    let pids = r#"{"pids": 5}"#;
    assert_eq!(
        refusal(pids, &tree.legacy(&["memory"])),
        "/linux/resources/pids/limit needs pids.max of the pids controller, which is not available: \
         no hierarchy of it is mounted"
    );
    assert_eq!(
        refusal(pids, &Disabled {}),
        "/linux/resources/pids/limit needs pids.max of the pids controller, which is not available: \
         the container has no cgroup of its own"
    );
    let lacks = "/linux/resources/pids/limit needs pids.max of the pids controller, which is not available: ";
    assert_eq!(
        refusal(pids, &tree.unified()),
        format!("{lacks}the kernel does not have it in this hierarchy")
    );
    let below = Unified { mount: tree.path().to_owned(), directory: tree.path().join("below") };
    fs::create_dir(&below.directory).unwrap();
    tree.write("cgroup.controllers", "cpu pids\n");
    assert_eq!(refusal(pids, &below), format!("{lacks}the cgroups above do not hand it down"));
    tree.write("below/cgroup.type", "threaded\n");
    assert_eq!(refusal(pids, &below), format!("{lacks}a threaded cgroup cannot have it"));
    let gone = Unified { mount: tree.path().to_owned(), directory: tree.path().join("gone") };
    assert!(refusal(pids, &gone).ends_with("/gone is gone: somebody else has removed it"));
    fs::create_dir(tree.path().join("below/pids.max")).unwrap();
    assert_eq!(
        refusal(pids, &below),
        format!(
            "/linux/resources/pids/limit: cannot write \"5\" to {} (pids controller): {}",
            tree.path().join("below/pids.max").display(),
            Errno::ISDIR
        )
    );
}

#[test]
fn swap_without_sense_is_refused() {
    let tree = Tree::new(&["memory.max", "memory.swap.max"]);
    let said = refusal(r#"{"memory": {"swap": 5}}"#, &tree.unified());
    assert!(said.contains("unable to set swap limit without memory limit"), "{said}");
    let said = refusal(r#"{"memory": {"limit": 6, "swap": 5}}"#, &tree.unified());
    assert!(said.contains("memory+swap limit should be >= memory limit"), "{said}");
    assert_eq!(tree.read("memory.max"), "", "nothing was written");
}

#[test]
fn less_than_is_used_is_refused_if_asked_for() {
    let tree = Tree::new(&["memory.max", "memory.swap.max"]);
    tree.write("memory.current", "100\n");
    let try_limit = |limit: u64, check: bool| {
        let json = format!(r#"{{"memory": {{"limit": {limit}, "checkBeforeUpdate": {check}}}}}"#);
        tree.unified().apply(&resources(&json), Terms::default())
    };
    let error = try_limit(100, true).unwrap_err().to_string();
    assert_eq!(error, "/linux/resources/memory: rejecting memory limit 100 <= usage 100");
    try_limit(101, true).unwrap();
    try_limit(99, false).unwrap();
}

#[test]
fn the_lenient_hear_of_each_limit_that_does_not_hold() {
    let tree = Tree::new(&["memory.limit_in_bytes"]);
    let both = resources(r#"{"memory": {"limit": 5}, "pids": 5, "cpu": {"shares": 5}}"#);
    let terms = Terms { lenient: true, undo: false };
    let unheld = tree.legacy(&["memory"]).apply(&both, terms).unwrap();
    let said: Vec<String> = unheld.iter().map(ToString::to_string).collect();
    assert!(said[0].starts_with("/linux/resources/cpu/shares needs"), "{said:?}");
    assert!(said[1].starts_with("/linux/resources/pids/limit needs"), "{said:?}");
    assert_eq!((said.len(), tree.read("memory.limit_in_bytes").as_str()), (2, "5"));
    let unified = resources(r#"{"unified": {"memory.high": "1"}, "memory": {"limit": 5}}"#);
    assert_eq!(Disabled {}.apply(&unified, terms).unwrap().len(), 2);
}

#[test]
fn values_are_taken_back_as_the_kernel_wrote_them() {
    let io = Unset::Key { key: "8:0".into(), otherwise: "rbps=max wbps=max riops=max wiops=max".into() };
    let before = "8:16 rbps=1 wbps=max riops=max wiops=max\n8:0 rbps=2 wbps=3 riops=max wiops=max\n";
    assert_eq!(io.lines(before), ["8:0 rbps=2 wbps=3 riops=max wiops=max"]);
    assert_eq!(io.lines(""), ["8:0 rbps=max wbps=max riops=max wiops=max"]);
    let oom = Unset::After("oom_kill_disable");
    assert_eq!(oom.lines("oom_kill_disable 1\nunder_oom 0\noom_kill 3\n"), ["1"]);
    assert_eq!(Unset::Lines.lines("max 100000\n"), ["max 100000"]);
    assert_eq!(Unset::Lines.lines("\n"), ["\n"], "an empty cpuset");
}
