//! What is refused or warned about by name.

use serde_json::Value;

use super::*;

/// The example with the JSON `text` at `pointer`.
fn example_with(pointer: &str, text: &str) -> Spec {
    let mut spec = serde_json::to_value(example()).unwrap();
    let mut place = &mut spec;
    for name in pointer.split('/').skip(1) {
        place = &mut place[name];
    }
    *place = serde_json::from_str::<Value>(text).unwrap();
    serde_json::from_value(spec).unwrap()
}

/// What of Intel RDT is asked for, what the machine has of it, and the first words of the refusal.
const REFUSED: [(&str, Option<ResctrlFacts>, &str, &str); 3] = [
    (
        r#"{"closID": "a"}"#,
        None,
        "/linux/intelRdt",
        "intelRdt is specified in config, but Intel RDT is not enabled",
    ),
    (
        r#"{"l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20"}"#,
        Some(ResctrlFacts { cache: false, bandwidth: true }),
        "/linux/intelRdt/l3CacheSchema",
        "intelRdt.l3CacheSchema is specified in config, but Intel RDT/CAT is not enabled",
    ),
    (
        r#"{"l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20"}"#,
        Some(ResctrlFacts { cache: true, bandwidth: false }),
        "/linux/intelRdt/memBwSchema",
        "intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled",
    ),
];

#[test]
fn what_the_machine_does_not_have_is_refused_by_its_name_alone() {
    for (text, resctrl, pointer, words) in REFUSED {
        let facts = HostFacts { resctrl, ..facts() };
        let problems = Plan::new(&example_with("/linux/intelRdt", text), &options(), &facts).unwrap_err();
        let [problem] = &problems[..] else { panic!("{pointer}: {problems:?}") };
        assert_eq!(problem.pointer, pointer);
        assert!(problem.message.starts_with(words), "{problem}");
    }
}

#[test]
fn shares_are_asked_for_in_the_order_of_the_specification() {
    let facts = HostFacts { resctrl: Some(ResctrlFacts { cache: true, bandwidth: true }), ..facts() };
    let text = r#"{"closID": "gold", "schemata": ["L2:0=1"], "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f",
        "enableMonitoring": true}"#;
    let plan = Plan::new(&example_with("/linux/intelRdt", text), &options(), &facts).unwrap();
    let lines = host(&plan);
    let at = lines.iter().position(|line| line.starts_with("start the init")).unwrap();
    assert_eq!(
        lines[at + 1],
        "join the resctrl class gold with L3:0=f MB:0=20 L2:0=1, monitored  [/linux/intelRdt]"
    );
}

#[test]
fn all_that_is_refused_is_told_at_once() {
    let whole: Spec = serde_json::from_str(include_str!("../../spec/tests/fixtures/whole.json")).unwrap();
    let problems = Plan::new(&whole, &options(), &facts()).unwrap_err();
    assert_eq!(problems.iter().filter(|problem| problem.pointer == "/linux/intelRdt").count(), 1);
    let others = problems.iter().filter(|problem| problem.pointer.starts_with("/linux/seccomp"));
    assert_eq!(others.count(), 1, "a flag that needs a listener");
    assert_eq!(problems.len(), 1 + 1 + 3, "labels, which this machine does not have");
}

#[test]
fn sections_that_say_nothing_are_not_refused() {
    for (pointer, text) in [
        ("/hooks", r#"{"prestart": [], "poststop": []}"#),
        ("/linux/resources", r#"{"memory": {}, "cpu": {}, "unified": {}, "hugepageLimits": []}"#),
        ("/process/apparmorProfile", r#""""#),
        ("/process/selinuxLabel", r#""""#),
        ("/linux/netDevices", "{}"),
    ] {
        plan(&example_with(pointer, text));
    }
}

#[test]
fn the_readers_warnings_stay() {
    let mut spec = example();
    assert!(plan(&spec).warnings.is_empty());
    spec.mounts[0].destination = "proc".into();
    let warnings: Vec<_> = plan(&spec).warnings.into_iter().map(|warning| warning.pointer).collect();
    assert_eq!(warnings, ["/mounts/0/destination"]);
}

#[test]
fn device_rules_without_a_cgroup_to_hold_them_are_warned_about() {
    let facts = HostFacts { own_cgroup: false, ..facts() };
    let plan = Plan::new(&example(), &options(), &facts).unwrap();
    let warnings: Vec<_> = plan.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["/linux/resources/devices: ignored without a cgroup of the container's own: no device is denied"]
    );
    assert_eq!(Plan::new(&example(), &options(), &super::facts()).unwrap().warnings, []);
}

#[test]
fn limits_without_a_cgroup_to_hold_them_are_warned_about_and_not_tried() {
    let facts = HostFacts { own_cgroup: false, ..facts() };
    let spec =
        example_with("/linux/resources", r#"{"memory": {"limit": 1}, "cpu": {}, "pids": {"limit": 3}}"#);
    let plan = Plan::new(&spec, &options(), &facts).unwrap();
    let warnings: Vec<_> = plan.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "/linux/resources/memory: ignored without a cgroup of the container's own: nothing is limited",
            "/linux/resources/pids: ignored without a cgroup of the container's own: nothing is limited",
        ]
    );
    assert!(!plan.to_string().contains("limit resources"));
}
