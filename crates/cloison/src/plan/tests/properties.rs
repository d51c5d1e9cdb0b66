//! What holds for every configuration.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const FIXTURES: [&str; 3] = [
    include_str!("../../spec/tests/fixtures/docker.json"),
    include_str!("../../spec/tests/fixtures/podman.json"),
    include_str!("../../spec/tests/fixtures/whole.json"),
];

/// What an engine asks for, without what is refused as a whole.
fn document(fixture: usize) -> Value {
    let mut spec: Value = serde_json::from_str(FIXTURES[fixture]).unwrap();
    drop_nulls(&mut spec);
    let strip = |section: &mut Value, names: &[&str]| {
        if let Some(section) = section.as_object_mut() {
            section.retain(|name, _| !names.contains(&name.as_str()));
        }
    };
    strip(&mut spec, &["hooks"]);
    strip(&mut spec["process"], &["apparmorProfile", "selinuxLabel"]);
    strip(&mut spec["linux"], &["seccomp", "mountLabel"]);
    spec
}

/// Podman writes them for lists that it does not have.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn places(value: &Value, pointer: String, into: &mut Vec<String>) {
    let child = |key: &str| format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, field)| places(field, child(key), into)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| places(item, child(&at.to_string()), into));
        }
        _ => {}
    }
    into.push(pointer);
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1_i64..10).prop_map(Value::from),
        "[a-z/.=~]{0,8}".prop_map(Value::from),
        prop::sample::select(vec![
            "bind", "rbind", "ro", "/", "/dev", "..", "", "tmpfs", "cgroup", "user", "\u{e9}"
        ])
        .prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
    ]
}

fn machine() -> impl Strategy<Value = HostFacts> {
    let own = PathBuf::from("/sys/fs/cgroup/c1");
    let legacy = vec![("cpu,cpuacct".to_owned(), own.clone()), ("name=systemd".to_owned(), own.clone())];
    let view = vec![CgroupView::None, CgroupView::Unified(own), CgroupView::Legacy(legacy)];
    (prop::sample::select(view), any::<[bool; 3]>()).prop_map(|(cgroups, [own_cgroup, privileged, kcore])| {
        HostFacts {
            modules: labels::Modules::default(),
            unit: None,
            cgroups,
            own_cgroup,
            privileged,
            in_user_namespace: !privileged,
            binds_devices: !privileged,
            groups_denied: !privileged,
            kcore,
            resctrl: Some(ResctrlFacts { cache: true, bandwidth: true }),
            hard_limits: vec![(cloison_linux::Resource::Core, 0)],
        }
    })
}

/// Every step says where it comes from: a place that is there, or a rule of the runtime's own.
fn check_origins(plan: &Plan, document: &Value) {
    let steps = plan.host.iter().map(|step| (&step.origin, step.to_string()));
    for (origin, step) in steps.chain(plan.container.iter().map(|step| (&step.origin, step.to_string()))) {
        let is_there = document.pointer(&origin.0).is_some_and(|value| !value.is_null());
        assert!(is_there || &*origin.0 == "runtime", "{step}");
    }
}

/// On a machine that has all that is asked for.
fn plan_of_all(spec: &Spec) -> Plan {
    let resctrl = Some(ResctrlFacts { cache: true, bandwidth: true });
    plan_with(spec, &options(), &HostFacts { resctrl, ..facts() })
}

#[test]
fn origins_are_places_in_the_configuration_or_the_runtimes_own() {
    for spec in [example(), example_with_user_namespace(), spec::example(true)] {
        check_origins(&plan_of_all(&spec), &serde_json::to_value(&spec).unwrap());
    }
    for document in (0..FIXTURES.len()).map(document) {
        check_origins(&plan_of_all(&serde_json::from_value(document.clone()).unwrap()), &document);
    }
    let mut spec = example();
    spec.linux.namespaces.clear();
    spec.linux.masked_paths.clear();
    spec.linux.readonly_paths.clear();
    spec.process.env.clear();
    check_origins(&plan_of_all(&spec), &serde_json::to_value(&spec).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_good_configuration_has_one_plan_and_it_prints(
        fixture in 0..FIXTURES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), value()), 0..4),
        facts in machine(),
        no_pivot in any::<bool>(),
    ) {
        let mut document = document(fixture);
        for (place, value) in changes {
            let mut all = Vec::new();
            places(&document, String::new(), &mut all);
            *document.pointer_mut(place.get(&all).as_str()).unwrap() = value;
        }
        let Ok(spec) = Spec::from_slice(document.to_string().as_bytes()) else { return Ok(()) };
        let options = Options { no_pivot, ..options() };
        match Plan::new(&spec, &options, &facts) {
            Ok(plan) => {
                prop_assert_eq!(&plan, &plan_with(&spec, &options, &facts));
                prop_assert!(!plan.to_string().is_empty());
                check_origins(&plan, &serde_json::to_value(&spec).unwrap());
                let absolute = |step: &Step<Action>| match &step.action {
                    Action::Mount(mount) => mount.destination.is_absolute(),
                    Action::Device(device, _) => device.path.is_absolute(),
                    _ => true,
                };
                prop_assert!(plan.container.iter().all(absolute));
                prop_assert_eq!(&plan.container.last().unwrap().action, &Action::FindProgram);
            }
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }
}
