//! A runtime that is killed at any moment: `delete --force` brings the machine back to where it was.

use std::time::{Duration, Instant};

use cloison_tests::{Sandbox, only_for};
use rustix::process::Signal;

/// At how many moments of a `create` it is killed.
const STEPS: u32 = 60;

/// Kills `create` after each of these delays, then deletes.
fn kill_create_after(sandbox: &Sandbox, delays: impl Iterator<Item = Duration>) {
    let bundle = sandbox.sleeper();
    bundle.write();
    for delay in delays {
        let id = sandbox.new_id();
        let create = sandbox.spawn(bundle.create_command(&id, &[]));
        let begun = Instant::now();
        while begun.elapsed() < delay {
            std::hint::spin_loop();
        }
        // It may have ended already.
        let _ = rustix::process::kill_process(cloison_tests::sandbox::to_pid(create.pid()), Signal::KILL);
        create.wait();
        let output = sandbox.container(&id).delete_force();
        assert!(output.status.success(), "after {delay:?}: {}", output.describe());
        sandbox.assert_nothing_left();
    }
}

#[test]
fn create_that_is_killed_at_any_moment_leaves_nothing_after_delete() {
    only_for!(Cloison, "runc leaves a cgroup or an init behind");
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    let begun = Instant::now();
    let container = bundle.create();
    let whole = begun.elapsed();
    container.delete_force().ok();
    kill_create_after(&sandbox, (0..=STEPS).map(|step| whole * step / STEPS));
}

#[test]
fn start_that_is_killed_leaves_a_container_that_can_be_deleted() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    for step in 0..20 {
        let container = bundle.create();
        let start = sandbox.spawn(sandbox.command(["start", container.id()]));
        std::thread::sleep(Duration::from_micros(300 * step));
        let _ = rustix::process::kill_process(cloison_tests::sandbox::to_pid(start.pid()), Signal::KILL);
        start.wait();
        container.delete_force().ok();
        sandbox.assert_nothing_left();
    }
}

#[test]
fn an_id_is_free_again_after_a_create_that_was_killed() {
    only_for!(Cloison, "runc leaves a cgroup or an init behind");
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    bundle.write();
    let id = sandbox.new_id();
    for step in 0..20 {
        let create = sandbox.spawn(bundle.create_command(&id, &[]));
        std::thread::sleep(Duration::from_micros(200 * step));
        let _ = rustix::process::kill_process(cloison_tests::sandbox::to_pid(create.pid()), Signal::KILL);
        create.wait();
        sandbox.container(&id).delete_force().ok();
    }
    bundle.try_create(&id, &[]).ok();
    sandbox.container(&id).start().ok();
    sandbox.container(&id).delete_force().ok();
}

#[test]
fn an_init_that_is_killed_while_it_waits_is_told_by_start() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().create();
    let pid = container.pid();
    rustix::process::kill_process(cloison_tests::sandbox::to_pid(pid), Signal::KILL).unwrap();
    sandbox.wait_for_orphan(pid);
    container.start().refused_saying(&["stopped"]);
    container.delete().ok();
}

#[test]
fn two_creates_of_one_id_at_once_leave_one_container() {
    only_for!(Cloison, "runc takes no lock: two may win");
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    bundle.write();
    for _ in 0..5 {
        let id = sandbox.new_id();
        let racers: Vec<_> = (0..6).map(|_| sandbox.spawn(bundle.create_command(&id, &[]))).collect();
        let outputs: Vec<_> = racers.into_iter().map(cloison_tests::Foreground::wait).collect();
        let winners = outputs.iter().filter(|output| output.status.success()).count();
        assert_eq!(winners, 1, "{outputs:#?}");
        assert_eq!(sandbox.container(&id).status(), "created");
        sandbox.container(&id).delete_force().ok();
    }
}

#[test]
fn many_commands_on_one_container_at_once_do_no_harm() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let commands: Vec<_> = (0..20)
        .map(|number| {
            let arguments = match number % 3 {
                0 => vec!["state", container.id()],
                1 => vec!["list", "-q"],
                _ => vec!["kill", container.id(), "CONT"],
            };
            sandbox.spawn(sandbox.command(arguments))
        })
        .collect();
    for command in commands {
        command.wait().ok();
    }
    container.end();
}
