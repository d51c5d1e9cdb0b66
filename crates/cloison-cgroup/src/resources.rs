//! What a container may use: the limits of a cgroup as data, the same for every driver.
//!
//! The fields mirror `linux.resources` of
//! [runtime-spec](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config-linux.md#control-groups), with what its
//! numbers stand for already worked out: a field that is none leaves the cgroup as it is, and "no limit" is
//! [`Limit::Max`]. Values are those of the specification (shares, swap with memory), which each driver turns into what its
//! kernel interface wants. [Device rules](crate::DeviceRule) are apart.

mod convert;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use convert::SwapError;

use crate::limits::{LimitError, Setting};

/// All limits of a cgroup.
///
/// ```
/// use cloison_cgroup::{Limit, Resources};
///
/// let mut resources = Resources::default();
/// assert!(resources.is_empty());
/// resources.memory.limit = Some(Limit::At(256 << 20));
/// resources.pids = Some(Limit::At(100));
///
/// let mut change = Resources::default();
/// change.pids = Some(Limit::Max);
/// resources.merge(&change);
/// assert_eq!(resources.pids, Some(Limit::Max));
/// assert_eq!(resources.memory.limit, Some(Limit::At(256 << 20)));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Memory.
    #[serde(skip_serializing_if = "is_default")]
    pub memory: Memory,
    /// Processors.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu: Cpu,
    /// The greatest number of tasks. Never 0, which would let nothing start: who asks for it gets 1, as with runc.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Limit>,
    /// Block devices.
    #[serde(rename = "blockIO", skip_serializing_if = "is_default")]
    pub block_io: BlockIo,
    /// Huge pages, each size once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hugepages: Vec<HugepageLimit>,
    /// Marks of network packets, cgroup v1 only.
    #[serde(skip_serializing_if = "is_default")]
    pub network: Network,
    /// RDMA devices by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rdma: BTreeMap<String, Rdma>,
    /// Files of the v2 cgroup's directory and what is written to them, after everything else; an error on v1.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unified: BTreeMap<String, String>,
}

/// A limit, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// At most so much.
    At(u64),
    /// No limit: `max` on v2, -1 on v1 and in configurations. Greater than any other.
    Max,
}

/// Memory, in bytes. Never 0: that is "not set" in configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// The hard limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The soft limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<Limit>,
    /// The limit of memory and swap together (v1's way of counting, also where the driver is v2's).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<Limit>,
    /// How readily pages are swapped out, 0 to 100; cgroup v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<u64>,
    /// Whether tasks wait instead of being killed when memory is out; cgroup v1 only.
    #[serde(rename = "disableOOMKiller", skip_serializing_if = "Option::is_none")]
    pub disable_oom_killer: Option<bool>,
    /// Whether a limit below what is used already is refused instead of letting the kernel reclaim and kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_before_update: Option<bool>,
}

/// Processors. Times are in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cpu {
    /// The share of time beside other cgroups, 2 to 262144 (v1's scale, also where the driver is v2's); never 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    /// The time in each period; never 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Limit>,
    /// The period; never 0. The kernel's own is 100 000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    /// The time that may be saved up for bursts (Linux 5.14).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
    /// Whether it runs only when nobody else wants to (Linux 5.15): 0 or 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<i64>,
    /// The real-time tasks' time in each of their periods; cgroup v1 only, never 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_runtime: Option<Limit>,
    /// The real-time tasks' period; cgroup v1 only, never 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_period: Option<u64>,
    /// The CPUs, as cpuset(7) writes them; never empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// The memory nodes, as cpuset(7) writes them; never empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems: Option<String>,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockIo {
    /// The share beside other cgroups, 10 to 1000; never 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// The own tasks' share beside cgroups below; cgroup v1 before Linux 5.0 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
    /// Shares by device, each device once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weight_device: Vec<WeightDevice>,
    /// Bytes a second read, by device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read_bps: Vec<Throttle>,
    /// Bytes a second written, by device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub write_bps: Vec<Throttle>,
    /// Reads a second, by device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub read_iops: Vec<Throttle>,
    /// Writes a second, by device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub write_iops: Vec<Throttle>,
}

/// A block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockDevice {
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
}

/// A share of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightDevice {
    /// Which.
    #[serde(flatten)]
    pub device: BlockDevice,
    /// The share, 10 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// The own tasks' share beside cgroups below; cgroup v1 before Linux 5.0 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
}

/// A rate of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// Which.
    #[serde(flatten)]
    pub device: BlockDevice,
    /// Bytes or operations a second.
    pub rate: Limit,
}

/// Huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HugepageLimit {
    /// The page's size as the kernel's files name it: `64KB`, `2MB`, `1GB`.
    pub page_size: String,
    /// How many bytes of them, used and, where the kernel can (Linux 5.7), reserved.
    pub limit: Limit,
}

