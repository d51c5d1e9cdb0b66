//! Namespaces made and joined, id maps, clocks.

use super::*;
use crate::plan::action::{BindSource, SourceIds};
use crate::spec::{Mount, TimeOffset};

#[test]
fn a_joined_namespace_is_entered_and_not_made() {
    use NamespaceType::{Ipc, Mount, Network, Uts};

    for (kind, name, made_now) in [
        (Network, "network", "pid,mnt,ipc,uts"),
        (Ipc, "ipc", "pid,net,mnt,uts"),
        (Uts, "uts", "pid,net,mnt,ipc"),
        (Mount, "mount", "pid,net,ipc,uts"),
    ] {
        let mut spec = example();
        join(&mut spec, kind);
        let plan = plan(&spec);
        let clone = format!("start the init with new namespaces: {made_now}  [/linux/namespaces]");
        assert_eq!(host(&plan)[1], clone, "{name}");
        let step = &plan.container[0];
        assert!(
            matches!(&step.action, Action::JoinNamespace(_, path) if path == Path::new(&format!("/run/ns/{name}")))
        );
        assert_eq!(step.origin.to_string(), "/linux/namespaces/5", "{name}");
    }
}

#[test]
fn the_loopback_of_a_joined_network_is_left_alone() {
    let mut spec = example();
    join(&mut spec, NamespaceType::Network);
    assert!(!container(&plan(&spec)).iter().any(|line| line.contains("loopback")));
    leave_out(&mut spec, NamespaceType::Network);
    assert!(!container(&plan(&spec)).iter().any(|line| line.contains("loopback")));
}

#[test]
fn a_joined_cgroup_namespace_is_entered_by_the_init() {
    let mut spec = example();
    join(&mut spec, NamespaceType::Cgroup);
    assert_eq!(
        changes(&spec),
        [
            "-new cgroup namespace  [/linux/namespaces/5]",
            "+join the cgroup namespace /run/ns/cgroup  [/linux/namespaces/5]"
        ]
    );
}

#[test]
fn a_pid_namespace_is_joined_on_the_hosts_side_before_the_init_is_born() {
    let mut spec = example();
    join(&mut spec, NamespaceType::Pid);
    let plan = plan(&spec);
    assert_eq!(
        host(&plan)[1..3],
        [
            "put children into the pid namespace /run/ns/pid  [/linux/namespaces/5]",
            "start the init with new namespaces: net,mnt,ipc,uts  [/linux/namespaces]"
        ]
    );
    assert!(!container(&plan).iter().any(|line| line.contains("/run/ns/pid")));
}

#[test]
fn a_time_namespace_is_made_with_its_offsets_before_the_init_is_born() {
    let mut spec = example();
    spec.linux.namespaces.push(made(NamespaceType::Time));
    assert_eq!(
        changes(&spec),
        ["+time offsets  [/linux/namespaces/6]"],
        "it needs the host's side also without"
    );
    spec.linux.time_offsets = [
        ("boottime".to_owned(), TimeOffset { secs: -5, nanosecs: 7 }),
        ("monotonic".to_owned(), TimeOffset { secs: 60, nanosecs: 0 }),
    ]
    .into();
    let plan = plan(&spec);
    assert_eq!(
        host(&plan)[1],
        "time offsets monotonic 60.000000000 boottime -5.000000007  [/linux/timeOffsets]"
    );
    assert!(host(&plan)[2].starts_with("start the init with new namespaces: pid,net,mnt,ipc,uts "));
}

#[test]
fn a_joined_time_namespace_is_entered_by_the_init() {
    let mut spec = example();
    spec.linux.namespaces.push(joined(NamespaceType::Time));
    assert_eq!(changes(&spec), ["+join the time namespace /run/ns/time  [/linux/namespaces/6]"]);
}

#[test]
fn a_new_user_namespace_comes_with_clone_and_ipc_once_its_root_is_there() {
    let plan = plan(&example_with_user_namespace());
    assert_eq!(
        host(&plan)[1..3],
        [
            "start the init with new namespaces: user,pid,net,mnt,uts  [/linux/namespaces]",
            "id maps: uids 0→100000×65536, gids 0→200000×65536  [/linux/uidMappings]"
        ]
    );
    assert_eq!(
        container(&plan)[..3],
        [
            "wait for the id maps, become root in the user namespace  [/linux/uidMappings]",
            "new ipc namespace  [/linux/namespaces/2]",
            "new cgroup namespace  [/linux/namespaces/5]"
        ]
    );
}

