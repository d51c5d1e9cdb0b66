//! An ordinary user, whom the machine need not know.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::bundle::Bundle;
use crate::output::Output;
use crate::rootfs::Rootfs;
use crate::runtime;
use crate::sandbox::Sandbox;

/// The uid and gid, which are nobody's on any machine.
pub const ID: u32 = 12_345;

/// The first of [`RANGE`] ids that a user with ranges may map, in `/etc/subuid` and `/etc/subgid` of namespaces of his own.
pub const FIRST: u32 = 200_000;

/// How many they are.
pub const RANGE: u32 = 65_536;

/// The programs that map ranges of ids.
const PROGRAMS: [&str; 2] = ["/usr/bin/newuidmap", "/usr/bin/newgidmap"];

/// A user with a runtime directory, and with a runtime of his own, since he may not reach the one that was built.
pub struct User<'s> {
    sandbox: &'s Sandbox,
    directory: PathBuf,
    binary: PathBuf,
    /// Files that only this user's commands see in the place of others.
    masks: Vec<(PathBuf, PathBuf)>,
}

impl<'s> User<'s> {
    /// One who has an id, and no more.
    pub fn new(sandbox: &'s Sandbox) -> Self {
        fs::set_permissions(sandbox.dir(), Permissions::from_mode(0o755)).expect("it is ours");
        let directory = sandbox.directory("user");
        chown(&directory, Some(ID), Some(ID)).expect("the tests run as root");
        let binary = sandbox.dir().join("runtime");
        fs::copy(runtime::binary(), &binary).expect("the runtime can be copied");
        fs::set_permissions(&binary, Permissions::from_mode(0o755)).expect("it is ours");
        Self { sandbox, directory, binary, masks: Vec::new() }
    }

    /// One who may map ranges of ids: his commands see an `/etc/passwd`, `/etc/subuid` and `/etc/subgid` of their own, by a mount namespace.
    pub fn with_ranges(sandbox: &'s Sandbox) -> Self {
        let mut user = Self::new(sandbox);
        let ranges = format!("tester:{FIRST}:{RANGE}\n");
        let account = format!("tester:x:{ID}:{ID}::/:/bin/sh\n");
        for (name, text) in [
            ("passwd", account),
            ("group", format!("tester:x:{ID}:\n")),
            ("subuid", ranges.clone()),
            ("subgid", ranges),
        ] {
            let place = Path::new("/etc").join(name);
            let known = fs::read_to_string(&place).unwrap_or_default();
            let file = sandbox.file(name, known + &text);
            fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("it is ours");
            user.masks.push((file, place));
        }
        user
    }

    /// Takes `newuidmap` and `newgidmap` out of his sight.
    #[must_use]
    pub fn without_programs(mut self) -> Self {
        let masks = PROGRAMS.map(|program| (PathBuf::from("/dev/null"), PathBuf::from(program)));
        self.masks.extend(masks);
        self
    }

    /// Shows his commands a file or directory, with what is mounted in it, in the place of another.
    #[must_use]
    pub fn seeing(mut self, what: PathBuf, place: &str) -> Self {
        self.masks.push((what, place.into()));
        self
    }

    /// The directory that is his.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// His runtime.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// A command line of his runtime.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = if self.masks.is_empty() {
            let mut command = self.sandbox.bare_command(&self.binary);
            command.uid(ID).gid(ID);
            command
        } else {
            self.command_in_own_mounts()
        };
        command.env("XDG_RUNTIME_DIR", &self.directory).args(arguments);
        command
    }

    fn command_in_own_mounts(&self) -> Command {
        let bind = |(file, place): &(PathBuf, PathBuf)| {
            format!("mount --rbind {} {}", file.display(), place.display())
        };
        let run =
            format!("exec setpriv --reuid {ID} --regid {ID} --clear-groups {} \"$@\"", self.binary.display());
        let lines: Vec<_> = self.masks.iter().map(bind).chain([run]).collect();
        let script = format!("set -e\n{}", lines.join("\n"));
        let mut command = self.sandbox.bare_command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
        command
    }

    /// Runs his runtime to its end.
    pub fn does(&self, arguments: &[&str]) -> Output {
        self.sandbox.finish(self.command(arguments))
    }

    /// Runs a container in the foreground, to its end.
    pub fn run(&self, bundle: &Bundle<'_>) -> Output {
        bundle.write();
        self.does(&["run", "--bundle", &path(bundle), &self.sandbox.new_id()])
    }

    /// Starts a container, which must succeed.
    #[track_caller]
    pub fn start<'u>(&'u self, bundle: &Bundle<'_>) -> Running<'u, 's> {
        bundle.write();
        let id = self.sandbox.new_id();
        self.does(&["run", "--detach", "--bundle", &path(bundle), &id]).ok();
        let pid = self.does(&["state", &id]).json()["pid"].as_u64().expect("a process id");
        Running { user: self, id, pid }
    }

    /// A busybox of his, without a user namespace.
    pub fn bundle(&self, script: &str) -> Bundle<'s> {
        let bundle = self.sandbox.bundle(Rootfs::busybox().owned_by(ID, ID)).args(["sh", "-c", script]);
        bundle.without_namespace("user").without("/linux/uidMappings").without("/linux/gidMappings")
    }

    /// With the ids of `spec --rootless`: he is root, and there is nobody else.
    pub fn root_only(&self, script: &str) -> Bundle<'s> {
        self.mapped(script, &[(0, ID, 1)])
    }

    /// He is root, and all others are of his ranges.
    pub fn ranges(&self, script: &str) -> Bundle<'s> {
        self.mapped(script, &[(0, ID, 1), (1, FIRST, RANGE - 1)])
    }

    /// With these rows: first id inside, first id outside, how many.
    pub fn mapped(&self, script: &str, rows: &[(u32, u32, u32)]) -> Bundle<'s> {
        with_maps(self.bundle(script), rows)
    }
}

/// Gives a bundle a user namespace with these rows, and takes away what an ordinary user cannot have.
pub fn with_maps<'s>(bundle: Bundle<'s>, rows: &[(u32, u32, u32)]) -> Bundle<'s> {
    let row = |(container, host, size): &(u32, u32, u32)| json!({"containerID": container, "hostID": host, "size": size});
    let rows: Vec<_> = rows.iter().map(row).collect();
    bundle
        .namespace("user", None)
        .set("/linux/uidMappings", rows.clone())
        .set("/linux/gidMappings", rows)
        .without("/linux/resources")
        .edit(|spec| {
            for mount in spec["mounts"].as_array_mut().expect("a list") {
                if let Some(options) = mount["options"].as_array_mut() {
                    options.retain(|option| option != "gid=5");
                }
            }
        })
}

fn path(bundle: &Bundle<'_>) -> String {
    bundle.dir().to_str().expect("test paths are UTF-8").to_owned()
}

/// A container of his that runs.
pub struct Running<'u, 's> {
    user: &'u User<'s>,
    /// Its name.
    pub id: String,
    /// Its first process.
    pub pid: u64,
}

impl Running<'_, '_> {
    /// The path of one of its namespaces, named as in `/proc/PID/ns`.
    pub fn namespace(&self, file: &str) -> String {
        format!("/proc/{}/ns/{file}", self.pid)
    }

    /// Kills and deletes it; nobody is left of it then, who would keep its filters before Linux 6.11.
    pub fn end(self) {
        self.user.does(&["kill", &self.id, "KILL"]).ok();
        self.user.does(&["delete", "--force", &self.id]).ok();
        self.user.sandbox.reap();
    }
}
