//! Profiles and labels of security modules: in force where the kernel has the module, refused by name where not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use cloison_tests::{Bundle, Container, Rootfs, Sandbox, only_for, skip_unless};

fn has_apparmor() -> bool {
    fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|on| on.starts_with(b"Y"))
}

fn has_selinux() -> bool {
    fs::exists("/sys/fs/selinux/enforce").unwrap_or(false)
}

/// A profile in the kernel, for as long as this lives.
struct Profile<'s> {
    sandbox: &'s Sandbox,
    file: std::path::PathBuf,
    name: String,
}

impl<'s> Profile<'s> {
    fn load(sandbox: &'s Sandbox, rules: &str) -> Self {
        let name = sandbox.name().to_owned();
        let flags = "flags=(attach_disconnected,mediate_deleted)";
        let text = format!(
            "profile {name} {flags} {{\n  file,\n  capability,\n  signal,\n  network,\n  {rules}\n}}\n"
        );
        let file = sandbox.file("profile", text);
        let profile = Self { sandbox, file, name };
        profile.parser("--replace");
        profile
    }

    fn parser(&self, action: &str) {
        let mut parser = Command::new("apparmor_parser");
        parser.args([action, "--skip-cache"]).arg(&self.file);
        assert!(parser.status().expect("apparmor_parser").success(), "{action}");
    }
}

impl Drop for Profile<'_> {
    fn drop(&mut self) {
        if !self.sandbox.name().is_empty() {
            self.parser("--remove");
        }
    }
}

/// What a container prints of its confinement.
const CONFINEMENT: &str = "cat /proc/self/attr/current";

#[test]
fn apparmor_profile_holds_for_the_program_and_for_exec() {
    skip_unless!(has_apparmor(), "needs AppArmor in the kernel");
    skip_unless!(Command::new("apparmor_parser").arg("--version").output().is_ok(), "needs apparmor_parser");
    let sandbox = Sandbox::new();
    let profile = Profile::load(&sandbox, "deny /etc/forbidden rw,");
    let script = "cat /proc/self/attr/current; echo > /etc/forbidden || echo denied; echo > /etc/allowed && echo allowed";
    for no_new_privileges in [false, true] {
        let bundle =
            sandbox.busybox(script).writable().set("/process/apparmorProfile", profile.name.as_str());
        let bundle = bundle.set("/process/noNewPrivileges", no_new_privileges);
        fs::create_dir_all(bundle.rootfs().join("etc")).unwrap();
        let output = bundle.run();
        assert_eq!(output.ok(), format!("{} (enforce)\ndenied\nallowed\n", profile.name));
    }
    let container = sandbox.sleeper().set("/process/apparmorProfile", profile.name.as_str()).start();
    let mut exec = sandbox.command(["exec", container.id(), "sh", "-c", CONFINEMENT]);
    assert_eq!(sandbox.finish(exec).ok(), format!("{} (enforce)\n", profile.name), "the container's own");
    exec = sandbox.command(["exec", "--apparmor", "unconfined", container.id(), "sh", "-c", CONFINEMENT]);
    assert_eq!(sandbox.finish(exec).ok(), "unconfined\n", "another one that is asked for");
    container.end();
}

#[test]
fn apparmor_profile_that_is_not_loaded_is_named() {
    skip_unless!(has_apparmor(), "needs AppArmor in the kernel");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("echo run").set("/process/apparmorProfile", "no-such-profile");
    let output = bundle.run();
    output.refused_saying(&["apparmor failed to apply profile", "no-such-profile"]);
    assert_eq!(output.stdout, "");
}

#[test]
fn apparmor_profile_without_apparmor_is_refused() {
    skip_unless!(!has_apparmor(), "needs a kernel without AppArmor");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("echo run").set("/process/apparmorProfile", "p");
    let output = bundle.run();
    output.refused_saying(&["apparmor"]);
    assert_eq!(output.stdout, "");
    only_for!(Cloison, "its words are others");
    output.refused_saying(&["/process/apparmorProfile", "not supported"]);
    sandbox.busybox("true").set("/process/apparmorProfile", "unconfined").run().ok();
}

