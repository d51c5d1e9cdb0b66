//! Cgroups that are delegated to an ordinary user, and limits that hold in them.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use cloison_tests::host::{CgroupLayout, cgroup_layout, cgroup_mounts};
use cloison_tests::user::{FIRST, ID, User, with_maps};
use cloison_tests::{
    Bundle, Output, Rootfs, Sandbox, append_command, json, only_for, runc_lacks, skip_unless,
};

/// A process more than these, and there is an error.
const LIMIT: u32 = 9;

/// What the kernel says to who wants more processes than that.
const NO_MORE: &str = "can't fork";

/// Wants more processes than it may have, and tells where it is.
const SCRIPT: &str = "cat /proc/self/cgroup; for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 2 & done; wait";

fn limited(sandbox: &Sandbox, uid: u32) -> Bundle<'_> {
    let bundle = sandbox.bundle(Rootfs::busybox().owned_by(uid, uid)).args(["sh", "-c", SCRIPT]);
    with_maps(bundle, &[(0, uid, 1)]).set("/linux/resources", json!({"pids": {"limit": LIMIT}}))
}

/// A cgroup of the user's, with the caller's in it.
struct Delegated {
    directory: PathBuf,
}

impl Delegated {
    fn new(sandbox: &Sandbox) -> Self {
        let top = Path::new("/sys/fs/cgroup");
        fs::write(top.join("cgroup.subtree_control"), "+pids").expect("root may hand controllers down");
        let directory = top.join(format!("{}-delegated", sandbox.name()));
        for path in [directory.clone(), directory.join("caller")] {
            fs::create_dir(&path).expect("root may make cgroups");
            for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
                chown(path.join(file), Some(ID), Some(ID)).expect("root may give cgroups away");
            }
        }
        Self { directory }
    }

    /// Runs a command of the user's from there.
    fn run(&self, sandbox: &Sandbox, user: &User<'_>, arguments: &[&str]) -> Output {
        let theirs = user.command(arguments);
        let script = format!(
            "echo 0 > {}/caller/cgroup.procs && exec setpriv --reuid {ID} --regid {ID} --clear-groups \"$@\"",
            self.directory.display()
        );
        let mut command = sandbox.bare_command("sh");
        command.args(["-c", &script, "sh"]);
        append_command(&mut command, &theirs);
        sandbox.finish(command)
    }

    /// Starts a container of the user's from there; gives its name.
    fn start(&self, sandbox: &Sandbox, user: &User<'_>) -> String {
        let bundle = user.root_only("sleep 1000");
        bundle.write();
        let id = sandbox.new_id();
        let run = ["run", "--detach", "--bundle", bundle.dir().to_str().unwrap(), &id];
        self.run(sandbox, user, &run).ok();
        id
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for path in [self.directory.join("caller"), self.directory.clone()] {
            // What is left in it is the leak detector's to tell.
            let _ = fs::remove_dir(path);
        }
    }
}

#[test]
fn limits_hold_in_a_cgroup_that_is_the_users() {
    skip_unless!(cgroup_layout() == CgroupLayout::V2, "needs cgroup v2 alone");
    only_for!(Cloison, "the path of the cgroup");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let delegated = Delegated::new(&sandbox);
    let bundle = limited(&sandbox, ID);
    bundle.write();
    let id = sandbox.new_id();
    let output = delegated.run(&sandbox, &user, &["run", "--bundle", bundle.dir().to_str().unwrap(), &id]);
    let place = format!("0::/{}/{id}", delegated.directory.file_name().unwrap().to_str().unwrap());
    assert!(output.stdout.contains(&place), "{place} in {}", output.describe());
    assert!(output.stderr.contains(NO_MORE), "{}", output.describe());
    assert!(!output.stderr.contains("ignored"), "{}", output.describe());
}

#[test]
fn a_container_in_a_cgroup_that_is_the_users_is_paused_and_ended_with_all_that_is_in_it() {
    skip_unless!(cgroup_layout() == CgroupLayout::V2, "needs cgroup v2 alone");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let delegated = Delegated::new(&sandbox);
    let id = delegated.start(&sandbox, &user);
    let does = |arguments: &[&str]| delegated.run(&sandbox, &user, arguments);
    does(&["pause", &id]).ok();
    assert_eq!(does(&["state", &id]).json()["status"], "paused");
    does(&["resume", &id]).ok();
    does(&["update", "--pids-limit", "5", &id]).ok();
    assert_eq!(fs::read_to_string(delegated.directory.join(&id).join("pids.max")).unwrap(), "5\n");
    does(&["delete", "--force", &id]).ok();
    assert!(!delegated.directory.join(&id).exists());
}

