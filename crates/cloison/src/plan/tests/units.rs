//! Cgroups that systemd makes.

use super::*;

fn in_a_unit(cgroups: CgroupView) -> HostFacts {
    let unit = Unit::new(Some("machine.slice:test:c1"), "c1", false).unwrap();
    HostFacts { unit: Some(unit), cgroups, ..facts() }
}

#[test]
fn a_unit_is_started_after_what_the_init_inherits_and_limited_after_its_devices_are() {
    let mut spec = example();
    spec.linux.resources.pids.limit = Some(7);
    spec.linux.resources.cpu.cpus = Some("0".into());
    spec.linux.namespaces[0].path = Some("/run/ns/pid".into());
    spec.annotations.insert("org.systemd.property.CollectMode".into(), "'inactive'".into());
    let host = host(&plan_with(&spec, &options(), &in_a_unit(CgroupView::Unified("/sys/fs/cgroup".into()))));
    let expected = [
        "put children into the pid namespace /run/ns/pid",
        "start the unit test-c1.scope in machine.slice, CollectMode=inactive",
        "limit resources: {\"cpu\":{\"cpus\":\"0\"}}",
        "start the init",
        "wait until the init is ready",
        "limit devices",
        "limit resources: {\"pids\":7}",
    ];
    assert_eq!(host.len(), expected.len(), "{host:#?}");
    assert!(host.iter().zip(expected).all(|(line, start)| line.starts_with(start)), "{host:#?}");
}

#[test]
fn who_is_born_in_a_unit_joins_no_cgroup_by_itself() {
    let legacy =
        CgroupView::Legacy(vec![("pids".into(), "/sys/fs/cgroup/pids/machine.slice/test-c1.scope".into())]);
    let joins = |facts: &HostFacts| {
        plan_with(&example(), &options(), facts)
            .container
            .iter()
            .any(|step| step.action == Action::JoinCgroup)
    };
    assert!(joins(&HostFacts { cgroups: legacy.clone(), ..facts() }));
    assert!(!joins(&in_a_unit(legacy)));
}

#[test]
fn annotations_that_are_no_properties_are_refused_by_their_place_where_there_is_a_unit() {
    let mut spec = example();
    spec.annotations.insert("org.systemd.property.TasksMax".into(), "uint64".into());
    let facts_of_unit = in_a_unit(CgroupView::Unified("/sys/fs/cgroup".into()));
    let problems = Plan::new(&spec, &options(), &facts_of_unit).unwrap_err();
    assert_eq!(problems[0].pointer, "/annotations/org.systemd.property.TasksMax");
    assert!(Plan::new(&spec, &options(), &facts()).is_ok());
}
