//! `delete`, with and without `--force`.

use std::fs;

use cloison_tests::{Sandbox, caller, host, only_for};

#[test]
fn a_running_container_is_not_deleted() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    container.delete().refused_saying(&["cannot delete container", "that is not stopped: running"]);
    assert_eq!(container.status(), "running");
    container.end();
}

#[test]
fn a_created_container_is_deleted_without_force() {
    let sandbox = Sandbox::new();
    sandbox.sleeper().create().delete().ok();
}

#[test]
fn force_kills_and_deletes_a_running_container() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    container.delete_force().ok();
    container.try_state().refused_saying(&["container does not exist"]);
}

#[test]
fn force_is_also_called_f() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    sandbox.cloison(["delete", "-f", container.id()]).ok();
}

#[test]
fn delete_of_an_unknown_container_fails_but_not_with_force() {
    let sandbox = Sandbox::new();
    let nobody = sandbox.container("nobody");
    nobody.delete().refused_saying(&["does not exist"]);
    nobody.delete_force().ok();
}

#[test]
fn delete_twice_tells_that_it_is_gone() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    container.end();
    container.delete().refused_saying(&["does not exist"]);
}

#[test]
fn force_ends_processes_that_outlive_their_init_without_pid_namespace() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox("(trap '' HUP TERM; sleep 1000) & (sleep 1000) & echo ready")
        .without_namespace("pid");
    let container = bundle.create();
    let pid = container.pid();
    container.start().ok();
    sandbox.wait_for_orphan(pid);
    assert_eq!(container.status(), "stopped");
    container.delete_force().ok();
}

#[test]
fn the_cgroup_goes_with_the_container_even_with_groups_made_inside() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let mut made = 0;
    for hierarchy in host::cgroup_mounts() {
        let relative = cgroup_of(container.pid(), &hierarchy);
        if let Some(relative) = relative.filter(|path| path.contains(container.id())) {
            let mut directory = hierarchy.join(relative.trim_start_matches('/'));
            for below in ["inner", "deeper"] {
                directory.push(below);
                fs::create_dir_all(&directory).unwrap();
                caller::give(&directory);
            }
            made += 1;
        }
    }
    assert!(made > 0, "the container has a cgroup");
    container.end();
}

#[test]
fn a_half_written_state_directory_is_deleted_by_force() {
    only_for!(Cloison, "runc leaves a directory without state.json alone");
    let sandbox = Sandbox::new();
    let id = sandbox.new_id();
    sandbox.directory("state");
    sandbox.directory(&format!("state/{id}"));
    sandbox.container(&id).delete_force().ok();
    assert!(!sandbox.root().join(&id).exists());
}

#[test]
fn an_unreadable_state_is_told_and_not_taken_for_an_empty_one() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let pid = container.pid();
    let file = sandbox.root().join(container.id()).join("state.json");
    let state = fs::read(&file).unwrap();
    fs::write(&file, &state[..state.len() / 2]).unwrap();
    assert_eq!(container.try_state().code(), 1);
    assert_eq!(container.delete().code(), 1);
    fs::write(&file, state).unwrap();
    assert_eq!(container.pid(), pid, "nothing was lost");
    container.end();
}

/// The path of a process in one hierarchy, as `/proc/<pid>/cgroup` tells it.
fn cgroup_of(pid: u32, hierarchy: &std::path::Path) -> Option<String> {
    let controller = hierarchy.file_name()?.to_str()?;
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    table.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, names, path) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = names.split(',').any(|name| name.trim_start_matches("name=") == controller)
            || (names.is_empty() && matches!(controller, "unified" | "cgroup"));
        ours.then(|| path.to_owned())
    })
}
