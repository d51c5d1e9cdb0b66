//! The program: limits, rights, environment, scheduling.

use cloison_linux::Resource;
use cloison_linux::capability::{Capability, CapabilitySet};
use cloison_linux::launch::LaunchStep;
use cloison_linux::schedule::{MemoryPolicy, SchedAttr};

use super::*;
use crate::spec::{Capabilities, Rlimit, RlimitType};

/// The example with fields of `process` and `linux` as JSON says.
fn example_with(process: &str, linux: &str) -> Spec {
    let mut spec = serde_json::to_value(example()).unwrap();
    for (section, text) in [("process", process), ("linux", linux)] {
        let fields: serde_json::Map<_, _> = serde_json::from_str(text).unwrap();
        spec[section].as_object_mut().unwrap().extend(fields);
    }
    serde_json::from_value(spec).unwrap()
}

fn action(plan: &Plan, origin: &str) -> Action {
    plan.container.iter().find(|step| &*step.origin.0 == origin).expect("a step").action.clone()
}

#[test]
fn hard_limits_are_raised_only_where_they_are_below() {
    let mut spec = example();
    let limit = |kind, hard| Rlimit { kind, hard, soft: 1 };
    spec.process.rlimits = vec![
        limit(RlimitType::Nofile, 2048),
        limit(RlimitType::Core, u64::MAX),
        limit(RlimitType::Nproc, 5),
        limit(RlimitType::Stack, u64::MAX),
    ];
    let hard_limits = vec![
        (Resource::Nofile, 1024),
        (Resource::Core, 0),
        (Resource::Nproc, 5),
        (Resource::Stack, u64::MAX),
    ];
    let facts = HostFacts { hard_limits, ..facts() };
    let plan = plan_with(&spec, &options(), &facts);
    assert_eq!(
        host(&plan)[2..4],
        [
            "raise the hard limit of Nofile to 2048  [/process/rlimits/0]",
            "raise the hard limit of Core to 18446744073709551615  [/process/rlimits/1]"
        ]
    );
    assert!(!host(&plan)[4].starts_with("raise"));
    let unlimited = cloison_linux::Rlimit { current: Some(1), maximum: None };
    assert_eq!(plan.program.limits[1], (Resource::Core, unlimited));
    assert_eq!(plan.program.limits.len(), 4);
}

#[test]
fn every_limit_of_the_configuration_is_the_kernels_of_the_same_name() {
    let mut spec = example();
    spec.process.rlimits = RlimitType::ALL.iter().map(|&kind| Rlimit { kind, hard: 9, soft: 8 }).collect();
    for (kind, (resource, _)) in RlimitType::ALL.iter().zip(process::limits(&spec)) {
        assert_eq!(resource as u32, kind.number(), "{kind:?}");
        let name = kind.as_str().trim_start_matches("RLIMIT_").to_lowercase();
        assert_eq!(format!("{resource:?}").to_lowercase(), name);
    }
}

fn set(names: &[&str]) -> CapabilitySet {
    names.iter().map(|name| Capability::from_name(name).unwrap()).collect()
}

#[test]
fn each_set_of_capabilities_is_the_one_that_was_asked_for() {
    let mut spec = example();
    let names = |name: &str| vec![name.to_owned()];
    spec.process.capabilities = Some(Capabilities {
        bounding: names("CAP_KILL"),
        effective: names("CAP_CHOWN"),
        inheritable: names("CAP_BPF"),
        permitted: names("CAP_MKNOD"),
        ambient: Vec::new(),
    });
    let found = plan(&spec).program.capabilities;
    assert_eq!(found.bounding, set(&["CAP_KILL"]));
    assert_eq!(found.effective, set(&["CAP_CHOWN"]));
    assert_eq!(found.inheritable, set(&["CAP_BPF"]));
    assert_eq!(found.permitted, set(&["CAP_MKNOD"]));
    assert!(found.ambient.is_empty());

    spec.process.capabilities = None;
    assert_eq!(plan(&spec).program.capabilities, process::Capabilities::default(), "none at all");
}