#[test]
fn a_joined_user_namespace_comes_first_and_ipc_belongs_to_its_root_too() {
    let mut spec = example();
    join(&mut spec, NamespaceType::Network);
    join(&mut spec, NamespaceType::User);
    let plan = plan(&spec);
    assert_eq!(
        host(&plan)[1..3],
        [
            "put children into the net namespace /run/ns/network  [/linux/namespaces/5]",
            "start the init with new namespaces: pid,mnt,uts  [/linux/namespaces]"
        ]
    );
    assert_eq!(
        container(&plan)[..2],
        [
            "join the user namespace /run/ns/user  [/linux/namespaces/6]",
            "new ipc namespace  [/linux/namespaces/1]"
        ]
    );
    assert!(!host(&plan).iter().any(|line| line.contains("id maps")), "it has its maps");
}

#[test]
fn the_oom_score_is_written_while_the_init_waits_for_its_ids() {
    let mut spec = example_with_user_namespace();
    spec.process.oom_score_adj = Some(5);
    let lines = host(&plan(&spec));
    let place = |word: &str| lines.iter().position(|line| line.contains(word)).unwrap();
    assert!(place("oom_score_adj") < place("id maps"), "{lines:#?}");
}

#[test]
fn the_oom_score_is_inherited_by_an_init_that_joins_a_user_namespace() {
    let mut spec = example();
    spec.process.oom_score_adj = Some(5);
    join(&mut spec, NamespaceType::User);
    let lines = host(&plan(&spec));
    let scores: Vec<&String> = lines.iter().filter(|line| line.contains("oom_score_adj")).collect();
    assert_eq!(scores, ["oom_score_adj 5, for the init  [/process/oomScoreAdj]"]);
    let place = |word: &str| lines.iter().position(|line| line.contains(word)).unwrap();
    assert!(place("oom_score_adj") < place("start the init"), "{lines:#?}");
}

#[test]
fn in_a_user_namespace_devices_are_bound_and_the_keyring_is_searched_by_others() {
    let plan = plan(&example_with_user_namespace());
    let binds = plan.container.iter().filter(|step| matches!(step.action, Action::Device(_, true))).count();
    let nodes = plan.container.iter().filter(|step| matches!(step.action, Action::Device(_, false))).count();
    assert_eq!((binds, nodes), (6, 0));
    let permissions = |plan: &Plan| {
        plan.container.iter().find_map(|step| match step.action {
            Action::SessionKeyring(_, permissions) => Some(permissions),
            _ => None,
        })
    };
    assert_eq!(permissions(&plan), Some(0x8_0008), "KEY_USR_SEARCH, KEY_OTH_SEARCH");
    assert_eq!(permissions(&super::plan(&example())), Some(0x8_0000), "KEY_USR_SEARCH");
}

fn bind(destination: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: Some("bind".into()),
        source: Some("data".into()),
        options: options.iter().map(|&option| option.into()).collect(),
        ..Mount::default()
    }
}

fn sources(plan: &Plan) -> Vec<BindSource> {
    let source = |step: &Step<HostAction>| match &step.action {
        HostAction::OpenSource(source) => Some(source.clone()),
        _ => None,
    };
    plan.host.iter().filter_map(source).collect()
}

/// A copy that the host's side made in its own mount namespace would have none of the locks by which the host's read-only and covered
/// mounts stay so.
#[test]
fn sources_of_bind_mounts_are_opened_by_the_init_before_it_becomes_root_of_a_user_namespace() {
    let mut spec = example_with_user_namespace();
    spec.mounts.push(bind("/a", &["rbind"]));
    spec.mounts.push(bind("/b", &["bind", "remount", "ro"]));
    spec.mounts.push(bind("/c", &["bind"]));
    let told = plan(&spec);
    assert_eq!(sources(&told), []);
    let data = || PathBuf::from("/bundle/data");
    assert_eq!(told.container[0].action, Action::ReachSources(vec![(7, data()), (9, data())]));
    assert_eq!(told.container[1].action, Action::BecomeRoot);
    join(&mut spec, NamespaceType::Mount);
    let reaches =
        |plan: &Plan| plan.container.iter().any(|step| matches!(step.action, Action::ReachSources(_)));
    assert!(!reaches(&plan(&spec)), "in another mount namespace they would be of no use");
    let mut spec = example();
    spec.mounts.push(bind("/a", &["rbind"]));
    assert!(!reaches(&plan(&spec)) && sources(&plan(&spec)).is_empty());
}

