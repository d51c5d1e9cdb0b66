//! The harness itself: that it finds what is left behind, and takes it away.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use cloison_tests::{Sandbox, host};

/// What the check says about a sandbox that was left in this way.
fn complaint(leave: impl FnOnce(&Sandbox)) -> String {
    let sandbox = Sandbox::new();
    leave(&sandbox);
    let dir = sandbox.dir().to_owned();
    let failure = catch_unwind(AssertUnwindSafe(|| drop(sandbox))).expect_err("the leak is found");
    assert!(!dir.exists(), "the sandbox is taken away all the same");
    *failure.downcast::<String>().expect("a message")
}

#[test]
fn a_running_container_is_found_and_ended() {
    let mut pid = 0;
    let mut id = String::new();
    let message = complaint(|sandbox| {
        let container = sandbox.sleeper().start();
        pid = container.pid();
        container.id().clone_into(&mut id);
    });
    assert!(message.contains(&format!("process {pid}")), "{message}");
    assert!(message.contains(&format!("state/{id}")), "{message}");
    assert!(message.contains("cgroup: "), "{message}");
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_mount_is_found_and_unmounted() {
    let message = complaint(|sandbox| {
        let target = sandbox.directory("mounted");
        rustix::mount::mount_bind(sandbox.dir().join("tmp"), &target).unwrap();
    });
    assert!(message.contains("mount: ") && message.contains("/mounted"), "{message}");
}

#[test]
fn a_cgroup_is_found_and_removed() {
    let mut path = None;
    let message = complaint(|sandbox| {
        let cgroup = host::cgroup_mounts()[0].join(sandbox.new_id());
        fs::create_dir(&cgroup).unwrap();
        path = Some(cgroup);
    });
    assert!(message.contains("cgroup: "), "{message}");
    assert!(!path.unwrap().exists());
}

#[test]
fn a_file_that_bears_the_name_is_found_and_removed() {
    let mut path = None;
    let message = complaint(|sandbox| {
        let file = Path::new("/run").join(sandbox.name());
        fs::write(&file, "").unwrap();
        path = Some(file);
    });
    assert!(message.contains("file: /run/"), "{message}");
    assert!(!path.unwrap().exists());
}

#[test]
fn a_process_that_lost_its_parent_is_found() {
    let message = complaint(|sandbox| {
        let mut command = sandbox.bare_command("/bin/sh");
        command.args(["-c", "sleep 1000 >/dev/null 2>&1 &"]);
        sandbox.finish(command).ok();
    });
    assert!(message.contains("sleep 1000"), "{message}");
}

#[test]
#[should_panic(expected = "the runtime could kill the machine")]
fn a_cgroup_that_is_not_ours_is_never_given_to_a_runtime() {
    Sandbox::new().sleeper().set("/linux/cgroupsPath", "/").write();
}
