//! What the kernel schedules by: I/O priority, policy, affinity, personality, memory policy.

use cloison_tests::{Sandbox, json, only_root, runc_lacks};

#[test]
fn the_io_priority_is_set() {
    only_root!("real-time priority over input and output");
    runc_lacks!("1.2: ioPriority");
    let sandbox = Sandbox::new();
    for (class, shown) in [
        ("IOPRIO_CLASS_BE", "best-effort: prio 3"),
        ("IOPRIO_CLASS_IDLE", "idle"),
        ("IOPRIO_CLASS_RT", "realtime: prio 3"),
    ] {
        let bundle = sandbox
            .busybox("ionice -p $$")
            .set("/process/ioPriority", json!({"class": class, "priority": 3}));
        let output = bundle.run();
        assert!(output.ok().contains(shown), "{class}: {}", output.describe());
    }
}

#[test]
fn an_unknown_io_class_is_refused() {
    runc_lacks!("1.2: ioPriority");
    let sandbox = Sandbox::new();
    for wrong in [
        json!({"class": "IOPRIO_CLASS_FAST", "priority": 3}),
        json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
    ] {
        let output = sandbox.busybox("true").set("/process/ioPriority", wrong).run();
        output.refused_saying(&["priority"]);
    }
}

#[test]
fn the_scheduling_policy_is_set() {
    runc_lacks!("1.2: scheduler");
    let sandbox = Sandbox::new();
    // Fields 19 (nice) and 41 (policy) of proc_pid_stat(5), counted from 1.
    let script = "cut -d' ' -f19,41 /proc/self/stat";
    for (scheduler, shown) in [
        (json!({"policy": "SCHED_BATCH", "nice": 7}), "7 3"),
        (json!({"policy": "SCHED_OTHER", "nice": 5}), "5 0"),
        (json!({"policy": "SCHED_IDLE"}), "0 5"),
    ] {
        let output = sandbox.busybox(script).set("/process/scheduler", scheduler.clone()).run();
        assert_eq!(output.line(), shown, "{scheduler}");
    }
}

#[test]
fn an_unknown_scheduling_policy_is_refused() {
    runc_lacks!("1.2: scheduler");
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("true").set("/process/scheduler", json!({"policy": "SCHED_MAGIC"})).run();
    output.refused_saying(&["sched_magic"]);
}

#[test]
fn a_combination_the_policy_does_not_take_is_refused() {
    runc_lacks!("1.2: scheduler");
    let sandbox = Sandbox::new();
    for wrong in [
        json!({"policy": "SCHED_OTHER", "nice": 50}),
        json!({"policy": "SCHED_OTHER", "priority": 5}),
        json!({"policy": "SCHED_OTHER", "runtime": 5}),
        json!({"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_NONSENSE"]}),
    ] {
        let output = sandbox.busybox("true").set("/process/scheduler", wrong.clone()).run();
        assert_eq!(output.code(), 1, "{wrong}: {}", output.describe());
    }
}

#[test]
fn the_affinity_for_exec_does_not_change_the_first_process() {
    let sandbox = Sandbox::new();
    let ours = std::fs::read_to_string("/proc/self/status").unwrap();
    let ours = ours.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap();
    let bundle = sandbox.busybox("grep Cpus_allowed_list /proc/self/status");
    let output = bundle.set("/process/execCPUAffinity", json!({"initial": "0", "final": "0"})).run();
    assert_eq!(output.line(), ours);
}

#[test]
fn the_personality_is_set() {
    runc_lacks!("1.2: personality");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("uname -m; cat /proc/self/personality");
    let output = bundle.set("/linux/personality", json!({"domain": "LINUX32"})).run();
    let (machine, personality) = output.ok().trim().split_once('\n').unwrap_or_default();
    assert_eq!(personality, "00000008", "{}", output.describe());
    // A kernel without 32-bit programs (User Mode Linux) has one name only.
    assert!(["i686", "x86_64"].contains(&machine), "{}", output.describe());
    let output = sandbox.busybox("uname -m").set("/linux/personality", json!({"domain": "LINUX"})).run();
    assert_eq!(output.line(), std::env::consts::ARCH);
}

#[test]
fn an_unknown_personality_is_refused() {
    runc_lacks!("1.2: personality");
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("true").set("/linux/personality", json!({"domain": "PDP11"})).run();
    output.refused_saying(&["pdp11"]);
}

#[test]
fn the_memory_policy_is_set() {
    runc_lacks!("1.4: memoryPolicy");
    cloison_tests::skip_unless!(
        cloison_tests::host::has_file("/proc/self/numa_maps"),
        "needs a kernel with NUMA"
    );
    let sandbox = Sandbox::new();
    let policy = json!({"mode": "MPOL_BIND", "nodes": "0"});
    let output = sandbox.busybox("head -n 1 /proc/self/numa_maps").set("/linux/memoryPolicy", policy).run();
    assert!(output.ok().contains("bind:0"), "{}", output.describe());
}

#[test]
fn an_unknown_memory_policy_is_refused() {
    runc_lacks!("1.4: memoryPolicy");
    let sandbox = Sandbox::new();
    for wrong in [
        json!({"mode": "MPOL_MAGIC"}),
        json!({"mode": "MPOL_BIND", "nodes": "x"}),
        json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_MAGIC"]}),
    ] {
        let output = sandbox.busybox("true").set("/linux/memoryPolicy", wrong.clone()).run();
        output.refused_saying(&["memory"]);
    }
}
