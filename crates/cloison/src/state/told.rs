//! A container's state as runtime-spec passes it to other programs
//! ([runtime.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/runtime.md#state)).

use std::collections::BTreeMap;
use std::path::Path;

use rustix::process::Pid;
use serde::Serialize;

use super::{State, Status};

/// `State` of runtime-spec: what hooks and seccomp agents are told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerState<'a> {
    /// `ociVersion` of the container's `config.json`.
    pub oci_version: &'a str,
    /// The container's name.
    pub id: &'a str,
    /// Where it is in its life.
    pub status: Status,
    /// The first process, as the one who is told numbers it; none when it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// The bundle's absolute path.
    pub bundle: &'a Path,
    /// `annotations` of `config.json`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
}

impl<'a> ContainerState<'a> {
    /// What is told of the container with this state.
    pub fn of(state: &'a State, status: Status, init: Pid) -> Self {
        Self {
            oci_version: &state.oci_version,
            id: state.id.as_str(),
            status,
            pid: Some(init.as_raw_nonzero().get()),
            bundle: Path::new(&state.bundle),
            annotations: &state.annotations,
        }
    }

    /// As JSON, in one line.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}
