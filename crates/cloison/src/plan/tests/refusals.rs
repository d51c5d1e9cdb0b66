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

const REFUSED: [(&str, &str, &str); 1] = [("/linux/intelRdt", r#"{"closID": "a"}"#, "Intel RDT is")];

#[test]
fn what_is_not_built_yet_is_refused_by_its_name_alone() {
    for (pointer, text, what) in REFUSED {
        let problems = Plan::new(&example_with(pointer, text), &options(), &facts()).unwrap_err();
        let [problem] = &problems[..] else { panic!("{pointer}: {problems:?}") };
        assert_eq!(problem.pointer, pointer);
        assert_eq!(problem.message, format!("{what} not supported by this version of cloison"));
    }
}

#[test]
fn all_that_is_refused_is_told_at_once() {
    let whole: Spec = serde_json::from_str(include_str!("../../spec/tests/fixtures/whole.json")).unwrap();
    let problems = Plan::new(&whole, &options(), &facts()).unwrap_err();
    for (pointer, ..) in REFUSED {
        assert_eq!(problems.iter().filter(|problem| problem.pointer == pointer).count(), 1, "{pointer}");
    }
    let others = problems.iter().filter(|problem| problem.pointer.starts_with("/linux/seccomp"));
    assert_eq!(others.count(), 1, "a flag that needs a listener");
    assert_eq!(problems.len(), REFUSED.len() + 1 + 3, "labels, which this machine does not have");
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
