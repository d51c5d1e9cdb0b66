//! Memory and swap.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Limit;
use super::pressure::Pressure;
use super::source::{Source, value_of};
use crate::error::Result;

/// Memory and swap; sizes in bytes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Memory: `memory.*_in_bytes`; `memory.current` and its neighbours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Counter>,
    /// Swap alone: `memory.swap.*`. On v1 only how much is used, as the difference of two files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<Counter>,
    /// Memory and swap together: `memory.memsw.*`. On v2 the sum of the two, which has no highest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_and_swap: Option<Counter>,
    /// The kernel's own for the cgroup: `memory.kmem.*`; v1 only, where later kernels have no limit of it. On v2 see `kernel`
    /// in [`raw`](Self::raw).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Counter>,
    /// Buffers of TCP: `memory.kmem.tcp.*`; v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_tcp: Option<Counter>,
    /// Pages of files: `cache` of `memory.stat`; on v2 `file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<u64>,
    /// How often limits were met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<MemoryEvents>,
    /// The cgroup is out of memory now: `under_oom` of `memory.oom_control`; v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under_oom: Option<bool>,
    /// Processes wait instead of being killed: `oom_kill_disable` of `memory.oom_control`; v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kill_disabled: Option<bool>,
    /// Every line of `memory.stat`, as the kernel names it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// Time lost by waiting for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// A thing that is used, to its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counter {
    /// Used now.
    pub usage: u64,
    /// Used at most, ever; on v2 since Linux 5.19, of swap since 6.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// What may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// How often more was asked for than the limit; on v2 see [`MemoryEvents`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failcnt: Option<u64>,
}

/// How often limits were met: `memory.events`; on v1 `oom_kill` of `memory.oom_control` alone (Linux 4.13).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryEvents {
    /// Memory was reclaimed that `memory.low` protects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<u64>,
    /// Tasks were slowed down at `memory.high`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<u64>,
    /// The limit was met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// Nothing could be reclaimed at the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom: Option<u64>,
    /// Processes were killed for want of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kill: Option<u64>,
    /// The whole cgroup was killed for want of memory (Linux 5.17).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_group_kill: Option<u64>,
}

impl Memory {
    /// What is in use and could not be had back at once: [`usage`](Self::usage) without pages of files that nobody has used
    /// for a while. It is what engines show.
    #[must_use]
    pub fn working_set(&self) -> Option<u64> {
        let names = ["total_inactive_file", "inactive_file"];
        let idle = names.iter().find_map(|name| self.raw.get(*name)).copied();
        Some(self.usage?.usage.saturating_sub(idle.unwrap_or(0)))
    }

    /// The files of v2: pressure always, the others with the controller.
    pub(super) fn unified(source: &Source, controlled: bool) -> Result<Self> {
        let mut memory = Self { pressure: Pressure::read(source, "memory.pressure")?, ..Self::default() };
        if controlled {
            memory.raw = source.pairs("memory.stat")?.unwrap_or_default().into_iter().collect();
            memory.cache = memory.raw.get("file").copied();
            memory.usage = unified_counter(source, "memory")?;
            memory.swap = unified_counter(source, "memory.swap")?;
            memory.memory_and_swap = memory.usage.zip(memory.swap).map(|(usage, swap)| sum(usage, swap));
            memory.events = source.pairs("memory.events")?.map(|pairs| events(&pairs));
        }
        Ok(memory)
    }

    /// The files of v1.
    pub(super) fn read_legacy(&mut self, source: &Source) -> Result<()> {
        let Some(raw) = source.pairs("memory.stat")? else { return Ok(()) };
        self.raw = raw.into_iter().collect();
        self.cache = self.raw.get("cache").copied();
        self.usage = legacy_counter(source, "memory")?;
        self.memory_and_swap = legacy_counter(source, "memory.memsw")?;
        self.swap = self.usage.zip(self.memory_and_swap).map(|(usage, both)| Counter {
            usage: both.usage.saturating_sub(usage.usage),
            ..Counter::default()
        });
        self.kernel = legacy_counter(source, "memory.kmem")?;
        self.kernel_tcp = legacy_counter(source, "memory.kmem.tcp")?;
        if let Some(control) = source.pairs("memory.oom_control")? {
            let flag = |name| value_of(&control, name).map(|value| value != 0);
            self.oom_kill_disabled = flag("oom_kill_disable");
            self.under_oom = flag("under_oom");
            let oom_kill = value_of(&control, "oom_kill");
            self.events = oom_kill.map(|_| MemoryEvents { oom_kill, ..MemoryEvents::default() });
        }
        Ok(())
    }
}

fn legacy_counter(source: &Source, prefix: &str) -> Result<Option<Counter>> {
    let file = |name: &str| [prefix, name].concat();
    let Some(usage) = source.number(&file(".usage_in_bytes"))? else { return Ok(None) };
    Ok(Some(Counter {
        usage,
        max: source.number(&file(".max_usage_in_bytes"))?,
        limit: source.limit(&file(".limit_in_bytes"))?,
        failcnt: source.number(&file(".failcnt"))?,
    }))
}

fn unified_counter(source: &Source, prefix: &str) -> Result<Option<Counter>> {
    let file = |name: &str| [prefix, name].concat();
    let Some(usage) = source.number(&file(".current"))? else { return Ok(None) };
    let (max, limit) = (source.number(&file(".peak"))?, source.limit(&file(".max"))?);
    Ok(Some(Counter { usage, max, limit, failcnt: None }))
}

