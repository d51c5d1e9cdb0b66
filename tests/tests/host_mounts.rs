//! Containers without a mount namespace: their mounts are the host's, and are taken back.

use std::fs;
use std::process::Command;

use cloison_tests::{Bundle, Sandbox, json, only_for};
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