/// The kernel moves no process across what is not the mover's (cgroups(7), "delegation containment").
#[test]
fn another_process_from_outside_of_what_is_the_users_is_refused_with_what_it_takes() {
    skip_unless!(cgroup_layout() == CgroupLayout::V2, "needs cgroup v2 alone");
    only_for!(Cloison, "runc leaves the process outside of the container's cgroup");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let delegated = Delegated::new(&sandbox);
    let id = delegated.start(&sandbox, &user);
    let does = |arguments: &[&str]| delegated.run(&sandbox, &user, arguments);
    user.does(&["exec", &id, "true"]).exec_refused_saying(&[
        &format!("the container's cgroup {}", delegated.directory.join(&id).display()),
        "rights over the nearest one",
        "permission denied",
    ]);
    does(&["exec", &id, "true"]).ok();
    does(&["delete", "--force", &id]).ok();
}

#[test]
fn limits_that_cannot_hold_are_refused_by_name() {
    runc_lacks!("1.2: the words");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let limits = json!({"pids": {"limit": 9}});
    let output = user.run(&user.root_only("true").set("/linux/resources", limits));
    output.refused_saying(&["cannot set pids limit: container could not join or create cgroup"]);
}

#[test]
fn what_is_called_a_limit_and_is_none_needs_no_cgroup() {
    only_for!(Cloison, "others refuse");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let limits = json!({"pids": {"limit": -1}, "memory": {"limit": -1}});
    user.run(&user.root_only("echo unlimited").set("/linux/resources", limits)).ok();
}

#[test]
fn limits_that_do_not_hold_by_the_callers_leave_are_named_once_each() {
    only_for!(Cloison, "others refuse");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let limits = json!({"pids": {"limit": 9}, "memory": {"limit": 100_000_000}});
    let bundle = user.root_only("true").set("/linux/resources", limits);
    bundle.write();
    let id = sandbox.new_id();
    let output = user.does(&["--rootless=true", "run", "--bundle", bundle.dir().to_str().unwrap(), &id]);
    output.ok();
    for name in ["memory", "pids"] {
        let words = format!("/linux/resources/{name}: ignored without a cgroup");
        assert_eq!(output.stderr.matches(&words).count(), 1, "{}", output.describe());
    }
}

/// The user of machines for tests, whose systemd is there once somebody has said so: `loginctl enable-linger USER`.
const ACCOUNT: u32 = 1000;

#[test]
fn limits_hold_in_a_scope_of_the_users_systemd() {
    let runtime = PathBuf::from(format!("/run/user/{ACCOUNT}"));
    skip_unless!(
        cgroup_layout() == CgroupLayout::V2 && runtime.join("systemd/private").exists(),
        "needs cgroup v2 alone and a systemd of user 1000 (loginctl enable-linger)"
    );
    only_for!(Cloison, "others want --systemd-cgroup for it");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let root = sandbox.directory("scopes");
    chown(&root, Some(ACCOUNT), Some(ACCOUNT)).unwrap();
    let bundle = limited(&sandbox, ACCOUNT);
    bundle.write();
    let id = sandbox.new_id();
    let theirs = user.command(&[
        "--root",
        root.to_str().unwrap(),
        "run",
        "--bundle",
        bundle.dir().to_str().unwrap(),
        &id,
    ]);
    // From where nothing is the user's.
    let outside = Path::new("/sys/fs/cgroup").join(format!("{}-outside", sandbox.name()));
    fs::create_dir(&outside).unwrap();
    let script = format!(
        "echo 0 > {}/cgroup.procs && exec setpriv --reuid {ACCOUNT} --regid {ACCOUNT} --clear-groups \"$@\"",
        outside.display()
    );
    let mut command = sandbox.bare_command("sh");
    command.args(["-c", &script, "sh"]);
    append_command(&mut command, &theirs);
    command.env("XDG_RUNTIME_DIR", &runtime);
    let output = sandbox.finish(command);
    fs::remove_dir(&outside).unwrap();
    assert!(output.stdout.contains(&format!("cloison-{id}.scope")), "{}", output.describe());
    assert!(output.stderr.contains(NO_MORE), "{}", output.describe());
    assert!(!output.stderr.contains("ignored"), "{}", output.describe());
}

