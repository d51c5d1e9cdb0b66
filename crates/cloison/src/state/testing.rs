//! What the tests of this crate that need a state directory share.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;

use super::{Init, LAYOUT, LaterHooks, State};
use crate::id::ContainerId;

/// A process that stands for a container's first one; killed and waited for at the end.
#[derive(Debug)]
pub(crate) struct Sleeper(Child);

impl Sleeper {
    pub(crate) fn new() -> Self {
        Self(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn init(&self) -> Init {
        Init::of(Pid::from_child(&self.0)).unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
    }

    /// Waits until the process has ended; gives the signal that ended it.
    pub(crate) fn wait_for_signal(&mut self) -> Option<i32> {
        std::os::unix::process::ExitStatusExt::signal(&self.0.wait().unwrap())
    }

    /// The process has not ended.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            log::debug!("{:?} has ended before: {error}", self.0);
        }
    }
}

pub(crate) fn id(text: &str) -> ContainerId {
    ContainerId::parse(text).unwrap()
}

/// A state without a process and without a cgroup.
pub(crate) fn a_state(name: &str) -> State {
    State {
        version: LAYOUT,
        oci_version: "1.3.0".into(),
        id: id(name),
        bundle: "/b".into(),
        rootfs: "/b/rootfs".into(),
        created: serde_json::from_str(r#""2026-08-22T10:00:00.123456789Z""#).unwrap(),
        annotations: BTreeMap::new(),
        init: None,
        cgroup: cloison_cgroup::Record::disabled(),
        resources: cloison_cgroup::Resources::default(),
        device_rules: None,
        resctrl: None,
        own_pid_namespace: true,
        no_new_keyring: false,
        restored_clocks: false,
        root_is: None,
        host_mount: None,
        hooks: LaterHooks::default(),
        streams: Vec::new(),
        monitor: None,
    }
}

/// The files in a container's directory after the last system call of a command that died.
#[derive(Debug)]
pub(crate) struct Remains {
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
}

impl Remains {
    /// Makes the directory.
    pub(crate) fn put(&self, path: &Path) {
        fs::create_dir(path).unwrap();
        for (name, bytes) in &self.files {
            fs::write(path.join(name), bytes).unwrap();
        }
    }
}

/// What is left of container `c1` after each system call of `create`, from `mkdir` on, and of `delete`, which goes the same way
/// back but for the order of the files that are not `state.json`.
pub(crate) fn remains_of_dead_commands() -> Vec<Remains> {
    let state = serde_json::to_vec(&a_state("c1")).unwrap();
    let config: (_, &[u8]) = ("config.json", b"{}");
    let unsaved: [&[(&str, &[u8])]; 4] =
        [&[], &[("config.json.new", b"")], &[("config.json.new", b"{")], &[config]];
    let unsaved = unsaved.into_iter().map(with_bytes);
    let saving = (0..=state.len()).map(|length| with_bytes(&[config, ("state.json.new", &state[..length])]));
    let (created, start) = (("exec.fifo", &b""[..]), ("start", &b""[..]));
    let saved: [&[(&str, &[u8])]; 7] = [
        &[config],
        &[config, start],
        &[config, start, created],
        &[config, start, created, ("state.json.new", b"{")],
        &[start, created],
        &[created],
        &[],
    ];
    let saved = saved.into_iter().map(|others| with_bytes(&[others, &[("state.json", &state)]].concat()));
    unsaved.chain(saving).chain(saved).map(|files| Remains { files }).collect()
}

fn with_bytes(files: &[(&'static str, &[u8])]) -> Vec<(&'static str, Vec<u8>)> {
    files.iter().map(|&(name, bytes)| (name, bytes.to_vec())).collect()
}
