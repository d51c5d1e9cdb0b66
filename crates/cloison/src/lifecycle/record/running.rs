//! `seccomp record ID`: the system calls of a container that runs already.
//!
//! A filter is loaded by a process itself, so here all tasks of the container's cgroup are traced instead (ptrace(2)): each tells of its
//! calls by stopping, and goes on at once. When we end, for whatever reason, the kernel lets all of them go.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use cloison_cgroup::Record;
use cloison_linux::signals::{self, SignalFd, SignalSet};
use cloison_linux::trace::{self, Stop};
use cloison_linux::{Errno, Pid, Signal};
use cloison_seccomp::Architecture;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Calls, Recording, profile};
use crate::id::ContainerId;
use crate::lifecycle::error::Doing as _;
use crate::lifecycle::{Error, Runtime, store_with};
use crate::state::Status;

/// How often the cgroup is looked through for who has joined.
const LOOK: Duration = Duration::from_millis(100);

/// How long tasks have to stop, so that they are let go one by one.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes down which system calls a running container's programs make, until it ends or a signal (SIGINT, SIGTERM, SIGHUP) comes, after
/// which it runs on. The caller's signals are blocked from then on, and it must have no other children.
///
/// # Errors
/// [`Error::NotRunningById`], [`Error::NoCgroup`]; [`Error::NotTraceable`] for a task that may not be traced, or that somebody traces.
pub fn record_running(runtime: &Runtime, id: &ContainerId) -> Result<Recording, Error> {
    let native = Architecture::NATIVE.ok_or(Error::Unsupported("seccomp on this architecture is"))?;
    let view = store_with(runtime, id)?.open_unlocked(id)?;
    let state = view.load()?;
    if !matches!(view.status(&state)?, Status::Running) {
        return Err(Error::NotRunningById(id.clone()));
    }
    if matches!(state.cgroup, Record::Disabled(_)) {
        return Err(Error::NoCgroup(id.clone()));
    }
    signals::block_all().doing("blocking signals")?;
    let signals = SignalFd::new(SignalSet::ALL).doing("watching signals")?;
    let mut tracer = Tracer::new(state.cgroup);
    let ended = tracer.trace(&signals);
    tracer.let_all_go();
    let exit_code = match ended {
        Ok(()) => 0,
        Err(error) if tracer.calls.is_empty() => return Err(error),
        Err(error) => {
            log::error!("the profile has only what was recorded before: {error}");
            1
        }
    };
    let (profile, unknown) = profile(native, &tracer.calls);
    Ok(Recording { profile, unknown, exit_code })
}

/// Who traces the container.
struct Tracer {
    cgroup: Record,
    /// Those that are traced, once they have stopped.
    tasks: HashSet<Pid>,
    /// The numbers of the calls in which tasks waited when they were seized, until their architecture is known.
    waited_in: HashMap<Pid, u32>,
    /// Those that were seized though they are not the container's, to be let go when they stop.
    strangers: HashSet<Pid>,
    /// Newcomers that may not be traced, at least not yet.
    refusing: HashSet<Pid>,
    calls: Calls,
}

impl Tracer {
    fn new(cgroup: Record) -> Self {
        Self {
            cgroup,
            tasks: HashSet::new(),
            waited_in: HashMap::new(),
            strangers: HashSet::new(),
            refusing: HashSet::new(),
            calls: Calls::new(),
        }
    }

    /// Lets all go on and writes down, until nobody is left or a signal says that it is enough.
    fn trace(&mut self, signals: &SignalFd) -> Result<(), Error> {
        self.seize_all()?;
        let mut looked = Instant::now();
        loop {
            let patience = loop {
                match next_stop()? {
                    Next::Stopped(task, stop) => self.stopped(task, stop)?,
                    Next::AllRun => break Some(LOOK),
                    Next::NobodyLeft => return Ok(()),
                }
                // Busy tasks have always one that stops: signals and newcomers are looked for all the same.
                if looked.elapsed() >= LOOK {
                    break None;
                }
            };
            if looked.elapsed() >= LOOK {
                self.seize_all()?;
                looked = Instant::now();
            }
            if is_enough(signals, patience)? {
                return Ok(());
            }
        }
    }

    /// Seizes every task that is not traced yet. What a traced task makes is traced from its beginning; so when nobody is new, these are all.
    fn seize_all(&mut self) -> Result<(), Error> {
        while self.seize_new()? {}
        Ok(())
    }

    fn seize_new(&mut self) -> Result<bool, Error> {
        let mut new = Vec::new();
        for task in tasks(&self.cgroup)? {
            if self.tasks.contains(&task) {
                continue;
            }
            match trace::seize(task) {
                Ok(()) => {
                    // A call that it waits in was begun before us, and is not told of.
                    self.waited_in.extend(call_waited_in(task).map(|number| (task, number)));
                    self.tasks.insert(task);
                    new.push(task);
                    passed_over(trace::interrupt(task))?;
                }
                Err(Errno::SRCH) => {}
                // A zombie, or one that was made a moment ago by one that is traced.
                Err(Errno::PERM) if is_dead_or_ours(task) => {}
                // Who joins hides itself until it is the program: the next look tells.
                Err(Errno::PERM) if !self.calls.is_empty() => {
                    if self.refusing.insert(task) {
                        log::warn!("task {task} of the container cannot be traced yet: {}", Errno::PERM);
                    }
                }
                Err(errno) => return Err(Error::NotTraceable { task: task.as_raw_nonzero().get(), errno }),
            }
        }
        if !new.is_empty() {
            // A number may have come to another process between the look and the seizing; now it cannot.
            let there = tasks(&self.cgroup)?;
            for task in new.iter().filter(|task| !there.contains(task)) {
                self.tasks.remove(task);
                self.waited_in.remove(task);
                self.strangers.insert(*task);
            }
        }
        Ok(!new.is_empty())
    }

