//! `config.json` and its root file system.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::caller;
use crate::container::Container;
use crate::host;
use crate::output::Output;
use crate::rootfs::{Rootfs, make_dir};
use crate::sandbox::{Foreground, MARKER, Sandbox};

/// A bundle in the making: a specification to change, and a directory.
///
/// It starts from what `runc spec` writes, with `terminal` off. The file is written by whatever runs it.
pub struct Bundle<'s> {
    sandbox: &'s Sandbox,
    dir: PathBuf,
    /// The specification; change it with [`Bundle::edit`].
    pub spec: Value,
}

impl<'s> Bundle<'s> {
    pub(crate) fn new(sandbox: &'s Sandbox, dir: PathBuf, rootfs: Rootfs) -> Self {
        make_dir(&dir, 0o711);
        caller::give(&dir);
        rootfs.make(sandbox, &dir.join("rootfs"));
        let mut spec = default_spec();
        caller::adapt(&mut spec);
        spec["process"]["env"]
            .as_array_mut()
            .expect("a list")
            .push(format!("{MARKER}={}", sandbox.name()).into());
        Self { sandbox, dir, spec }
    }

    /// The directory of the bundle.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of the root file system, as the host sees it.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Sets the program and its arguments.
    #[must_use]
    pub fn args<S: Into<Value>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.spec["process"]["args"] = Value::Array(args.into_iter().map(Into::into).collect());
        self
    }

    /// Changes the specification.
    #[must_use]
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Sets the value at a JSON pointer, making the objects on the way.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let mut place = &mut self.spec;
        for key in pointer.split('/').skip(1) {
            place = match place {
                Value::Array(list) => &mut list[key.parse::<usize>().expect("a list has numbers")],
                other => &mut other[key],
            };
        }
        *place = value.into();
        self
    }

    /// Takes away what stands at the last key of a JSON pointer.
    #[must_use]
    pub fn without(mut self, pointer: &str) -> Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a slash");
        let parent = self.spec.pointer_mut(parent).expect("the parent is there");
        parent.as_object_mut().expect("the parent is an object").remove(key);
        self
    }

    /// Adds a value to the list at a JSON pointer, making the list when there is none.
    #[must_use]
    pub fn push(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        if self.spec.pointer(pointer).is_none() {
            self = self.set(pointer, json!([]));
        }
        self.spec.pointer_mut(pointer).and_then(Value::as_array_mut).expect("a list").push(value.into());
        self
    }

    /// Adds a mount.
    #[must_use]
    pub fn mount(self, kind: &str, source: impl AsRef<Path>, destination: &str, options: &[&str]) -> Self {
        let source = source.as_ref().to_str().expect("test paths are UTF-8").to_owned();
        self.push(
            "/mounts",
            json!({"destination": destination, "type": kind, "source": source, "options": options}),
        )
    }

    /// Adds an environment variable, given as `NAME=value`.
    #[must_use]
    pub fn env(self, assignment: &str) -> Self {
        self.push("/process/env", assignment)
    }

    /// Lets CRIU dump it on this kernel. glibc registers restartable sequences, of which CRIU cannot ask before Linux 5.13
    /// (`PTRACE_GET_RSEQ_CONFIGURATION`); there the program starts without.
    #[must_use]
    pub fn dumpable(self) -> Self {
        if host::criu_can("get_rseq_conf") { self } else { self.env("GLIBC_TUNABLES=glibc.pthread.rseq=0") }
    }

    /// Makes the root file system writable.
    #[must_use]
    pub fn writable(self) -> Self {
        self.set("/root/readonly", false)
    }

    /// Adds a namespace, or changes the one of this type; a path joins it.
    #[must_use]
    pub fn namespace(self, kind: &str, path: Option<&str>) -> Self {
        let bundle = self.without_namespace(kind);
        match path {
            Some(path) => bundle.push("/linux/namespaces", json!({"type": kind, "path": path})),
            None => bundle.push("/linux/namespaces", json!({"type": kind})),
        }
    }

    /// An ordinary user joins namespaces of a container only together with its user namespace, to which they belong.
    #[must_use]
    pub fn in_user_namespace_of(self, pid: u32) -> Self {
        if caller::ordinary().is_none() {
            return self;
        }
        let bundle = self.namespace("user", Some(&format!("/proc/{pid}/ns/user")));
        bundle.without("/linux/uidMappings").without("/linux/gidMappings")
    }

    /// Takes a namespace away: the container shares it with the host.
    #[must_use]
    pub fn without_namespace(mut self, kind: &str) -> Self {
        let namespaces = self.spec["linux"]["namespaces"].as_array_mut().expect("a list");
        namespaces.retain(|namespace| namespace["type"] != kind);
        self
    }

    /// Gives the process these capabilities in its bounding, permitted and effective sets, and none ambient.
    #[must_use]
    pub fn capabilities(self, names: &[&str]) -> Self {
        self.set(
            "/process/capabilities",
            json!({"bounding": names, "permitted": names, "effective": names, "inheritable": [], "ambient": []}),
        )
    }

    /// Gives the container a user namespace that maps its ids 0 to 65535 to those from `first` on.
    #[must_use]
    pub fn user_namespace(self, first: u32) -> Self {
        let mapping = json!([{"containerID": 0, "hostID": first, "size": 65536}]);
        self.namespace("user", None)
            .set("/linux/uidMappings", mapping.clone())
            .set("/linux/gidMappings", mapping)
    }

    /// Writes `config.json`.
    pub fn write(&self) {
        self.assert_own_cgroup();
        let text = serde_json::to_string_pretty(&self.spec).expect("a JSON value can be printed");
        self.write_raw(text);
    }

    /// Refuses a cgroup that is not this sandbox's: a runtime kills what is in the cgroup, and in `/` that is everything.
    fn assert_own_cgroup(&self) {
        if let Some(path) = self.spec.pointer("/linux/cgroupsPath").and_then(Value::as_str) {
            assert!(
                path.contains(self.sandbox.name()),
                "the cgroup path {path:?} does not bear the sandbox's name: the runtime could kill the machine"
            );
            if path.starts_with('/') || !path.contains(':') {
                caller::skip_for_ordinary(
                    self.sandbox,
                    "an ordinary user makes no cgroup at a place that is not his",
                );
            }
            self.sandbox.follow(path);
        }
    }

    /// Writes these bytes as `config.json`.
    pub fn write_raw(&self, bytes: impl AsRef<[u8]>) {
        let config = self.dir.join("config.json");
        fs::write(&config, bytes).unwrap_or_else(|error| panic!("{}: {error}", config.display()));
    }

    /// Runs the container in the foreground, to its end.
    pub fn run(&self) -> Output {
        self.run_with(&[])
    }

    /// Runs the container in the foreground with more flags for `run`.
    pub fn run_with(&self, flags: &[&str]) -> Output {
        self.spawn_with(flags).wait()
    }

    /// Runs the container in the foreground while the test goes on.
    pub fn spawn(&self) -> Foreground<'s> {
        self.spawn_with(&[])
    }

    /// Runs `config.json` as it is, without writing it first.
    pub fn run_raw(&self) -> Output {
        self.sandbox.spawn(self.run_command(&[])).wait()
    }

    /// The command line of `run`, without writing `config.json`.
    pub fn run_command(&self, flags: &[&str]) -> std::process::Command {
        self.run_command_as(&self.sandbox.new_id(), flags)
    }

    /// The command line of `run` with an id of the caller's, without writing `config.json`.
    pub fn run_command_as(&self, id: &str, flags: &[&str]) -> std::process::Command {
        let mut command = self.sandbox.command(["run", "--bundle"]);
        command.arg(&self.dir).args(flags).arg(id);
        command
    }

    fn spawn_with(&self, flags: &[&str]) -> Foreground<'s> {
        self.write();
        self.sandbox.spawn(self.run_command(flags))
    }

    /// Creates the container, which must succeed.
    pub fn create(&self) -> Container<'s> {
        self.create_with(&[])
    }

    /// Creates the container with more flags for `create`, which must succeed.
    #[track_caller]
    pub fn create_with(&self, flags: &[&str]) -> Container<'s> {
        let id = self.sandbox.new_id();
        let output = self.try_create(&id, flags);
        output.ok();
        Container::new(self.sandbox, id, Some(output))
    }

    /// Tries to create the container under an id.
    pub fn try_create(&self, id: &str, flags: &[&str]) -> Output {
        self.write();
        self.sandbox.finish(self.create_command(id, flags))
    }

    /// The command line of `create`, without writing `config.json`.
    pub fn create_command(&self, id: &str, flags: &[&str]) -> std::process::Command {
        let mut command = self.sandbox.command(["create", "--bundle"]);
        command.arg(&self.dir).args(flags).arg(id);
        command
    }

    /// Creates and starts the container, which must succeed.
    pub fn start(&self) -> Container<'s> {
        let container = self.create();
        container.start().ok();
        container
    }

    /// Runs the container with `--detach`, which must succeed.
    #[track_caller]
    pub fn run_detached(&self) -> Container<'s> {
        self.write();
        let id = self.sandbox.new_id();
        let output = self.sandbox.finish(self.run_command_as(&id, &["--detach"]));
        output.ok();
        Container::new(self.sandbox, id, Some(output))
    }
}

/// The specification that `runc spec` writes, without a terminal.
pub fn default_spec() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "runc",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            },
            {
                "destination": "/dev/shm",
                "type": "tmpfs",
                "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
            },
            {
                "destination": "/dev/mqueue",
                "type": "mqueue",
                "source": "mqueue",
                "options": ["nosuid", "noexec", "nodev"],
            },
            {
                "destination": "/sys",
                "type": "sysfs",
                "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"],
            },
            {
                "destination": "/sys/fs/cgroup",
                "type": "cgroup",
                "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
            },
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"},
                {"type": "network"},
                {"type": "ipc"},
                {"type": "uts"},
                {"type": "mount"},
            ],
            "maskedPaths": [
                "/proc/acpi",
                "/proc/asound",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
