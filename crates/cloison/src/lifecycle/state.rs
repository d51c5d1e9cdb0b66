//! `state`: what a container is doing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Error, Runtime, store_with};
use crate::id::ContainerId;
use crate::state::{State, Status, Timestamp};

/// What `state` prints: runtime-spec's State, and three keys more, as engines know it from `runc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateReport {
    /// `ociVersion` of the container's `config.json`.
    pub oci_version: String,
    /// The container's name.
    pub id: String,
    /// The first process, as the runtime's pid namespace numbers it; 0 if there is none.
    pub pid: i32,
    /// Where the container is in its life.
    pub status: Status,
    /// The bundle's absolute path.
    pub bundle: String,
    /// The root file system's absolute path.
    pub rootfs: String,
    /// When the container was made.
    pub created: Timestamp,
    /// `annotations` of `config.json`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Who made the container, by name; empty in `state`, filled in `list`.
    pub owner: String,
}

/// Says what a container is doing. Never waits for another command.
///
/// # Errors
/// The container is not there, or what is there cannot be understood.
pub fn state(runtime: &Runtime, id: &ContainerId) -> Result<StateReport, Error> {
    let view = store_with(runtime, id)?.open_unlocked(id)?;
    let state = view.load()?;
    let status = view.status(&state)?;
    Ok(StateReport::new(state, status, String::new()))
}

impl StateReport {
    pub(super) fn new(state: State, status: Status, owner: String) -> Self {
        let init = state.init.filter(|_| status != Status::Stopped);
        Self {
            oci_version: state.oci_version,
            id: state.id.to_string(),
            pid: init.map_or(0, |init| init.pid.as_raw_nonzero().get()),
            status,
            bundle: state.bundle,
            rootfs: state.rootfs,
            created: state.created,
            annotations: state.annotations,
            owner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::testing::Machine;
    use crate::state::testing::{Sleeper, a_state, id};

    #[test]
    fn report_has_the_keys_of_runc_in_its_order() {
        let machine = Machine::new();
        let process = Sleeper::new();
        let annotations = BTreeMap::from([("k".into(), "v".into()), ("a".into(), "<&>".into())]);
        machine.keep(&State { init: Some(process.init()), annotations, ..a_state("c1") });
        let text = serde_json::to_string_pretty(&state(&machine.runtime, &id("c1")).unwrap()).unwrap();
        let expected = format!(
            r#"{{
  "ociVersion": "1.3.0",
  "id": "c1",
  "pid": {},
  "status": "running",
  "bundle": "/b",
  "rootfs": "/b/rootfs",
  "created": "2026-08-22T10:00:00.123456789Z",
  "annotations": {{
    "a": "<&>",
    "k": "v"
  }},
  "owner": ""
}}"#,
            process.init().pid.as_raw_nonzero()
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn stopped_container_has_pid_0_and_leaves_out_what_it_has_no_annotations() {
        let machine = Machine::new();
        let mut process = Sleeper::new();
        machine.keep(&State { init: Some(process.init()), ..a_state("c1") });
        process.kill();
        process.wait_for_signal();
        let json = serde_json::to_value(state(&machine.runtime, &id("c1")).unwrap()).unwrap();
        assert_eq!((json["pid"].as_i64(), json["status"].as_str()), (Some(0), Some("stopped")));
        assert!(json.get("annotations").is_none());
    }

    #[test]
    fn state_is_told_while_another_command_has_the_container() {
        let machine = Machine::new();
        let container = machine.keep(&a_state("c1"));
        assert_eq!(state(&machine.runtime, &id("c1")).unwrap().status, Status::Creating);
        drop(container);
        assert_eq!(state(&machine.runtime, &id("c1")).unwrap().status, Status::Stopped);
    }

    #[test]
    fn absent_container_does_not_exist_with_and_without_a_root() {
        let machine = Machine::new();
        let nowhere = Runtime { root: machine.runtime.root.join("no/where"), ..machine.runtime.clone() };
        for runtime in [&machine.runtime, &nowhere] {
            let error = state(runtime, &id("c1")).unwrap_err().to_string();
            assert!(error.starts_with("container does not exist"), "{error}");
        }
    }
}
