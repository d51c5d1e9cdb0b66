//! Limits as properties of a unit (`systemd.resource-control(5)`), so that systemd, which writes what it knows of a unit into the
//! cgroup's files whenever it likes (after `daemon-reload`, say), writes what was asked for. What it has no property for is
//! in the files alone, and systemd leaves those as they are.

use super::bus::BusError;
use super::property::Property;
use super::value::Value;
use crate::limits::LimitError;
use crate::resources::{BlockIo, Cpu, Limit, Resources};

/// What systemd calls no limit.
const INFINITY: u64 = u64::MAX;
const DEFAULT_PERIOD: u64 = 100_000;
const SECOND: u64 = 1_000_000;
/// systemd keeps a quota as a whole percentage of a CPU.
const PERCENT: u64 = SECOND / 100;
/// CPUs and nodes have numbers below this, `CONFIG_NR_CPUS` at its largest.
const HIGHEST_CPU: u32 = 8191;

/// Since which systemd a property is there.
const CPUSET_SINCE: u32 = 244;
const QUOTA_PERIOD_SINCE: u32 = 242;
const IDLE_SINCE: u32 = 252;
const OOM_POLICY_SINCE: u32 = 253;
const ZSWAP_SINCE: u32 = 253;

/// Tells the version of systemd, which is only asked when something depends on it.
pub(super) type Version<'v> = dyn FnMut() -> Result<u32, BusError> + 'v;

/// Why there are no properties.
#[derive(Debug)]
pub(super) enum Trouble {
    Limit(LimitError),
    Bus(BusError),
}

impl From<LimitError> for Trouble {
    fn from(error: LimitError) -> Self {
        Self::Limit(error)
    }
}

impl From<BusError> for Trouble {
    fn from(error: BusError) -> Self {
        Self::Bus(error)
    }
}

/// The quota as systemd can keep it: rounded up to a whole percent, because it will write that into the cgroup's file one day.
/// A quota and a period that are given alone are completed by `now`, what the cgroup has.
pub(super) fn rounded(resources: &Resources, now: impl FnOnce() -> Cpu) -> Resources {
    let mut resources = resources.clone();
    let cpu = &mut resources.cpu;
    if cpu.quota.is_none() && cpu.period.is_none() {
        return resources;
    }
    if cpu.quota.is_none() || cpu.period.is_none() {
        let now = now();
        cpu.quota = cpu.quota.or(now.quota);
        cpu.period = cpu.period.or(now.period);
    }
    let period = cpu.period.unwrap_or(DEFAULT_PERIOD);
    if let Some(Limit::At(quota)) = cpu.quota
        && let Some(second) = quota_per_second(quota, period)
        && let Some(rounded) = second.checked_mul(period)
    {
        cpu.quota = Some(Limit::At(rounded / SECOND));
    }
    resources
}

/// Takes the weight out of limits that make a cgroup of v2 idle: to systemd, and to the kernel, it can only be one of the two.
pub(super) fn without_weight_of_the_idle(
    mut resources: Resources,
    version: &mut Version<'_>,
) -> Result<Resources, BusError> {
    let by_file = resources.unified.get("cpu.idle").is_some_and(|value| value.trim() == "1");
    if (resources.cpu.idle == Some(1) || by_file) && version()? >= IDLE_SINCE {
        let share = resources.cpu.shares.take().is_some();
        if resources.unified.remove("cpu.weight").is_some() || share {
            log::warn!(
                "unable to apply both a CPU weight and idle: systemd has one for both, so the weight is ignored"
            );
        }
    }
    Ok(resources)
}

fn quota_per_second(quota: u64, period: u64) -> Option<u64> {
    quota.checked_mul(SECOND)?.checked_div(period)?.checked_next_multiple_of(PERCENT)
}

