//! `events`: what a container uses, again and again, and when it runs out of memory.

mod shape;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use cloison_cgroup::{OomWatch, Stats, Subjects};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::error::Doing as _;
use super::first_process::FirstProcess;
use super::{Error, Runtime, store_with};
use crate::id::ContainerId;
use crate::resctrl;
use crate::state::{State, Status};

pub use shape::EventLine;

/// Something that is told of a running container.
#[derive(Debug)]
pub enum Event {
    /// What it uses.
    Stats(Box<Usage>),
    /// It has run out of memory.
    Oom,
}

/// What a container uses.
#[derive(Debug, Default)]
pub struct Usage {
    /// By its cgroup.
    pub cgroup: Stats,
    /// By its class of service; empty if it has none.
    pub resctrl: resctrl::Usage,
}

impl Usage {
    fn of(state: &State) -> Result<Self, Error> {
        let cgroup = state.cgroup.cgroup().stats(Subjects::all())?;
        Ok(Self { cgroup, resctrl: super::resctrl::usage(state)?.unwrap_or_default() })
    }
}

/// What a container uses now.
///
/// # Errors
/// [`Error::NotRunningById`] for a container that has stopped; the cgroup's files cannot be read.
pub fn usage(runtime: &Runtime, id: &ContainerId) -> Result<Usage, Error> {
    let (state, _) = alive(runtime, id)?;
    Usage::of(&state)
}

/// For how long others are not listened to who have woken us for nothing: a cgroup in want of memory can do so without end.
const REST: Duration = Duration::from_secs(1);

/// Tells what a container uses after each `interval`, and at once when it runs out of memory, until it ends or `tell` has enough.
///
/// The container's end is heard of from the kernel, and what came before it is told before.
///
/// # Errors
/// As [`usage`]. A cgroup that cannot be read once the container runs is logged, and tried again.
pub fn events(
    runtime: &Runtime,
    id: &ContainerId,
    interval: Duration,
    mut tell: impl FnMut(Event) -> ControlFlow<()>,
) -> Result<(), Error> {
    let (state, process) = alive(runtime, id)?;
    let cgroup = state.cgroup.cgroup();
    let mut oom = cgroup.watch_oom()?;
    let mut next = Instant::now().checked_add(interval);
    let mut resting = None;
    loop {
        let ready = wait(&process, oom.as_ref(), next, resting)?;
        // First what has happened, then that it has ended: an OOM kill of the first process is both at once.
        if (ready.oom || ready.ended)
            && let Some(watch) = &mut oom
        {
            let count = watch.count()?;
            resting = (count == 0).then(|| Instant::now() + REST);
            for _ in 0..count {
                if tell(Event::Oom).is_break() {
                    return Ok(());
                }
            }
        }
        if ready.ended {
            return Ok(());
        }
        if next.is_some_and(|next| Instant::now() >= next) {
            next = Instant::now().checked_add(interval);
            match Usage::of(&state) {
                // Without its processes, the files may be those of a cgroup that is on its way out.
                _ if process.wait(Duration::ZERO)? => {}
                Ok(usage) => {
                    if tell(Event::Stats(Box::new(usage))).is_break() {
                        return Ok(());
                    }
                }
                Err(error) => log::warn!("cannot tell what container {id} uses: {error}"),
            }
        }
    }
}

/// What woke us.
#[derive(Debug, Default)]
struct Ready {
    ended: bool,
    oom: bool,
}

/// Waits for the end of the process, for a want of memory, or until a moment has come. What is ready for others' sake is left out while
/// `resting`.
fn wait(
    process: &FirstProcess,
    oom: Option<&OomWatch>,
    until: Option<Instant>,
    resting: Option<Instant>,
) -> Result<Ready, Error> {
    let resting = resting.filter(|rested| *rested > Instant::now());
    let until = [until, resting].into_iter().flatten().min();
    let mut descriptors = vec![PollFd::new(process, PollFlags::IN)];
    descriptors.extend(oom.into_iter().flat_map(|watch| watch.poll_fds(resting.is_none())));
    loop {
        let timeout = until.map(|until| timespec(until.saturating_duration_since(Instant::now())));
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).doing("waiting for the container's events"),
        }
    }
    let mut ready = descriptors.iter().map(|descriptor| !descriptor.revents().is_empty());
    Ok(Ready { ended: ready.next().unwrap_or(false), oom: ready.any(|ready| ready) })
}

fn timespec(duration: Duration) -> Timespec {
    // poll(2) takes no more than a time_t has; nobody waits that long.
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: duration.subsec_nanos().into() }
}

/// The container's state and its first process, which has not ended.
fn alive(runtime: &Runtime, id: &ContainerId) -> Result<(State, FirstProcess), Error> {
    let view = store_with(runtime, id)?.open_unlocked(id)?;
    let state = view.load()?;
    let stopped = || Error::NotRunningById(id.clone());
    if matches!(view.status(&state)?, Status::Stopped | Status::Creating) {
        return Err(stopped());
    }
    let process = state.init.as_ref().map(FirstProcess::open).transpose()?.flatten().ok_or_else(stopped)?;
    Ok((state, process))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::testing::Machine;
    use crate::state::testing::{Sleeper, a_state, id};

    #[test]
    fn the_end_of_the_process_ends_the_events_without_waiting_for_the_interval() {
        let machine = Machine::new();
        let mut process = Sleeper::new();
        machine.keep(&State { init: Some(process.init()), ..a_state("c1") });
        std::thread::scope(|scope| {
            let events = scope.spawn(|| {
                events(&machine.runtime, &id("c1"), Duration::MAX, |event| {
                    panic!("nothing happens: {event:?}")
                })
            });
            let pid = process.init().pid.as_raw_nonzero();
            while !a_pidfd_is_open(pid.get()) {
                std::thread::yield_now();
            }
            process.kill();
            events.join().unwrap().unwrap();
        });
        process.wait_for_signal();
    }

    fn a_pidfd_is_open(pid: i32) -> bool {
        let line = format!("Pid:\t{pid}\n");
        let infos = std::fs::read_dir("/proc/self/fdinfo").unwrap();
        // A descriptor may have been closed since it was listed.
        let texts = infos.filter_map(|info| std::fs::read_to_string(info.unwrap().path()).ok());
        texts.into_iter().any(|text| text.contains(&line))
    }

    #[test]
    fn statistics_come_again_and_again_until_there_are_enough() {
        let machine = Machine::new();
        let process = Sleeper::new();
        machine.keep(&State { init: Some(process.init()), ..a_state("c1") });
        let mut told = 0;
        events(&machine.runtime, &id("c1"), Duration::from_millis(1), |event| {
            assert!(matches!(event, Event::Stats(_)));
            told += 1;
            if told == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        assert_eq!(told, 3);
    }

    #[test]
    fn a_container_that_has_stopped_has_no_events() {
        let machine = Machine::new();
        machine.keep(&a_state("c1"));
        let error = usage(&machine.runtime, &id("c1")).unwrap_err();
        assert_eq!(error.to_string(), "container with id c1 is not running");
        let never = |_| panic!("it has stopped");
        let error = events(&machine.runtime, &id("c1"), Duration::ZERO, never).unwrap_err();
        assert_eq!(error.to_string(), "container with id c1 is not running");
    }
}
