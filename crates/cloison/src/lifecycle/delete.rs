//! `delete`: nothing of a container is left.
//!
//! The order is the first process, the cgroup, the directory: whatever ends the command on its way, the state is there to repeat
//! it from, and each part that is gone already is passed over.

use std::time::Duration;

use cloison_linux::Linux;
use rustix::process::getpid;

use super::first_process::{FirstProcess, kernel_signal};
use super::kill::let_die;
use super::{Error, Runtime, hooks, host_mounts, resctrl, store_with};
use crate::id::ContainerId;
use crate::signal::Signal;
use crate::state::{Container, State, Status, Store};

/// How long a killed first process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a monitor may take to write down what is left.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Deletes a container that has stopped, or was created and not started. With `force` one in any state, and one that is not there
/// is no error.
///
/// # Errors
/// [`Error::NotStopped`] without `force`, [`Error::InitStillRunning`]; the cgroup or the directory could not be removed. What
/// remains can be deleted with `force`.
pub fn delete(runtime: &Runtime, id: &ContainerId, force: bool) -> Result<(), Error> {
    match delete_present(runtime, id, force) {
        Err(Error::State(error)) if force && error.is_absent() => Ok(()),
        result => result,
    }
}

fn delete_present(runtime: &Runtime, id: &ContainerId, force: bool) -> Result<(), Error> {
    let container = take(&store_with(runtime, id)?, id, force)?;
    let state = match container.load() {
        Err(error) if force && error.is_wreck() => {
            log::debug!("there is nothing to kill that is known of: {error}");
            return Ok(container.remove()?);
        }
        result => result?,
    };
    if !force {
        match container.status(&state)? {
            Status::Stopped | Status::Created => {}
            status => return Err(Error::NotStopped { id: id.clone(), status }),
        }
    }
    destroy(container, &state)
}

/// Ends what is left of a container, whatever it is doing, and removes its cgroup and its directory.
pub(super) fn destroy(container: Container, state: &State) -> Result<(), Error> {
    end_first_process(state)?;
    let cgroup = state.cgroup.cgroup();
    // With a pid namespace of its own, all that is the container's has ended with its first process. Without, there may be others.
    // Where the creation was interrupted, a first process may be in the cgroup that the state does not know yet.
    if (!state.own_pid_namespace || state.init.is_none())
        && let Err(error) = cgroup.kill_all(kernel_signal(Signal::KILL))
    {
        log::debug!("what cannot be killed stops the removal of the cgroup: {error}");
    }
    cgroup.remove()?;
    resctrl::remove(state)?;
    host_mounts::take_back(&Linux, state.host_mount.as_ref())?;
    let hooks = hooks::poststop(&container, state);
    end_monitor(state)?;
    container.remove()?;
    // Nobody else can find the container any more, so that they run once.
    if let Some(hooks) = hooks {
        hooks.run_all(Status::Stopped);
    }
    Ok(())
}

/// Lets the monitor tell the exit code to those who wait for it at this moment, and ends it.
fn end_monitor(state: &State) -> Result<(), Error> {
    let Some(monitor) = &state.monitor else { return Ok(()) };
    // It is the monitor itself that takes back a container that did not come to be.
    if monitor.process.pid == getpid() {
        return Ok(());
    }
    let Some(process) = FirstProcess::open(&monitor.process)? else { return Ok(()) };
    if !process.send(Signal::TERM)? || process.wait(LAST_WORDS)? {
        return Ok(());
    }
    log::warn!("the container's monitor did not end within {} s and is killed", LAST_WORDS.as_secs());
    if !process.send(Signal::KILL)? || process.wait(PATIENCE)? {
        return Ok(());
    }
    Err(Error::MonitorStillRunning { pid: process.pid(), seconds: PATIENCE.as_secs() })
}

