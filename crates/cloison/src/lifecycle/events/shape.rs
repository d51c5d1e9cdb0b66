//! The JSON of `events`, key by key as `runc` has it (`types/events.go`).
//!
//! There every number has a place, and what is not known is 0 or left out, as Go's `omitempty` does: that is done here, so that
//! [`Stats`] can tell the one from the other.

use std::collections::BTreeMap;

use cloison_cgroup::Stats;
use cloison_cgroup::stats;
use serde::{Serialize, Serializer};

use super::{Event, Usage};
use crate::id::ContainerId;
use crate::resctrl;

/// One line of `events`: `{"type":"stats","id":"c1","data":{…}}` or `{"type":"oom","id":"c1"}`.
#[derive(Debug, Serialize)]
pub struct EventLine<'a> {
    r#type: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data<'a>>,
}

impl<'a> EventLine<'a> {
    /// The line of an event of this container.
    #[must_use]
    pub fn new(id: &'a ContainerId, event: &'a Event) -> Self {
        match event {
            Event::Stats(usage) => Self::of_stats(id, usage),
            Event::Oom => Self { r#type: "oom", id: id.as_str(), data: None },
        }
    }

    /// The line of statistics.
    #[must_use]
    pub fn of_stats(id: &'a ContainerId, usage: &'a Usage) -> Self {
        Self { r#type: "stats", id: id.as_str(), data: Some(Data::new(&usage.cgroup, &usage.resctrl)) }
    }
}

#[derive(Debug, Serialize)]
struct Data<'a> {
    cpu: Cpu,
    cpuset: Cpuset<'a>,
    memory: Memory<'a>,
    pids: Pids,
    blkio: Blkio<'a>,
    hugetlb: BTreeMap<&'a str, Hugetlb>,
    intel_rdt: &'a resctrl::Usage,
    /// Those of the days when the runtime made them itself: none.
    network_interfaces: (),
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Cpu {
    #[serde(skip_serializing_if = "is_default")]
    usage: CpuUsage,
    #[serde(skip_serializing_if = "is_default")]
    throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct CpuUsage {
    #[serde(skip_serializing_if = "is_default")]
    total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_user: Vec<u64>,
    kernel: u64,
    user: u64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    #[serde(skip_serializing_if = "is_default")]
    periods: u64,
    #[serde(skip_serializing_if = "is_default")]
    throttled_periods: u64,
    #[serde(skip_serializing_if = "is_default")]
    throttled_time: u64,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Psi {
    #[serde(skip_serializing_if = "is_default")]
    some: Stall,
    #[serde(skip_serializing_if = "is_default")]
    full: Stall,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Stall {
    #[serde(serialize_with = "as_go_does")]
    avg10: f64,
    #[serde(serialize_with = "as_go_does")]
    avg60: f64,
    #[serde(serialize_with = "as_go_does")]
    avg300: f64,
    total: u64,
}

#[derive(Debug, Default, Serialize)]
struct Cpuset<'a> {
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    cpus: &'a [u16],
    cpu_exclusive: u64,
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    mems: &'a [u16],
    mem_hardwall: u64,
    mem_exclusive: u64,
    memory_migrate: u64,
    memory_spread_page: u64,
    memory_spread_slab: u64,
    memory_pressure: u64,
    sched_load_balance: u64,
    sched_relax_domain_level: i64,
}

#[derive(Debug, Serialize)]
struct Memory<'a> {
    #[serde(skip_serializing_if = "is_default")]
    cache: u64,
    #[serde(skip_serializing_if = "is_default")]
    usage: MemoryEntry,
    #[serde(skip_serializing_if = "is_default")]
    swap: MemoryEntry,
    #[serde(skip_serializing_if = "is_default")]
    kernel: MemoryEntry,
    #[serde(rename = "kernelTCP", skip_serializing_if = "is_default")]
    kernel_tcp: MemoryEntry,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    raw: &'a BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct MemoryEntry {
    limit: u64,
    #[serde(skip_serializing_if = "is_default")]
    usage: u64,
    #[serde(skip_serializing_if = "is_default")]
    max: u64,
    failcnt: u64,
}

#[derive(Debug, Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "is_default")]
    current: u64,
    #[serde(skip_serializing_if = "is_default")]
    limit: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Blkio<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_bytes_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_serviced_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_queue_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_wait_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_merged_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sectors_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

#[derive(Debug, PartialEq, Serialize)]
struct BlkioEntry<'a> {
    #[serde(skip_serializing_if = "is_default")]
    major: u64,
    #[serde(skip_serializing_if = "is_default")]
    minor: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    op: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    value: u64,
}

#[derive(Debug, Serialize)]
struct Hugetlb {
    #[serde(skip_serializing_if = "is_default")]
    usage: u64,
    #[serde(skip_serializing_if = "is_default")]
    max: u64,
    failcnt: u64,
}

impl<'a> Data<'a> {
    fn new(stats: &'a Stats, resctrl: &'a resctrl::Usage) -> Self {
        Self {
            cpu: cpu(&stats.cpu),
            cpuset: stats.cpuset.as_ref().map(cpuset).unwrap_or_default(),
            memory: memory(&stats.memory),
            pids: pids(stats.pids),
            blkio: blkio(&stats.io),
            hugetlb: stats.hugetlb.iter().map(|(size, pages)| (size.as_str(), hugetlb(pages))).collect(),
            intel_rdt: resctrl,
            network_interfaces: (),
        }
    }
}

fn cpu(cpu: &stats::Cpu) -> Cpu {
    let usage = cpu.usage.unwrap_or_default();
    let throttling = cpu.throttling.unwrap_or_default();
    Cpu {
        usage: CpuUsage {
            total: usage.total.unwrap_or(0),
            percpu: cpu.per_cpu.iter().map(|cpu| cpu.total).collect(),
            percpu_kernel: cpu.per_cpu.iter().filter_map(|cpu| cpu.kernel).collect(),
            percpu_user: cpu.per_cpu.iter().filter_map(|cpu| cpu.user).collect(),
            kernel: usage.kernel.unwrap_or(0),
            user: usage.user.unwrap_or(0),
        },
        throttling: Throttling {
            periods: throttling.periods,
            throttled_periods: throttling.throttled_periods,
            throttled_time: throttling.throttled_time,
        },
        psi: cpu.pressure.map(psi),
    }
}

fn psi(pressure: stats::Pressure) -> Psi {
    let stall = |stall: Option<stats::Stall>| {
        let stats::Stall { avg10, avg60, avg300, total } = stall.unwrap_or_default();
        Stall { avg10, avg60, avg300, total }
    };
    Psi { some: stall(pressure.some), full: stall(pressure.full) }
}

/// Only v1's: of v2 `runc` tells nothing here.
fn cpuset(cpuset: &stats::Cpuset) -> Cpuset<'_> {
    if cpuset.sched_load_balance.is_none() {
        return Cpuset::default();
    }
    Cpuset {
        cpus: &cpuset.cpus,
        cpu_exclusive: cpuset.cpu_exclusive.unwrap_or(0),
        mems: &cpuset.mems,
        mem_hardwall: cpuset.mem_hardwall.unwrap_or(0),
        mem_exclusive: cpuset.mem_exclusive.unwrap_or(0),
        memory_migrate: cpuset.memory_migrate.unwrap_or(0),
        memory_spread_page: cpuset.memory_spread_page.unwrap_or(0),
        memory_spread_slab: cpuset.memory_spread_slab.unwrap_or(0),
        memory_pressure: cpuset.memory_pressure.unwrap_or(0),
        sched_load_balance: cpuset.sched_load_balance.unwrap_or(0),
        sched_relax_domain_level: cpuset.sched_relax_domain_level.unwrap_or(0),
    }
}

fn memory(memory: &stats::Memory) -> Memory<'_> {
    Memory {
        cache: memory.cache.unwrap_or(0),
        usage: memory_entry(memory.usage),
        swap: memory_entry(memory.memory_and_swap),
        kernel: memory_entry(memory.kernel),
        kernel_tcp: memory_entry(memory.kernel_tcp),
        raw: &memory.raw,
        psi: memory.pressure.map(psi),
    }
}

