//! What `state.json` holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::error::Error;
use crate::id::ContainerId;

/// The layout of `state.json` that this version writes and reads.
///
/// It grows when an older version would misunderstand the file. A field that an older version may overlook needs no new
/// layout: fields that are not known are skipped.
pub const LAYOUT: u32 = 1;

/// All that has to outlive the command that made the container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The layout of the file: [`LAYOUT`].
    pub version: u32,
    /// `ociVersion` of the container's `config.json`.
    pub oci_version: String,
    /// The container's name.
    #[serde(with = "id_text")]
    pub id: ContainerId,
    /// The absolute path of the bundle, as text for [`state`](crate::lifecycle::state()).
    pub bundle: String,
    /// The absolute path of the root file system, as text for [`state`](crate::lifecycle::state()).
    pub rootfs: String,
    /// When the container was made.
    pub created: Timestamp,
    /// `annotations` of `config.json`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The first process; none while the container is being created.
    pub init: Option<Init>,
    /// The container's cgroup.
    pub cgroup: cloison_cgroup::Record,
    /// The limits of the cgroup, as they were set last.
    #[serde(default, skip_serializing_if = "cloison_cgroup::Resources::is_empty")]
    pub resources: cloison_cgroup::Resources,
    /// `linux.resources.devices` as `update` set it last, instead of what `config.json` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_rules: Option<Vec<crate::spec::DeviceRule>>,
    /// The container's class of service in the resctrl file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<crate::resctrl::Group>,
    /// The container has a pid namespace of its own, so that its processes end with its first one (`pid_namespaces(7)`).
    pub own_pid_namespace: bool,
    /// The first process kept its caller's session keyring, so that there is none of the container's to join.
    #[serde(default)]
    pub no_new_keyring: bool,
    /// CRIU has restored the container with clocks of its own, which go on where they stood, whatever `config.json` says
    /// (`time_namespaces(7)`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored_clocks: bool,
    /// The uid and gid of who became root of a user namespace that `config.json` does not have: an ordinary user who made the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_is: Option<(u32, u32)>,
    /// What the mounts of a container without a mount namespace lie on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_mount: Option<HostMount>,
    /// The hooks that are still to come.
    #[serde(default)]
    pub hooks: LaterHooks,
    /// What the first process's standard streams are called (`/proc/PID/fd`), for a checkpoint: which pipes are the caller's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<String>,
    /// The process that keeps the container's streams; none for most containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Monitor>,
}

/// The mount that all of a container's mounts lie on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMount {
    /// Where it is.
    pub path: PathBuf,
    /// Its number: one for all time where the kernel has such (Linux 6.8), else one that another may get when it is gone.
    pub id: u64,
    /// The one of the latter kind, which `/proc/self/mountinfo` has.
    pub number: u64,
}

/// The process that keeps a container's streams, and what it does with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Monitor {
    /// The process.
    pub process: Init,
    /// The form of the log.
    pub driver: LogDriver,
    /// The log's absolute path; none for the one in the container's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
}

/// Where the container's output is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogDriver {
    /// In lines with time and stream before the bytes, as the Kubernetes CRI has them.
    #[default]
    File,
    /// In lines of JSON, as Docker's `json-file` has them.
    Json,
    /// Nowhere.
    None,
}

/// How a container's first process has ended, as its monitor saw it: what `exit.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// The exit code: the program's own, 128 and the signal's number, or 124 if its time had run out.
    pub code: u8,
    /// The signal that killed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Its time had run out (`--timeout`).
    pub timed_out: bool,
    /// When.
    pub time: Timestamp,
}

/// Which hooks `config.json` has for after `create`, so that only a container that has some needs its configuration read again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LaterHooks {
    /// `hooks.startContainer` is not empty.
    pub start_container: bool,
    /// `hooks.poststart` is not empty.
    pub poststart: bool,
    /// `hooks.poststop` is not empty.
    pub poststop: bool,
}

