//! A container in a container in a container, each made by the runtime in the one around it.

use std::fs;
use std::path::Path;
use std::process::Command;

use cloison_tests::user::{ID, User};
use cloison_tests::{Bundle, Rootfs, Sandbox, Value, bundle, json, only_for, only_root, runtime};

/// What a runtime needs of the one around it.
const CAPABILITIES: [&str; 15] = [
    "CAP_AUDIT_WRITE",
    "CAP_NET_BIND_SERVICE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
];

/// All verbs on the container below, from within the one above.
const VERBS: &str = "runtime create --bundle /bundle inner && runtime state inner | grep -o '\"status\": *\"created\"' && \
                     runtime exec inner true && runtime start inner && runtime exec inner sh -c 'cat /proc/1/comm; hostname' && \
                     runtime kill inner KILL && runtime delete --force inner && runtime list -q";

/// Lets a container make others: nothing of its `/proc` is covered, which the kernel would show in no other, and its cgroup is its own.
fn outer(mut spec: Value, script: &str, name: &str) -> Value {
    spec["process"]["args"] = json!(["sh", "-c", script]);
    spec["process"]["capabilities"] =
        json!({"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES});
    spec["process"]["noNewPrivileges"] = false.into();
    spec["root"]["readonly"] = false.into();
    spec["hostname"] = name.into();
    let linux = spec["linux"].as_object_mut().unwrap();
    linux["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
    for field in ["maskedPaths", "readonlyPaths"] {
        linux.remove(field);
    }
    for mount in spec["mounts"].as_array_mut().unwrap() {
        let is_cgroup = mount["destination"] == "/sys/fs/cgroup";
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| !(is_cgroup && option == "ro"));
        }
    }
    spec
}

/// With a user namespace in which only root is, as the user `host`.
fn with_user(mut spec: Value, host: u32) -> Value {
    let rows = json!([{"containerID": 0, "hostID": host, "size": 1}]);
    let linux = spec["linux"].as_object_mut().unwrap();
    linux["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    linux.insert("uidMappings".into(), rows.clone());
    linux.insert("gidMappings".into(), rows);
    linux.remove("resources");
    for mount in spec["mounts"].as_array_mut().unwrap() {
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|option| option != "gid=5");
        }
    }
    spec
}

/// A busybox with the runtime, and below `/bundle` another one for each of these specifications.
fn nest(root: &Path, specs: &[Value]) {
    fs::copy(runtime::binary(), root.join("bin/runtime")).unwrap();
    let mut above = root.to_owned();
    for spec in specs {
        let bundle = above.join("bundle");
        fs::create_dir(&bundle).unwrap();
        fs::write(bundle.join("config.json"), spec.to_string()).unwrap();
        let rootfs = bundle.join("rootfs");
        fs::create_dir(&rootfs).unwrap();
        let entries = ["bin", "sbin", "usr", "etc", "proc", "sys", "dev", "run", "tmp", "root"];
        let copied =
            Command::new("cp").arg("-a").args(entries.map(|name| root.join(name))).arg(&rootfs).status();
        assert!(copied.unwrap().success());
        above = rootfs;
    }
}

/// The outermost container, with those of these specifications in it.
fn bundle(sandbox: &Sandbox, spec: Value, inner: Vec<Value>, owner: u32) -> Bundle<'_> {
    let rootfs = Rootfs::busybox().with(move |root| nest(root, &inner)).owned_by(owner, owner);
    let mut bundle = sandbox.bundle(rootfs);
    let env = bundle.spec["process"]["env"].clone();
    bundle.spec = spec;
    bundle.spec["process"]["env"] = env;
    bundle
}

/// The example, with what the leak detector looks for.
fn example(sandbox: &Sandbox) -> Value {
    let mut spec = bundle::default_spec();
    let marker = format!("{}={}", cloison_tests::sandbox::MARKER, sandbox.name());
    spec["process"]["env"].as_array_mut().unwrap().push(marker.into());
    spec
}

