//! `stats`: what containers use, for people who look at it.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use cloison_cgroup::{Stats, Subjects};

use super::{Error, Runtime, store_with};
use crate::id::ContainerId;
use crate::state::{self, Status, Store};

/// What one container used at one moment.
#[derive(Debug)]
pub struct Sample {
    /// The container.
    pub id: ContainerId,
    /// Its first process.
    pub pid: i32,
    /// Created, running or paused.
    pub status: Status,
    /// When it was looked at.
    pub at: Instant,
    /// What the kernel had counted.
    pub stats: Stats,
}

/// What all containers of a root used.
#[derive(Debug, Default)]
pub struct Samples {
    /// The containers that have not stopped, sorted by name.
    pub samples: Vec<Sample>,
    /// The directories that hold no container that can be told about, sorted by name, and why.
    pub broken: Vec<(OsString, Error)>,
}

/// Looks at one container.
///
/// # Errors
/// [`Error::NotRunningById`] for one that has stopped, [`state::Error::NotExist`] for one that is not there; the cgroup's files
/// cannot be read.
pub fn sample(runtime: &Runtime, id: &ContainerId, of: Subjects) -> Result<Sample, Error> {
    look(&store_with(runtime, id)?, id, of)
}

/// Looks at all containers. Never waits for another command; a container that comes or goes meanwhile may be among them or not.
///
/// # Errors
/// [`state::Error::NoRoot`] if the root is not there; it could not be read. What is wrong with one container is said beside the
/// others.
pub fn sample_all(runtime: &Runtime, of: Subjects) -> Result<Samples, Error> {
    let store = Store::at(&runtime.root)?;
    let mut all = Samples::default();
    for name in store.list()? {
        let looked = match ContainerId::parse(&name.to_string_lossy()) {
            Ok(id) => look(&store, &id, of),
            Err(error) => Err(error.into()),
        };
        match looked {
            Ok(sample) => all.samples.push(sample),
            Err(error) if has_ended(&error) => {}
            Err(error) => all.broken.push((name, error)),
        }
    }
    Ok(all)
}

/// Whether a container could not be looked at because it has stopped, or is not there yet or any more.
#[must_use]
pub fn has_ended(error: &Error) -> bool {
    matches!(
        error,
        Error::NotRunningById(_)
            | Error::State(state::Error::NotExist { .. } | state::Error::InTransit { .. })
    )
}

impl Sample {
    /// Percent of one processor that was used since an earlier look at the same container; none where time is not counted.
    #[must_use]
    pub fn cpu_percent_since(&self, earlier: &Self) -> Option<f64> {
        let total = |sample: &Self| sample.stats.cpu.usage?.total;
        let used = Duration::from_nanos(total(self)?.saturating_sub(total(earlier)?));
        let passed = self.at.saturating_duration_since(earlier.at);
        (!passed.is_zero()).then(|| used.as_secs_f64() / passed.as_secs_f64() * 100.0)
    }

    /// Percent of the periods since an earlier look in which a quota was used up; none where no quota has ever acted.
    #[must_use]
    pub fn throttled_percent_since(&self, earlier: &Self) -> Option<f64> {
        let now = self.stats.cpu.throttling.filter(|throttling| throttling.periods > 0)?;
        let before = earlier.stats.cpu.throttling.unwrap_or_default();
        let periods = now.periods.saturating_sub(before.periods);
        let throttled = now.throttled_periods.saturating_sub(before.throttled_periods);
        Some(percent(throttled, periods))
    }

    /// Whether both are looks at one container, and not at two that bore one name.
    #[must_use]
    pub fn is_of_same_container(&self, other: &Self) -> bool {
        self.id == other.id && self.pid == other.pid
    }
}

/// `part` in percent of `whole`, and 0 of nothing.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "a percentage has no 52 bits")]
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

fn look(store: &Store, id: &ContainerId, of: Subjects) -> Result<Sample, Error> {
    let view = store.open_unlocked(id)?;
    let state = view.load()?;
    let status = view.status(&state)?;
    let init = state.init.filter(|_| !matches!(status, Status::Stopped | Status::Creating));
    let init = init.ok_or_else(|| Error::NotRunningById(id.clone()))?;
    let at = Instant::now();
    let counted = state.cgroup.cgroup().stats(of)?;
    Ok(Sample { id: id.clone(), pid: init.pid.as_raw_nonzero().get(), status, at, stats: counted })
}

#[cfg(test)]
mod tests {
    use cloison_cgroup::stats::{Cpu, CpuUsage, Throttling};

    use super::*;
    use crate::lifecycle::testing::Machine;
    use crate::state::State;
    use crate::state::testing::{Sleeper, a_state, id};

    fn sample_with(cpu: Cpu, at: Instant) -> Sample {
        let stats = Stats { cpu, ..Stats::default() };
        Sample { id: id("c1"), pid: 7, status: Status::Running, at, stats }
    }

    fn used(total: u64) -> Cpu {
        Cpu { usage: Some(CpuUsage { total: Some(total), ..CpuUsage::default() }), ..Cpu::default() }
    }

    fn throttled(periods: u64, throttled_periods: u64) -> Cpu {
        let throttling = Throttling { periods, throttled_periods, throttled_time: 0 };
        Cpu { throttling: Some(throttling), ..Cpu::default() }
    }

    #[test]
    fn a_processor_that_was_used_all_the_time_is_a_hundred_percent() {
        let start = Instant::now();
        let before = sample_with(used(1_000), start);
        let after = sample_with(used(500_001_000), start + Duration::from_millis(250));
        let share = after.cpu_percent_since(&before).unwrap();
        assert!((share - 200.0).abs() < 1e-6, "two processors: {share}");
        assert_eq!(before.cpu_percent_since(&before), None, "no time has passed");
        assert_eq!(sample_with(Cpu::default(), start).cpu_percent_since(&before), None);
    }

    #[test]
    fn throttling_is_a_share_of_periods_and_unknown_without_a_quota() {
        let start = Instant::now();
        let look = |periods, throttled_periods| sample_with(throttled(periods, throttled_periods), start);
        let share = look(20, 8).throttled_percent_since(&look(10, 6)).unwrap();
        assert!((share - 20.0).abs() < 1e-6, "{share}");
        assert_eq!(look(10, 6).throttled_percent_since(&look(10, 6)), Some(0.0));
        assert_eq!(look(0, 0).throttled_percent_since(&look(0, 0)), None);
    }

    #[test]
    fn containers_that_have_stopped_or_are_being_made_are_not_among_all() {
        let machine = Machine::new();
        let process = Sleeper::new();
        machine.keep(&State { init: Some(process.init()), ..a_state("b") });
        machine.keep(&State { init: Some(process.init()), ..a_state("a") });
        machine.keep(&a_state("stopped"));
        let _held = machine.keep(&a_state("creating"));
        std::fs::create_dir(machine.runtime.root.join("wreck")).unwrap();
        let all = sample_all(&machine.runtime, Subjects::all()).unwrap();
        let names: Vec<_> = all.samples.iter().map(|sample| sample.id.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(all.broken.len(), 1);
        let error = sample(&machine.runtime, &id("stopped"), Subjects::all()).unwrap_err();
        assert!(has_ended(&error) && error.to_string().ends_with("is not running"), "{error}");
        assert!(has_ended(&sample(&machine.runtime, &id("absent"), Subjects::all()).unwrap_err()));
    }
}
