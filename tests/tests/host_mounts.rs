//! Containers without a mount namespace: their mounts are the host's, and are taken back.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cloison_tests::{Bundle, Sandbox, append_command, host, json, only_for, only_root, skip_unless, until};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::mount::MountFlags;

/// In the host's mount namespace, with the mounts of `spec`.
fn in_mounts_of_host<'s>(sandbox: &'s Sandbox, script: &str) -> Bundle<'s> {
    sandbox
        .busybox(script)
        .without_namespace("mount")
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
}

fn mounts_below(sandbox: &Sandbox) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = |line: &&str| line.contains(&format!("{}/", sandbox.dir().display()));
    mounts.lines().filter(ours).map(str::to_owned).collect()
}

#[test]
fn mounts_without_a_mount_namespace_are_the_hosts_until_the_container_is_deleted() {
    only_root!("mounts of the host's to change, where the container has no mount namespace");
    only_for!(Cloison, "runc leaves them on the host");
    let sandbox = Sandbox::new();
    let container = in_mounts_of_host(&sandbox, "sleep 1000").start();
    let host = fs::read_link("/proc/self/ns/mnt").unwrap();
    assert_eq!(fs::read_link(format!("/proc/{}/ns/mnt", container.pid())).unwrap(), host);
    let mounts = mounts_below(&sandbox);
    assert!(mounts.iter().any(|line| line.contains("/rootfs/proc ")), "{mounts:?}");
    let seen =
        container.exec_script(&[], "test -d /proc/1 && touch /file 2>&1; touch /dev/shm/a && echo shm");
    assert!(
        seen.stdout.contains("Read-only file system") && seen.stdout.ends_with("shm\n"),
        "{}",
        seen.describe()
    );
    container.delete_force().ok();
    assert_eq!(mounts_below(&sandbox), [""; 0]);
}

#[test]
fn a_run_that_ends_leaves_none_of_them_and_neither_does_one_that_fails() {
    only_root!("mounts of the host's to change, where the container has no mount namespace");
    only_for!(Cloison, "runc leaves them on the host");
    let sandbox = Sandbox::new();
    let output = in_mounts_of_host(&sandbox, "echo ran").run();
    assert_eq!(output.ok(), "ran\n");
    let words = "without a mount namespace these are the host's mounts, until the container is deleted";
    assert!(output.stderr.contains(words), "{}", output.describe());
    assert_eq!(mounts_below(&sandbox), [""; 0]);
    let bad = in_mounts_of_host(&sandbox, "true").mount("tmpfs", "tmpfs", "/mnt", &["size=much"]);
    bad.run().refused_saying(&["error mounting", "much"]);
    assert_eq!(mounts_below(&sandbox), [""; 0]);
}

#[test]
fn what_the_host_shares_with_them_stays_on_the_host() {
    only_root!("mounts of the host's to change, where the container has no mount namespace");
    only_for!(Cloison, "runc leaves the mounts of the container there, too");
    let sandbox = Sandbox::new();
    let shared = sandbox.directory("shared");
    sandbox.mount("tmpfs", &shared, "tmpfs", MountFlags::empty(), "");
    let status = Command::new("mount").arg("--make-rshared").arg(&shared).status().unwrap();
    assert!(status.success());
    let below = sandbox.directory("shared/below");
    sandbox.mount("tmpfs", &below, "tmpfs", MountFlags::empty(), "");
    fs::write(below.join("file"), "here").unwrap();
    let bundle =
        in_mounts_of_host(&sandbox, "cat /mnt/below/file").mount("bind", &shared, "/mnt", &["rbind"]);
    assert_eq!(bundle.run().ok(), "here");
    assert_eq!(fs::read_to_string(below.join("file")).unwrap(), "here", "the mount below went along");
}

#[test]
fn another_mount_in_their_place_is_left_alone() {
    only_root!("mounts of the host's to change, where the container has no mount namespace");
    only_for!(Cloison, "runc takes none back");
    let sandbox = Sandbox::new();
    let bundle = in_mounts_of_host(&sandbox, "sleep 1000");
    let container = bundle.start();
    let status =
        Command::new("umount").args(["--recursive", "--lazy"]).arg(bundle.rootfs()).status().unwrap();
    assert!(status.success());
    sandbox.mount("tmpfs", &bundle.rootfs(), "tmpfs", MountFlags::empty(), "");
    container.delete_force().ok();
    assert!(mounts_below(&sandbox).iter().any(|line| line.contains(" - tmpfs tmpfs")));
}