#[test]
fn an_idmapped_mount_has_its_own_maps_or_the_containers() {
    let row = |container, host| IdMapping { container, host, size: 10 };
    let mut spec = example();
    let mut mapped = bind("/a", &["rbind", "ridmap"]);
    mapped.uid_mappings = vec![spec::IdMapping { container_id: 1, host_id: 2, size: 10 }];
    mapped.gid_mappings = vec![spec::IdMapping { container_id: 3, host_id: 4, size: 10 }];
    spec.mounts.insert(0, mapped);
    let found = sources(&plan(&spec));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].mount, 0);
    assert_eq!(found[0].id_map, SourceIds::Maps(vec![row(1, 2)], vec![row(3, 4)]));
    assert!(found[0].maps_all);

    let mut spec = example_with_user_namespace();
    spec.mounts.push(bind("/a", &["bind", "idmap"]));
    let (uids, gids) = namespaces::id_maps(&spec);
    let found = &sources(&plan(&spec))[0];
    assert_eq!((&found.id_map, found.maps_all), (&SourceIds::Maps(uids, gids), false));

    join(&mut spec, NamespaceType::User);
    let path = spec.linux.namespace(NamespaceType::User).and_then(|user| user.path.clone()).unwrap();
    assert_eq!(sources(&plan(&spec))[0].id_map, SourceIds::Joined(path.into()));
}

#[test]
fn the_init_opens_an_idmapped_source_that_the_mounts_before_it_may_have_made() {
    let mut spec = example_with_user_namespace();
    let inside = options().bundle.join(&spec.root.path).join("a");
    spec.mounts
        .push(Mount { source: Some(inside.to_str().unwrap().to_owned()), ..bind("/b", &["rbind", "idmap"]) });
    let told = plan(&spec);
    assert_eq!(sources(&told), []);
    let maps = told.host.iter().filter_map(|step| match &step.action {
        HostAction::MapSource(source) => Some((source.mount, source.path.clone())),
        _ => None,
    });
    assert_eq!(maps.collect::<Vec<_>>(), [(spec.mounts.len() - 1, inside)]);
    assert!(mount_at(&told, "/b").mapped_when_opened && !mount_at(&told, "/proc").mapped_when_opened);
}

use crate::plan::action::IdMapping;

/// The n-th source is for the n-th mount of the plan, of which one entry of the configuration may become several.
#[test]
fn sources_are_counted_by_the_mounts_of_the_plan() {
    let mut spec = example_with_user_namespace();
    spec.mounts.push(bind("/a", &["rbind"]));
    let hierarchies = vec![("memory".to_owned(), "/sys/fs/cgroup/memory/c1".into())];
    let facts = HostFacts { cgroups: CgroupView::Legacy(hierarchies), ..facts() };
    let plan = plan_with(&spec, &options(), &facts);
    let mounts: Vec<_> =
        plan.container.iter().filter(|step| matches!(step.action, Action::Mount(_))).collect();
    let Action::ReachSources(reached) = &plan.container[0].action else { panic!("{plan}") };
    let number = reached.iter().find(|(_, path)| path.ends_with("data")).unwrap().0;
    assert_eq!(mounts[number].to_string(), "rbind /bundle/data on /a  [/mounts/7]");
}

