//! Processor time, and how much of it was withheld.

use serde::Serialize;

use super::pressure::Pressure;
use super::source::{Source, value_of};
use crate::error::Result;

/// Nanoseconds in a microsecond.
const MICROSECOND: u64 = 1000;
/// Nanoseconds in a tick of `cpuacct.stat`: 1/100 of a second (`USER_HZ`) on every machine that containers run on.
const TICK: u64 = 10_000_000;

/// Processor time and throttling.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cpu {
    /// Time on all processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<CpuUsage>,
    /// Time on each processor, by its number; v1 only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub per_cpu: Vec<PerCpu>,
    /// Time withheld by a quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttling: Option<Throttling>,
    /// Time used beyond a quota (Linux 5.14).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bursts: Option<Bursts>,
    /// Time lost by waiting for a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// Processor time, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CpuUsage {
    /// All of it: `cpuacct.usage`; `usage_usec` of `cpu.stat`.
    #[serde(rename = "totalNs", skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// In user mode: `user` of `cpuacct.stat`, to 10 ms; `user_usec` of `cpu.stat`.
    #[serde(rename = "userNs", skip_serializing_if = "Option::is_none")]
    pub user: Option<u64>,
    /// In the kernel: `system` of `cpuacct.stat`, to 10 ms; `system_usec` of `cpu.stat`.
    #[serde(rename = "kernelNs", skip_serializing_if = "Option::is_none")]
    pub kernel: Option<u64>,
}

/// Time on one processor, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PerCpu {
    /// All of it: `cpuacct.usage_percpu`.
    #[serde(rename = "totalNs")]
    pub total: u64,
    /// In user mode, sampled by ticks: `cpuacct.usage_all`.
    #[serde(rename = "userNs", skip_serializing_if = "Option::is_none")]
    pub user: Option<u64>,
    /// In the kernel, sampled by ticks: `cpuacct.usage_all`.
    #[serde(rename = "kernelNs", skip_serializing_if = "Option::is_none")]
    pub kernel: Option<u64>,
}

/// How a quota has acted: `cpu.stat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which something ran under a quota: `nr_periods`.
    pub periods: u64,
    /// Periods in which the quota was used up: `nr_throttled`.
    pub throttled_periods: u64,
    /// Time withheld, in nanoseconds: `throttled_time`; `throttled_usec`.
    #[serde(rename = "throttledNs")]
    pub throttled_time: u64,
}

/// How a burst allowance was used: `cpu.stat` (Linux 5.14).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Bursts {
    /// Periods in which more than the quota was used: `nr_bursts`.
    pub periods: u64,
    /// Time used beyond the quota, in nanoseconds: `burst_time`; `burst_usec`.
    #[serde(rename = "timeNs")]
    pub time: u64,
}

impl Cpu {
    /// `cpu.stat` of v2, which is there without the controller.
    pub(super) fn unified(source: &Source) -> Result<Self> {
        let pressure = Pressure::read(source, "cpu.pressure")?;
        let Some(pairs) = source.pairs("cpu.stat")? else { return Ok(Self { pressure, ..Self::default() }) };
        let nanoseconds = |name| value_of(&pairs, name).map(|value| value.saturating_mul(MICROSECOND));
        let usage = CpuUsage {
            total: nanoseconds("usage_usec"),
            user: nanoseconds("user_usec"),
            kernel: nanoseconds("system_usec"),
        };
        Ok(Self {
            usage: (usage != CpuUsage::default()).then_some(usage),
            per_cpu: Vec::new(),
            throttling: throttling(&pairs, nanoseconds("throttled_usec")),
            bursts: bursts(&pairs, nanoseconds("burst_usec")),
            pressure,
        })
    }

    /// The files of v1's `cpuacct`.
    pub(super) fn read_legacy_usage(&mut self, source: &Source) -> Result<()> {
        let Some(total) = source.number("cpuacct.usage")? else { return Ok(()) };
        let ticks = source.pairs("cpuacct.stat")?.unwrap_or_default();
        let nanoseconds = |name| value_of(&ticks, name).map(|value| value.saturating_mul(TICK));
        self.usage =
            Some(CpuUsage { total: Some(total), user: nanoseconds("user"), kernel: nanoseconds("system") });
        self.per_cpu = per_cpu(source)?;
        Ok(())
    }

    /// `cpu.stat` of v1.
    pub(super) fn read_legacy_throttling(&mut self, source: &Source) -> Result<()> {
        let Some(pairs) = source.pairs("cpu.stat")? else { return Ok(()) };
        self.throttling = throttling(&pairs, value_of(&pairs, "throttled_time"));
        self.bursts = bursts(&pairs, value_of(&pairs, "burst_time"));
        Ok(())
    }
}

fn throttling(pairs: &[(String, u64)], time: Option<u64>) -> Option<Throttling> {
    let periods = value_of(pairs, "nr_periods")?;
    let throttled_periods = value_of(pairs, "nr_throttled")?;
    Some(Throttling { periods, throttled_periods, throttled_time: time? })
}

fn bursts(pairs: &[(String, u64)], time: Option<u64>) -> Option<Bursts> {
    Some(Bursts { periods: value_of(pairs, "nr_bursts")?, time: time? })
}

