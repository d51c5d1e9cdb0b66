//! `pause` and `resume`: a container's processes stand still, and go on.

use super::{Error, Runtime, store_with};
use crate::id::ContainerId;
use crate::state::Status;

/// Holds every process of a container still until [`resume`]. When this returns, they all stand.
///
/// # Errors
/// [`Error::NotRunning`] for a container that has stopped or is paused already; its cgroup cannot be frozen, and then everything
/// goes on.
pub fn pause(runtime: &Runtime, id: &ContainerId) -> Result<(), Error> {
    let container = store_with(runtime, id)?.open(id)?;
    let state = container.load()?;
    match container.status(&state)? {
        Status::Running | Status::Created => Ok(state.cgroup.cgroup().freeze()?),
        _ => Err(Error::NotRunning),
    }
}

/// Lets every process of a paused container go on.
///
/// # Errors
/// [`Error::NotPaused`].
pub fn resume(runtime: &Runtime, id: &ContainerId) -> Result<(), Error> {
    let container = store_with(runtime, id)?.open(id)?;
    let state = container.load()?;
    match container.status(&state)? {
        Status::Paused => Ok(state.cgroup.cgroup().thaw()?),
        _ => Err(Error::NotPaused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::testing::Machine;
    use crate::state::State;
    use crate::state::testing::{Sleeper, a_state, id};

    #[test]
    fn what_does_not_run_is_neither_paused_nor_resumed() {
        let machine = Machine::new();
        machine.keep(&a_state("c1"));
        assert_eq!(pause(&machine.runtime, &id("c1")).unwrap_err().to_string(), "container not running");
        assert_eq!(resume(&machine.runtime, &id("c1")).unwrap_err().to_string(), "container not paused");
    }

    #[test]
    fn a_container_without_a_cgroup_cannot_be_paused() {
        let machine = Machine::new();
        let process = Sleeper::new();
        machine.keep(&State { init: Some(process.init()), ..a_state("c1") });
        let error = pause(&machine.runtime, &id("c1")).unwrap_err().to_string();
        assert!(error.starts_with("the container has no cgroup that can be frozen"), "{error}");
        assert_eq!(resume(&machine.runtime, &id("c1")).unwrap_err().to_string(), "container not paused");
    }
}