#[test]
fn without_a_mount_namespace_the_root_is_only_changed() {
    let mut spec = example();
    leave_out(&mut spec, NamespaceType::Mount);
    spec.linux.masked_paths.clear();
    spec.linux.readonly_paths.clear();
    spec.root.readonly = true;
    let plan_of_host = plan(&spec);
    let held = "bind the root file system /bundle/rootfs on itself, on the host";
    assert!(plan_of_host.host[0].to_string().starts_with(held), "{}", plan_of_host.host[0]);
    assert!(plan_of_host.warnings.iter().any(|warning| warning.pointer == "/mounts"));
    let lines = container(&plan_of_host);
    let has = |text: &str| lines.iter().any(|line| line.starts_with(text));
    assert!(has("open the root file system /bundle/rootfs") && has("chroot into") && has("make / read-only"));
    let no = ["make the host's mounts", "bind the root", "pivot_root", "move the root"];
    for text in no {
        assert!(!has(text), "{text} in {lines:#?}");
    }
    spec.root.readonly = false;
    spec.process.terminal = false;
    spec.mounts.clear();
    assert!(
        plan(&spec).host.iter().all(|step| !step.to_string().starts_with(held)),
        "there is nothing to hold"
    );
}

#[test]
fn a_v1_cgroup_is_joined_by_the_init_before_its_namespace_is_made() {
    let facts = |own_cgroup| HostFacts { cgroups: CgroupView::Legacy(Vec::new()), own_cgroup, ..facts() };
    let with_own = plan_with(&example(), &options(), &facts(true));
    assert_eq!(
        container(&with_own)[..2],
        ["join the cgroup  [runtime]", "new cgroup namespace  [/linux/namespaces/5]"]
    );
    let without = plan_with(&example(), &options(), &facts(false));
    assert!(!container(&without).iter().any(|line| line.starts_with("join the cgroup")));
    assert!(!host(&without).iter().any(|line| line.starts_with("make the cgroup")));
}

#[test]
fn a_v1_cgroup_is_joined_with_the_ids_of_who_has_opened_its_files() {
    let facts = HostFacts { cgroups: CgroupView::Legacy(Vec::new()), own_cgroup: true, ..facts() };
    let mut joined = example();
    join(&mut joined, NamespaceType::User);
    for (spec, changes_ids) in
        [(example_with_user_namespace(), "wait for the id maps"), (joined, "join the user namespace")]
    {
        let lines = container(&plan_with(&spec, &options(), &facts));
        assert!(lines[0].starts_with("join the cgroup  ") && lines[1].starts_with(changes_ids), "{lines:#?}");
    }
}

#[test]
fn a_cgroup_that_has_a_name_is_made_for_it() {
    let mut spec = example();
    spec.linux.cgroups_path = Some("/a/b".into());
    assert_eq!(host(&plan(&spec))[0], "make the cgroup  [/linux/cgroupsPath]");
}

/// The root of a user namespace has no rights over the namespaces of a neighbour.
#[test]
fn with_a_user_namespace_the_host_joins_for_the_init_what_is_not_the_mount_namespace() {
    let mut spec = example_with_user_namespace();
    join(&mut spec, NamespaceType::Network);
    let line = |plan: &Plan| {
        host(plan).iter().position(|line| line.starts_with("put children into the net namespace"))
    };
    let told = plan(&spec);
    let clone = host(&told).iter().position(|line| line.starts_with("start the init"));
    assert!(line(&told).is_some() && line(&told) < clone, "{told}");
    assert!(!container(&told).iter().any(|line| line.contains("/run/ns/network")));
    let unprivileged = HostFacts { privileged: false, ..facts() };
    let told = Plan::new(&spec, &options(), &unprivileged).unwrap();
    assert_eq!(line(&told), None, "only root may");
    assert!(container(&told).iter().any(|line| line.starts_with("join the net namespace /run/ns/network")));
}

#[test]
fn a_users_init_is_seen_waiting_where_no_other_container_sees_it() {
    use NamespaceType::{Pid, User};
    let unprivileged = HostFacts { privileged: false, ..facts() };
    let is_seen = |change: &dyn Fn(&mut Spec)| {
        let mut spec = example_with_user_namespace();
        change(&mut spec);
        let seen = |facts: &HostFacts| plan_with(&spec, &options(), facts).program.seen_waiting;
        assert!(!seen(&facts()), "root needs no leave");
        seen(&unprivileged)
    };
    let join_user = |spec: &mut Spec| {
        join(spec, User);
        (spec.linux.uid_mappings, spec.linux.gid_mappings) = (Vec::new(), Vec::new());
    };
    assert!(is_seen(&|_| {}));
    assert!(is_seen(&|spec| leave_out(spec, Pid)));
    assert!(is_seen(&join_user));
    assert!(!is_seen(&|spec| join(spec, Pid)));
    assert!(!is_seen(&|spec| {
        join_user(spec);
        join(spec, Pid);
    }));
    assert!(!is_seen(&|spec| {
        join_user(spec);
        leave_out(spec, Pid);
    }));
}

