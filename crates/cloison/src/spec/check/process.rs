//! The rules of `process`, which `exec` shares.

use crate::spec::{IoPriority, Process, Rlimit, Scheduler, SchedulerPolicy, User};

use super::Check;

/// The id that the kernel takes for "leave it as it is": a program told to run as this user would keep the
/// runtime's rights.
const NO_ID: u32 = u32::MAX;

pub(super) fn check(process: &Process, at: &str, check: &mut Check<'_>) {
    program(process, at, check);
    environment(&process.env, at, check);
    user(&process.user, at, check);
    rlimits(&process.rlimits, at, check);
    if let Some(score) = process.oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        check.problem(
            format!("{at}/oomScoreAdj"),
            format!("found {score}, expected a whole number from -1000 to 1000"),
        );
    }
    if let Some(settings) = &process.scheduler {
        scheduler(settings, &format!("{at}/scheduler"), check);
    }
    if let Some(IoPriority { priority, .. }) = &process.io_priority
        && !(0..=7).contains(priority)
    {
        check.problem(
            format!("{at}/ioPriority/priority"),
            format!("invalid ioPriority.Priority: {priority}, expected 0, the highest, to 7"),
        );
    }
}

fn program(process: &Process, at: &str, check: &mut Check<'_>) {
    let pointer = format!("{at}/args");
    if process.args.is_empty() && !check.is_hole(&pointer) {
        check.problem(pointer, "args must not be empty: the first is the program to run");
    }
    let pointer = format!("{at}/cwd");
    if process.cwd.starts_with('/') || check.is_hole(&pointer) {
    } else if process.cwd.is_empty() {
        check.problem(pointer, "Cwd property must not be empty, Cwd must be an absolute path");
    } else {
        check.problem(pointer, format!("Cwd must be an absolute path, not {:?}", process.cwd));
    }
}

fn environment(variables: &[String], at: &str, check: &mut Check<'_>) {
    for (index, variable) in variables.iter().enumerate() {
        match variable.find('=') {
            None => check.problem(
                format!("{at}/env/{index}"),
                format!("invalid environment variable: missing '=' in {variable:?}"),
            ),
            Some(0) => check.problem(
                format!("{at}/env/{index}"),
                format!("invalid environment variable: name cannot be empty in {variable:?}"),
            ),
            Some(_) => {}
        }
    }
}

fn user(user: &User, at: &str, check: &mut Check<'_>) {
    let mut id = |id: u32, field: &str| {
        if id == NO_ID {
            check.problem(
                format!("{at}/user/{field}"),
                format!("{NO_ID} stands for no id, expected a whole number from 0 to {}", NO_ID - 1),
            );
        }
    };
    id(user.uid, "uid");
    id(user.gid, "gid");
    for (index, &gid) in user.additional_gids.iter().enumerate() {
        id(gid, &format!("additionalGids/{index}"));
    }
}

fn rlimits(limits: &[Rlimit], at: &str, check: &mut Check<'_>) {
    for (index, limit) in limits.iter().enumerate() {
        if limits[..index].iter().any(|earlier| earlier.kind == limit.kind) {
            check.problem(
                format!("{at}/rlimits/{index}/type"),
                format!("duplicated rlimit {}, each may be set once", limit.kind),
            );
        }
        if limit.soft > limit.hard {
            check.problem(
                format!("{at}/rlimits/{index}/soft"),
                format!("{} is above the hard limit of {}, {}", limit.soft, limit.kind, limit.hard),
            );
        }
    }
}

/// See `sched_setattr(2)` and sched(7).
fn scheduler(settings: &Scheduler, at: &str, check: &mut Check<'_>) {
    use SchedulerPolicy::{Batch, Deadline, Fifo, Other, RoundRobin};

    let policy = settings.policy;
    if matches!(policy, Other | Batch) && !(-20..=19).contains(&settings.nice) {
        check.problem(
            format!("{at}/nice"),
            format!(
                "invalid scheduler.nice: {} when scheduler.policy is {policy}, expected -20 to 19",
                settings.nice
            ),
        );
    }
    if matches!(policy, Fifo | RoundRobin) {
        if !(1..=99).contains(&settings.priority) {
            check.problem(
                format!("{at}/priority"),
                format!("found {}, expected 1 to 99 with {policy}", settings.priority),
            );
        }
    } else if settings.priority != 0 {
        check.problem(
            format!("{at}/priority"),
            format!("scheduler.priority can only be specified for SCHED_FIFO and SCHED_RR, not for {policy}"),
        );
    }
    if policy != Deadline && (settings.runtime, settings.deadline, settings.period) != (0, 0, 0) {
        check.problem(
            at,
            format!(
                "scheduler runtime/deadline/period can only be specified for SCHED_DEADLINE, not for {policy}"
            ),
        );
    }
}