/// Marks of network packets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// The class of the packets; never 0.
    #[serde(rename = "classID", skip_serializing_if = "Option::is_none")]
    pub class_id: Option<u32>,
    /// Priorities, by the interface's name in the runtime's network namespace, each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priorities: Vec<InterfacePriority>,
}

/// The priority of packets through one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfacePriority {
    /// The interface.
    pub name: String,
    /// The priority.
    pub priority: u32,
}

/// Limits of one RDMA device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rdma {
    /// Handles that may be open; none is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_handles: Option<u32>,
    /// Objects that may exist; none is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hca_objects: Option<u32>,
}

impl Resources {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What has to be true before the first process is in the cgroup, and what need not, and may be in its way: it decides
    /// from the beginning where the process runs and whether it may be a real-time one, but how much it may use is for the
    /// program, not for what makes ready for it.
    #[must_use]
    pub fn split(&self) -> (Self, Self) {
        let Cpu { realtime_runtime, realtime_period, cpus, mems, .. } = self.cpu.clone();
        let first = Cpu { realtime_runtime, realtime_period, cpus, mems, ..Cpu::default() };
        let mut rest = self.clone();
        rest.cpu.realtime_period = None;
        rest.cpu.realtime_runtime = None;
        rest.cpu.cpus = None;
        rest.cpu.mems = None;
        (Self { cpu: first, ..Self::default() }, rest)
    }

    /// This change of `all`, which it has been [merged](Self::merge) into, with what it cannot be without: the limits of
    /// memory and of memory and swap together.
    #[must_use]
    pub fn completed(&self, all: &Self) -> Self {
        let mut complete = self.clone();
        if self.memory.limit.is_some() || self.memory.swap.is_some() {
            complete.memory.limit = all.memory.limit;
            complete.memory.swap = all.memory.swap;
            complete.memory.check_before_update = all.memory.check_before_update;
        }
        complete
    }

    /// Takes over all that `change` sets; the rest stays as it is. In lists and maps, entries for the same device, size or
    /// name are replaced. Memory without a limit takes that of memory and swap together with it, unless `change` sets
    /// that too.
    pub fn merge(&mut self, change: &Self) {
        self.memory.merge(&change.memory);
        self.cpu.merge(&change.cpu);
        replace(&mut self.pids, change.pids.as_ref());
        self.block_io.merge(&change.block_io);
        replace_entries(&mut self.hugepages, &change.hugepages, |one| one.page_size.clone());
        replace(&mut self.network.class_id, change.network.class_id.as_ref());
        replace_entries(&mut self.network.priorities, &change.network.priorities, |one| one.name.clone());
        self.rdma.extend(change.rdma.iter().map(|(name, limits)| (name.clone(), *limits)));
        self.unified.extend(change.unified.clone());
    }
}

impl Memory {
    fn merge(&mut self, change: &Self) {
        // On v1 a sum with a limit cannot be while a part has none, and whoever takes the one away means both.
        if change.limit == Some(Limit::Max) && change.swap.is_none() {
            self.swap = Some(Limit::Max);
        }
        replace(&mut self.limit, change.limit.as_ref());
        replace(&mut self.reservation, change.reservation.as_ref());
        replace(&mut self.swap, change.swap.as_ref());
        replace(&mut self.swappiness, change.swappiness.as_ref());
        replace(&mut self.disable_oom_killer, change.disable_oom_killer.as_ref());
        replace(&mut self.check_before_update, change.check_before_update.as_ref());
    }
}

impl Cpu {
    fn merge(&mut self, change: &Self) {
        replace(&mut self.shares, change.shares.as_ref());
        replace(&mut self.quota, change.quota.as_ref());
        replace(&mut self.period, change.period.as_ref());
        replace(&mut self.burst, change.burst.as_ref());
        replace(&mut self.idle, change.idle.as_ref());
        replace(&mut self.realtime_runtime, change.realtime_runtime.as_ref());
        replace(&mut self.realtime_period, change.realtime_period.as_ref());
        replace(&mut self.cpus, change.cpus.as_ref());
        replace(&mut self.mems, change.mems.as_ref());
    }
}

impl BlockIo {
    fn merge(&mut self, change: &Self) {
        replace(&mut self.weight, change.weight.as_ref());
        replace(&mut self.leaf_weight, change.leaf_weight.as_ref());
        replace_entries(&mut self.weight_device, &change.weight_device, |one| one.device);
        replace_entries(&mut self.read_bps, &change.read_bps, |one| one.device);
        replace_entries(&mut self.write_bps, &change.write_bps, |one| one.device);
        replace_entries(&mut self.read_iops, &change.read_iops, |one| one.device);
        replace_entries(&mut self.write_iops, &change.write_iops, |one| one.device);
    }
}

fn replace<T: Clone>(value: &mut Option<T>, change: Option<&T>) {
    if let Some(change) = change {
        *value = Some(change.clone());
    }
}