/// Locks the container. If another command has it, `force` does not wait for that to finish in its own time: a `create` whose hook
/// hangs, or a `start`, fails when its first process is killed.
fn take(store: &Store, id: &ContainerId, force: bool) -> Result<Container, Error> {
    if let Some(container) = store.try_open(id)? {
        return Ok(container);
    }
    if force && let Err(error) = interrupt(store, id) {
        log::debug!("waiting for the command that is at work on container {id}: {error}");
    }
    Ok(store.open(id)?)
}

fn interrupt(store: &Store, id: &ContainerId) -> Result<(), Error> {
    let state = store.open_unlocked(id)?.load()?;
    if state.init.is_some() {
        return end_first_process(&state);
    }
    Ok(state.cgroup.cgroup().kill_all(kernel_signal(Signal::KILL))?)
}

/// Kills the container's first process, and waits for its end.
pub(super) fn end_first_process(state: &State) -> Result<(), Error> {
    let Some(process) = state.init.as_ref().map(FirstProcess::open).transpose()?.flatten() else {
        return Ok(());
    };
    if !process.send(Signal::KILL)? {
        return Ok(());
    }
    let_die(state.cgroup.cgroup());
    if process.wait(PATIENCE)? {
        return Ok(());
    }
    Err(Error::InitStillRunning { pid: process.pid(), seconds: PATIENCE.as_secs() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::lifecycle::testing::Machine;
    use crate::lifecycle::{list, state};
    use crate::state::testing::{Sleeper, a_state, id, remains_of_dead_commands};
    use crate::state::{Init, LAYOUT};

    fn is_there(machine: &Machine, name: &str) -> bool {
        machine.runtime.root.join(name).exists()
    }

    #[test]
    fn running_container_is_refused_in_the_words_of_runc_and_stays() {
        let machine = Machine::new();
        let mut process = Sleeper::new();
        machine.keep(&State { init: Some(process.init()), ..a_state("c1") });
        let error = delete(&machine.runtime, &id("c1"), false).unwrap_err();
        assert_eq!(error.to_string(), "cannot delete container c1 that is not stopped: running");
        assert!(process.is_alive() && is_there(&machine, "c1"));
    }

    #[test]
    fn running_container_is_killed_by_force() {
        let machine = Machine::new();
        let mut process = Sleeper::new();
        machine.keep(&State { init: Some(process.init()), ..a_state("c1") });
        delete(&machine.runtime, &id("c1"), true).unwrap();
        assert_eq!(process.wait_for_signal(), Some(9));
        assert!(!is_there(&machine, "c1"));
    }

    #[test]
    fn created_container_is_killed_without_force() {
        let machine = Machine::new();
        let mut process = Sleeper::new();
        let container = machine.keep(&State { init: Some(process.init()), ..a_state("c1") });
        let mark = container.mark_created().unwrap();
        drop(container);
        delete(&machine.runtime, &id("c1"), false).unwrap();
        assert_eq!(process.wait_for_signal(), Some(9));
        assert!(!is_there(&machine, "c1"));
        drop(mark);
    }

    #[test]
    fn stopped_container_is_deleted_and_who_got_its_process_id_lives_on() {
        let machine = Machine::new();
        let mut process = Sleeper::new();
        let earlier = Init { start_time: process.init().start_time - 1, ..process.init() };
        for force in [false, true] {
            machine.keep(&State { init: Some(earlier), ..a_state("c1") });
            delete(&machine.runtime, &id("c1"), force).unwrap();
            assert!(!is_there(&machine, "c1"));
        }
        assert!(process.is_alive());
    }

    #[test]
    fn absent_container_is_an_error_without_force_only() {
        let machine = Machine::new();
        let nowhere = Runtime { root: machine.runtime.root.join("absent"), ..machine.runtime.clone() };
        for runtime in [&machine.runtime, &nowhere] {
            let error = delete(runtime, &id("c1"), false).unwrap_err().to_string();
            assert!(error.starts_with("container does not exist"), "{error}");
            delete(runtime, &id("c1"), true).unwrap();
        }
    }

    #[test]
    fn half_written_container_is_named_without_force_and_removed_with_it() {
        let machine = Machine::new();
        let text = serde_json::to_string(&a_state("c1")).unwrap();
        for (name, bytes) in [("config.json", "{}"), ("state.json", ""), ("state.json", &text[..40])] {
            let path = machine.runtime.root.join("c1");
            fs::create_dir(&path).unwrap();
            fs::write(path.join(name), bytes).unwrap();
            let error = delete(&machine.runtime, &id("c1"), false).unwrap_err().to_string();
            assert!(error.contains("delete --force"), "{error}");
            delete(&machine.runtime, &id("c1"), true).unwrap();
            assert!(!path.exists());
        }
    }

    #[test]
    fn whatever_a_dead_command_left_is_listed_beside_the_others_and_removed_by_force() {
        let machine = Machine::new();
        machine.keep(&a_state("other"));
        for remains in remains_of_dead_commands() {
            remains.put(&machine.runtime.root.join("c1"));
            let listing = list(&machine.runtime).unwrap();
            assert!(listing.containers.iter().any(|container| container.id == "other"), "{remains:?}");
            assert_eq!(listing.containers.len() + listing.broken.len(), 2, "{remains:?}");
            delete(&machine.runtime, &id("c1"), true).unwrap();
            assert!(!is_there(&machine, "c1"), "{remains:?}");
        }
        assert!(is_there(&machine, "other"));
    }

    #[test]
    fn container_of_another_layout_is_left_alone_even_by_force() {
        let machine = Machine::new();
        machine.keep(&State { version: LAYOUT + 1, ..a_state("c1") });
        let error = delete(&machine.runtime, &id("c1"), true).unwrap_err().to_string();
        assert!(error.contains("layout 2"), "{error}");
        assert!(is_there(&machine, "c1"));
    }

    #[test]
    fn force_kills_the_process_of_a_command_that_has_the_container_and_waits_for_its_end() {
        let machine = Machine::new();
        let mut process = Sleeper::new();
        let container = machine.keep(&State { init: Some(process.init()), ..a_state("c1") });
        let released = AtomicBool::new(false);
        thread::scope(|scope| {
            let deleting = scope.spawn(|| {
                delete(&machine.runtime, &id("c1"), true).unwrap();
                assert!(released.load(Ordering::SeqCst), "deleted under the other command's hands");
            });
            assert_eq!(process.wait_for_signal(), Some(9));
            released.store(true, Ordering::SeqCst);
            drop(container);
            deleting.join().unwrap();
        });
        assert!(!is_there(&machine, "c1"));
    }

    #[test]
    fn of_many_deleters_one_deletes_and_readers_see_the_container_or_none() {
        for _ in 0..50 {
            let machine = Machine::new();
            machine.keep(&a_state("c1"));
            let deleted: usize = thread::scope(|scope| {
                let reader = scope.spawn(|| {
                    loop {
                        match state(&machine.runtime, &id("c1")) {
                            Ok(report) => assert_eq!(report.id, "c1"),
                            Err(error)
                                if error.to_string().starts_with("container does not exist: there is no") =>
                            {
                                break;
                            }
                            Err(Error::State(crate::state::Error::InTransit { .. })) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
                let deleters: Vec<_> =
                    (0..8).map(|_| scope.spawn(|| delete(&machine.runtime, &id("c1"), false))).collect();
                let results = deleters.into_iter().map(|deleter| deleter.join().unwrap());
                let deleted = results.filter(|result| match result {
                    Ok(()) => true,
                    Err(Error::State(error)) if error.is_absent() => false,
                    Err(error) => panic!("{error}"),
                });
                let deleted = deleted.count();
                reader.join().unwrap();
                deleted
            });
            assert_eq!(deleted, 1);
        }
    }
}
