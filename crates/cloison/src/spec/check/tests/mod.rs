//! Each rule with something that keeps it and something that breaks it.

mod linux;
mod mounts;
mod namespaces;
mod process;
mod whole;

use serde_json::{Value, json};

use crate::spec::{Spec, SpecError};

/// The least that passes.
fn least() -> Value {
    json!({"ociVersion": "1.3.0", "process": {"args": ["sh"], "cwd": "/"}, "root": {"path": "rootfs"}})
}

/// The least spec with one place changed; `null` takes it out.
fn with(pointer: &str, value: Value) -> Value {
    with_all([(pointer, value)])
}

/// Mounts, and a root that is not as it lies there, come with the mount namespace that they need, unless the namespaces are told.
fn with_all<const N: usize>(changes: [(&str, Value); N]) -> Value {
    let mut spec = least();
    if changes.iter().any(|(pointer, _)| ["/mounts", "/root"].contains(pointer)) {
        spec["linux"] = json!({"namespaces": [{"type": "mount"}]});
    }
    for (pointer, value) in changes {
        let (parents, last) = pointer.rsplit_once('/').unwrap();
        let parent = parents.split('/').skip(1).fold(&mut spec, |place, key| {
            let object = place.as_object_mut().unwrap();
            object.entry(key).or_insert_with(|| json!({}))
        });
        parent[last] = value;
    }
    spec
}

fn problems(spec: &Value) -> Vec<(String, String)> {
    match Spec::from_slice(spec.to_string().as_bytes()) {
        Ok(_) => Vec::new(),
        Err(SpecError::Invalid { problems, .. }) => {
            problems.into_iter().map(|problem| (problem.pointer, problem.message)).collect()
        }
        Err(other) => panic!("{other}"),
    }
}

#[track_caller]
fn accepts(spec: &Value) {
    assert_eq!(problems(spec), [], "{spec}");
}

/// Expects exactly one problem, at this place and with this text.
#[track_caller]
fn refuses(spec: &Value, pointer: &str, text: &str) {
    let problems = problems(spec);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].0, pointer, "{problems:?}");
    assert!(problems[0].1.contains(text), "{problems:?}");
}

fn namespaces(kinds: &[&str]) -> Value {
    kinds.iter().map(|kind| json!({"type": kind})).collect()
}

fn user_namespace(uid: &Value, gid: &Value) -> Value {
    with(
        "/linux",
        json!({"namespaces": [{"type": "user"}, {"type": "mount"}], "uidMappings": uid, "gidMappings": gid}),
    )
}

fn row(container: u32, host: u32, size: u32) -> Value {
    json!({"containerID": container, "hostID": host, "size": size})
}