    fn stopped(&mut self, task: Pid, stop: Stop) -> Result<(), Error> {
        if self.strangers.remove(&task) && stop != Stop::Gone {
            return passed_over(trace::let_go(task, signal_of(stop)));
        }
        match stop {
            Stop::Gone => {
                self.tasks.remove(&task);
                self.waited_in.remove(&task);
                return Ok(());
            }
            // The first task of a process takes the place of the one that has executed.
            Stop::Executed(before) if before != task => drop(self.tasks.remove(&before)),
            Stop::Call | Stop::Interrupted => self.write_down(task, stop)?,
            Stop::Group => return passed_over(trace::stay(task)),
            // What was made stops by itself; it may even have ended already.
            Stop::Made | Stop::Executed(_) | Stop::Signal(_) => {}
        }
        self.tasks.insert(task);
        passed_over(trace::go_on(task, signal_of(stop)))
    }

    fn write_down(&mut self, task: Pid, stop: Stop) -> Result<(), Error> {
        let (architecture, call) = match trace::call_of(task) {
            Err(Errno::SRCH) => return Ok(()),
            found => found.doing("reading what a task calls")?,
        };
        if stop == Stop::Interrupted {
            let waited_in = self.waited_in.remove(&task);
            self.calls.extend(waited_in.map(|number| (architecture, number)));
        }
        self.calls.extend(call.map(|call| (call.architecture, call.number)));
        Ok(())
    }

    /// Stops each task once more and lets it go. Those that do not stop (they sleep deeply) the kernel lets go when we end.
    fn let_all_go(&mut self) {
        for task in &self.tasks {
            tolerated(*task, trace::interrupt(*task));
        }
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match next_stop() {
                Ok(Next::Stopped(_, Stop::Gone)) => {}
                Ok(Next::Stopped(task, stop)) => tolerated(task, trace::let_go(task, signal_of(stop))),
                Ok(Next::AllRun) => std::thread::sleep(Duration::from_millis(1)),
                Ok(Next::NobodyLeft) => return,
                Err(error) => return log::debug!("tasks are let go by our end: {error}"),
            }
        }
    }
}

/// The tasks of the cgroup's processes.
fn tasks(cgroup: &Record) -> Result<Vec<Pid>, Error> {
    let mut all = Vec::new();
    for process in cgroup.cgroup().processes()? {
        // A process that is not there any more has none.
        let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        let numbers = tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok());
        all.extend(numbers.filter_map(Pid::from_raw));
    }
    Ok(all)
}

/// The number of the call that a task waits in (`/proc/PID/syscall`, proc(5)); none if it runs.
fn call_waited_in(task: Pid) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{task}/syscall")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Whether a task has ended, or is traced by this process.
fn is_dead_or_ours(task: Pid) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{task}/status")) else { return true };
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let is_dead = field("State:").is_none_or(|state| state.starts_with(['Z', 'X']));
    is_dead || field("TracerPid:") == Some(&std::process::id().to_string())
}

/// The signal that a task was about to get, or 0.
fn signal_of(stop: Stop) -> i32 {
    if let Stop::Signal(signal) = stop { signal } else { 0 }
}

/// What there is to do.
enum Next {
    Stopped(Pid, Stop),
    AllRun,
    NobodyLeft,
}

fn next_stop() -> Result<Next, Error> {
    match trace::next_stop() {
        Ok(Some((task, stop))) => Ok(Next::Stopped(task, stop)),
        Ok(None) => Ok(Next::AllRun),
        Err(Errno::CHILD) => Ok(Next::NobodyLeft),
        Err(errno) => Err(errno).doing("waiting for traced tasks"),
    }
}

/// A task that was killed is told of once more.
fn passed_over(done: Result<(), Errno>) -> Result<(), Error> {
    match done {
        Err(Errno::SRCH) => Ok(()),
        done => done.doing("letting a traced task go on"),
    }
}

fn tolerated(task: Pid, done: Result<(), Errno>) {
    if let Err(errno) = done {
        log::debug!("task {task} is let go by our end: {errno}");
    }
}

/// Waits for tasks that stop, for so long if at all, and tells whether a signal has come that ends the recording.
fn is_enough(signals: &SignalFd, patience: Option<Duration>) -> Result<bool, Error> {
    let nanoseconds = patience.unwrap_or_default().subsec_nanos();
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(nanoseconds) };
    match poll(&mut [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)], Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno).doing("waiting for traced tasks"),
    }
    while let Some(come) = signals.read().doing("reading signals")? {
        if [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].contains(&come.signal) {
            return Ok(true);
        }
    }
    Ok(false)
}
