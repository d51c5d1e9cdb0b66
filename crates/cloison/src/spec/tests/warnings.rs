//! What is ignored is said.

use serde_json::{Value, json};

use crate::spec::Spec;

fn warnings(spec: &Value) -> Vec<String> {
    let mut whole = json!({
        "ociVersion": "1.3.0", "process": {"args": ["sh"], "cwd": "/"}, "root": {"path": "r"},
        "linux": {"namespaces": [{"type": "mount"}]},
    });
    for (key, value) in spec.as_object().unwrap() {
        match (&mut whole[key.as_str()], value) {
            (Value::Object(fields), Value::Object(more)) => fields.extend(more.clone()),
            (place, value) => *place = value.clone(),
        }
    }
    let spec = Spec::from_slice(whole.to_string().as_bytes()).unwrap();
    spec.warnings().into_iter().map(|warning| warning.to_string()).collect()
}

#[test]
fn an_ordinary_spec_gives_no_warning() {
    assert_eq!(warnings(&json!({})), [""; 0]);
    assert_eq!(
        warnings(&json!({"hooks": {"createRuntime": [{"path": "/x"}]}, "annotations": {"a": ""}})),
        [""; 0]
    );
}

#[test]
fn each_ignored_or_outdated_field_is_named() {
    for (spec, expected) in [
        (json!({"ociVersion": "1.4.0"}), "/ociVersion: 1.4.0 is newer than 1.3"),
        (
            json!({"process": {"consoleSize": {"height": 1, "width": 1}}}),
            "/process/consoleSize: ignored without",
        ),
        (
            json!({"process": {"terminal": true, "consoleSize": {"height": 65536, "width": 1}}}),
            "/process/consoleSize: a terminal has at most",
        ),
        (json!({"process": {"commandLine": "x"}}), "/process/commandLine: ignored"),
        (json!({"process": {"user": {"username": "x"}}}), "/process/user/username: ignored"),
        (json!({"process": {"user": {"umask": 512}}}), "/process/user/umask: only the permission bits"),
        (
            json!({"process": {"capabilities": {"bounding": ["CAP_KILL", "CAP_X"], "effective": ["CAP_X"]}}}),
            "/process/capabilities/bounding/1: ignored, \"CAP_X\"",
        ),
        (
            json!({"mounts": [{"destination": "a", "type": "proc"}]}),
            "/mounts/0/destination: relative path \"a\"",
        ),
        (
            json!({"mounts": [{"destination": "/a", "source": "/b", "options": ["bind"],
                "uidMappings": [{"size": 1}], "gidMappings": [{"size": 1}]}]}),
            "/mounts/0/options: mappings should come with the option idmap",
        ),
        (json!({"hooks": {"prestart": [{"path": "/x"}]}}), "/hooks/prestart: deprecated"),
        (json!({"annotations": {"": "x"}}), "/annotations/: an annotation without a name"),
        (json!({"solaris": {}}), "/solaris: ignored"),
        (json!({"windows": {}}), "/windows: ignored"),
        (json!({"vm": {}}), "/vm: ignored"),
        (json!({"zos": {}}), "/zos: ignored"),
        (json!({"freebsd": {}}), "/freebsd: ignored"),
        (
            json!({"linux": {"namespaces": [{"type": "user", "path": "/x"}], "uidMappings": [{"size": 1}]}}),
            "/linux/uidMappings: the user namespace that is joined has mappings already",
        ),
        (
            json!({"linux": {"namespaces": [{"type": "mount"}], "maskedPaths": ["/a", "b"]}}),
            "/linux/maskedPaths/1: relative path \"b\"",
        ),
        (json!({"linux": {"devices": [{"type": "c", "major": 1}]}}), "/linux/devices/0/path: missing"),
        (
            json!({"linux": {"devices": [{"path": "dev/x", "type": "p"}]}}),
            "/linux/devices/0/path: relative path \"dev/x\"",
        ),
        (
            json!({"linux": {"devices": [{"path": "/dev/x", "type": "c"}]}}),
            "/linux/devices/0: the device 0:0",
        ),
        (
            json!({"linux": {"personality": {"domain": "LINUX", "flags": ["X"]}}}),
            "/linux/personality/flags: ignored",
        ),
        (
            json!({"linux": {"resources": {"memory": {"kernel": 1}}}}),
            "/linux/resources/memory/kernel: ignored",
        ),
        (
            json!({"linux": {"resources": {"memory": {"kernelTCP": 1}}}}),
            "/linux/resources/memory/kernelTCP: ignored",
        ),
        (
            json!({"linux": {"resources": {"memory": {"useHierarchy": false}}}}),
            "/linux/resources/memory/useHierarchy: ignored",
        ),
        (
            json!({"linux": {"resources": {"devices": [{"access": "rwa"}]}}}),
            "/linux/resources/devices/0/access: \"a\" is ignored, it is none of r, w and m",
        ),
        (
            json!({"linux": {"resources": {"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}}}}),
            "/linux/resources/blockIO/weightDevice/0: weighs nothing",
        ),
        (
            json!({"linux": {"resources": {"rdma": {"a/b": {}}}}}),
            "/linux/resources/rdma/a~1b: limits nothing",
        ),
        (
            json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_LOG", "listenerMetadata": "x"}}}),
            "/linux/seccomp/listenerMetadata: ignored without listenerPath",
        ),
        (
            json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"action": "SCMP_ACT_LOG"}]}}}),
            "/linux/seccomp/syscalls/0/names: a rule about no system call",
        ),
    ] {
        let warnings = warnings(&spec);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with(expected), "{warnings:?}");
    }
}

#[test]
fn an_ambient_capability_has_to_be_permitted_and_inheritable() {
    let sets = json!({"permitted": ["CAP_KILL", "CAP_CHOWN"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL", "CAP_CHOWN"]});
    assert_eq!(
        warnings(&json!({"process": {"capabilities": sets}})),
        [
            "/process/capabilities/ambient/1: can't raise ambient capability CAP_CHOWN: it is not both permitted and inheritable"
        ]
    );
}