fn replace_entries<T: Clone, K: PartialEq>(list: &mut Vec<T>, change: &[T], key: impl Fn(&T) -> K) {
    list.retain(|one| !change.iter().any(|new| key(new) == key(one)));
    list.extend_from_slice(change);
}

/// The field and the beginning of the file's name of each limit of huge pages; on v1 and v2 they end differently.
pub(crate) fn hugepages(resources: &Resources) -> Result<Vec<(String, String, Limit)>, LimitError> {
    let limits = resources.hugepages.iter().enumerate().map(|(index, huge)| {
        let size = &huge.page_size;
        if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(LimitError::PageSize { index, size: size.clone() });
        }
        Ok((format!("hugepageLimits/{index}/limit"), format!("hugetlb.{size}"), huge.limit))
    });
    limits.collect()
}

/// `rdma.max`, which is the same on v1 and v2.
pub(crate) fn rdma(resources: &Resources) -> impl Iterator<Item = Setting> {
    resources.rdma.iter().filter_map(|(name, limits)| {
        let words = [("hca_handle", limits.hca_handles), ("hca_object", limits.hca_objects)];
        let words: Vec<String> =
            words.iter().filter_map(|(word, limit)| limit.map(|limit| format!("{word}={limit}"))).collect();
        let escaped = name.replace('~', "~0").replace('/', "~1");
        let value = format!("{name} {}", words.join(" "));
        let setting = Setting::new(format!("rdma/{escaped}"), "rdma", "rdma.max", value);
        (!words.is_empty()).then(|| setting.keyed(name, "hca_handle=max hca_object=max"))
    })
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Limit {
    /// What a configuration's number stands for: less than 0 is no limit.
    #[must_use]
    pub fn of_signed(number: i64) -> Self {
        u64::try_from(number).map_or(Self::Max, Self::At)
    }
}

impl fmt::Display for Limit {
    /// As v2's files have it: a number, or `max`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(number) => number.fmt(f),
            Self::Max => f.write_str("max"),
        }
    }
}

impl fmt::Display for BlockDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl Serialize for Limit {
    /// A number, or the string `max`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::At(number) => serializer.serialize_u64(*number),
            Self::Max => serializer.serialize_str("max"),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LimitVisitor)
    }
}

struct LimitVisitor;

impl serde::de::Visitor<'_> for LimitVisitor {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or \"max\"")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Limit, E> {
        Ok(Limit::At(number))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Limit, E> {
        if text == "max" {
            Ok(Limit::Max)
        } else {
            Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(minor: u32, rate: u64) -> Throttle {
        Throttle { device: BlockDevice { major: 8, minor }, rate: Limit::At(rate) }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let mut all = Resources { pids: Some(Limit::Max), ..Resources::default() };
        all.memory.limit = Some(Limit::At(u64::MAX));
        all.block_io.read_bps = vec![throttle(0, 5)];
        all.hugepages = vec![HugepageLimit { page_size: "2MB".into(), limit: Limit::At(0) }];
        all.rdma.insert("mlx5_0".into(), Rdma { hca_handles: Some(3), hca_objects: None });
        all.unified.insert("memory.high".into(), "max".into());
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Resources>(&text).unwrap(), all, "{text}");
        assert_eq!(serde_json::to_string(&Resources::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Resources>("{}").unwrap(), Resources::default());
    }

    #[test]
    fn a_limit_is_a_number_or_max_and_nothing_else() {
        assert_eq!(serde_json::to_string(&[Limit::At(7), Limit::Max]).unwrap(), r#"[7,"max"]"#);
        for text in ["-1", "\"7\"", "null", "1.5", "\"\""] {
            assert!(serde_json::from_str::<Limit>(text).is_err(), "{text}");
        }
        assert!(Limit::Max > Limit::At(u64::MAX));
        assert_eq!([-1, 0, 5].map(Limit::of_signed), [Limit::Max, Limit::At(0), Limit::At(5)]);
    }

    #[test]
    fn a_change_replaces_what_it_sets_and_leaves_the_rest() {
        let mut all = Resources::default();
        all.cpu.shares = Some(100);
        all.cpu.cpus = Some("0".into());
        all.block_io.read_bps = vec![throttle(0, 1), throttle(1, 1)];
        all.unified.insert("memory.high".into(), "1".into());
        let mut change = Resources::default();
        change.cpu.cpus = Some("0-1".into());
        change.block_io.read_bps = vec![throttle(1, 2), throttle(2, 2)];
        change.unified.insert("memory.low".into(), "2".into());
        all.merge(&change);
        assert_eq!(all.cpu, Cpu { shares: Some(100), cpus: Some("0-1".into()), ..Cpu::default() });
        assert_eq!(all.block_io.read_bps, [throttle(0, 1), throttle(1, 2), throttle(2, 2)]);
        assert_eq!(all.unified.len(), 2);
        let before = all.clone();
        all.merge(&Resources::default());
        assert_eq!(all, before);
    }
}