/// A mount namespace that receives mounts from ours, as that of a service of systemd does.
struct Receiver(Child);

impl Receiver {
    fn new() -> Self {
        let script = ["--mount", "--propagation", "slave", "sh", "-c", "echo; exec sleep 1000"];
        let mut child = Command::new("unshare").args(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0];
        child.stdout.take().unwrap().read_exact(&mut ready).unwrap();
        Self(child)
    }

    fn mounts_below(&self, directory: &Path) -> Vec<String> {
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.0.id())).unwrap();
        let below = |line: &&str| line.contains(&format!("{}/", directory.display()));
        mounts.lines().filter(below).map(str::to_owned).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it is ours");
    }
}

#[test]
fn none_of_them_stays_in_a_mount_namespace_that_receives_the_hosts() {
    only_root!("mounts of the host's to change, where the container has no mount namespace");
    only_for!(Cloison, "runc takes none back");
    let sandbox = Sandbox::new();
    let directory = sandbox.dir().display().to_string();
    sandbox.mount(&directory, sandbox.dir(), "", MountFlags::BIND, "");
    assert!(Command::new("mount").args(["--make-shared", &directory]).status().unwrap().success());
    let receiver = Receiver::new();
    let container = in_mounts_of_host(&sandbox, "sleep 1000").start();
    let seen = receiver.mounts_below(sandbox.dir());
    assert!(!seen.iter().any(|line| line.contains("/rootfs/proc ")), "{seen:?}");
    container.delete_force().ok();
    assert_eq!(receiver.mounts_below(sandbox.dir()), [""; 0]);
}

#[test]
fn a_second_container_does_not_cover_those_of_the_first() {
    only_root!("mounts of the host's to change, where the container has no mount namespace");
    only_for!(Cloison, "runc takes none back");
    let sandbox = Sandbox::new();
    let bundle = in_mounts_of_host(&sandbox, "sleep 1000");
    let first = bundle.start();
    // Those of the first are in the root file system of the second.
    bundle.run().refused_saying(&["nothing may be mounted in it before", "/rootfs/"]);
    first.delete_force().ok();
    assert_eq!(mounts_below(&sandbox), [""; 0]);
}

#[test]
fn they_are_found_where_their_directory_has_gone() {
    only_root!("mounts of the host's to change, where the container has no mount namespace");
    only_for!(Cloison, "runc takes none back");
    skip_unless!(host::kernel() >= (6, 8), "needs numbers of mounts that are not given again (Linux 6.8)");
    let sandbox = Sandbox::new();
    let bundle = in_mounts_of_host(&sandbox, "sleep 1000");
    let container = bundle.start();
    let moved = sandbox.dir().join("moved");
    fs::rename(bundle.dir(), &moved).unwrap();
    assert!(mounts_below(&sandbox).iter().any(|line| line.contains("/moved/rootfs/proc ")));
    container.delete_force().ok();
    assert_eq!(mounts_below(&sandbox), [""; 0]);
    fs::rename(&moved, bundle.dir()).unwrap();
}

#[test]
fn a_mount_on_theirs_keeps_them_from_being_deleted_and_the_reason_is_told() {
    only_root!("mounts of the host's to change, where the container has no mount namespace");
    only_for!(Cloison, "runc takes none back");
    let sandbox = Sandbox::new();
    let bundle = in_mounts_of_host(&sandbox, "sleep 1000");
    let container = bundle.start();
    sandbox.mount("tmpfs", &bundle.rootfs(), "tmpfs", MountFlags::empty(), "");
    container.delete_force().refused_saying(&["covered by another mount"]);
    assert!(Command::new("umount").arg(bundle.rootfs()).status().unwrap().success());
    container.delete_force().ok();
    assert_eq!(mounts_below(&sandbox), [""; 0]);
}