/// The properties of a scope or slice of cgroup v2.
pub(super) fn unified(resources: &Resources, version: &mut Version<'_>) -> Result<Vec<Property>, Trouble> {
    let mut set = Set(Vec::new());
    let memory = &resources.memory;
    set.limit("MemoryMax", memory.limit);
    set.limit("MemoryLow", memory.reservation);
    // That it is one has been checked: the files get it too.
    set.limit("MemorySwapMax", memory.swap_alone().unwrap_or_default());
    let idle = resources.cpu.idle == Some(1) && version()? >= IDLE_SINCE;
    // systemd has 0 for "idle".
    let weight = if idle { Some(0) } else { resources.cpu.weight() };
    set.number("CPUWeight", weight);
    quota(&resources.cpu, &mut set, version)?;
    set.limit("TasksMax", resources.pids);
    cpuset(&resources.cpu, &mut set, version)?;
    set.number("IOWeight", resources.block_io.weight.map(BlockIo::io_weight));
    for (key, value) in &resources.unified {
        file(key, value.trim(), resources, &mut set, version)?;
    }
    Ok(set.0)
}

/// The properties of a scope or slice of cgroup v1.
pub(super) fn legacy(resources: &Resources, version: &mut Version<'_>) -> Result<Vec<Property>, Trouble> {
    let mut set = Set(Vec::new());
    set.limit("MemoryLimit", resources.memory.limit);
    set.number("CPUShares", resources.cpu.shares);
    quota(&resources.cpu, &mut set, version)?;
    set.number("BlockIOWeight", resources.block_io.weight.map(u64::from));
    set.limit("TasksMax", resources.pids);
    cpuset(&resources.cpu, &mut set, version)?;
    Ok(set.0)
}

/// What has to be said when the unit is made, because systemd does not change it later.
pub(super) fn at_birth(resources: &Resources, version: &mut Version<'_>) -> Result<Vec<Property>, BusError> {
    let policy = match resources.unified.get("memory.oom.group").map(|value| value.trim()) {
        Some("0") => "continue",
        Some("1") => "kill",
        _ => return Ok(Vec::new()),
    };
    if version()? < OOM_POLICY_SINCE {
        log::debug!(
            "this systemd has no OOMPolicy for scopes; memory.oom.group is in the cgroup's file alone"
        );
        return Ok(Vec::new());
    }
    Ok(vec![Property::new("OOMPolicy", Value::text(policy))])
}

/// Properties being collected, each once: what comes later is what holds.
struct Set(Vec<Property>);

impl Set {
    fn put(&mut self, name: &str, value: Value) {
        self.0.retain(|property| property.name != name);
        self.0.push(Property::new(name, value));
    }

    fn number(&mut self, name: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.put(name, Value::U64(number));
        }
    }

    fn limit(&mut self, name: &str, limit: Option<Limit>) {
        self.number(
            name,
            limit.map(|limit| match limit {
                Limit::At(number) => number,
                Limit::Max => INFINITY,
            }),
        );
    }
}

fn quota(cpu: &Cpu, set: &mut Set, version: &mut Version<'_>) -> Result<(), Trouble> {
    if let Some(period) = cpu.period {
        if version()? >= QUOTA_PERIOD_SINCE {
            set.put("CPUQuotaPeriodUSec", Value::U64(period));
        } else {
            log::debug!("this systemd has no CPUQuotaPeriodUSec; the period is in the cgroup's file alone");
        }
    }
    if cpu.quota.is_some() || cpu.period.is_some() {
        let period = cpu.period.unwrap_or(DEFAULT_PERIOD);
        let quota = match cpu.quota {
            Some(Limit::At(quota)) => quota_per_second(quota, period).unwrap_or(INFINITY),
            Some(Limit::Max) | None => INFINITY,
        };
        set.put("CPUQuotaPerSecUSec", Value::U64(quota));
    }
    Ok(())
}

fn cpuset(cpu: &Cpu, set: &mut Set, version: &mut Version<'_>) -> Result<(), Trouble> {
    let lists = [
        ("AllowedCPUs", "cpu/cpus", cpu.cpus.as_deref()),
        ("AllowedMemoryNodes", "cpu/mems", cpu.mems.as_deref()),
    ];
    for (name, field, list) in lists {
        let Some(list) = list else { continue };
        if version()? >= CPUSET_SINCE {
            set.put(name, bit_mask(list).ok_or_else(|| invalid(field, list))?);
        } else {
            log::debug!("this systemd has no {name}; {list} is in the cgroup's file alone");
        }
    }
    Ok(())
}