/// Memory and swap as v1 counts them together.
fn sum(memory: Counter, swap: Counter) -> Counter {
    let limit = match (memory.limit, swap.limit) {
        (_, Some(limit)) if limit.is_none() => Some(limit),
        (Some(memory), Some(swap)) => Some(Limit(memory.0.saturating_add(swap.0))),
        _ => None,
    };
    Counter { usage: memory.usage.saturating_add(swap.usage), max: None, limit, failcnt: None }
}

fn events(pairs: &[(String, u64)]) -> MemoryEvents {
    MemoryEvents {
        low: value_of(pairs, "low"),
        high: value_of(pairs, "high"),
        max: value_of(pairs, "max"),
        oom: value_of(pairs, "oom"),
        oom_kill: value_of(pairs, "oom_kill"),
        oom_group_kill: value_of(pairs, "oom_group_kill"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    fn legacy(files: &[(&str, &str)]) -> Memory {
        let mut memory = Memory::default();
        memory.read_legacy(&Tree::new(files).source()).unwrap();
        memory
    }

    fn unified(files: &[(&str, &str)]) -> Memory {
        Memory::unified(&Tree::new(files).source(), true).unwrap()
    }

    #[test]
    fn v1_has_four_counters_and_what_the_oom_killer_did() {
        let memory = legacy(&[
            ("memory.stat", "cache 8192\ntotal_inactive_file 4096\ninactive_file 1\n"),
            ("memory.usage_in_bytes", "737280\n"),
            ("memory.max_usage_in_bytes", "2535424\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.failcnt", "3\n"),
            ("memory.memsw.usage_in_bytes", "737380\n"),
            ("memory.memsw.limit_in_bytes", "1000000\n"),
            ("memory.kmem.usage_in_bytes", "544768\n"),
            ("memory.kmem.failcnt", "0\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 1\noom_kill 2\n"),
        ]);
        let usage = memory.usage.unwrap();
        assert_eq!((usage.usage, usage.max, usage.failcnt), (737_280, Some(2_535_424), Some(3)));
        assert!(usage.limit.unwrap().is_none());
        assert_eq!(memory.swap.unwrap().usage, 100);
        assert_eq!(memory.memory_and_swap.unwrap().limit, Some(Limit(1_000_000)));
        let kernel = Counter { usage: 544_768, failcnt: Some(0), ..Counter::default() };
        assert_eq!(memory.kernel, Some(kernel), "later kernels have no limit for it");
        assert_eq!((memory.kernel_tcp, memory.cache), (None, Some(8192)));
        assert_eq!((memory.under_oom, memory.oom_kill_disabled), (Some(true), Some(false)));
        assert_eq!(memory.events.unwrap().oom_kill, Some(2));
        assert_eq!(memory.working_set(), Some(737_280 - 4096));
    }

    #[test]
    fn v2_adds_swap_to_memory_as_v1_counts() {
        let memory = unified(&[
            ("memory.stat", "anon 1\nfile 2\ninactive_file 500\n"),
            ("memory.current", "1000\n"),
            ("memory.peak", "2000\n"),
            ("memory.max", "4000\n"),
            ("memory.swap.current", "30\n"),
            ("memory.swap.max", "5000\n"),
            ("memory.events", "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 5\n"),
        ]);
        let both = memory.memory_and_swap.unwrap();
        assert_eq!((both.usage, both.limit, both.max), (1030, Some(Limit(9000)), None));
        let events = memory.events.unwrap();
        assert_eq!((events.low, events.oom_kill, events.oom_group_kill), (Some(0), Some(4), Some(5)));
        assert_eq!((memory.cache, memory.working_set()), (Some(2), Some(500)));
    }

    #[test]
    fn v2_without_a_limit_of_swap_has_none_for_both() {
        let memory = unified(&[
            ("memory.current", "1000\n"),
            ("memory.max", "4000\n"),
            ("memory.swap.current", "30\n"),
            ("memory.swap.max", "max\n"),
        ]);
        assert_eq!(memory.memory_and_swap.unwrap().limit, Some(Limit::NONE));
        assert_eq!(memory.usage.unwrap().limit, Some(Limit(4000)));
    }

    #[test]
    fn without_accounting_of_swap_there_is_none() {
        let memory = unified(&[("memory.current", "1000\n"), ("memory.max", "max\n")]);
        assert_eq!((memory.swap, memory.memory_and_swap, memory.events), (None, None, None));
        assert_eq!(
            memory.usage.unwrap(),
            Counter { usage: 1000, limit: Some(Limit::NONE), ..Counter::default() }
        );
    }

    #[test]
    fn huge_numbers_neither_wrap_nor_overflow() {
        let huge = "18446744073709551615\n";
        let memory = unified(&[
            ("memory.current", huge),
            ("memory.max", huge),
            ("memory.swap.current", huge),
            ("memory.swap.max", "18446744073709551000\n"),
        ]);
        assert_eq!(memory.memory_and_swap.unwrap().usage, u64::MAX);
        let memory = legacy(&[
            ("memory.stat", "total_inactive_file 18446744073709551615\n"),
            ("memory.usage_in_bytes", "5\n"),
            ("memory.memsw.usage_in_bytes", "3\n"),
        ]);
        assert_eq!((memory.working_set(), memory.swap.unwrap().usage), (Some(0), 0));
    }

    #[test]
    fn garbage_counts_nothing() {
        let junk = "one two\n\n\0\n";
        let files = ["memory.stat", "memory.usage_in_bytes", "memory.oom_control"].map(|name| (name, junk));
        assert_eq!(legacy(&files), Memory::default());
        let files = ["memory.stat", "memory.current", "memory.pressure"].map(|name| (name, junk));
        assert_eq!(unified(&files), Memory::default());
    }
}