#[test]
fn what_is_mounted_on_theirs_meanwhile_is_not_what_the_container_gets() {
    only_root!("mounts of the host's to change, where the container has no mount namespace");
    only_for!(Cloison, "runc takes none back");
    let sandbox = Sandbox::new();
    // Keeps the runtime waiting, when it holds the root file system and there is no first process yet.
    let pipe = sandbox.dir().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let bundle = in_mounts_of_host(&sandbox, "ls -d /of-*; touch /dev/shm/a && echo ran");
    let bundle = bundle
        .set("/annotations", json!({"org.cloison.hooks.stdout": pipe}))
        .set("/hooks", json!({"prestart": [{"path": "/bin/true"}]}));
    fs::create_dir(bundle.rootfs().join("of-its-own")).unwrap();
    // As that of another container that is made on it at the same time.
    let other = sandbox.busybox("true").rootfs();
    fs::create_dir(other.join("of-another")).unwrap();
    bundle.write();
    let id = sandbox.new_id();
    let run = sandbox.spawn(bundle.run_command_as(&id, &[]));
    let rootfs = format!(" {} ", bundle.rootfs().display());
    until("the root file system is held", || {
        // Private, too: until then what is mounted on it is mounted on what it covers as well.
        mounts_below(&sandbox).iter().any(|line| line.contains(&rootfs) && !line.contains(" shared:"))
    });
    sandbox.bind(&other, &bundle.rootfs());
    let reader = rustix::fs::open(&pipe, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    let output = run.wait();
    drop(reader);
    assert_eq!(output.stdout, "/of-its-own\nran\n", "{}", output.describe());
    assert!(output.stderr.contains("covered by another mount"), "{}", output.describe());
    assert!(Command::new("umount").arg(bundle.rootfs()).status().unwrap().success());
    sandbox.container(&id).delete_force().ok();
    assert_eq!(mounts_below(&sandbox), [""; 0]);
}

/// That devices are bound by a runtime that another program starts where it makes no nodes, and where it alone sees its mounts; and that they
/// are taken back.
fn assert_bound_devices_come_back(sandbox: &Sandbox, makes_none: &[&str]) {
    // All that was there by itself stays.
    let bundle = in_mounts_of_host(sandbox, "test -c /dev/null && test ! -e /proc/1 && echo there")
        .set("/mounts", json!([]))
        .without("/linux/resources")
        .writable();
    bundle.write();
    let script = format!("\"$@\" && ! grep {}/ /proc/self/mountinfo", sandbox.dir().display());
    let mut command = sandbox.bare_command(makes_none[0]);
    command.args(&makes_none[1..]).args(["sh", "-c", &script, "sh"]);
    append_command(&mut command, &bundle.run_command(&[]));
    let output = sandbox.finish(command);
    assert_eq!(output.ok(), "there\n");
    assert!(output.stderr.contains("until the container is deleted"), "{}", output.describe());
}

#[test]
fn devices_that_are_bound_for_want_of_a_right_are_taken_back_where_there_is_no_other_mount() {
    only_root!("mounts of the host's to change, where the container has no mount namespace");
    only_for!(Cloison, "runc leaves them on the host");
    let sandbox = Sandbox::new();
    assert_bound_devices_come_back(&sandbox, &["setpriv", "--bounding-set=-mknod", "unshare", "--mount"]);
}

#[test]
fn devices_that_are_bound_in_a_user_namespace_are_taken_back_where_there_is_no_other_mount() {
    only_root!("mounts of the host's to change, where the container has no mount namespace");
    only_for!(Cloison, "runc leaves them on the host");
    let sandbox = Sandbox::new();
    skip_unless!(
        !sandbox.uses_systemd(),
        "root of a user namespace has no systemd that would make him cgroups"
    );
    assert_bound_devices_come_back(&sandbox, &["unshare", "--user", "--map-root-user", "--mount"]);
}

#[test]
fn the_hosts_own_root_is_refused_and_nothing_is_mounted_on_it() {
    only_root!("mounts of the host's to change, where the container has no mount namespace");
    only_for!(Cloison, "runc mounts there");
    let sandbox = Sandbox::new();
    let mounts = || {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        // Other tests have theirs, at the same time.
        table.lines().filter(|line| !line.contains("/cloison-test-")).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = mounts();
    let bundle = in_mounts_of_host(&sandbox, "true").set("/root", json!({"path": "/", "readonly": true}));
    bundle.run().refused_saying(&["is the host's own root"]);
    assert_eq!(mounts(), before);
}