fn invalid(field: &str, value: &str) -> Trouble {
    LimitError::Invalid { field: field.to_owned(), value: value.to_owned() }.into()
}

/// A file of cgroup v2 from `unified`, if there is a property for it.
fn file(
    key: &str,
    value: &str,
    resources: &Resources,
    set: &mut Set,
    version: &mut Version<'_>,
) -> Result<(), Trouble> {
    let wrong = || invalid(&format!("unified/{key}"), value);
    let amount = || if value == "max" { Some(INFINITY) } else { value.parse().ok() };
    let idle = |version: &mut Version<'_>| {
        let asked = resources.unified.get("cpu.idle").is_some_and(|value| value.trim() == "1");
        Ok::<_, BusError>(asked && version()? >= IDLE_SINCE)
    };
    match key {
        "cpu.idle" => {
            if idle(version)? {
                set.put("CPUWeight", Value::U64(0));
            }
        }
        "cpu.weight" => {
            if idle(version)? {
                log::warn!("cpu.weight does not hold beside cpu.idle");
            } else {
                set.put("CPUWeight", Value::U64(value.parse().map_err(|_| wrong())?));
            }
        }
        "cpu.max" => {
            let mut words = value.split_whitespace();
            let limit = match words.next() {
                Some("max") => Limit::Max,
                Some(number) => Limit::At(number.parse().map_err(|_| wrong())?),
                None => return Err(wrong()),
            };
            let period = match words.next() {
                Some(number) => Some(number.parse().ok().filter(|period| *period > 0).ok_or_else(wrong)?),
                None => Some(DEFAULT_PERIOD),
            };
            if words.next().is_some() {
                return Err(wrong());
            }
            quota(&Cpu { quota: Some(limit), period, ..Cpu::default() }, set, version)?;
        }
        "cpuset.cpus" | "cpuset.mems" => {
            let name = if key == "cpuset.cpus" { "AllowedCPUs" } else { "AllowedMemoryNodes" };
            let mask = bit_mask(value).ok_or_else(wrong)?;
            if version()? >= CPUSET_SINCE {
                set.put(name, mask);
            }
        }
        "memory.zswap.max" => {
            if version()? >= ZSWAP_SINCE {
                set.put("MemoryZSwapMax", Value::U64(amount().ok_or_else(wrong)?));
            }
        }
        "pids.max" => {
            // systemd has no 0.
            set.put("TasksMax", Value::U64(amount().ok_or_else(wrong)?.max(1)));
        }
        _ => match MEMORY.iter().find(|(file, _)| *file == key) {
            Some((_, name)) => set.put(name, Value::U64(amount().ok_or_else(wrong)?)),
            None => log::debug!("there is no property for {key}; it is in the cgroup's file alone"),
        },
    }
    Ok(())
}

const MEMORY: [(&str, &str); 5] = [
    ("memory.high", "MemoryHigh"),
    ("memory.low", "MemoryLow"),
    ("memory.min", "MemoryMin"),
    ("memory.max", "MemoryMax"),
    ("memory.swap.max", "MemorySwapMax"),
];

/// A list of cpuset(7) as a bit for each number, the lowest in the first byte.
fn bit_mask(list: &str) -> Option<Value> {
    let mut bytes: Vec<u8> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u32, u32) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        if from > to || to > HIGHEST_CPU {
            return None;
        }
        for number in from..=to {
            let byte = (number / 8) as usize;
            if bytes.len() <= byte {
                bytes.resize(byte + 1, 0);
            }
            bytes[byte] |= 1 << (number % 8);
        }
    }
    (!bytes.is_empty()).then(|| Value::Array("y".into(), bytes.into_iter().map(Value::Byte).collect()))
}

#[cfg(test)]
mod tests {
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
            (
                r#"{"cpu":{"quota":5000,"period":500000}}"#,
                "CPUQuotaPeriodUSec=500000 CPUQuotaPerSecUSec=10000",
            ),
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
        assert_eq!(
            printed(&unified(&resources, &mut || Ok(252)).unwrap()),
            ["MemoryMax=1000", "TasksMax=42"]
        );
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
}
