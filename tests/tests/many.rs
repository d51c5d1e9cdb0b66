//! Many containers that are alive at once. How many is said by `CLOISON_TEST_MANY`.
//!
//! What a command costs is the processor time of its process and of the container's first one, as the kernel accounts it
//! (`/proc/PID/schedstat`): that is the same on a busy machine, where the clock says nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cloison_tests::{Sandbox, only_for, runtime, skip_unless};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// How many containers there are when nothing is said.
const FEW: usize = 40;

/// Of how many measurements the least is taken, because everything else on the machine can only add to it.
const SAMPLES: usize = 8;

/// How often it is all measured again before it is true that something costs too much.
const ATTEMPTS: usize = 6;

fn many() -> usize {
    let said = std::env::var("CLOISON_TEST_MANY").ok();
    said.map_or(FEW, |number| number.parse().expect("CLOISON_TEST_MANY is a number"))
}

/// The processor time that a process has used, while it runs or waits to be reaped.
fn processor_time(pid: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// Whether the kernel measures the time of a process. One that counts ticks tells whole milliseconds, and none of one that has just begun.
fn is_measured() -> bool {
    processor_time(std::process::id()).is_some_and(|time| time.subsec_nanos() % 1_000_000 != 0)
}

/// Whether the processor is emulated: what another machine takes from it in the meantime is counted as if it had worked.
fn is_emulated() -> bool {
    fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("QEMU"))
}

/// Skips where the cost of a command cannot be known.
macro_rules! costs_or_skip {
    () => {
        skip_unless!(
            is_measured(),
            "needs CONFIG_SCHED_INFO, and a clock of the scheduler's that is finer than its ticks"
        );
        skip_unless!(
            !is_emulated(),
            "needs a processor that is not emulated: the time of such a one is not its own"
        );
    };
}

/// Runs a command to its end, and gives what it cost. It prints nothing.
fn cost_of(mut command: Command) -> Duration {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it can be executed");
    let pid = Pid::from_child(&child);
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).expect("it is our child");
    let cost = processor_time(child.id()).expect("it has not been reaped");
    assert!(child.wait().expect("it is our child").success(), "{command:?} fails");
    cost
}

/// Containers of one bundle, all alive.
struct Crowd<'s> {
    sandbox: &'s Sandbox,
    bundle: &'s Path,
    made: Vec<String>,
}

impl Crowd<'_> {
    /// Makes one more; gives what it cost.
    fn join(&mut self) -> Duration {
        let id = self.sandbox.new_id();
        let pid_file = self.sandbox.dir().join("pid");
        let mut command = self.sandbox.command(["run", "--detach", "--bundle"]);
        command.arg(self.bundle).arg("--pid-file").arg(&pid_file).arg(&id);
        let host = cost_of(command);
        let pid = fs::read_to_string(pid_file).unwrap().parse().unwrap();
        self.made.push(id);
        host + processor_time(pid).expect("it lives")
    }

    fn leave(&mut self) {
        let id = self.made.pop().expect("somebody is here");
        self.sandbox.cloison(["delete", "--force", &id]).ok();
    }

    /// The least that one more costs now.
    fn least(&mut self) -> Duration {
        let costs = (0..SAMPLES).map(|_| {
            let cost = self.join();
            self.leave();
            cost
        });
        costs.collect::<Vec<_>>().into_iter().min().expect("it was measured")
    }

    /// So many containers there are then, whether that is more or less than now.
    fn resize(&mut self, count: usize) {
        while self.made.len() < count {
            self.join();
        }
        while self.made.len() > count {
            self.leave();
        }
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        for id in std::mem::take(&mut self.made) {
            let deleted = self.sandbox.cloison(["delete", "--force", &id]);
            assert!(deleted.status.success() || std::thread::panicking(), "{}", deleted.describe());
        }
    }
}

/// That of each pair of costs that `measure` gives, the second is no more than `factor` times the first, sooner or later. The least of all
/// rounds is taken of both, because a machine that others use is faster at one moment than at the next.
fn assert_within(factor: f64, mut measure: impl FnMut() -> Vec<(String, Duration, Duration)>) {
    let mut least = BTreeMap::new();
    for _ in 0..ATTEMPTS {
        for (what, first, second) in measure() {
            println!("{what}: {first:?}, then {second:?}");
            let least = least.entry(what).or_insert((first, second));
            *least = (first.min(least.0), second.min(least.1));
        }
        if least.values().all(|(first, second)| *second <= first.mul_f64(factor)) {
            return;
        }
    }
    panic!("more than {factor} times as much: {least:?}");
}

/// What each of the commands costs while there are `few` containers, and while there are `many`.
fn pairs(
    crowd: &mut Crowd<'_>,
    few: usize,
    many: usize,
    commands: &[Vec<&str>],
) -> Vec<(String, Duration, Duration)> {
    let sandbox = crowd.sandbox;
    let least = |arguments: &[&str]| {
        (0..SAMPLES)
            .map(|_| cost_of(sandbox.command(arguments.iter().copied())))
            .min()
            .expect("it was measured")
    };
    crowd.resize(few);
    let first: Vec<_> = commands.iter().map(|arguments| least(arguments)).collect();
    crowd.resize(many);
    let all = commands.iter().zip(first);
    all.map(|(arguments, first)| (format!("{arguments:?} among {few} and {many}"), first, least(arguments)))
        .collect()
}

#[test]
fn the_last_of_many_costs_little_more_than_the_first() {
    costs_or_skip!();
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    bundle.write();
    let mut crowd = Crowd { sandbox: &sandbox, bundle: bundle.dir(), made: Vec::new() };
    assert_within(1.3, || {
        crowd.resize(0);
        let first = crowd.least();
        crowd.resize(many() - 1);
        vec![(format!("making the first of {} and the last", many()), first, crowd.least())]
    });
}

#[test]
fn what_tells_of_many_takes_time_linear_in_what_it_prints() {
    costs_or_skip!();
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    bundle.write();
    let mut crowd = Crowd { sandbox: &sandbox, bundle: bundle.dir(), made: Vec::new() };
    let mut commands = vec![vec!["list"], vec!["list", "--quiet"]];
    if runtime::kind() == runtime::Kind::Cloison {
        commands.push(vec!["stats", "--once"]);
    }
    assert_within(2.4, || pairs(&mut crowd, many() / 2, many(), &commands));
}

#[test]
fn what_tells_of_one_costs_the_same_however_many_there_are() {
    only_for!(Cloison, "it is what we promise");
    costs_or_skip!();
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    bundle.write();
    let mut crowd = Crowd { sandbox: &sandbox, bundle: bundle.dir(), made: Vec::new() };
    crowd.resize(1);
    let one = crowd.made[0].clone();
    let commands =
        [vec!["state", &one], vec!["ps", "--format", "json", &one], vec!["events", "--stats", &one]];
    assert_within(1.3, || pairs(&mut crowd, 1, many(), &commands));
}
