//! Which processors and memory nodes may be used.

use serde::Serialize;

use super::source::Source;
use crate::error::Result;

/// The highest number of processors or nodes in a list, so that a list cannot grow without end.
const MAX_NUMBERS: usize = 1 << 16;

/// Processors and memory nodes, and on v1 the flags of the cpuset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cpuset {
    /// Processors: `cpuset.cpus`; on v2 `cpuset.cpus.effective`.
    pub cpus: Vec<u16>,
    /// Memory nodes: `cpuset.mems`; on v2 `cpuset.mems.effective`.
    pub mems: Vec<u16>,
    /// `cpuset.cpu_exclusive`: 0 or 1, like all that follow but the last; v1 only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_exclusive: Option<u64>,
    /// `cpuset.mem_hardwall`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_hardwall: Option<u64>,
    /// `cpuset.mem_exclusive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_exclusive: Option<u64>,
    /// `cpuset.memory_migrate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_migrate: Option<u64>,
    /// `cpuset.memory_spread_page`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_spread_page: Option<u64>,
    /// `cpuset.memory_spread_slab`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_spread_slab: Option<u64>,
    /// `cpuset.memory_pressure`: attempts to free memory, per second and times 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_pressure: Option<u64>,
    /// `cpuset.sched_load_balance`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sched_load_balance: Option<u64>,
    /// `cpuset.sched_relax_domain_level`: -1 to 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sched_relax_domain_level: Option<i64>,
}

impl Cpuset {
    /// The files of v1, which lack their prefix where the hierarchy is mounted with `noprefix`, as Android does.
    pub(super) fn legacy(source: &Source) -> Result<Self> {
        let prefix = if source.text("cpuset.cpus")?.is_some() { "cpuset." } else { "" };
        let file = |name: &str| [prefix, name].concat();
        Ok(Self {
            cpus: list(source, &file("cpus"))?,
            mems: list(source, &file("mems"))?,
            cpu_exclusive: source.number(&file("cpu_exclusive"))?,
            mem_hardwall: source.number(&file("mem_hardwall"))?,
            mem_exclusive: source.number(&file("mem_exclusive"))?,
            memory_migrate: source.number(&file("memory_migrate"))?,
            memory_spread_page: source.number(&file("memory_spread_page"))?,
            memory_spread_slab: source.number(&file("memory_spread_slab"))?,
            memory_pressure: source.number(&file("memory_pressure"))?,
            sched_load_balance: source.number(&file("sched_load_balance"))?,
            sched_relax_domain_level: source.signed(&file("sched_relax_domain_level"))?,
        })
    }

    /// The files of v2 that say what is in effect; what was asked for may be empty.
    pub(super) fn unified(source: &Source) -> Result<Self> {
        Ok(Self {
            cpus: list(source, "cpuset.cpus.effective")?,
            mems: list(source, "cpuset.mems.effective")?,
            ..Self::default()
        })
    }
}

/// A file with a list like `0-3,8`.
fn list(source: &Source, name: &str) -> Result<Vec<u16>> {
    let Some(text) = source.text(name)? else { return Ok(Vec::new()) };
    let text = text.trim_ascii();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    Ok(source.parsed(name, text, numbers).unwrap_or_default())
}

/// The numbers of a list like `0-3,8`.
pub(crate) fn numbers(text: &str) -> Option<Vec<u16>> {
    let mut numbers = Vec::new();
    for range in text.split(',') {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (u16, u16) = (from.parse().ok()?, to.parse().ok()?);
        if from > to || numbers.len() + usize::from(to - from) >= MAX_NUMBERS {
            return None;
        }
        numbers.extend(from..=to);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn lists_are_ranges_and_numbers() {
        assert_eq!(numbers("0-3,8"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(numbers("0-65535").map(|list| list.len()), Some(1 << 16));
        for odd in ["", "1,", "3-1", "0-65536", "-1", "a", "0-3-5", "0-65535,1"] {
            assert_eq!(numbers(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn v1_files_have_their_prefix_or_not() {
        for prefix in ["cpuset.", ""] {
            let names = ["cpus", "mems", "sched_relax_domain_level", "sched_load_balance"]
                .map(|name| [prefix, name].concat());
            let texts = ["0-1\n", "\n", "-1\n", "1\n"];
            let files: Vec<_> = names.iter().map(String::as_str).zip(texts).collect();
            let cpuset = Cpuset::legacy(&Tree::new(&files).source()).unwrap();
            let expected = Cpuset {
                cpus: vec![0, 1],
                sched_load_balance: Some(1),
                sched_relax_domain_level: Some(-1),
                ..Cpuset::default()
            };
            assert_eq!(cpuset, expected);
        }
    }

    #[test]
    fn v2_tells_what_is_in_effect() {
        let tree = Tree::new(&[
            ("cpuset.cpus", "\n"),
            ("cpuset.cpus.effective", "2\n"),
            ("cpuset.mems.effective", "0\n"),
        ]);
        let cpuset = Cpuset::unified(&tree.source()).unwrap();
        assert_eq!((cpuset.cpus, cpuset.mems, cpuset.cpu_exclusive), (vec![2], vec![0], None));
    }
}