#[test]
fn selinux_labels_without_selinux_are_refused() {
    skip_unless!(!has_selinux(), "needs a kernel without SELinux");
    only_for!(Cloison, "old runc passes over some of them");
    let sandbox = Sandbox::new();
    for pointer in ["/process/selinuxLabel", "/linux/mountLabel"] {
        let output = sandbox.busybox("echo run").set(pointer, "u:r:t:s0").run();
        output.refused_saying(&[pointer, "selinux is disabled or not supported"]);
        assert_eq!(output.stdout, "");
    }
}

#[test]
fn selinux_label_that_the_policy_does_not_know_is_named() {
    skip_unless!(has_selinux(), "needs SELinux in the kernel");
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("echo run").set("/process/selinuxLabel", "no such label").run();
    output.refused_saying(&["no such label"]);
    assert_eq!(output.stdout, "");
}

#[test]
fn selinux_label_holds_for_the_program() {
    skip_unless!(has_selinux(), "needs SELinux in the kernel");
    let own = fs::read_to_string("/proc/self/attr/current").unwrap();
    let own = own.trim_end_matches(['\0', '\n']);
    let sandbox = Sandbox::new();
    let output = sandbox.busybox(CONFINEMENT).set("/process/selinuxLabel", own).run();
    assert_eq!(output.ok().trim_end_matches(['\0', '\n']), own);
}

/// Where a label is written to, as a process finds it in `/proc`.
const ATTRIBUTES: [&str; 3] = ["exec", "apparmor/exec", "selinux/exec"];

/// An image that has in the place of a procfs what takes labels, and a container without a procfs.
fn with_planted_proc(sandbox: &Sandbox) -> Bundle<'_> {
    let rootfs = Rootfs::hostile(|root| {
        let attributes = root.join("proc/1/attr");
        for module in ["apparmor", "selinux"] {
            fs::create_dir_all(attributes.join(module)).unwrap();
        }
        for file in ATTRIBUTES {
            fs::write(attributes.join(file), "").unwrap();
        }
        symlink("1", root.join("proc/self")).unwrap();
        symlink("1", root.join("proc/thread-self")).unwrap();
    });
    sandbox.bundle(rootfs).args(["sleep", "1000"]).writable().edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/proc");
        let linux = spec["linux"].as_object_mut().unwrap();
        linux.remove("maskedPaths");
        linux.remove("readonlyPaths");
    })
}

/// Nothing was written to what only looks like a procfs.
fn assert_nothing_was_taken(proc: &Path) {
    for file in ATTRIBUTES {
        let taken = fs::read_to_string(proc.join("1/attr").join(file)).unwrap();
        assert_eq!(taken, "", "written to {file}");
    }
}

/// What confines a process, as the host sees it.
fn confinement_of(pid: u32) -> String {
    let current = fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap();
    current.trim_end_matches(['\0', '\n']).to_owned()
}

/// A process that joins is confined by this, or refused.
fn assert_one_that_joins_is(label: &str, sandbox: &Sandbox, container: &Container<'_>) {
    let file = sandbox.dir().join("pid");
    let flags = ["--detach", "--pid-file", file.to_str().unwrap()];
    let output = container.exec_with(&flags, ["sleep", "1000"]);
    if !output.status.success() {
        assert_eq!(cloison_tests::runtime::kind(), cloison_tests::Kind::Runc, "{}", output.describe());
        return;
    }
    let pid: u32 = fs::read_to_string(file).unwrap().parse().unwrap();
    let found = confinement_of(pid);
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid.cast_signed()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    sandbox.wait_for_orphan(pid);
    assert_eq!(found, label);
}

/// Covers the container's `/proc` from within by what takes labels.
const COVER: &str = "mount -t tmpfs none /proc && mkdir -p /proc/1/attr/apparmor /proc/1/attr/selinux && \
    for f in exec apparmor/exec selinux/exec; do : > /proc/1/attr/$f; done && \
    ln -s 1 /proc/self && ln -s 1 /proc/thread-self && echo covered; sleep 1000";

