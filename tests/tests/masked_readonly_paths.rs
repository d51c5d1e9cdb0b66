//! `linux.maskedPaths` and `linux.readonlyPaths`.

use std::fs;

use cloison_tests::{Rootfs, Sandbox, json};

fn with_secrets() -> Rootfs {
    Rootfs::busybox().with(|root| {
        fs::create_dir_all(root.join("secret/deep")).unwrap();
        fs::write(root.join("secret/deep/file"), "a secret").unwrap();
        fs::write(root.join("secret-file"), "a secret").unwrap();
    })
}

#[test]
fn a_masked_file_reads_empty() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle(with_secrets()).args([
        "sh",
        "-c",
        "cat /secret-file | wc -c; stat -c %t:%T /secret-file",
    ]);
    let output = bundle.set("/linux/maskedPaths", json!(["/secret-file"])).run();
    assert_eq!(output.ok(), "0\n1:3\n", "it is /dev/null");
}

#[test]
fn a_masked_directory_is_empty_and_read_only() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle(with_secrets()).writable().args([
        "sh",
        "-c",
        "ls -A /secret | wc -l; touch /secret/x",
    ]);
    let output = bundle.set("/linux/maskedPaths", json!(["/secret"])).run();
    assert_eq!(output.stdout, "0\n", "{}", output.describe());
    assert!(output.stderr.contains("Read-only file system"), "{}", output.describe());
}

#[test]
fn a_masked_path_that_is_not_there_is_no_error() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("echo fine").set("/linux/maskedPaths", json!(["/no/such/path"]));
    assert_eq!(bundle.run().ok(), "fine\n");
}

#[test]
fn the_default_masks_hide_the_kernels_secrets() {
    let sandbox = Sandbox::new();
    let script = "for f in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /proc/latency_stats; do \
                  test -e $f && head -c 1 $f | wc -c; done; for d in /sys/firmware /proc/acpi /proc/scsi; do \
                  test -e $d && ls -A $d | wc -l; done; true";
    let output = sandbox.busybox(script).run();
    assert!(output.ok().lines().all(|line| line.trim() == "0"), "{}", output.describe());
    assert!(output.stdout.lines().count() >= 2, "at least /proc/keys and /sys/firmware: {}", output.stdout);
}

#[test]
fn readonly_paths_cannot_be_written() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle(with_secrets()).writable().args([
        "sh",
        "-c",
        "cat /secret/deep/file; echo x > /secret/deep/file; echo x > /proc/sys/kernel/hostname; touch /etc/fine && echo fine",
    ]);
    let output = bundle.push("/linux/readonlyPaths", "/secret").capabilities(&["CAP_SYS_ADMIN"]).run();
    assert_eq!(output.stdout, "a secretfine\n", "{}", output.describe());
    assert_eq!(output.stderr.matches("Read-only file system").count(), 2, "{}", output.describe());
}

#[test]
fn a_readonly_path_that_is_not_there_is_no_error() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("echo fine").set("/linux/readonlyPaths", json!(["/no/such/path"]));
    assert_eq!(bundle.run().ok(), "fine\n");
}

#[test]
fn readonly_paths_keep_the_flags_of_their_mount() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox("mkdir /mnt/x 2>/dev/null; awk '$5 == \"/mnt/sub\" {print $6}' /proc/self/mountinfo")
        .mount("tmpfs", "tmpfs", "/mnt", &["nosuid", "nodev", "noexec"])
        .mount("tmpfs", "tmpfs", "/mnt/sub", &["nosuid", "nodev", "noexec"])
        .set("/linux/readonlyPaths", json!(["/mnt/sub"]));
    let output = bundle.run();
    let last = output.ok().lines().last().unwrap();
    for flag in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(last.split(',').any(|shown| shown == flag), "{flag}: {}", output.stdout);
    }
}

#[test]
fn what_is_mounted_over_a_masked_path_stays_masked() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox("ls -A /mnt/covered | wc -l")
        .mount("tmpfs", "tmpfs", "/mnt", &[])
        .mount("bind", "/etc", "/mnt/covered", &["rbind", "ro"])
        .set("/linux/maskedPaths", json!(["/mnt/covered"]));
    assert_eq!(bundle.run().line(), "0");
}
