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

/// What systemd and the kernel take for `cpu.shares`.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

/// The properties of a scope or slice of cgroup v1.
pub(super) fn legacy(resources: &Resources, version: &mut Version<'_>) -> Result<Vec<Property>, Trouble> {
    let mut set = Set(Vec::new());
    set.limit("MemoryLimit", resources.memory.limit);
    // Others are refused by the kernel's file, in words that name the field.
    set.number("CPUShares", resources.cpu.shares.filter(|shares| SHARES.contains(shares)));
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
mod tests;