fn sleeper(mut spec: Value) -> Value {
    spec["process"]["args"] = json!(["sleep", "1000"]);
    spec["hostname"] = "third".into();
    spec
}

const SEEN: &str = "\"status\": \"created\"\nsleep\nthird\n";

#[test]
fn root_makes_a_container_in_a_container_in_a_container() {
    only_root!("container without a user namespace: those of his are in a test of their own");
    only_for!(Cloison, "others are not linked statically");
    let sandbox = Sandbox::new();
    let spec = |script, name| outer(example(&sandbox), script, name);
    let inner = vec![spec(VERBS, "second"), sleeper(example(&sandbox))];
    let first = "hostname; runtime run --bundle /bundle inner; echo $?";
    let output = bundle(&sandbox, spec(first, "first"), inner, 0).run();
    assert_eq!(output.ok(), format!("first\n{SEEN}0\n"), "{}", output.describe());
}

#[test]
fn an_ordinary_user_makes_a_container_in_a_container_in_a_container() {
    only_for!(Cloison, "others are not linked statically");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    // Each in a user namespace of its own, within that of the one above.
    let spec = |script, name| outer(example(&sandbox), script, name);
    let inner = vec![with_user(spec(VERBS, "second"), 0), with_user(sleeper(example(&sandbox)), 0)];
    let first = "hostname; runtime run --bundle /bundle inner; echo $?";
    let output = user.run(&bundle(&sandbox, with_user(spec(first, "first"), ID), inner, ID));
    assert_eq!(output.ok(), format!("first\n{SEEN}0\n"), "{}", output.describe());
}

#[test]
fn root_of_a_users_container_makes_containers_without_user_namespaces_of_their_own() {
    only_for!(Cloison, "others are not linked statically");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let without = |mut spec: Value| {
        spec["linux"].as_object_mut().unwrap().remove("resources");
        spec["mounts"][2]["options"].as_array_mut().unwrap().retain(|option| option != "gid=5");
        spec
    };
    let spec = |script, name| outer(example(&sandbox), script, name);
    let inner = vec![without(spec(VERBS, "second")), without(sleeper(example(&sandbox)))];
    let first = "hostname; runtime run --bundle /bundle inner; echo $?";
    let output = user.run(&bundle(&sandbox, with_user(spec(first, "first"), ID), inner, ID));
    assert_eq!(output.ok(), format!("first\n{SEEN}0\n"), "{}", output.describe());
}

#[test]
fn a_container_whose_cgroups_are_read_only_has_others_without_cgroups_if_that_is_said() {
    only_root!("container without a user namespace: those of his are in a test of their own");
    only_for!(Cloison, "others are not linked statically");
    let sandbox = Sandbox::new();
    let inner = || {
        let mut spec = outer(example(&sandbox), "echo inner", "second");
        spec["linux"].as_object_mut().unwrap().remove("resources");
        vec![spec]
    };
    let first = |flags: &str| {
        let mut spec =
            outer(example(&sandbox), &format!("runtime {flags} run --bundle /bundle inner"), "first");
        spec["mounts"][6]["options"].as_array_mut().unwrap().push("ro".into());
        assert_eq!(spec["mounts"][6]["destination"], "/sys/fs/cgroup");
        spec
    };
    let output = bundle(&sandbox, first(""), inner(), 0).run();
    output.refused_saying(&["read-only", "unable to apply cgroup configuration", "--rootless=true"]);
    assert_eq!(bundle(&sandbox, first("--rootless=true"), inner(), 0).run().ok(), "inner\n");
}

#[test]
fn a_container_whose_proc_is_covered_is_told_why_it_makes_no_others() {
    only_for!(Cloison, "the words");
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let mut first = with_user(outer(example(&sandbox), "runtime run --bundle /bundle inner", "first"), ID);
    first["linux"]["maskedPaths"] = json!(["/proc/keys"]);
    let inner = vec![with_user(outer(example(&sandbox), "true", "second"), 0)];
    let output = user.run(&bundle(&sandbox, first, inner, ID));
    output.refused_saying(&["\"proc\"", "operation not permitted", "maskedPaths"]);
}
