//! What the kernel counts of a cgroup, as data.
//!
//! [`Stats`] is the same on v1, v2 and hybrid; where the two count differently, the field says so. What the machine does
//! not count is absent (`None`, an empty list), never zero. Each file is read once, by a descriptor of its directory and
//! up to a bound; a line of another form than the kernel's is left out and told at debug.
//!
//! | module | from |
//! |---|---|
//! | `cpu` | `cpuacct.*`, `cpu.stat` |
//! | `cpuset` | `cpuset.*` |
//! | `memory` | `memory.*` |
//! | `pids` | `pids.*`, else `cgroup.procs` |
//! | `io` | `blkio.*`, `io.stat` |
//! | `hugetlb`, `rdma`, `misc` | the files of that name |
//! | `pressure` | `cpu.pressure`, `memory.pressure`, `io.pressure` (Linux 4.20) |
//! | `source` | reading the files of one directory |

mod cpu;
pub(crate) mod cpuset;
mod hugetlb;
mod io;
mod memory;
mod misc;
mod pids;
mod pressure;
mod rdma;
mod source;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::error::Result;
use crate::legacy::Legacy;
use source::Source;

pub use cpu::{Bursts, Cpu, CpuUsage, PerCpu, Throttling};
pub use cpuset::Cpuset;
pub use hugetlb::Hugetlb;
pub use io::{Io, IoEntry};
pub use memory::{Counter, Memory, MemoryEvents};
pub use misc::Misc;
pub use pids::Pids;
pub use pressure::{Pressure, Stall};
pub use rdma::{Rdma, RdmaCount};

bitflags::bitflags! {
    /// What is asked for of a cgroup's statistics.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Subjects: u8 {
        /// Processor time and throttling.
        const CPU = 1;
        /// Processors and memory nodes.
        const CPUSET = 1 << 1;
        /// Memory and swap.
        const MEMORY = 1 << 2;
        /// Processes.
        const PIDS = 1 << 3;
        /// Block devices.
        const IO = 1 << 4;
        /// Huge pages.
        const HUGETLB = 1 << 5;
        /// RDMA devices.
        const RDMA = 1 << 6;
        /// What the `misc` controller counts.
        const MISC = 1 << 7;
    }
}

/// What the kernel counts of a cgroup, with all cgroups below it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Processor time and throttling.
    pub cpu: Cpu,
    /// Processors and memory nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<Cpuset>,
    /// Memory and swap.
    pub memory: Memory,
    /// Processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
    /// Block devices.
    pub io: Io,
    /// Huge pages by their size: `2MB`, `1GB`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// RDMA devices by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rdma: BTreeMap<String, Rdma>,
    /// Scalar resources of the `misc` controller by their names, such as `sev` (Linux 5.13).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub misc: BTreeMap<String, Misc>,
}

/// A limit as the kernel writes it.
///
/// Without a limit v1 writes the largest number of bytes that it can count, and v2 `max`, which is [`u64::MAX`] here and in
/// the output of other runtimes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Limit(pub u64);

impl Limit {
    /// No limit.
    pub const NONE: Self = Self(u64::MAX);

    /// Whether there is none. The largest number that v1 counts is `i64::MAX` rounded down to pages of up to 64 KiB.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 >= i64::MAX as u64 & !0xffff
    }
}

impl Stats {
    /// Reads what is asked for in a directory of the v2 hierarchy: on its own, or beside those of v1.
    pub(crate) fn read_unified(&mut self, directory: &Path, of: Subjects) -> Result<()> {
        let Some(source) = Source::open(directory)? else { return Ok(()) };
        let controllers = source.text("cgroup.controllers")?.unwrap_or_default();
        let has = |name: &str| controllers.split_ascii_whitespace().any(|listed| listed == name);
        if of.contains(Subjects::CPU) {
            self.cpu = Cpu::unified(&source)?;
        }
        if of.contains(Subjects::CPUSET) && has("cpuset") {
            self.cpuset = Some(Cpuset::unified(&source)?);
        }
        if of.contains(Subjects::MEMORY) {
            self.memory = Memory::unified(&source, has("memory"))?;
        }
        if of.contains(Subjects::PIDS) {
            self.pids = Pids::unified(&source, directory, has("pids"))?;
        }
        if of.contains(Subjects::IO) {
            self.io = Io::unified(&source, has("io"))?;
        }
        if of.contains(Subjects::HUGETLB) && has("hugetlb") {
            self.hugetlb = hugetlb::unified(&source, &hugetlb::page_sizes())?;
        }
        if of.contains(Subjects::RDMA) && has("rdma") {
            self.rdma = rdma::read(&source)?;
        }
        if of.contains(Subjects::MISC) && has("misc") {
            self.misc = misc::unified(&source)?;
        }
        Ok(())
    }