fn memory_entry(counter: Option<stats::Counter>) -> MemoryEntry {
    let counter = counter.unwrap_or_default();
    MemoryEntry {
        limit: counter.limit.map_or(0, |limit| limit.0),
        usage: counter.usage,
        max: counter.max.unwrap_or(0),
        failcnt: counter.failcnt.unwrap_or(0),
    }
}

/// Here, unlike for memory, no limit is 0.
fn pids(pids: Option<stats::Pids>) -> Pids {
    let limit = pids.and_then(|pids| pids.limit).filter(|limit| !limit.is_none());
    Pids { current: pids.map_or(0, |pids| pids.current), limit: limit.map_or(0, |limit| limit.0) }
}

fn blkio(io: &stats::Io) -> Blkio<'_> {
    Blkio {
        io_service_bytes_recursive: blkio_entries(&io.bytes),
        io_serviced_recursive: blkio_entries(&io.operations),
        io_queue_recursive: blkio_entries(&io.queued),
        io_service_time_recursive: blkio_entries(&io.service_time),
        io_wait_time_recursive: blkio_entries(&io.wait_time),
        io_merged_recursive: blkio_entries(&io.merged),
        io_time_recursive: blkio_entries(&io.time),
        sectors_recursive: blkio_entries(&io.sectors),
        psi: io.pressure.map(psi),
    }
}

