//! Containers of an ordinary user.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use cloison_tests::{Bundle, Output, Rootfs, Sandbox, json, only_for, runtime, skip_unless};

/// Nobody that the machine knows.
const USER: u32 = 12_345;

/// A user with a runtime directory and a runtime of his own, since he may not reach the one that was built.
struct User<'s> {
    sandbox: &'s Sandbox,
    directory: PathBuf,
    binary: PathBuf,
}

impl<'s> User<'s> {
    fn new(sandbox: &'s Sandbox) -> Self {
        fs::set_permissions(sandbox.dir(), Permissions::from_mode(0o755)).unwrap();
        let directory = sandbox.directory("user");
        chown(&directory, Some(USER), Some(USER)).unwrap();
        let binary = sandbox.dir().join("runtime");
        fs::copy(runtime::binary(), &binary).unwrap();
        fs::set_permissions(&binary, Permissions::from_mode(0o755)).unwrap();
        Self { sandbox, directory, binary }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.bare_command(&self.binary);
        command.env("XDG_RUNTIME_DIR", &self.directory).uid(USER).gid(USER).args(arguments);
        command
    }

    fn does(&self, arguments: &[&str]) -> Output {
        self.sandbox.finish(self.command(arguments))
    }

    fn run(&self, bundle: &Bundle<'_>) -> Output {
        bundle.write();
        self.does(&["run", "--bundle", bundle.dir().to_str().unwrap(), &self.sandbox.new_id()])
    }

    fn bundle(&self, script: &str) -> Bundle<'s> {
        self.sandbox.bundle(Rootfs::busybox().owned_by(USER, USER)).args(["sh", "-c", script])
    }

    /// With the ids of `spec --rootless`.
    fn root_only(&self, script: &str) -> Bundle<'s> {
        self.mapped(script, &[(0, USER, 1)])
    }

    fn mapped(&self, script: &str, rows: &[(u32, u32, u32)]) -> Bundle<'s> {
        let row = |(container, host, size): &(u32, u32, u32)| json!({"containerID": container, "hostID": host, "size": size});
        let rows: Vec<_> = rows.iter().map(row).collect();
        self.bundle(script)
            .namespace("user", None)
            .set("/linux/uidMappings", rows.clone())
            .set("/linux/gidMappings", rows)
            .without("/linux/resources")
            .edit(|spec| {
                for mount in spec["mounts"].as_array_mut().unwrap() {
                    if let Some(options) = mount["options"].as_array_mut() {
                        options.retain(|option| option != "gid=5");
                    }
                }
            })
    }
}

#[test]
fn an_ordinary_user_is_root_of_a_container() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let output =
        user.run(&user.root_only("id -u; id -g; cat /proc/self/setgroups; tr -s ' ' < /proc/self/uid_map"));
    assert_eq!(output.ok(), format!("0\n0\ndeny\n 0 {USER} 1\n"));
}

#[test]
fn a_user_namespace_is_made_for_an_ordinary_user_whose_configuration_has_none() {
    only_for!(Cloison, "others refuse");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let output = user.run(&user.bundle("id -u; ls /dev/pts; tr -s ' ' < /proc/self/uid_map"));
    assert_eq!(output.ok(), format!("0\nptmx\n 0 {USER} 1\n"));
    assert!(output.stderr.contains("a user namespace is made"), "{}", output.stderr);
}

#[test]
fn another_process_runs_in_an_ordinary_users_container() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let bundle = user.root_only("sleep 1000");
    bundle.write();
    let id = sandbox.new_id();
    user.does(&["run", "--detach", "--bundle", bundle.dir().to_str().unwrap(), &id]).ok();
    assert_eq!(user.does(&["exec", &id, "sh", "-c", "id -u; echo $$"]).ok().lines().next(), Some("0"));
    user.does(&["kill", &id, "KILL"]).ok();
    user.does(&["delete", "--force", &id]).ok();
}

#[test]
fn groups_that_the_kernel_denies_are_refused() {
    only_for!(Cloison, "others tell the errno");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let bundle = user.root_only("true").set("/process/user/additionalGids", json!([0]));
    user.run(&bundle).refused_saying(&["/process/user/additionalGids", "newgidmap"]);
}

#[test]
fn ids_that_a_user_may_not_map_are_refused_with_the_file_that_says_so() {
    only_for!(Cloison, "others tell the program's words only");
    skip_unless!(fs::exists("/usr/bin/newuidmap").unwrap(), "needs newuidmap");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let output = user.run(&user.mapped("true", &[(0, USER, 1), (1, 100_000, 1000)]));
    output.refused_saying(&["newuidmap", "/etc/subuid"]);
}
