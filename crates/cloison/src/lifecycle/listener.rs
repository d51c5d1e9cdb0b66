//! Who answers the calls that a filter tells of: gets the filter's listener, and is told whose it is
//! ([config-linux.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config-linux.md#seccomp), "The container process state").

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use cloison_linux::{Kernel, Pid, process, socket};
use serde::Serialize;

use super::Error;
use super::console::{PATIENCE, Unreachable, connect};
use super::error::Doing as _;
use crate::init::channel::ToInit;
use crate::plan::seccomp::Listener;
use crate::spec::NEWEST_VERSION;
use crate::state::{ContainerState, State, Status};

/// The name that runtime-spec gives the descriptor.
const NAME: &str = "seccompFd";

/// `ContainerProcessState` of runtime-spec.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'static str,
    /// The descriptors that come with this, in their order.
    fds: [&'static str; 1],
    /// The process that is under the filter.
    pid: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    state: ContainerState<'a>,
}

/// Who has a listener, and in which container.
pub(super) struct Filtered<'a> {
    /// The process.
    pub(super) pid: Pid,
    pub(super) pidfd: BorrowedFd<'a>,
    /// The socket to it.
    pub(super) channel: BorrowedFd<'a>,
    /// The container, and what it is doing.
    pub(super) state: &'a State,
    pub(super) status: Status,
    /// The container's first process.
    pub(super) init: Pid,
}

/// Takes the listener from the process, in which it has this number, hands it on (to a recorder if there is one), and lets the process go on.
///
/// # Errors
/// [`Error::Listener`] if nobody takes it.
pub(super) fn hand_over(
    kernel: &dyn Kernel,
    to: &Listener,
    recorder: Option<BorrowedFd<'_>>,
    from: &Filtered<'_>,
    number: RawFd,
) -> Result<(), Error> {
    let fd =
        process::take_descriptor(from.pidfd, number).doing("taking the filter's listener from the init")?;
    let told = told(to, from);
    let failed = |reason| Error::Listener { path: to.path.clone(), reason };
    let sent = match recorder {
        Some(recorder) => socket::send(recorder, &told, Some(fd.as_fd())),
        None => socket::send(reach(to).map_err(failed)?.as_fd(), &told, Some(fd.as_fd())),
    };
    sent.map_err(|errno| failed(errno.into()))?;
    ToInit::Listening.send(kernel, from.channel).doing("telling the init that its listener is handed over")
}

fn told(to: &Listener, from: &Filtered<'_>) -> Vec<u8> {
    let number = |pid: Pid| pid.as_raw_nonzero().get();
    let told = ContainerProcessState {
        oci_version: NEWEST_VERSION,
        fds: [NAME],
        pid: number(from.pid),
        metadata: &to.metadata,
        state: ContainerState::of(from.state, from.status, from.init),
    };
    serde_json::to_vec(&told).expect("texts and numbers are JSON")
}

fn reach(to: &Listener) -> Result<OwnedFd, Unreachable> {
    match to.path.as_os_str().as_bytes() {
        // As Go has it, and so whoever writes for runc.
        [b'@', name @ ..] => socket::connect_abstract(name, PATIENCE).map_err(Unreachable::from),
        _ => connect(&to.path),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::state::testing::{Sleeper, a_state};

    #[test]
    fn the_listener_is_told_what_runtime_spec_says() {
        let process = Sleeper::new();
        let pid = process.init().pid;
        let null = std::fs::File::open("/dev/null").unwrap();
        let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let state = State { annotations, ..a_state("c1") };
        let from = Filtered {
            pid,
            pidfd: null.as_fd(),
            channel: null.as_fd(),
            state: &state,
            status: Status::Creating,
            init: pid,
        };
        let to = Listener { path: "/run/l".into(), metadata: "note".to_owned() };
        let json: serde_json::Value = serde_json::from_slice(&told(&to, &from)).unwrap();
        let pid = pid.as_raw_nonzero().get();
        let expected = serde_json::json!({
            "ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": pid, "metadata": "note",
            "state": {
                "ociVersion": "1.3.0", "id": "c1", "status": "creating", "pid": pid, "bundle": "/b",
                "annotations": {"a": "b"},
            },
        });
        assert_eq!(json, expected);
        let unnamed = Listener { metadata: String::new(), ..to };
        let json: serde_json::Value = serde_json::from_slice(&told(&unnamed, &from)).unwrap();
        assert!(json.get("metadata").is_none());
    }
}