/// A container that has covered its own `/proc` and goes on.
fn that_covers_proc<'s>(
    sandbox: &'s Sandbox,
    change: impl FnOnce(Bundle<'s>) -> Bundle<'s>,
) -> Container<'s> {
    let container = change(sandbox.busybox(COVER).capabilities(&["CAP_SYS_ADMIN"])).start();
    container.until_prints("covered");
    container
}

#[test]
fn cve_2019_16884_an_apparmor_profile_is_not_written_to_what_the_image_has_at_proc() {
    // Also CVE-2023-28642.
    skip_unless!(has_apparmor(), "needs AppArmor in the kernel");
    only_for!(Cloison, "runc needs a procfs in the container");
    let sandbox = Sandbox::new();
    let profile = Profile::load(&sandbox, "");
    let bundle = with_planted_proc(&sandbox).set("/process/apparmorProfile", profile.name.as_str());
    let container = bundle.start();
    assert_eq!(confinement_of(container.pid()), format!("{} (enforce)", profile.name));
    assert_one_that_joins_is(&format!("{} (enforce)", profile.name), &sandbox, &container);
    assert_nothing_was_taken(&bundle.rootfs().join("proc"));
    container.end();
}

#[test]
fn cve_2025_52881_an_apparmor_profile_is_not_written_to_what_the_container_has_covered_proc_by() {
    skip_unless!(has_apparmor(), "needs AppArmor in the kernel");
    let sandbox = Sandbox::new();
    let profile = Profile::load(&sandbox, "mount,");
    let name = profile.name.as_str();
    let container = that_covers_proc(&sandbox, |bundle| bundle.set("/process/apparmorProfile", name));
    assert_one_that_joins_is(&format!("{name} (enforce)"), &sandbox, &container);
    let proc = format!("/proc/{}/root/proc", container.pid());
    assert_nothing_was_taken(Path::new(&proc));
    container.end();
}

#[test]
fn cve_2019_16884_an_selinux_label_is_not_written_to_what_the_image_or_the_container_has_at_proc() {
    // Also CVE-2023-28642 and CVE-2025-52881.
    skip_unless!(has_selinux(), "needs SELinux in the kernel");
    only_for!(Cloison, "runc needs a procfs in the container");
    let own = confinement_of(std::process::id());
    let sandbox = Sandbox::new();
    let bundle = with_planted_proc(&sandbox).set("/process/selinuxLabel", own.as_str());
    let container = bundle.start();
    assert_one_that_joins_is(&own, &sandbox, &container);
    assert_nothing_was_taken(&bundle.rootfs().join("proc"));
    container.end();
    let container = that_covers_proc(&sandbox, |bundle| bundle.set("/process/selinuxLabel", own.as_str()));
    assert_one_that_joins_is(&own, &sandbox, &container);
    assert_nothing_was_taken(Path::new(&format!("/proc/{}/root/proc", container.pid())));
    container.end();
}

/// The label of a file, as the host sees it.
fn label_of(path: &Path) -> String {
    let mut label = vec![0; 256];
    let length = rustix::fs::getxattr(path, "security.selinux", &mut label[..])
        .unwrap_or_else(|errno| panic!("{}: {errno}", path.display()));
    String::from_utf8_lossy(&label[..length]).trim_end_matches('\0').to_owned()
}

#[test]
fn an_selinux_mount_label_is_on_file_systems_queues_and_masks() {
    skip_unless!(has_selinux(), "needs SELinux in the kernel");
    let sandbox = Sandbox::new();
    let label = "system_u:object_r:tmp_t:s0";
    let rootfs = Rootfs::busybox().with(|root| fs::create_dir(root.join("hidden")).unwrap());
    let bundle = sandbox.bundle(rootfs).args(["sleep", "1000"]).set("/linux/mountLabel", label);
    let container = bundle.push("/linux/maskedPaths", "/hidden").start();
    let root = format!("/proc/{}/root", container.pid());
    for path in ["dev", "dev/shm", "dev/mqueue", "hidden"] {
        assert_eq!(label_of(&Path::new(&root).join(path)), label, "{path}");
    }
    container.end();
}
