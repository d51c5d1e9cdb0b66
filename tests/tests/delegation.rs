//! A container that may divide its own cgroup.

use std::path::Path;

use cloison_tests::host::{CgroupLayout, cgroup_layout, has_namespace};
use cloison_tests::{Bundle, Rootfs, Sandbox, caller, cgroup, json, only_for, only_root, skip_unless};

/// The first host id of the mapping.
const FIRST: u32 = 100_000;

fn can_delegate() -> bool {
    cgroup_layout() == CgroupLayout::V2 && has_namespace("cgroup")
}

/// A container in a user namespace and a cgroup namespace, whose cgroup is mounted writable.
fn writable<'s>(sandbox: &'s Sandbox, script: &str) -> Bundle<'s> {
    let bundle = if caller::ordinary().is_some() {
        // Root inside is the user, whose the cgroup is in any case.
        sandbox.busybox(script)
    } else {
        let rootfs = Rootfs::busybox().owned_by(FIRST, FIRST);
        sandbox.bundle(rootfs).args(["sh", "-c", script]).user_namespace(FIRST)
    };
    bundle.namespace("cgroup", None).edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        let mount = mounts.iter_mut().find(|mount| mount["destination"] == "/sys/fs/cgroup").unwrap();
        mount["options"] = json!(["nosuid", "noexec", "nodev", "relatime", "rw"]);
    })
}

const OWNER: &str = "stat -c %u /sys/fs/cgroup /sys/fs/cgroup/cgroup.procs";

#[test]
fn the_cgroup_belongs_to_the_containers_root() {
    skip_unless!(can_delegate(), "needs cgroup v2");
    only_for!(Cloison, "runc does so with systemd only");
    let sandbox = Sandbox::new();
    assert_eq!(writable(&sandbox, OWNER).run().ok(), "0\n0\n");
}

#[test]
fn its_limits_do_not() {
    skip_unless!(can_delegate(), "needs cgroup v2");
    let sandbox = Sandbox::new();
    let script = "for f in pids.max cgroup.max.descendants cgroup.freeze; do echo 5 > /sys/fs/cgroup/$f && echo $f; done 2> /dev/null; \
                  cat /sys/fs/cgroup/pids.max";
    let bundle = writable(&sandbox, script).set("/linux/resources/pids/limit", 33);
    assert_eq!(bundle.run().ok(), "33\n");
}

#[test]
fn the_container_can_make_cgroups_and_move_processes_into_them() {
    skip_unless!(can_delegate(), "needs cgroup v2");
    only_for!(Cloison, "runc does so with systemd only");
    let sandbox = Sandbox::new();
    let script = "cd /sys/fs/cgroup && mkdir a b && echo 0 > a/cgroup.procs && cat /proc/self/cgroup && \
                  echo +pids > cgroup.subtree_control && echo 7 > b/pids.max && cat b/pids.max";
    assert_eq!(writable(&sandbox, script).run().ok(), "0::/a\n7\n");
}

#[test]
fn what_the_container_made_of_its_cgroup_is_removed_with_it() {
    skip_unless!(can_delegate(), "needs cgroup v2");
    only_for!(Cloison, "runc does so with systemd only");
    let sandbox = Sandbox::new();
    let script =
        "cd /sys/fs/cgroup && mkdir -p a/b/c && echo 0 > a/b/c/cgroup.procs && echo ready && sleep 1000";
    let container = writable(&sandbox, script).start();
    container.until_prints("ready");
    container.delete_force().ok();
}

#[test]
fn a_cgroup_that_is_read_only_or_seen_whole_is_not_given_away() {
    only_root!("cgroup that is another's: he has made it");
    skip_unless!(can_delegate(), "needs cgroup v2");
    let sandbox = Sandbox::new();
    let read_only = writable(&sandbox, OWNER).edit(|spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        let mount = mounts.iter_mut().find(|mount| mount["destination"] == "/sys/fs/cgroup").unwrap();
        mount["options"].as_array_mut().unwrap().push(json!("ro"));
    });
    assert_eq!(read_only.run().ok(), "65534\n65534\n");
    assert_eq!(writable(&sandbox, OWNER).without_namespace("cgroup").run().ok(), "65534\n65534\n");
}

