//! What an `exec` becomes: the process that is asked for, and its way in.

use cloison_linux::{Resource, Rlimit};

use super::*;
use crate::plan::exec::{Asked, ExecFacts, ExecPlan, ProcessFlags, Refusal};
use crate::spec::{Capabilities, CpuAffinity};

fn root() -> ExecFacts {
    ExecFacts { privileged: true, joins_cgroup: true, ..ExecFacts::default() }
}

fn flags() -> ProcessFlags {
    ProcessFlags { args: vec!["true".into()], ..ProcessFlags::default() }
}

fn try_plan(spec: Spec, asked: Asked, facts: &ExecFacts) -> Result<ExecPlan, Refusal> {
    ExecPlan::new(spec, asked, &ContainerId::parse("c1").unwrap(), 0, facts)
}

fn planned(spec: Spec, flags: ProcessFlags, facts: &ExecFacts) -> ExecPlan {
    try_plan(spec, Asked { document: None, flags }, facts).unwrap()
}

fn refused(change: impl FnOnce(&mut ProcessFlags)) -> String {
    let mut flags = flags();
    change(&mut flags);
    try_plan(example(), Asked { document: None, flags }, &root()).unwrap_err().to_string()
}

fn documented(document: Process, container: Process) -> ExecPlan {
    let mut spec = example();
    spec.process = container;
    let asked = Asked { document: Some(("/p.json".into(), document)), flags: ProcessFlags::default() };
    try_plan(spec, asked, &root()).unwrap()
}

fn newcomer(plan: &ExecPlan) -> Vec<String> {
    plan.newcomer.iter().map(ToString::to_string).collect()
}

fn host_of(plan: &ExecPlan) -> Vec<String> {
    plan.host.iter().map(ToString::to_string).collect()
}

#[test]
fn a_plan_prints_as_a_story() {
    let plan = planned(example(), flags(), &root());
    assert_eq!(
        host_of(&plan),
        [
            "hide the runtime from other processes  [runtime]",
            "put children into the container's pid namespace  [/linux/namespaces/0]",
            "start the process in the container's cgroup  [exec]",
            "wait until the process is ready  [exec]",
        ]
    );
    assert_eq!(
        newcomer(&plan),
        [
            "join the cgroup  [exec]",
            "join the container's namespaces: net,mnt,ipc,uts,cgroup  [/linux/namespaces]",
            "new session  [exec]",
            "join the session keyring _ses.c1  [exec]",
            "enter the container's root  [exec]",
            "reopen streams on /dev/null  [exec]",
            "umask 0022  [runtime]",
            "reset the CPU affinity  [exec]",
            "enter the working directory /  [/process/cwd]",
            "set HOME of uid 0  [/process/env]",
            "find the program  [/process/args/0]",
        ]
    );
    assert!(plan.to_string().contains("  execute \"true\"  [/process/args]\n"));
}

#[test]
fn the_pid_namespace_is_entered_for_children_and_a_user_namespace_with_all_others() {
    let plan = planned(example_with_user_namespace(), flags(), &root());
    let steps = newcomer(&plan);
    let at = |text: &str| steps.iter().position(|step| step.starts_with(text)).unwrap();
    let entered = "join the container's namespaces: user,net,mnt,ipc,uts,cgroup";
    assert_eq!(at(entered) + 1, at("hide the init from other processes"), "a change of ids may undo it");
    assert!(at("join the cgroup") < at(entered), "its files belong to the host");
}

#[test]
fn without_rights_outside_a_go_between_enters_all_of_them() {
    let facts = ExecFacts { privileged: false, ..root() };
    let plan = planned(example_with_user_namespace(), flags(), &facts);
    let host = host_of(&plan);
    assert!(!host.iter().any(|step| step.contains("children")), "{host:?}");
    assert!(host.iter().any(|step| step.contains("by a go-between")), "{host:?}");
    let steps = newcomer(&plan);
    let at = |text: &str| steps.iter().position(|step| step.starts_with(text)).unwrap();
    let entered = at("join the container's namespaces: user,pid,net,mnt,ipc,uts,cgroup");
    assert_eq!(entered + 1, at("hand on to a process in the PID namespace"));
    assert_eq!(entered + 2, at("hide the init from other processes"));
    // In a container without a user namespace there is nothing to hand on for.
    let plan = planned(example(), flags(), &facts);
    assert!(!newcomer(&plan).iter().any(|step| step.contains("hand on")));
}

#[test]
fn a_namespace_that_is_shared_with_the_host_is_not_entered() {
    let mut spec = example();
    leave_out(&mut spec, NamespaceType::Pid);
    leave_out(&mut spec, NamespaceType::Network);
    let plan = planned(spec, flags(), &root());
    assert!(!host_of(&plan).iter().any(|step| step.contains("children")));
    assert!(
        newcomer(&plan)
            .contains(&"join the container's namespaces: mnt,ipc,uts,cgroup  [/linux/namespaces]".into())
    );
}