    /// Reads what is asked for in the v1 directories; what a hybrid machine's v2 hierarchy said already stays where v1 says
    /// nothing.
    pub(crate) fn read_legacy(&mut self, cgroup: &Legacy, of: Subjects) -> Result<()> {
        let open = |subject: Subjects, controller: &str| match cgroup.of(controller) {
            Some(directory) if of.contains(subject) => Source::open(directory),
            _ => Ok(None),
        };
        if let Some(source) = open(Subjects::CPU, "cpuacct")? {
            self.cpu.read_legacy_usage(&source)?;
        }
        if let Some(source) = open(Subjects::CPU, "cpu")? {
            self.cpu.read_legacy_throttling(&source)?;
        }
        if let Some(source) = open(Subjects::CPUSET, "cpuset")? {
            self.cpuset = Some(Cpuset::legacy(&source)?);
        }
        if let Some(source) = open(Subjects::MEMORY, "memory")? {
            self.memory.read_legacy(&source)?;
        }
        if let Some(source) = open(Subjects::PIDS, "pids")? {
            self.pids = Pids::legacy(&source)?;
        }
        if let Some(source) = open(Subjects::IO, "blkio")? {
            self.io.read_legacy(&source)?;
        }
        if let Some(source) = open(Subjects::HUGETLB, "hugetlb")? {
            self.hugetlb = hugetlb::legacy(&source, &hugetlb::page_sizes())?;
        }
        if let Some(source) = open(Subjects::RDMA, "rdma")? {
            self.rdma = rdma::read(&source)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Tree;
    use super::*;
    use crate::{Cgroup, Directory, Unified};

    #[test]
    fn a_cgroup_that_is_gone_has_no_statistics_and_no_error() {
        let tree = Tree::new(&[]);
        let gone = tree.path().join("gone");
        let unified = Unified { mount: tree.path().to_owned(), directory: gone.clone() };
        assert_eq!(unified.stats(Subjects::all()).unwrap(), Stats::default());
        let directory = Directory { controllers: vec!["memory".into(), "cpu".into()], path: gone.clone() };
        let legacy = Legacy { directories: vec![directory], unified: Some(gone) };
        assert_eq!(legacy.stats(Subjects::all()).unwrap(), Stats::default());
    }

    #[test]
    fn what_was_not_asked_for_is_not_read() {
        let tree = Tree::new(&[
            ("cgroup.controllers", "memory pids\n"),
            ("cpu.stat", "usage_usec 5\n"),
            ("memory.current", "7\n"),
            ("pids.current", "3\n"),
            ("pids.max", "max\n"),
        ]);
        let cgroup = Unified { mount: tree.path().to_owned(), directory: tree.path().to_owned() };
        let stats = cgroup.stats(Subjects::PIDS).unwrap();
        assert_eq!(stats.pids.unwrap().limit, Some(Limit::NONE));
        assert_eq!((stats.cpu, stats.memory), (Cpu::default(), Memory::default()));
    }

    #[test]
    fn beside_v1_the_v2_directory_adds_the_pressure_and_v1_has_the_last_word() {
        let stall = "some avg10=1.50 avg60=0.00 avg300=0.00 total=9\n";
        let unified = Tree::new(&[("cpu.stat", "usage_usec 5\n"), ("cpu.pressure", stall)]);
        let legacy = Tree::new(&[("cpuacct.usage", "5432\n"), ("cpuacct.stat", "user 1\nsystem 2\n")]);
        let directory = Directory { controllers: vec!["cpuacct".into()], path: legacy.path().to_owned() };
        let cgroup = Legacy { directories: vec![directory], unified: Some(unified.path().to_owned()) };
        let cpu = cgroup.stats(Subjects::all()).unwrap().cpu;
        assert_eq!(
            cpu.usage.unwrap(),
            CpuUsage { total: Some(5432), user: Some(10_000_000), kernel: Some(20_000_000) }
        );
        assert_eq!(cpu.pressure.unwrap().some.unwrap().total, 9);
    }

    #[test]
    fn unlimited_is_told_from_a_limit_whatever_the_page_size() {
        for unlimited in [9_223_372_036_854_771_712, 9_223_372_036_854_710_272, u64::MAX] {
            assert!(Limit(unlimited).is_none(), "{unlimited}");
        }
        for limited in [0, 1, 1 << 62, i64::MAX as u64 - 0x1_0000] {
            assert!(!Limit(limited).is_none(), "{limited}");
        }
    }
}
