//! Which limits are which properties.

use super::*;

fn printed(properties: &[Property]) -> Vec<String> {
    properties.iter().map(|property| format!("{}={}", property.name, property.value)).collect()
}

fn of(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

fn v2(json: &str, version: u32) -> Vec<String> {
    printed(&unified(&of(json), &mut || Ok(version)).unwrap())
}

fn v1(json: &str) -> Vec<String> {
    printed(&legacy(&of(json), &mut || Ok(252)).unwrap())
}

fn unified_files(files: &[(&str, &str)], version: u32) -> Result<Vec<String>, String> {
    let mut resources = Resources::default();
    resources.unified.extend(files.iter().map(|(file, value)| ((*file).to_owned(), (*value).to_owned())));
    match unified(&resources, &mut || Ok(version)) {
        Ok(properties) => Ok(printed(&properties)),
        Err(Trouble::Limit(error)) => Err(error.to_string()),
        Err(Trouble::Bus(error)) => panic!("{error}"),
    }
}

#[test]
fn limits_of_v2_are_these_properties() {
    let table = [
        (
            r#"{"memory":{"limit":1000,"swap":3000,"reservation":500}}"#,
            "MemoryMax=1000 MemoryLow=500 MemorySwapMax=2000",
        ),
        (r#"{"memory":{"limit":"max"}}"#, "MemoryMax=infinity MemorySwapMax=infinity"),
        (r#"{"cpu":{"shares":1024}}"#, "CPUWeight=100"),
        (r#"{"cpu":{"shares":1024,"idle":1}}"#, "CPUWeight=0"),
        (r#"{"cpu":{"shares":1024,"idle":0}}"#, "CPUWeight=100"),
        (r#"{"cpu":{"quota":20000}}"#, "CPUQuotaPerSecUSec=200000"),
        (r#"{"cpu":{"quota":5000,"period":500000}}"#, "CPUQuotaPeriodUSec=500000 CPUQuotaPerSecUSec=10000"),
        (
            r#"{"cpu":{"quota":"max","period":100000}}"#,
            "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=infinity",
        ),
        (r#"{"pids":20}"#, "TasksMax=20"),
        (r#"{"pids":"max"}"#, "TasksMax=infinity"),
        (r#"{"cpu":{"cpus":"0-1,9","mems":"0"}}"#, "AllowedCPUs=[3 2] AllowedMemoryNodes=[1]"),
        (r#"{"blockIO":{"weight":1000}}"#, "IOWeight=10000"),
        (r#"{"hugepages":[{"pageSize":"2MB","limit":0}]}"#, ""),
    ];
    for (json, expected) in table {
        assert_eq!(v2(json, 252).join(" "), expected, "{json}");
    }
}

#[test]
fn limits_of_v1_are_these_properties() {
    let json = r#"{"memory":{"limit":1000,"swap":3000,"reservation":500},"cpu":{"shares":512,"quota":50000,
                   "period":100000,"cpus":"2"},"pids":7,"blockIO":{"weight":300}}"#;
    let expected = [
        "MemoryLimit=1000",
        "CPUShares=512",
        "CPUQuotaPeriodUSec=100000",
        "CPUQuotaPerSecUSec=500000",
        "BlockIOWeight=300",
        "TasksMax=7",
        "AllowedCPUs=[4]",
    ];
    assert_eq!(v1(json), expected);
    for shares in [1, 262_145] {
        let json = format!(r#"{{"cpu":{{"shares":{shares}}}}}"#);
        assert_eq!(v1(&json), [""; 0], "the file refuses it, and names the field");
    }
}

#[test]
fn files_of_v2_are_properties_where_there_is_one() {
    let table = [
        ("memory.high", "max", "MemoryHigh=infinity"),
        ("memory.low", " 5 ", "MemoryLow=5"),
        ("memory.min", "5", "MemoryMin=5"),
        ("memory.max", "5", "MemoryMax=5"),
        ("memory.swap.max", "0", "MemorySwapMax=0"),
        ("memory.zswap.max", "5", "MemoryZSwapMax=5"),
        ("pids.max", "0", "TasksMax=1"),
        ("cpu.max", "30000 100000", "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=300000"),
        ("cpu.max", "max", "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=infinity"),
        ("cpu.weight", "42", "CPUWeight=42"),
        ("cpu.idle", "1", "CPUWeight=0"),
        ("cpu.idle", "0", ""),
        ("cpuset.cpus", "0,2", "AllowedCPUs=[5]"),
        ("cpuset.mems", "1", "AllowedMemoryNodes=[2]"),
        ("memory.oom.group", "1", ""),
        ("hugetlb.2MB.max", "0", ""),
    ];
    for (file, value, expected) in table {
        assert_eq!(unified_files(&[(file, value)], 255).unwrap().join(" "), expected, "{file}");
    }
    let both = unified_files(&[("cpu.idle", "1"), ("cpu.weight", "42")], 252).unwrap();
    assert_eq!(both, ["CPUWeight=0"], "an idle cgroup has no weight");
}

#[test]
fn files_with_values_that_are_none_are_refused_by_name() {
    for (file, value) in [
        ("memory.max", "lots"),
        ("cpu.max", "1 2 3"),
        ("cpu.max", "1 0"),
        ("cpu.max", ""),
        ("cpuset.cpus", "3-1"),
        ("pids.max", "-1"),
    ] {
        let error = unified_files(&[(file, value)], 255).unwrap_err();
        assert!(
            error.starts_with(&format!("/linux/resources/unified/{file}: invalid value {value:?}")),
            "{error}"
        );
    }
}

#[test]
fn a_file_from_unified_holds_rather_than_the_field_that_means_the_same() {
    let mut resources = of(r#"{"pids":20,"memory":{"limit":1000}}"#);
    resources.unified.insert("pids.max".into(), "42".into());
    assert_eq!(printed(&unified(&resources, &mut || Ok(252)).unwrap()), ["MemoryMax=1000", "TasksMax=42"]);
}

#[test]
fn what_an_old_systemd_does_not_know_is_not_told_to_it() {
    let json = r#"{"cpu":{"quota":20000,"period":100000,"cpus":"0","shares":1024,"idle":1}}"#;
    assert_eq!(v2(json, 241), ["CPUWeight=100", "CPUQuotaPerSecUSec=200000"]);
    assert_eq!(
        unified_files(&[("cpuset.cpus", "0"), ("memory.zswap.max", "1"), ("cpu.idle", "1")], 243)
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn the_version_is_not_asked_for_what_every_systemd_knows() {
    let resources = of(r#"{"memory":{"limit":1000},"cpu":{"shares":1024,"quota":1},"pids":1}"#);
    for properties in [unified, legacy] {
        properties(&resources, &mut || panic!("asked")).unwrap();
    }
}

#[test]
fn what_happens_when_memory_is_out_is_said_at_birth() {
    let mut resources = Resources::default();
    assert!(at_birth(&resources, &mut || panic!("asked")).unwrap().is_empty());
    for (value, expected) in [("0", "OOMPolicy=continue"), ("1", "OOMPolicy=kill")] {
        resources.unified.insert("memory.oom.group".into(), value.into());
        assert_eq!(printed(&at_birth(&resources, &mut || Ok(253)).unwrap()), [expected]);
        assert!(at_birth(&resources, &mut || Ok(252)).unwrap().is_empty());
    }
}

#[test]
fn quotas_are_rounded_up_to_what_systemd_can_keep() {
    let table = [
        ((Some(Limit::At(4500)), Some(100_000)), Some(Limit::At(5000))),
        ((Some(Limit::At(5000)), Some(500_000)), Some(Limit::At(5000))),
        ((Some(Limit::At(1)), None), Some(Limit::At(1000))),
        ((Some(Limit::Max), Some(1000)), Some(Limit::Max)),
        ((Some(Limit::At(u64::MAX)), Some(1000)), Some(Limit::At(u64::MAX))),
    ];
    for ((quota, period), expected) in table {
        let mut resources = Resources::default();
        (resources.cpu.quota, resources.cpu.period) = (quota, period);
        assert_eq!(rounded(&resources, Cpu::default).cpu.quota, expected, "{quota:?} {period:?}");
    }
}

#[test]
fn a_quota_or_a_period_alone_is_completed_by_what_the_cgroup_has() {
    let now = || Cpu { quota: Some(Limit::At(7000)), period: Some(50_000), ..Cpu::default() };
    let period = rounded(&of(r#"{"cpu":{"period":100000}}"#), now);
    assert_eq!((period.cpu.quota, period.cpu.period), (Some(Limit::At(7000)), Some(100_000)));
    let quota = rounded(&of(r#"{"cpu":{"quota":10000}}"#), now);
    assert_eq!((quota.cpu.quota, quota.cpu.period), (Some(Limit::At(10_000)), Some(50_000)));
    let nothing = rounded(&of(r#"{"pids":1}"#), || panic!("asked"));
    assert_eq!(nothing, of(r#"{"pids":1}"#));
}

#[test]
fn an_idle_cgroup_gets_no_weight() {
    let mut both = of(r#"{"cpu":{"shares":200,"idle":1},"unified":{"cpu.weight":"8"}}"#);
    let old = without_weight_of_the_idle(both.clone(), &mut || Ok(251)).unwrap();
    assert_eq!(old, both, "this systemd knows nothing of idle cgroups");
    let idle = without_weight_of_the_idle(both.clone(), &mut || Ok(252)).unwrap();
    assert_eq!(idle, of(r#"{"cpu":{"idle":1}}"#));
    both.cpu.idle = Some(0);
    assert_eq!(without_weight_of_the_idle(both.clone(), &mut || panic!("asked")).unwrap(), both);
    let by_file = of(r#"{"unified":{"cpu.idle":"1","cpu.weight":"8"}}"#);
    let idle = without_weight_of_the_idle(by_file, &mut || Ok(252)).unwrap();
    assert_eq!(idle, of(r#"{"unified":{"cpu.idle":"1"}}"#));
}

#[test]
fn sets_of_cpus_are_bits_from_the_lowest() {
    let bytes = |list: &str| bit_mask(list).map(|value| value.to_string());
    assert_eq!(bytes("0").as_deref(), Some("[1]"));
    assert_eq!(bytes(" 0 , 2-3,, 15 ").as_deref(), Some("[13 128]"));
    for wrong in ["", ",", "a", "3-1", "1-", "-1", "4294967295", "8192"] {
        assert_eq!(bytes(wrong), None, "{wrong}");
    }
}