#[test]
fn what_takes_rights_of_the_host_comes_before_the_container_is_entered() {
    let mut spec = example_with_user_namespace();
    spec.process.oom_score_adj = Some(-500);
    let limit = Rlimit { current: Some(10), maximum: Some(100) };
    let facts = ExecFacts { limits: vec![(Resource::Nofile, limit)], ..root() };
    let plan = planned(spec, flags(), &facts);
    assert_eq!(
        host_of(&plan)[..2],
        [
            "oom_score_adj -500, for the process  [/process/oomScoreAdj]",
            "hide the runtime from other processes  [runtime]"
        ]
    );
    assert_eq!(
        newcomer(&plan)[..3],
        [
            "raise the hard limit of Nofile to 1024  [/process/rlimits/0]",
            "join the cgroup  [exec]",
            "join the container's namespaces: user,net,mnt,ipc,uts,cgroup  [/linux/namespaces]",
        ]
    );
}

#[test]
fn affinity_is_set_before_and_after_the_cgroup_is_joined() {
    let affinity = |initial: Option<&str>, after: Option<&str>| {
        let list = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let mut spec = example();
        spec.process.exec_cpu_affinity = CpuAffinity { initial: list(initial), after_joining: list(after) };
        let plan = planned(spec, flags(), &root());
        let all = [host_of(&plan), newcomer(&plan)].concat();
        all.into_iter().filter(|step| step.contains("CPU")).collect::<Vec<_>>()
    };
    assert_eq!(affinity(None, None), ["reset the CPU affinity  [exec]"]);
    assert_eq!(affinity(Some("0-1"), None), ["use the CPUs [0, 1]  [/process/execCPUAffinity/initial]"]);
    assert_eq!(
        affinity(Some("0"), Some("2")),
        [
            "use the CPUs [0]  [/process/execCPUAffinity/initial]",
            "use the CPUs [2]  [/process/execCPUAffinity/final]"
        ]
    );
}

#[test]
fn a_keyring_that_the_container_does_not_have_is_not_joined() {
    let facts = ExecFacts { no_new_keyring: true, ..root() };
    assert!(!newcomer(&planned(example(), flags(), &facts)).iter().any(|step| step.contains("keyring")));
}

#[test]
fn the_containers_process_is_changed_by_flags() {
    let mut spec = example();
    spec.process.terminal = true;
    spec.process.user = spec::User { uid: 5, gid: 6, additional_gids: vec![7], ..spec::User::default() };
    let flags = ProcessFlags {
        args: vec!["a".into(), "b c".into()],
        cwd: Some("/etc".into()),
        env: vec!["A=1".into(), "A=2".into()],
        user: Some("1000".into()),
        additional_gids: vec!["8".into()],
        no_new_privileges: Some(false),
        ..ProcessFlags::default()
    };
    let plan = planned(spec, flags, &root());
    assert!(!plan.terminal, "only a flag gives one");
    let Program { args, env, uid, gid, groups, no_new_privileges, .. } = &plan.program;
    assert_eq!(args[..], [c"a".to_owned(), c"b c".to_owned()]);
    assert_eq!(env.last().unwrap().as_c_str(), c"A=2");
    assert_eq!((*uid, *gid, groups.as_deref().unwrap(), *no_new_privileges), (1000, 6, &[7, 8][..], false));
    assert!(newcomer(&plan).contains(&"enter the working directory /etc  [/process/cwd]".into()));
}

#[test]
fn empty_flags_are_flags_that_were_not_given() {
    let flags = ProcessFlags {
        cwd: Some(String::new()),
        apparmor_profile: Some(String::new()),
        selinux_label: Some(String::new()),
        ..flags()
    };
    assert_eq!(planned(example(), flags, &root()), planned(example(), self::flags(), &root()));
}

#[test]
fn an_argument_keeps_its_bytes() {
    use std::os::unix::ffi::OsStringExt;

    let bytes = std::ffi::OsString::from_vec(b"\xff\xfe".to_vec());
    let plan = planned(example(), ProcessFlags { args: vec!["cat".into(), bytes], ..flags() }, &root());
    assert_eq!(plan.program.args[1].as_bytes(), b"\xff\xfe");
    assert!(refused(|flags| flags.args.push("a\0b".into())).contains("NUL"));
}

#[test]
fn ids_are_digits_alone_and_whole() {
    for user in [
        "",
        ":",
        "0:",
        ":0",
        "root",
        "1:root",
        "+1",
        "-1",
        " 1",
        "1 ",
        "0x1",
        "1e3",
        "4294967295",
        "1:4294967295",
        "1:2:3",
        "٣",
    ] {
        assert!(refused(|flags| flags.user = Some(user.to_owned())).starts_with("bad "), "{user:?}");
        assert!(
            refused(|flags| flags.additional_gids.push(user.to_owned())).starts_with("bad gid"),
            "{user:?}"
        );
    }
    let user = Some("4294967294:0007".to_owned());
    let plan = planned(example(), ProcessFlags { user, ..flags() }, &root());
    assert_eq!((plan.program.uid, plan.program.gid), (4_294_967_294, 7));
}