#[test]
fn ambient_is_what_is_permitted_and_inheritable_too() {
    let mut spec = example();
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    spec.process.capabilities = Some(Capabilities {
        permitted: names(&["CAP_KILL", "CAP_CHOWN"]),
        inheritable: names(&["CAP_KILL", "CAP_MKNOD"]),
        ambient: names(&["CAP_KILL", "CAP_CHOWN", "CAP_MKNOD"]),
        ..Capabilities::default()
    });
    let found = plan(&spec);
    assert_eq!(found.program.capabilities.ambient, set(&["CAP_KILL"]));
    let steps = found.program.launch_steps();
    assert!(steps.contains(&LaunchStep::RaiseAmbient(set(&["CAP_KILL"]))));
}

/// Ids and capabilities need rights that a later step takes away.
#[test]
fn the_launch_takes_rights_away_in_an_order_that_works() {
    let mut spec = example();
    spec.process.user =
        spec::User { uid: 1000, gid: 100, additional_gids: vec![5, 6], ..spec::User::default() };
    let steps = plan(&spec).program.launch_steps();
    let at = |is_it: fn(&LaunchStep) -> bool| steps.iter().position(is_it).expect("a step");
    let close = at(|step| matches!(step, LaunchStep::CloseFrom(3)));
    let limit = at(|step| matches!(step, LaunchStep::Limit(..)));
    let bounding = at(|step| matches!(step, LaunchStep::LimitBounding(_)));
    let groups = at(|step| matches!(step, LaunchStep::SetGroups(groups) if *groups == [5, 6]));
    let gid = at(|step| matches!(step, LaunchStep::SetGid(100)));
    let keep = at(|step| matches!(step, LaunchStep::KeepCapabilities(true)));
    let uid = at(|step| matches!(step, LaunchStep::SetUid(1000)));
    let keep_no_more = at(|step| matches!(step, LaunchStep::KeepCapabilities(false)));
    let capabilities = at(|step| matches!(step, LaunchStep::SetCapabilities { .. }));
    let clear_ambient = at(|step| matches!(step, LaunchStep::ClearAmbient));
    let no_new_privileges = at(|step| matches!(step, LaunchStep::NoNewPrivileges));
    let order = [
        close,
        limit,
        bounding,
        groups,
        gid,
        keep,
        uid,
        keep_no_more,
        capabilities,
        clear_ambient,
        no_new_privileges,
    ];
    assert!(order.is_sorted(), "{steps:#?}");
    assert_eq!(at(|step| matches!(step, LaunchStep::SetSignalMask(_))), steps.len() - 1);

    spec.process.user = spec::User::default();
    spec.process.no_new_privileges = false;
    let steps = plan(&spec).program.launch_steps();
    let kept =
        |step: &LaunchStep| matches!(step, LaunchStep::KeepCapabilities(_) | LaunchStep::NoNewPrivileges);
    assert!(!steps.iter().any(kept), "root keeps what it has");
}

fn environment(env: &[&str]) -> Vec<String> {
    let mut spec = example();
    spec.process.env = env.iter().map(|&entry| entry.to_owned()).collect();
    let strings = plan(&spec).program.env;
    strings.iter().map(|entry| entry.to_str().unwrap().to_owned()).collect()
}

#[test]
fn of_several_values_of_a_variable_the_last_wins() {
    assert_eq!(environment(&["A=1", "B=2", "A=3", "C=", "AB=4"]), ["A=3", "B=2", "C=", "AB=4"]);
    assert_eq!(environment(&["A=1=2", "A=3=4"]), ["A=3=4"]);
    assert_eq!(environment(&[]), [""; 0]);
}

#[test]
fn home_is_looked_up_only_if_the_last_word_on_it_is_empty() {
    for (env, looked_up) in [
        (&["A=1"][..], true),
        (&["HOME=/root"], false),
        (&["HOME="], true),
        (&["HOME=/root", "HOME="], true),
        (&["HOME=", "HOME=/root"], false),
        (&["HOMEX=/root", "XHOME=/root"], true),
        (&[], true),
    ] {
        let mut spec = example();
        spec.process.env = env.iter().map(|&entry| entry.to_owned()).collect();
        let found = container(&plan(&spec)).iter().any(|line| line.starts_with("set HOME of uid 0"));
        assert_eq!(found, looked_up, "{env:?}");
    }
}

