//! A runtime that is killed at any moment: `delete --force` brings the machine back to where it was.

use std::time::{Duration, Instant};

use cloison_tests::{Sandbox, only_for, until};
use rustix::process::Signal;

/// At how many moments of a `create` it is killed: what `CLOISON_CRASH_STEPS` says, else 60.
fn steps() -> u32 {
    let said = std::env::var("CLOISON_CRASH_STEPS").ok();
    said.map_or(60, |steps| steps.parse().expect("CLOISON_CRASH_STEPS is a number"))
}

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
    let steps = steps();
    kill_create_after(&sandbox, (0..=steps).map(|step| whole * step / steps));
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

/// The monitor of a container: a child of the command that makes it, until that returns; from then on the one that the state names.
fn monitor_of(sandbox: &Sandbox, run: u32, id: &str) -> Option<u32> {
    let in_state = || {
        let text = std::fs::read(sandbox.root().join(id).join("state.json")).ok()?;
        let state: cloison_tests::Value = serde_json::from_slice(&text).ok()?;
        u32::try_from(state["monitor"]["process"]["pid"].as_u64()?).ok()
    };
    cloison_tests::leaks::children_of(run).first().copied().or_else(in_state)
}

/// The container is there, or not, or in part: it can be stopped if it runs, and deleted, and then nothing is left.
fn stop_and_delete(sandbox: &Sandbox, id: &str, when: &str) {
    let container = sandbox.container(id);
    if container.try_state().stdout.contains("\"running\"") {
        let killed = container.kill(&["KILL"]);
        if !killed.status.success() {
            // It was on its way to the program, and has ended meanwhile, for nobody would have waited for it.
            killed.refused_saying(&["container not running"]);
        }
        container.until("stopped");
        let deleted = container.delete();
        assert!(deleted.status.success(), "{when}: {}", deleted.describe());
    } else {
        let deleted = container.delete_force();
        assert!(deleted.status.success(), "{when}: {}", deleted.describe());
    }
    sandbox.assert_nothing_left();
}

#[test]
fn a_monitor_that_is_killed_while_it_makes_a_container_leaves_nothing_after_delete() {
    only_for!(Cloison, "no other runtime has a monitor");
    let (sandbox, steps) = (Sandbox::new(), steps());
    for terminal in [false, true] {
        let bundle = sandbox.sleeper().set("/process/terminal", terminal);
        bundle.write();
        let id = sandbox.new_id();
        let flags = ["--detach", "--monitor"];
        let begun = Instant::now();
        sandbox.finish(bundle.run_command_as(&id, &flags)).ok();
        let whole = begun.elapsed();
        sandbox.container(&id).delete_force().ok();
        let (mut killed_early, mut killed_late) = (0, 0);
        for step in 0..=steps {
            let id = sandbox.new_id();
            let run = sandbox.spawn(bundle.run_command_as(&id, &flags));
            std::thread::sleep(whole * step / steps);
            // Before the first of these moments there is no monitor yet.
            until("there is a monitor", || monitor_of(&sandbox, run.pid(), &id).is_some());
            let monitor = monitor_of(&sandbox, run.pid(), &id).expect("it was there");
            // It may have been another child of the command's that has ended.
            let _ = rustix::process::kill_process(cloison_tests::sandbox::to_pid(monitor), Signal::KILL);
            let told = run.wait();
            if told.status.success() {
                killed_late += 1;
            } else {
                told.refused_saying(&["the monitor was killed by signal 9"]);
                killed_early += 1;
            }
            stop_and_delete(&sandbox, &id, &format!("step {step} of {steps}, terminal: {terminal}"));
        }
        println!("terminal {terminal}: {killed_early} before the command returned, {killed_late} after that");
    }
}

#[test]
fn a_monitor_that_is_killed_at_work_leaves_a_container_that_is_stopped_and_deleted_as_any() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    for terminal in [false, true] {
        // The first process of a PID namespace does not die of SIGPIPE or SIGHUP, which come from within.
        let bundle = sandbox.busybox("while :; do echo words; done").set("/process/terminal", terminal);
        bundle.write();
        for step in 0..u64::from(steps() / 3) {
            let id = sandbox.new_id();
            sandbox.finish(bundle.run_command_as(&id, &["--detach", "--monitor"])).ok();
            let monitor = monitor_of(&sandbox, u32::MAX, &id).expect("it is in the state");
            let attached = sandbox.spawn(sandbox.command(["attach", "--no-stdin", &id]));
            let waiting = sandbox.spawn(sandbox.command(["wait", &id]));
            std::thread::sleep(Duration::from_millis(3 * step));
            rustix::process::kill_process(cloison_tests::sandbox::to_pid(monitor), Signal::KILL).unwrap();
            assert!(!attached.wait().status.success(), "nobody is there any more who shows the output");
            assert_eq!(sandbox.container(&id).status(), "running");
            stop_and_delete(&sandbox, &id, &format!("step {step}, terminal: {terminal}"));
            // It waits for the container's end and not for the monitor's. Whether it hears of the exit code is the kernel's affair.
            assert!([137, 255].contains(&waiting.wait().code()));
        }
    }
}
