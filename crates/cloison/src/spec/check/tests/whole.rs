//! The rules of the whole document.

use serde_json::{Value, json};

use crate::spec::{Process, Resources, Spec};

use super::{accepts, least, namespaces, problems, refuses, with, with_all};

#[test]
fn the_least_spec_is_accepted() {
    accepts(&least());
}

#[test]
fn versions_of_major_one_are_accepted_and_others_not() {
    for version in [
        "1.0.0",
        "1.0.2-dev",
        "1.1.0+dev",
        "1.2.1",
        "1.3.0",
        "1.3.9",
        "1.4.0",
        "1.0.0-rc5",
        "1.0.0-rc.10-x.0+001.-",
        "1.0.0+a-b",
        "1.10.20",
        "1.0.99999999999999999999",
    ] {
        accepts(&with("/ociVersion", json!(version)));
    }
    for version in [
        "0.9.0",
        "2.0.0",
        "1",
        "1.0",
        "1.0.0.0",
        "1.x.0",
        "v1.0.0",
        "1..0",
        "1.0.-1",
        "01.0.0",
        "1.02.0",
        "1.0.00",
        "1.0.0-",
        "1.0.0+",
        "1.0.0-a b",
        "1.0.0-a..b",
        "1.0.0-01",
        "1.0.0+a+b",
        "1.0.0-\u{e4}",
    ] {
        refuses(
            &with("/ociVersion", json!(version)),
            "/ociVersion",
            "expected a version from 1.0.0 to 1.3.x",
        );
    }
    refuses(&with("/ociVersion", Value::Null), "/ociVersion", "missing");
}

#[test]
fn root_must_be_there_with_a_path() {
    accepts(&with("/root", json!({"path": "/abs", "readonly": true})));
    refuses(&with("/root", Value::Null), "/root", "root must be specified");
    refuses(&with("/root", json!({"readonly": true})), "/root/path", "missing");
}

#[test]
fn process_must_be_there() {
    refuses(&with("/process", Value::Null), "/process", "process property must not be empty");
    refuses(&with("/process", json!({})), "/process", "process property must not be empty");
}

/// Numbers that are missing are 0, as Go reads them, where 0 means something.
#[test]
fn what_the_specification_requires_is_missed() {
    let namespaces = json!([{"type": "mount"}, {"type": "user"}]);
    let maps = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let whole = with_all([
        ("/mounts", json!([{"destination": "/proc", "type": "proc"}])),
        ("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}])),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 1})),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 1})),
        ("/hooks", json!({"poststop": [{"path": "/bin/true"}]})),
        ("/linux/namespaces", namespaces),
        ("/linux/uidMappings", maps.clone()),
        ("/linux/gidMappings", maps),
        ("/linux/devices", json!([{"path": "/dev/x", "type": "p"}])),
        ("/linux/resources", json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]})),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"})),
        ("/linux/personality", json!({"domain": "LINUX"})),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}),
        ),
    ]);
    accepts(&whole);
    for pointer in [
        "/ociVersion",
        "/root",
        "/mounts/0/destination",
        "/process",
        "/process/cwd",
        "/process/args",
        "/process/rlimits/0/type",
        "/process/scheduler/policy",
        "/process/ioPriority/class",
        "/hooks/poststop/0/path",
        "/linux/namespaces/0/type",
        "/linux/uidMappings/0/size",
        "/linux/devices/0/type",
        "/linux/resources/hugepageLimits/0/pageSize",
        "/linux/memoryPolicy/mode",
        "/linux/personality/domain",
        "/linux/seccomp/defaultAction",
        "/linux/seccomp/syscalls/0/action",
        "/linux/seccomp/syscalls/0/args/0/op",
    ] {
        let mut spec = whole.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).and_then(Value::as_object_mut).unwrap().remove(key).unwrap();
        let problems = problems(&spec);
        assert!(problems.iter().any(|(place, _)| place == pointer), "{pointer}: {problems:?}");
    }
}

#[test]
fn host_and_domain_name_need_a_uts_namespace_and_fit_in_64_bytes() {
    for (at, title) in [("/hostname", "hostname"), ("/domainname", "domainname")] {
        let uts = ("/linux/namespaces", namespaces(&["uts"]));
        accepts(&with_all([(at, json!("x".repeat(64))), uts.clone()]));
        accepts(&with(at, json!("")));
        refuses(&with(at, json!("x")), at, &format!("unable to set {title} without a private UTS namespace"));
        refuses(&with_all([(at, json!("x".repeat(65))), uts]), at, "65 bytes long, at most 64");
    }
}

#[test]
fn a_nul_is_refused_in_every_text_of_the_kernel_and_in_no_other() {
    for (pointer, value, place) in [
        ("/process/args", json!(["a", "b\0c"]), "/process/args/1"),
        ("/process/env", json!(["A=\0"]), "/process/env/0"),
        ("/root/path", json!("root\0fs"), "/root/path"),
        ("/mounts", json!([{"destination": "/a\0", "type": "proc"}]), "/mounts/0/destination"),
        ("/linux/resources", json!({"unified": {"a.\0": "1"}}), "/linux/resources/unified/a.\0"),
    ] {
        refuses(&with(pointer, value), place, "NUL character");
    }
    accepts(&with("/annotations", json!({"note": "a\0b", "k\0": ""})));
    accepts(&with("/windows", json!({"x": "a\0b"})));
    accepts(&with("/unknown", json!("\0")));
    accepts(&with("/process/args", json!(["a\\u0000"])));
}

#[test]
fn a_spec_that_was_put_together_is_checked_too() {
    let mut spec = Spec::from_slice(least().to_string().as_bytes()).unwrap();
    assert_eq!(spec.check(), []);
    spec.process.args = vec!["a\0b".to_owned()];
    spec.process.cwd = "x".to_owned();
    let pointers: Vec<String> = spec.check().into_iter().map(|problem| problem.pointer).collect();
    assert_eq!(pointers, ["/process/cwd", "/process/args/0"]);
}

#[test]
fn a_process_alone_has_the_same_rules_with_shorter_pointers() {
    let path = std::path::Path::new("process.json");
    assert!(Process::parse(br#"{"args": ["sh"], "cwd": "/"}"#, path).is_ok());
    let error = Process::parse(br#"{"args": [1], "cwd": "x"}"#, path).unwrap_err();
    assert_eq!(
        error.to_string(),
        "process.json has 2 problems:\n/args/0: found 1, expected a string\n/cwd: Cwd must be an absolute path, \
         not \"x\""
    );
}

#[test]
fn resources_alone_have_the_same_rules_with_shorter_pointers() {
    let path = std::path::Path::new("-");
    assert!(Resources::parse(br#"{"memory": {"limit": 5}}"#, path).is_ok());
    let error = Resources::parse(br#"{"memory": {"swappiness": 101}}"#, path).unwrap_err();
    assert_eq!(error.to_string(), "-: /memory/swappiness: found 101, expected a whole number from 0 to 100");
}
