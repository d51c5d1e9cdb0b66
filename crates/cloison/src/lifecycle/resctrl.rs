//! A container's class of service: made and joined at its birth, joined by those who come later, and removed with it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;

use cloison_cgroup::Cgroup;

use super::Error;
use crate::plan::ResctrlFacts;
use crate::resctrl::{Group, Request, Resctrl, Usage};
use crate::state::{Container, State};

/// How often it is looked for threads that are not in the class yet; all but those that are starting just then are in it after the first.
const ROUNDS: u32 = 100;

/// What this machine shares out; none if the file system is not mounted.
pub(super) fn facts() -> Option<ResctrlFacts> {
    let resctrl = Resctrl::find()?;
    Some(ResctrlFacts { cache: resctrl.has("L3"), bandwidth: resctrl.has("MB") })
}

fn mounted() -> Result<Resctrl, Error> {
    Resctrl::find().ok_or(Error::NoResctrl)
}

/// Makes what is asked for. The state knows of it before it is there.
pub(super) fn make(container: &Container, state: &mut State, request: &Request) -> Result<(), Error> {
    make_in(&mounted()?, container, state, request)
}

fn make_in(
    resctrl: &Resctrl,
    container: &Container,
    state: &mut State,
    request: &Request,
) -> Result<(), Error> {
    let mut group = resctrl.place(request, state.id.as_str());
    state.resctrl = Some(group.clone());
    container.save(state)?;
    match resctrl.make(request, &mut group) {
        Ok(()) => state.resctrl = Some(group),
        Err(error) => {
            // What it made it has removed, and what is there is somebody else's.
            forget(container, state);
            return Err(error.into());
        }
    }
    Ok(())
}

fn forget(container: &Container, state: &mut State) {
    state.resctrl = None;
    if let Err(error) = container.save(state) {
        log::warn!("the state still names a class of service that is not the container's: {error}");
    }
}

/// The container is born: a class with a name of its own stays from now on, whatever becomes of the container (runtime-spec, config-linux.md, "Intel
/// RDT").
pub(super) fn keep(state: &mut State) {
    if let Some(group) = &mut state.resctrl {
        group.made = false;
    }
}

/// Puts a process into the container's class, if it has one.
pub(super) fn join(state: &State, pid: i32) -> Result<(), Error> {
    let Some(group) = &state.resctrl else { return Ok(()) };
    Ok(mounted()?.join(group, pid)?)
}

/// Puts all threads of the container into its class, again and again until there is none outside. Nobody need be there any more.
pub(super) fn join_all(state: &State, cgroup: &dyn Cgroup, first: i32) -> Result<(), Error> {
    if state.resctrl.is_none() {
        return Ok(());
    }
    join_all_in(&mounted()?, Path::new("/proc"), state, cgroup, first)
}

/// The file system moves single threads. What one of them starts afterwards is in the class, too.
fn join_all_in(
    resctrl: &Resctrl,
    proc: &Path,
    state: &State,
    cgroup: &dyn Cgroup,
    first: i32,
) -> Result<(), Error> {
    let Some(group) = &state.resctrl else { return Ok(()) };
    let mut moved = HashSet::new();
    for _ in 0..ROUNDS {
        let mut processes: HashSet<_> = cgroup.processes()?.into_iter().collect();
        processes.insert(first);
        // The number of a process that has ended may be another's by the time it is written. Which class that one was in nobody knows any
        // more, so it stays in this one; what is left to do is to say so.
        for pid in moved.difference(&processes).filter(|pid| proc.join(pid.to_string()).exists()) {
            log::warn!("process {pid} is in {}, and not of the container", group.class.display());
        }
        let members = resctrl.members(group)?;
        moved.clear();
        for pid in processes {
            for thread in threads(proc, pid)?.into_iter().filter(|thread| !members.contains(thread)) {
                moved.insert(pid);
                match resctrl.join(group, thread) {
                    Err(error) if error.is_gone() => log::debug!("thread {thread} has ended: {error}"),
                    result => result?,
                }
            }
        }
        if moved.is_empty() {
            return Ok(());
        }
    }
    Err(crate::resctrl::Error::Forking { class: group.class.clone() }.into())
}

