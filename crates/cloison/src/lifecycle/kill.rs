//! `kill`: a signal for a container.

use cloison_cgroup::Cgroup;

use super::first_process::{FirstProcess, kernel_signal};
use super::{Error, Runtime, store_with};
use crate::id::ContainerId;
use crate::signal::Signal;
use crate::state::State;

/// Sends a signal to a container's first process; with `all`, to every process of the container.
///
/// Does not wait for another command, so that a hook can kill the container that it belongs to.
///
/// [`Signal::NONE`] only asks whether there is a process.
///
/// # Errors
/// [`Error::NotRunning`] if there is no process to send it to. With `all`, that is success.
pub fn kill(runtime: &Runtime, id: &ContainerId, signal: Signal, all: bool) -> Result<(), Error> {
    let state = store_with(runtime, id)?.open_unlocked(id)?.load()?;
    if signal == Signal::NONE {
        return if all || is_running(&state)? { Ok(()) } else { Err(Error::NotRunning) };
    }
    match if all { signal_all(&state, signal) } else { signal_container(&state, signal) } {
        Err(Error::NotRunning) if all => Ok(()),
        result => result,
    }
}

fn is_running(state: &State) -> Result<bool, Error> {
    let process = state.init.as_ref().map(FirstProcess::open).transpose()?;
    Ok(process.flatten().is_some())
}

/// SIGKILL is for the container as a whole: without a pid namespace of its own, the end of its first process ends no other, and
/// they may have outlived it already.
fn signal_container(state: &State, signal: Signal) -> Result<(), Error> {
    if signal == Signal::KILL && !state.own_pid_namespace {
        signal_all(state, signal)
    } else {
        signal_init(state, signal)
    }
}

fn signal_all(state: &State, signal: Signal) -> Result<(), Error> {
    let cgroup = state.cgroup.cgroup();
    // Also where there is no cgroup: the first process is known all the same.
    if cgroup.processes()?.is_empty() {
        return signal_init(state, signal);
    }
    match cgroup.kill_all(kernel_signal(signal)) {
        Err(error) if error.is_permission() => {
            log::warn!("only the container's first process gets {signal}: {error}");
            signal_init(state, signal)
        }
        result => Ok(result?),
    }
}

fn signal_init(state: &State, signal: Signal) -> Result<(), Error> {
    let process = match &state.init {
        Some(init) => FirstProcess::open(init)?.ok_or(Error::NotRunning)?,
        None => return Err(Error::NotRunning),
    };
    if !process.send(signal)? {
        return Err(Error::NotRunning);
    }
    if signal == Signal::KILL {
        let_die(state.cgroup.cgroup());
    }
    Ok(())
}

/// Thaws a cgroup whose first process has been killed: in a frozen cgroup of v1, SIGKILL waits for that.
pub(super) fn let_die(cgroup: &dyn Cgroup) {
    let frozen = cgroup.is_frozen();
    let thawed =
        frozen.and_then(|frozen| if frozen { cgroup.kill_all(kernel_signal(Signal::KILL)) } else { Ok(()) });
    if let Err(error) = thawed {
        log::debug!("what was killed may stay frozen: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::testing::Machine;
    use crate::state::Init;
    use crate::state::testing::{Sleeper, a_state, id};

    #[test]
    fn first_process_gets_the_signal_while_another_command_has_the_container() {
        let machine = Machine::new();
        let mut process = Sleeper::new();
        let _held = machine.keep(&State { init: Some(process.init()), ..a_state("c1") });
        kill(&machine.runtime, &id("c1"), Signal::from_number(10).unwrap(), false).unwrap();
        assert_eq!(process.wait_for_signal(), Some(10));
    }

    #[test]
    fn real_time_signals_arrive() {
        let machine = Machine::new();
        let mut process = Sleeper::new();
        machine.keep(&State { init: Some(process.init()), ..a_state("c1") });
        kill(&machine.runtime, &id("c1"), Signal::parse("RTMIN+3").unwrap(), false).unwrap();
        assert_eq!(process.wait_for_signal(), Some(37));
    }

    #[test]
    fn stopped_container_is_not_running_but_kill_all_has_nothing_to_complain_of() {
        let machine = Machine::new();
        let mut process = Sleeper::new();
        let init = Some(process.init());
        process.kill();
        process.wait_for_signal();
        for own_pid_namespace in [true, false] {
            machine.keep(&State { init, own_pid_namespace, ..a_state("c1") });
            for signal in [Signal::TERM, Signal::KILL] {
                let error = kill(&machine.runtime, &id("c1"), signal, false).unwrap_err();
                assert_eq!(error.to_string(), "container not running");
                kill(&machine.runtime, &id("c1"), signal, true).unwrap();
            }
            machine.open("c1").remove().unwrap();
        }
    }

    #[test]
    fn who_got_the_process_id_of_a_container_that_stopped_is_left_alone() {
        let machine = Machine::new();
        let mut process = Sleeper::new();
        let earlier = Init { start_time: process.init().start_time - 1, ..process.init() };
        for own_pid_namespace in [true, false] {
            machine.keep(&State { init: Some(earlier), own_pid_namespace, ..a_state("c1") });
            for all in [true, false] {
                let result = kill(&machine.runtime, &id("c1"), Signal::KILL, all);
                assert_eq!(result.is_ok(), all);
            }
            machine.open("c1").remove().unwrap();
        }
        assert!(process.is_alive());
    }

    #[test]
    fn container_whose_process_is_not_there_yet_is_not_running() {
        let machine = Machine::new();
        machine.keep(&a_state("c1"));
        assert!(matches!(kill(&machine.runtime, &id("c1"), Signal::TERM, false), Err(Error::NotRunning)));
    }

    #[test]
    fn absent_container_does_not_exist() {
        let machine = Machine::new();
        let error = kill(&machine.runtime, &id("c1"), Signal::TERM, true).unwrap_err().to_string();
        assert!(error.starts_with("container does not exist"), "{error}");
    }
}