fn blkio_entries(entries: &[stats::IoEntry]) -> Vec<BlkioEntry<'_>> {
    let entry = |entry: &stats::IoEntry| (entry.major, entry.minor, entry.value);
    let entries = entries.iter().map(|from| (entry(from), from.op.as_str()));
    entries.map(|((major, minor, value), op)| BlkioEntry { major, minor, op, value }).collect()
}

/// Reserved pages where they are counted, else those in use.
fn hugetlb(pages: &stats::Hugetlb) -> Hugetlb {
    let counter = pages.reserved.unwrap_or(pages.usage);
    Hugetlb { usage: counter.usage, max: counter.max.unwrap_or(0), failcnt: counter.failcnt.unwrap_or(0) }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Whole numbers without a point, as Go writes them.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_go_does<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        serializer.serialize_i64(*number as i64)
    } else {
        serializer.serialize_f64(*number)
    }
}

#[cfg(test)]
mod tests {
    use cloison_cgroup::stats::{Counter, Cpuset, IoEntry, Limit, Pids, Pressure, Stall, Throttling};

    use super::*;
    use crate::state::testing::id;

    fn line(stats: &Stats) -> String {
        let usage = Usage { cgroup: stats.clone(), ..Usage::default() };
        serde_json::to_string(&EventLine::of_stats(&id("c1"), &usage)).unwrap()
    }

    #[test]
    fn an_oom_event_has_no_data() {
        let text = serde_json::to_string(&EventLine::new(&id("c1"), &Event::Oom)).unwrap();
        assert_eq!(text, r#"{"type":"oom","id":"c1"}"#);
    }

    #[test]
    fn a_container_of_which_nothing_is_known_has_the_keys_that_are_never_left_out() {
        let expected = concat!(
            r#"{"type":"stats","id":"c1","data":{"cpu":{},"cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"#,
            r#""mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"#,
            r#""memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"memory":{},"#,
            r#""pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"network_interfaces":null}}"#
        );
        assert_eq!(line(&Stats::default()), expected);
    }

    #[test]
    fn unlimited_is_the_kernels_number_for_memory_and_left_out_for_processes() {
        let pids = Some(Pids { current: 3, limit: Some(Limit::NONE), refused: None });
        let mut stats = Stats { pids, ..Stats::default() };
        stats.memory.usage = Some(Counter { usage: 5, limit: Some(Limit::NONE), ..Counter::default() });
        let text = line(&stats);
        assert!(text.contains(r#""pids":{"current":3}"#), "{text}");
        assert!(text.contains(r#""usage":{"limit":18446744073709551615,"usage":5,"failcnt":0}"#), "{text}");
    }

    #[test]
    fn numbers_that_are_zero_are_left_out_where_go_leaves_them_out() {
        let mut stats = Stats::default();
        stats.io.bytes = vec![IoEntry { major: 8, minor: 0, op: "Read".into(), value: 0 }];
        stats.cpu.throttling = Some(Throttling { periods: 9, throttled_periods: 0, throttled_time: 0 });
        let text = line(&stats);
        assert!(text.contains(r#""ioServiceBytesRecursive":[{"major":8,"op":"Read"}]"#), "{text}");
        assert!(text.contains(r#""throttling":{"periods":9}"#), "{text}");
    }

    #[test]
    fn pressure_is_written_as_go_writes_it() {
        let mut stats = Stats::default();
        let some = Some(Stall { avg10: 1.5, avg60: 100.0, avg300: 0.0, total: 7 });
        stats.cpu.pressure = Some(Pressure { some, full: None });
        let text = line(&stats);
        assert!(text.contains(r#""psi":{"some":{"avg10":1.5,"avg60":100,"avg300":0,"total":7}}"#), "{text}");
    }

    #[test]
    fn of_a_v2_cpuset_nothing_is_told() {
        let cpuset = Cpuset { cpus: vec![0, 1], mems: vec![0], ..Cpuset::default() };
        let text = line(&Stats { cpuset: Some(cpuset), ..Stats::default() });
        assert!(text.contains(r#""cpuset":{"cpu_exclusive":0"#), "{text}");
    }
}