/// A container's first process.
///
/// A process id alone names whoever has it today; with the time at which the process started it names one process for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Init {
    /// The process id, in the pid namespace of the runtime.
    #[serde(with = "pid_number")]
    pub pid: Pid,
    /// When it started, in clock ticks since boot: field 22 of `/proc/PID/stat` (`proc_pid_stat(5)`).
    pub start_time: u64,
}

impl State {
    /// Reads `state.json`, which came from `path`.
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let parsed = serde_json::from_slice::<Self>(bytes);
        let layout = match &parsed {
            Ok(state) => Some(state.version),
            Err(_) => serde_json::from_slice::<LayoutOnly>(bytes).ok().map(|file| file.version),
        };
        match layout {
            Some(found) if found != LAYOUT => Err(Error::Layout { path: path.into(), found, known: LAYOUT }),
            _ => parsed.map_err(|source| Error::Damaged { path: path.into(), source }),
        }
    }
}

/// What every layout has in common.
#[derive(Deserialize)]
struct LayoutOnly {
    version: u32,
}

mod id_text {
    use std::borrow::Cow;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::id::ContainerId;

    pub(super) fn serialize<S: Serializer>(id: &ContainerId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(id.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ContainerId, D::Error> {
        ContainerId::parse(&Cow::<str>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

mod pid_number {
    use rustix::process::Pid;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(pid: &Pid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(pid.as_raw_nonzero().get())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pid, D::Error> {
        let number = i32::deserialize(deserializer)?;
        // kill(2) takes numbers below one for whole groups of processes.
        let pid = if number > 0 { Pid::from_raw(number) } else { None };
        pid.ok_or_else(|| D::Error::custom(format_args!("{number} is not the id of a process")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::a_state;

    fn parse(text: &str) -> Result<State, Error> {
        State::parse(text.as_bytes(), Path::new("/run/cloison/c1/state.json"))
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let state = State {
            init: Some(Init { pid: Pid::from_raw(42).unwrap(), start_time: u64::MAX }),
            annotations: BTreeMap::from([("a".into(), "\"\u{e9}\n\0".into())]),
            ..a_state("c1")
        };
        assert_eq!(parse(&serde_json::to_string(&state).unwrap()).unwrap(), state);
    }

    #[test]
    fn every_truncation_is_damage_and_never_a_state() {
        let text = serde_json::to_string(&a_state("c1")).unwrap();
        for length in 0..text.len() {
            let error = parse(&text[..length]).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{length} bytes: {error}");
            assert!(error.is_wreck());
        }
    }

    #[test]
    fn process_ids_that_mean_groups_are_damage() {
        for pid in [0, -1, -42, i64::from(i32::MAX) + 1] {
            let mut json = serde_json::to_value(a_state("c1")).unwrap();
            json["init"] = serde_json::json!({"pid": pid, "startTime": 1});
            assert!(matches!(parse(&json.to_string()), Err(Error::Damaged { .. })), "{pid}");
        }
    }

    #[test]
    fn a_later_layout_is_named_even_if_nothing_else_can_be_read() {
        let error = parse(r#"{"version": 2, "everything": "else"}"#).unwrap_err();
        assert!(matches!(error, Error::Layout { found: 2, known: LAYOUT, .. }), "{error}");
        assert!(!error.is_wreck(), "delete --force must not throw away what it does not understand");
    }

    #[test]
    fn a_later_layout_that_looks_like_ours_is_not_taken_for_ours() {
        let text = serde_json::to_string(&State { version: LAYOUT + 1, ..a_state("c1") }).unwrap();
        assert!(matches!(parse(&text), Err(Error::Layout { .. })));
    }

    #[test]
    fn fields_that_a_later_version_adds_are_skipped() {
        let mut json = serde_json::to_value(a_state("c1")).unwrap();
        json["fromTheFuture"] = serde_json::json!([1, 2, 3]);
        assert_eq!(parse(&json.to_string()).unwrap(), a_state("c1"));
    }
}