#[test]
fn a_writable_cgroup_is_given_to_who_uses_it() {
    let writable = |spec: &mut Spec| {
        let mount = spec.mounts.iter_mut().find(|mount| mount.destination == "/sys/fs/cgroup").unwrap();
        mount.options.retain(|option| option != "ro");
    };
    let given = |spec: &Spec, facts: &HostFacts| {
        let plan = plan_with(spec, &options(), facts);
        host(&plan).into_iter().find(|step| step.starts_with("give the cgroup"))
    };
    let mut spec = example_with_user_namespace();
    assert_eq!(given(&spec, &facts()), None, "it is mounted read-only");
    writable(&mut spec);
    let mut recursively = spec.clone();
    recursively.mounts[6].options.push("rro".to_owned());
    assert_eq!(given(&recursively, &facts()), None, "and so it is, with all below it");
    let expected = Some("give the cgroup to uid 100000  [/mounts/6]".to_owned());
    assert_eq!(given(&spec, &facts()), expected);
    spec.process.user.uid = 1000;
    assert_eq!(given(&spec, &facts()).unwrap(), "give the cgroup to uid 101000  [/mounts/6]");
    spec.process.user.uid = 70_000;
    assert_eq!(given(&spec, &facts()), None, "it is not mapped");
    spec.process.user.uid = 0;
    let legacy = CgroupView::Legacy(vec![("pids".into(), "/sys/fs/cgroup/pids/c1".into())]);
    assert_eq!(given(&spec, &HostFacts { cgroups: legacy, ..facts() }), None, "v1 is not safe to give away");
    assert_eq!(given(&spec, &HostFacts { own_cgroup: false, ..facts() }), None);
    assert_eq!(given(&spec, &HostFacts { privileged: false, ..facts() }), None);
    leave_out(&mut spec, NamespaceType::Cgroup);
    assert_eq!(given(&spec, &facts()), None, "it would see those of others");
    let mut spec = example();
    writable(&mut spec);
    assert_eq!(given(&spec, &facts()), None, "root of the machine has it already");
    spec.process.user.uid = 1000;
    assert_eq!(given(&spec, &facts()).unwrap(), "give the cgroup to uid 1000  [/mounts/6]");
}

#[test]
fn network_devices_are_moved_once_the_init_has_its_network() {
    let mut spec = example();
    spec.linux.net_devices = [
        ("eth1".to_owned(), spec::NetDevice { name: Some("eth%d".to_owned()) }),
        ("eth0".to_owned(), spec::NetDevice { name: None }),
    ]
    .into();
    let lines = host(&plan(&spec));
    let clone = lines.iter().position(|line| line.starts_with("start the init")).unwrap();
    assert_eq!(
        lines[clone + 1..clone + 3],
        [
            "move the network device eth0 into the container's network namespace  [/linux/netDevices/eth0]",
            "move the network device eth1 into the container's network namespace as eth%d  [/linux/netDevices/eth1]"
        ]
    );
    join(&mut spec, NamespaceType::Network);
    assert!(
        host(&plan(&spec))
            .iter()
            .any(|line| line.contains("eth0 into the network namespace /run/ns/network"))
    );
}

#[test]
fn sysctls_of_the_network_wait_for_the_devices_that_they_may_be_about() {
    let mut spec = example();
    spec.linux.net_devices = [("eth0".to_owned(), spec::NetDevice { name: None })].into();
    assert!(!container(&plan(&spec)).iter().any(|line| line.contains("wait until the host's side")));
    spec.linux.sysctl = [("net.ipv4.conf.eth0.forwarding".to_owned(), "1".to_owned())].into();
    let plan = plan(&spec);
    assert!(place(&plan, "wait until the host's side") < place(&plan, "sysctl net.ipv4"));
    let lines = host(&plan);
    let at = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap();
    assert!(at("move the network device") < at("let the init go on"));
}