/// `cpuacct.usage_percpu`, and the two modes where `cpuacct.usage_all` (Linux 4.7) has a line for each of the same processors.
fn per_cpu(source: &Source) -> Result<Vec<PerCpu>> {
    const TOTALS: &str = "cpuacct.usage_percpu";
    const MODES: &str = "cpuacct.usage_all";
    let totals = source.text(TOTALS)?.unwrap_or_default();
    // A number that is not one would shift those behind it to other processors.
    let Some(mut cpus) = source.parsed(TOTALS, &totals, |text| {
        let totals = text.split_ascii_whitespace().map(|number| number.parse().ok());
        totals.map(|total| Some(PerCpu { total: total?, ..PerCpu::default() })).collect::<Option<Vec<_>>>()
    }) else {
        return Ok(Vec::new());
    };
    let modes = source.text(MODES)?.unwrap_or_default();
    let lines = modes.lines().skip(1).map(|line| source.parsed(MODES, line, modes_of));
    let modes: Vec<_> = lines.collect();
    if modes.len() == cpus.len() {
        for (cpu, modes) in cpus.iter_mut().zip(modes) {
            (cpu.user, cpu.kernel) = modes.unzip();
        }
    }
    Ok(cpus)
}

/// A line of `cpuacct.usage_all`: a processor's number, its time in user mode and in the kernel.
fn modes_of(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split(' ').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    fn legacy(files: &[(&str, &str)]) -> Cpu {
        let tree = Tree::new(files);
        let mut cpu = Cpu::default();
        cpu.read_legacy_usage(&tree.source()).unwrap();
        cpu.read_legacy_throttling(&tree.source()).unwrap();
        cpu
    }

    #[test]
    fn v1_counts_in_ticks_and_nanoseconds() {
        let cpu = legacy(&[
            ("cpuacct.usage", "7822836\n"),
            ("cpuacct.stat", "user 12\nsystem 3\n"),
            ("cpuacct.usage_percpu", "5713410 2109426 \n"),
            ("cpuacct.usage_all", "cpu user system\n0 4000000 1\n1 2 4000000\n"),
            (
                "cpu.stat",
                "nr_periods 9\nnr_throttled 4\nthrottled_time 123456789\nnr_bursts 1\nburst_time 2\n",
            ),
        ]);
        let expected = CpuUsage { total: Some(7_822_836), user: Some(120_000_000), kernel: Some(30_000_000) };
        assert_eq!(cpu.usage, Some(expected));
        assert_eq!(cpu.per_cpu[1], PerCpu { total: 2_109_426, user: Some(2), kernel: Some(4_000_000) });
        let expected = Throttling { periods: 9, throttled_periods: 4, throttled_time: 123_456_789 };
        assert_eq!(cpu.throttling, Some(expected));
        assert_eq!(cpu.bursts, Some(Bursts { periods: 1, time: 2 }));
    }

    #[test]
    fn v2_counts_in_microseconds_and_throttles_only_with_the_controller() {
        let tree =
            Tree::new(&[("cpu.stat", "usage_usec 7822\nuser_usec 3911\nsystem_usec 3911\nnice_usec 0\n")]);
        let cpu = Cpu::unified(&tree.source()).unwrap();
        let expected = CpuUsage { total: Some(7_822_000), user: Some(3_911_000), kernel: Some(3_911_000) };
        assert_eq!((cpu.usage, cpu.throttling, cpu.bursts), (Some(expected), None, None));
        let text =
            "usage_usec 1\nnr_periods 2\nnr_throttled 1\nthrottled_usec 3\nnr_bursts 0\nburst_usec 0\n";
        let tree = Tree::new(&[("cpu.stat", text)]);
        let throttling = Cpu::unified(&tree.source()).unwrap().throttling.unwrap();
        assert_eq!(throttling, Throttling { periods: 2, throttled_periods: 1, throttled_time: 3000 });
    }

    #[test]
    fn a_missing_line_is_an_absent_value_and_a_huge_number_does_not_wrap() {
        let cpu = legacy(&[
            ("cpuacct.usage", "18446744073709551615\n"),
            ("cpuacct.stat", "user 18446744073709551615\n"),
            ("cpuacct.usage_percpu", "1 two 3\n"),
            ("cpu.stat", "nr_periods 9\nthrottled_time 1\n"),
        ]);
        let expected = CpuUsage { total: Some(u64::MAX), user: Some(u64::MAX), kernel: None };
        assert_eq!(cpu.usage, Some(expected));
        assert_eq!((cpu.per_cpu, cpu.throttling, cpu.bursts), (vec![], None, None));
    }

    #[test]
    fn processors_whose_modes_are_not_all_told_have_none() {
        let cpu = legacy(&[
            ("cpuacct.usage", "3\n"),
            ("cpuacct.usage_percpu", "1 2\n"),
            ("cpuacct.usage_all", "cpu user system\n0 1 0\n"),
        ]);
        assert_eq!(cpu.per_cpu, [1, 2].map(|total| PerCpu { total, user: None, kernel: None }));
    }

    #[test]
    fn garbage_counts_nothing() {
        let junk = "\u{fffd}\u{fffd}\0\n\n- - -\n";
        let cpu = legacy(&[("cpuacct.usage", junk), ("cpuacct.stat", junk), ("cpu.stat", junk)]);
        assert_eq!(cpu, Cpu::default());
        let tree = Tree::new(&[("cpu.stat", junk), ("cpu.pressure", junk)]);
        assert_eq!(Cpu::unified(&tree.source()).unwrap(), Cpu::default());
    }
}