/// The numbers of the threads of a process; none if it has ended.
fn threads(proc: &Path, pid: i32) -> Result<Vec<i32>, Error> {
    let path = proc.join(pid.to_string()).join("task");
    let listed = fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    match listed {
        Ok(entries) => {
            Ok(entries.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
        }
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(cloison_linux::Errno::SRCH.raw_os_error()) =>
        {
            Ok(Vec::new())
        }
        Err(source) => Err(crate::resctrl::Error::Threads { path, source }.into()),
    }
}

/// Removes what is the container's alone.
pub(super) fn remove(state: &State) -> Result<(), Error> {
    let Some(group) = &state.resctrl else { return Ok(()) };
    if let Some(resctrl) = Resctrl::find() {
        return Ok(resctrl.remove(group)?);
    }
    log::debug!("with the resctrl file system, {} has gone", group.class.display());
    Ok(())
}

/// What is told of the container's class; none if it has none.
pub(super) fn usage(state: &State) -> Result<Option<Usage>, Error> {
    let Some(group) = &state.resctrl else { return Ok(None) };
    Ok(Some(mounted()?.usage(group)?))
}

/// Shares that are to replace others.
#[derive(Debug)]
pub(super) struct NewShares {
    resctrl: Resctrl,
    group: Group,
    old: Vec<String>,
}

impl NewShares {
    /// Shares out by these lines. A container without a class of service gets one of its own.
    pub(super) fn apply(
        container: &Container,
        state: &mut State,
        first: i32,
        lines: &[String],
    ) -> Result<Option<Self>, Error> {
        if lines.is_empty() {
            return Ok(None);
        }
        Self::apply_in(mounted()?, Path::new("/proc"), container, state, first, lines).map(Some)
    }

    fn apply_in(
        resctrl: Resctrl,
        proc: &Path,
        container: &Container,
        state: &mut State,
        first: i32,
        lines: &[String],
    ) -> Result<Self, Error> {
        for (name, field) in [("L3", "l3CacheSchema"), ("MB", "memBwSchema")] {
            let asked = lines.iter().any(|line| line.starts_with(name));
            if asked && !resctrl.has(name) {
                return Err(Error::NoShares { field, name });
            }
        }
        let is_new = state.resctrl.is_none();
        if is_new {
            // One that is there is somebody else's, and must share out in this way already.
            let there = !resctrl.place(&Request::default(), state.id.as_str()).own;
            let schemata = if there { lines.to_vec() } else { Vec::new() };
            make_in(&resctrl, container, state, &Request { schemata, ..Request::default() })?;
        }
        let group = state.resctrl.clone().ok_or(Error::NoResctrl)?;
        let shared_out = || -> Result<_, Error> {
            if is_new {
                join_all_in(&resctrl, proc, state, state.cgroup.cgroup(), first)?;
            }
            let old = resctrl.shares(&group)?;
            resctrl.share_out(&group, lines)?;
            Ok(old)
        };
        match shared_out() {
            Ok(old) => Ok(Self { resctrl, group, old }),
            Err(error) => {
                if is_new {
                    // Whoever is in it is then in the default class again.
                    match resctrl.remove(&group) {
                        Ok(()) => forget(container, state),
                        Err(error) => log::warn!("left behind: {error}"),
                    }
                }
                Err(error)
            }
        }
    }

    /// Shares out as it was.
    pub(super) fn take_back(&self) {
        if let Err(error) = self.resctrl.share_out(&self.group, &self.old) {
            log::warn!("the old shares of {} are not in force again: {error}", self.group.class.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::lifecycle::testing::Machine;
    use crate::state::testing::a_state;

    /// A directory that looks like the file system, with the files of the class of a container `c1` as the kernel makes them.
    fn shares(with: &str) -> TempDir {
        let directory = TempDir::new().unwrap();
        let put = |path: &str, text: &str| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(&format!("info/{with}/num_closids"), "8\n");
        put("c1/tasks", "");
        put("c1/schemata", "L3:0=7ff\n");
        directory
    }

    fn read(directory: &Path, name: &str) -> String {
        fs::read_to_string(directory.join("c1").join(name)).unwrap()
    }

    #[test]
    fn the_state_knows_of_a_class_before_it_is_there_and_forgets_what_could_not_be_made() {
        let directory = TempDir::new().unwrap();
        let machine = Machine::new();
        let mut state = a_state("c1");
        let container = machine.keep(&state);
        let resctrl = Resctrl::at(directory.path());
        make_in(&resctrl, &container, &mut state, &Request::default()).unwrap();
        assert_eq!(container.load().unwrap(), state);
        assert!(state.resctrl.as_ref().is_some_and(|group| group.own && group.class.is_dir()));
        let absent = Request { class: Some("gold".to_owned()), ..Request::default() };
        make_in(&resctrl, &container, &mut state, &absent).unwrap_err();
        assert_eq!(state.resctrl, None);
        assert_eq!(container.load().unwrap().resctrl, None);
    }

    /// The processes that there are: one with two threads.
    fn processes() -> TempDir {
        let directory = TempDir::new().unwrap();
        for thread in ["42", "43"] {
            fs::create_dir_all(directory.path().join("42/task").join(thread)).unwrap();
        }
        directory
    }

    #[test]
    fn each_thread_is_put_into_the_class_and_those_that_have_ended_are_no_error() {
        let (directory, proc) = (shares("L3"), processes());
        let mut state = a_state("c1");
        let resctrl = Resctrl::at(directory.path());
        state.resctrl = Some(resctrl.place(&Request::default(), "c1"));
        // A file keeps the last that is written alone; the kernel's has all.
        fs::write(directory.path().join("c1/tasks"), "42\n41\n").unwrap();
        let cgroup = state.cgroup.cgroup();
        let error = join_all_in(&resctrl, proc.path(), &state, cgroup, 42).unwrap_err().to_string();
        assert!(error.contains("c1") && error.contains("threads"), "{error}");
        fs::write(directory.path().join("c1/tasks"), "41\n43\n").unwrap();
        join_all_in(&resctrl, proc.path(), &state, cgroup, 42).unwrap();
        assert_eq!(read(directory.path(), "tasks"), "42\n43\n");
        join_all_in(&resctrl, proc.path(), &state, cgroup, 4242).unwrap();
    }

    #[test]
    fn a_class_that_was_made_for_new_shares_goes_when_they_are_not_given() {
        let (directory, proc) = (TempDir::new().unwrap(), processes());
        fs::create_dir_all(directory.path().join("info/L3")).unwrap();
        let machine = Machine::new();
        let mut state = a_state("c1");
        let container = machine.keep(&state);
        let lines = ["L3:0=f".to_owned()];
        // Without the kernel there is no file to write to.
        let resctrl = Resctrl::at(directory.path());
        NewShares::apply_in(resctrl, proc.path(), &container, &mut state, 42, &lines).unwrap_err();
        assert!(!directory.path().join("c1").exists());
        assert_eq!((state.resctrl, container.load().unwrap().resctrl), (None, None));
    }

    #[test]
    fn a_class_of_somebody_else_by_the_name_of_the_container_is_not_written_over() {
        let (directory, proc) = (shares("L3"), processes());
        let machine = Machine::new();
        let mut state = a_state("c1");
        let container = machine.keep(&state);
        let lines = ["L3:0=f".to_owned()];
        let resctrl = Resctrl::at(directory.path());
        let error = NewShares::apply_in(resctrl, proc.path(), &container, &mut state, 42, &lines);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("L3:0=7ff") && error.contains("L3:0=f"), "{error}");
        assert_eq!(
            (read(directory.path(), "tasks"), read(directory.path(), "schemata")),
            (String::new(), "L3:0=7ff\n".into())
        );
        assert_eq!(container.load().unwrap().resctrl, None);
    }

    #[test]
    fn new_shares_of_a_container_can_be_taken_back() {
        let (directory, proc) = (shares("L3"), processes());
        let machine = Machine::new();
        let mut state = a_state("c1");
        let resctrl = Resctrl::at(directory.path());
        state.resctrl = Some(resctrl.place(&Request::default(), "c1"));
        let container = machine.keep(&state);
        let lines = ["L3:0=000f".to_owned()];
        let new = NewShares::apply_in(resctrl, proc.path(), &container, &mut state, 42, &lines).unwrap();
        assert_eq!(read(directory.path(), "schemata"), "L3:0=000f\n");
        new.take_back();
        assert!(read(directory.path(), "schemata").starts_with("L3:0=7ff\n"));
    }

    #[test]
    fn shares_of_what_the_machine_does_not_share_out_are_refused_by_name() {
        let directory = shares("L3");
        let machine = Machine::new();
        let mut state = a_state("c1");
        let container = machine.keep(&state);
        let lines = ["MB:0=20".to_owned()];
        let error = NewShares::apply_in(
            Resctrl::at(directory.path()),
            directory.path(),
            &container,
            &mut state,
            42,
            &lines,
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains("memBwSchema") && error.contains("info/MB"), "{error}");
        assert_eq!(state.resctrl, None);
    }
}