#[test]
fn what_makes_no_sense_is_refused() {
    assert_eq!(refused(|flags| flags.args.clear()), "exec args cannot be empty");
    assert!(refused(|flags| flags.cwd = Some("etc".into())).contains("Cwd must be an absolute path"));
    assert!(refused(|flags| flags.env.push("A".into())).contains("invalid environment variable"));
    assert!(refused(|flags| flags.capabilities.push("CAP_NONE".into())).starts_with("unknown capability"));
    let asked = Asked { document: Some(("/p.json".into(), example().process)), flags: flags() };
    assert_eq!(try_plan(example(), asked, &root()), Err(Refusal::TwoPrograms));
}

#[test]
fn a_capability_is_added_to_three_sets_and_never_to_the_inheritable_one() {
    let sets = |inheritable: &[&str]| {
        let mut spec = example();
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let inheritable = names(inheritable);
        spec.process.capabilities = Some(Capabilities { inheritable, ..Capabilities::default() });
        let flags = ProcessFlags { capabilities: names(&["CAP_KILL"]), ..flags() };
        planned(spec, flags, &root()).program.capabilities
    };
    let kill = 1 << 5;
    let none = sets(&[]);
    assert_eq!([none.bounding.0, none.effective.0, none.permitted.0], [kill; 3]);
    assert_eq!([none.inheritable.0, none.ambient.0], [0; 2]);
    assert_eq!(sets(&["CAP_CHOWN"]).inheritable.0, 1, "what the container has");
    assert_eq!(sets(&["CAP_KILL"]).ambient.0, kill, "which is inheritable there");
}

#[test]
fn a_document_is_filled_up_with_rights_and_limits_but_not_with_choices() {
    let container = Process {
        env: vec!["A=1".into()],
        cwd: "/etc".into(),
        no_new_privileges: true,
        oom_score_adj: Some(7),
        user: spec::User { uid: 1, gid: 2, umask: Some(0o77), ..spec::User::default() },
        ..example().process
    };
    let document = Process { args: vec!["x".into()], cwd: "/".into(), ..Process::default() };
    let plan = documented(document, container.clone());
    let steps = [host_of(&plan), newcomer(&plan)].concat();
    for step in [
        "umask 0077  [/process/user/umask]",
        "oom_score_adj 7, for the process  [/process/oomScoreAdj]",
        "enter the working directory /  [/process/cwd]",
    ] {
        assert!(steps.contains(&step.to_owned()), "{step} in {steps:#?}");
    }
    let Program { env, uid, gid, no_new_privileges, limits, capabilities, .. } = plan.program;
    assert!(env.is_empty());
    assert_eq!((uid, gid, no_new_privileges), (0, 0, false));
    assert_eq!(limits.len(), container.rlimits.len());
    assert_eq!(capabilities, planned(example(), flags(), &root()).program.capabilities);
}

#[test]
fn sockets_of_a_service_manager_come_before_what_is_preserved() {
    let facts = ExecFacts { activation: 2, ..root() };
    let id = ContainerId::parse("c1").unwrap();
    let plan = ExecPlan::new(example(), Asked { document: None, flags: flags() }, &id, 3, &facts).unwrap();
    assert_eq!(plan.program.preserve_fds, 5);
    assert_eq!(plan.program.env.last().unwrap().as_c_str(), c"LISTEN_FDS=2");
    assert!(newcomer(&plan).contains(&"set LISTEN_PID  [exec]".into()));
}

#[test]
fn labels_are_refused_by_their_place() {
    assert!(
        refused(|flags| flags.apparmor_profile = Some("p".into())).starts_with("/process/apparmorProfile: ")
    );
    assert!(refused(|flags| flags.selinux_label = Some("l".into())).starts_with("/process/selinuxLabel: "));
}

#[test]
fn keys_of_a_process_that_joins_are_marked_before_there_are_any() {
    let facts = ExecFacts { modules: labels::Modules { selinux: true, ..Default::default() }, ..root() };
    let flags = ProcessFlags { selinux_label: Some("u:r:t:s0".into()), ..flags() };
    let steps = newcomer(&planned(example(), flags, &facts));
    let place = |begin: &str| steps.iter().position(|step| step.starts_with(begin)).expect(begin);
    assert_eq!(place("mark keys with u:r:t:s0") + 1, place("join the session keyring"));
    assert_eq!(place("keep the way to the process's attributes"), 0);
}

#[test]
fn a_process_of_a_restored_container_gets_its_clocks() {
    let facts = ExecFacts { restored_clocks: true, ..root() };
    let joined = |facts: &ExecFacts| newcomer(&planned(example(), flags(), facts))[1].clone();
    let (restored, other) = (joined(&facts), joined(&root()));
    assert!(restored.contains("time") && !other.contains("time"), "{restored}, {other}");
}