/// Cgroups of the user's in each v1 hierarchy.
struct DelegatedLegacy {
    directories: Vec<PathBuf>,
}

impl DelegatedLegacy {
    /// In those of the mounted hierarchies that the caller chooses.
    fn new(sandbox: &Sandbox, is_chosen: impl Fn(&Path) -> bool) -> Self {
        let mut made = Self { directories: Vec::new() };
        for hierarchy in cgroup_mounts().into_iter().filter(|path| is_chosen(path)) {
            let directory = hierarchy.join(format!("{}-delegated", sandbox.name()));
            fs::create_dir(&directory).expect("root may make cgroups");
            made.directories.push(directory.clone());
            for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|file| hierarchy.join(file).exists()) {
                fs::copy(hierarchy.join(file), directory.join(file)).expect("root may share processors out");
            }
            for file in ["", "cgroup.procs"] {
                chown(directory.join(file), Some(ID), Some(ID)).expect("root may give cgroups away");
            }
        }
        made
    }

    /// The limit of a container that is started there; it is ended.
    fn limit_of(&self, sandbox: &Sandbox, user: &User<'_>, bundle: Bundle<'_>) -> String {
        let path = format!("/{0}-delegated/{0}", sandbox.name());
        let limits = json!({"pids": {"limit": LIMIT}});
        let container = user.start(&bundle.set("/linux/resources", limits).set("/linux/cgroupsPath", path));
        let mut files = self.directories.iter().map(|path| path.join(sandbox.name()).join("pids.max"));
        let limit = files.find_map(|file| fs::read_to_string(file).ok());
        user.does(&["exec", &container.id, "true"]).ok();
        container.end();
        limit.expect("the container is in a cgroup of the user's")
    }
}

impl Drop for DelegatedLegacy {
    fn drop(&mut self) {
        for directory in &self.directories {
            // What is left in it is the leak detector's to tell.
            let _ = fs::remove_dir(directory);
        }
    }
}

fn is_unified(hierarchy: &Path) -> bool {
    hierarchy.join("cgroup.controllers").exists()
}

/// Whether nothing in a configuration is about it.
fn is_spare(hierarchy: &Path) -> bool {
    ["systemd", "misc", "perf_event"].iter().any(|name| hierarchy.ends_with(name))
}

macro_rules! needs_v1 {
    () => {
        skip_unless!(cgroup_layout() == CgroupLayout::V1, "needs cgroup v1");
    };
}

#[test]
fn cgroups_of_v1_that_are_the_users_are_enough() {
    needs_v1!();
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let delegated = DelegatedLegacy::new(&sandbox, |path| !is_unified(path) && !is_spare(path));
    assert_eq!(delegated.limit_of(&sandbox, &user, user.root_only("sleep 1000")), format!("{LIMIT}\n"));
}

#[test]
fn a_v2_cgroup_of_a_hybrid_machine_that_nobody_may_be_moved_into_is_left_out() {
    needs_v1!();
    skip_unless!(
        cgroup_mounts().iter().any(|path| is_unified(path)),
        "needs a hybrid machine (cgroup v1 with v2 beside it)"
    );
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let delegated = DelegatedLegacy::new(&sandbox, |_| true);
    assert_eq!(delegated.limit_of(&sandbox, &user, user.root_only("sleep 1000")), format!("{LIMIT}\n"));
}

/// A `tasks` file takes nobody but who has the ids of its opener (`__cgroup1_procs_write` in the kernel, since CVE-2021-4197).
#[test]
fn cgroups_of_v1_are_joined_by_a_container_whose_root_is_of_the_users_ranges() {
    needs_v1!();
    skip_unless!(fs::exists("/usr/bin/newuidmap").unwrap(), "needs newuidmap (package uidmap)");
    let sandbox = Sandbox::new();
    let user = User::with_ranges(&sandbox);
    let delegated = DelegatedLegacy::new(&sandbox, |path| !is_unified(path));
    let bundle = user.mapped("sleep 1000", &[(0, FIRST, 1000)]);
    assert_eq!(delegated.limit_of(&sandbox, &user, bundle), format!("{LIMIT}\n"));
}
