//! A container's class of service: made and joined at its birth, joined by those who come later, and removed with it.

use cloison_cgroup::Cgroup;

use super::Error;
use crate::plan::ResctrlFacts;
use crate::resctrl::{Group, Request, Resctrl, Usage};
use crate::state::{Container, State};

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
    let group = resctrl.place(request, state.id.as_str());
    state.resctrl = Some(group.clone());
    container.save(state)?;
    let made = resctrl.make(request, &group);
    if made.is_err() {
        // What it made it has removed, and what is there is somebody else's.
        state.resctrl = None;
    }
    Ok(made?)
}

/// Puts a process into the container's class, if it has one.
pub(super) fn join(state: &State, pid: i32) -> Result<(), Error> {
    let Some(group) = &state.resctrl else { return Ok(()) };
    Ok(mounted()?.join(group, pid)?)
}

/// Puts all processes of the container into its class, again and again until there is none outside that is new.
pub(super) fn join_all(state: &State, cgroup: &dyn Cgroup, first: i32) -> Result<(), Error> {
    if state.resctrl.is_none() {
        return Ok(());
    }
    join_all_in(&mounted()?, state, cgroup, first)
}

fn join_all_in(resctrl: &Resctrl, state: &State, cgroup: &dyn Cgroup, first: i32) -> Result<(), Error> {
    let Some(group) = &state.resctrl else { return Ok(()) };
    resctrl.join(group, first)?;
    let mut joined = vec![first];
    loop {
        let processes = cgroup.processes()?;
        let new: Vec<_> = processes.into_iter().filter(|pid| !joined.contains(pid)).collect();
        if new.is_empty() {
            return Ok(());
        }
        for pid in new {
            match resctrl.join(group, pid) {
                Err(error) if error.is_gone() => log::debug!("process {pid} has ended: {error}"),
                result => result?,
            }
            joined.push(pid);
        }
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
        Self::apply_in(mounted()?, container, state, first, lines).map(Some)
    }

    fn apply_in(
        resctrl: Resctrl,
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
        if state.resctrl.is_none() {
            make_in(&resctrl, container, state, &Request::default())?;
            join_all_in(&resctrl, state, state.cgroup.cgroup(), first)?;
        }
        let group = state.resctrl.clone().ok_or(Error::NoResctrl)?;
        let old = resctrl.shares(&group)?;
        resctrl.share_out(&group, lines)?;
        Ok(Self { resctrl, group, old })
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
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::lifecycle::testing::Machine;
    use crate::state::testing::{TempDir, a_state};

    /// A directory that looks like the file system, with the files of the class of a container `c1` as the kernel makes them.
    fn shares(with: &str) -> TempDir {
        let directory = TempDir::new();
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
        let directory = TempDir::new();
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
    }

    #[test]
    fn a_container_without_a_class_gets_one_when_shares_are_given_to_it_and_they_can_be_taken_back() {
        let directory = shares("L3");
        let machine = Machine::new();
        let mut state = a_state("c1");
        let container = machine.keep(&state);
        let resctrl = Resctrl::at(directory.path());
        let lines = ["L3:0=000f".to_owned()];
        let new = NewShares::apply_in(resctrl, &container, &mut state, 42, &lines).unwrap();
        assert_eq!(
            (read(directory.path(), "tasks"), read(directory.path(), "schemata")),
            ("42".into(), "L3:0=000f\n".into())
        );
        new.take_back();
        assert!(read(directory.path(), "schemata").starts_with("L3:0=7ff\n"));
        assert!(state.resctrl.is_some_and(|group| !group.own), "it was there before");
    }

    #[test]
    fn shares_of_what_the_machine_does_not_share_out_are_refused_by_name() {
        let directory = shares("L3");
        let machine = Machine::new();
        let mut state = a_state("c1");
        let container = machine.keep(&state);
        let lines = ["MB:0=20".to_owned()];
        let error = NewShares::apply_in(Resctrl::at(directory.path()), &container, &mut state, 42, &lines);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("memBwSchema") && error.contains("info/MB"), "{error}");
        assert_eq!(state.resctrl, None);
    }
}