#[test]
fn who_is_not_root_inside_has_the_cgroup_too() {
    only_root!("right to give a cgroup to another of the container's ids");
    skip_unless!(can_delegate(), "needs cgroup v2");
    only_for!(Cloison, "runc does so with systemd only");
    let sandbox = Sandbox::new();
    let bundle = writable(&sandbox, "mkdir /sys/fs/cgroup/a && rmdir /sys/fs/cgroup/a && echo ok");
    assert_eq!(bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})).run().ok(), "ok\n");
}

#[test]
fn two_containers_cannot_have_one_cgroup() {
    let sandbox = Sandbox::new();
    let path = format!("/{}-shared", sandbox.name());
    let bundle = || sandbox.sleeper().set("/linux/cgroupsPath", path.as_str());
    let first = bundle().start();
    bundle().run().refused_saying(&["container's cgroup is not empty: 1 process(es) found"]);
    assert_eq!(first.status(), "running");
    first.end();
    bundle().start().end();
}

#[test]
fn of_many_containers_that_are_made_in_one_cgroup_at_once_one_gets_it() {
    only_for!(Cloison, "runc can make two");
    let sandbox = Sandbox::new();
    let path = format!("/{}-shared", sandbox.name());
    let bundle = sandbox.sleeper().set("/linux/cgroupsPath", path.as_str());
    bundle.write();
    for _ in 0..5 {
        let ids: Vec<String> = (0..4).map(|_| sandbox.new_id()).collect();
        let commands: Vec<_> = ids.iter().map(|id| sandbox.spawn(bundle.create_command(id, &[]))).collect();
        let outputs: Vec<_> = commands.into_iter().map(cloison_tests::Foreground::wait).collect();
        let made: Vec<_> = ids.iter().zip(&outputs).filter(|(_, output)| output.status.success()).collect();
        assert!(made.len() <= 1, "{} containers have it", made.len());
        for output in outputs.iter().filter(|output| !output.status.success()) {
            output.refused_saying(&["container's cgroup is"]);
        }
        for (id, _) in made {
            let state = sandbox.cloison(["state", id]).json();
            assert_eq!(state["status"], "created");
            sandbox.cloison(["delete", "--force", id]).ok();
        }
    }
}

#[test]
fn a_frozen_cgroup_is_refused() {
    let sandbox = Sandbox::new();
    let name = format!("{}-frozen", sandbox.name());
    let (directory, file, frozen) = match cgroup_layout() {
        CgroupLayout::V2 => (Path::new("/sys/fs/cgroup").join(&name), "cgroup.freeze", "1"),
        CgroupLayout::V1 => (Path::new("/sys/fs/cgroup/freezer").join(&name), "freezer.state", "FROZEN"),
    };
    skip_unless!(directory.parent().unwrap().exists(), "needs the freezer hierarchy");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join(file), frozen).unwrap();
    let output = sandbox.sleeper().set("/linux/cgroupsPath", format!("/{name}")).run();
    std::fs::remove_dir(&directory).unwrap();
    cloison_tests::runc_lacks!("1.1.0: it looks");
    output.refused_saying(&["container's cgroup unexpectedly frozen"]);
}

#[test]
fn a_container_whose_cgroup_is_removed_under_its_feet_is_deleted() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let controllers: &[&str] = match cgroup_layout() {
        CgroupLayout::V2 => &[""],
        CgroupLayout::V1 => &["devices", "freezer", "memory", "pids"],
    };
    let directories = controllers.iter().filter_map(|name| cgroup::directory(container.pid(), name));
    let directories: Vec<_> = directories.collect();
    container.kill(&["KILL"]).ok();
    container.until("stopped");
    for directory in directories {
        // The kernel needs a moment after the last process.
        cloison_tests::until("the cgroup is gone", || {
            // systemd may be faster.
            std::fs::remove_dir(&directory).is_ok() || !directory.exists()
        });
    }
    sandbox.cloison(["pause", container.id()]).refused_saying(&["container not running"]);
    container.kill(&["KILL"]).refused_saying(&["container not running"]);
    assert_eq!(container.status(), "stopped");
    container.delete().ok();
}
