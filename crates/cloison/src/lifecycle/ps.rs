//! `ps`: who is in a container.

use cloison_cgroup::Record;

use super::{Error, Runtime, store_with};
use crate::id::ContainerId;

/// The processes of a container by ascending id, as the caller's pid namespace numbers them; none of one that has stopped.
///
/// # Errors
/// [`Error::NoCgroup`] for a container that has none, by which its processes could be told; the cgroup cannot be read.
pub fn processes(runtime: &Runtime, id: &ContainerId) -> Result<Vec<i32>, Error> {
    let state = store_with(runtime, id)?.open_unlocked(id)?.load()?;
    match state.cgroup {
        Record::Disabled(_) => Err(Error::NoCgroup(id.clone())),
        record => Ok(record.cgroup().processes()?),
    }
}

#[cfg(test)]
mod tests {
    use cloison_cgroup::Unified;

    use super::*;
    use crate::lifecycle::testing::Machine;
    use crate::state::State;
    use crate::state::testing::{a_state, id};

    #[test]
    fn a_container_without_a_cgroup_is_refused_and_one_whose_cgroup_is_gone_has_no_processes() {
        let machine = Machine::new();
        machine.keep(&a_state("bare"));
        let error = processes(&machine.runtime, &id("bare")).unwrap_err().to_string();
        assert!(error.contains("bare has no cgroup"), "{error}");
        let gone = Unified { mount: "/nowhere".into(), directory: "/nowhere/c1".into() };
        machine.keep(&State { cgroup: Record::Unified(gone), ..a_state("c1") });
        assert_eq!(processes(&machine.runtime, &id("c1")).unwrap(), [0; 0]);
    }
}