#[test]
fn a_user_who_is_not_root_gets_the_streams_and_the_terminal() {
    let mut spec = example();
    spec.process.user = spec::User { uid: 1000, gid: 100, umask: Some(0o077), ..spec::User::default() };
    assert_eq!(
        changes(&spec),
        [
            "-umask 0022  [runtime]",
            "-set HOME of uid 0  [/process/env]",
            "+umask 0077  [/process/user/umask]",
            "+give the standard streams to uid 1000  [/process/user/uid]",
            "+set HOME of uid 1000  [/process/env]",
        ]
    );
    let plan = plan(&spec);
    assert_eq!(
        action(&plan, "/process/terminal"),
        Action::Terminal { size: None, uid: 1000, console_device: true }
    );
    let last = plan.container.iter().rfind(|step| &*step.origin.0 == "/process/cwd").unwrap();
    assert_eq!(last.action, Action::WorkingDirectory { path: "/".into(), uid: 1000, gid: 100 });
}

#[test]
fn a_terminal_has_the_size_that_both_numbers_say() {
    for (width, height, size) in [(80, 25, Some((80, 25))), (0, 25, None), (80, 0, None)] {
        let mut spec = example();
        spec.process.console_size = Some(spec::ConsoleSize { height, width });
        assert_eq!(
            action(&plan(&spec), "/process/terminal"),
            Action::Terminal { size, uid: 0, console_device: true }
        );
    }
}

#[test]
fn scheduling_is_as_asked() {
    let process = r#"{
        "scheduler": {"policy": "SCHED_DEADLINE", "nice": -5, "priority": 3, "runtime": 1, "deadline": 2, "period": 3,
            "flags": ["SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"]},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "oomScoreAdj": -500
    }"#;
    let linux = r#"{
        "personality": {"domain": "LINUX32"},
        "memoryPolicy": {"mode": "MPOL_INTERLEAVE", "nodes": "0,2-3", "flags": ["MPOL_F_STATIC_NODES"]}
    }"#;
    let plan = plan(&example_with(process, linux));
    let attr = SchedAttr {
        policy: 6,
        flags: 0x2 | 0x4,
        nice: -5,
        priority: 3,
        runtime: 1,
        deadline: 2,
        period: 3,
        ..SchedAttr::default()
    };
    assert_eq!(action(&plan, "/process/scheduler"), Action::Scheduler(attr));
    assert_eq!(action(&plan, "/process/ioPriority"), Action::IoPriority(2, 4));
    assert_eq!(action(&plan, "/linux/personality"), Action::Personality(8));
    let policy = MemoryPolicy { mode: 3 | 1 << 15, nodes: vec![0, 2, 3] };
    assert_eq!(action(&plan, "/linux/memoryPolicy"), Action::MemoryPolicy(policy));
    assert_eq!(host(&plan)[2], "oom_score_adj -500  [/process/oomScoreAdj]");
    assert!(place(&plan, "reset the CPU affinity") < place(&plan, "scheduler"));
}

#[test]
fn limits_are_set_where_they_must_be_first_and_else_just_before_the_program() {
    let linux = r#"{"resources": {
        "memory": {"limit": 1000000, "swap": -1},
        "cpu": {"shares": 512, "cpus": "0-1", "mems": "0", "realtimeRuntime": 900000, "realtimePeriod": 1000000},
        "pids": {"limit": 0}
    }}"#;
    let steps = host(&plan(&example_with("{}", linux)));
    let expected = [
        "make the cgroup  [runtime]",
        r#"limit resources: {"cpu":{"realtimeRuntime":900000,"realtimePeriod":1000000,"cpus":"0-1","mems":"0"}}  [/linux/resources]"#,
        "start the init with new namespaces: pid,net,mnt,ipc,uts  [/linux/namespaces]",
        "wait until the init is ready  [runtime]",
        r#"limit resources: {"memory":{"limit":1000000,"swap":"max"},"cpu":{"shares":512},"pids":1}  [/linux/resources]"#,
    ];
    assert_eq!(steps[..5], expected);
    assert!(steps[5].starts_with("limit devices: "));
}
