//! Profiles and labels of security modules: in force where the kernel has the module, refused by name where not.

use std::fs;
use std::process::Command;

use cloison_tests::{Sandbox, only_for, skip_unless};

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
