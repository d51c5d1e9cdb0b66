//! `state`, `list`, `features`, `spec`, `--version`: what programs read.

use std::collections::BTreeSet;
use std::fs;

use cloison_tests::{Sandbox, Value, bundle::default_spec, caller, json, only_for, runtime, skip_unless};

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn state_has_the_keys_and_types_that_engines_read() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper().set("/annotations", json!({"org.example.color": "blue"}));
    let container = bundle.start();
    let state = container.state();
    let expected =
        ["annotations", "bundle", "created", "id", "ociVersion", "owner", "pid", "rootfs", "status"];
    assert_eq!(keys(&state), BTreeSet::from(expected));
    assert_eq!(state["id"], container.id());
    assert_eq!(state["status"], "running");
    assert_eq!(state["bundle"], bundle.dir().to_str().unwrap());
    assert_eq!(state["rootfs"], bundle.rootfs().to_str().unwrap());
    assert_eq!(state["annotations"], json!({"org.example.color": "blue"}));
    assert_eq!(state["owner"], "");
    assert!(state["pid"].as_u64().is_some_and(|pid| pid > 1));
    assert!(is_rfc3339_utc(state["created"].as_str().unwrap()), "{state}");
    container.end();
}

#[test]
fn state_has_no_annotations_when_there_are_none() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().create();
    let state = container.state();
    assert!(state.get("annotations").is_none(), "{state}");
    container.delete_force().ok();
}

#[test]
fn state_of_a_stopped_container_has_pid_0() {
    let sandbox = Sandbox::new();
    let container = sandbox.busybox("true").create();
    let pid = container.pid();
    container.start().ok();
    sandbox.wait_for_orphan(pid);
    let state = container.state();
    assert_eq!((&state["status"], &state["pid"]), (&json!("stopped"), &json!(0)));
    container.delete().ok();
}

#[test]
fn a_zombie_counts_as_stopped() {
    let sandbox = Sandbox::new();
    let container = sandbox.busybox("true").create();
    let pid = container.pid();
    container.start().ok();
    container.until("stopped");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(stat.contains(") Z "), "nobody has reaped it: {stat}");
    container.delete().ok();
    sandbox.wait_for_orphan(pid);
}

#[test]
fn state_is_printed_as_runc_prints_it() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let text = container.try_state().ok().to_owned();
    assert!(text.starts_with("{\n  \"ociVersion\": \""), "two spaces, this key first: {text}");
    let order: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix('"')?.split('"').next()).collect();
    assert_eq!(order, ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner"]);
    container.end();
}

#[test]
fn commands_that_are_read_print_nothing_on_standard_error() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    for arguments in
        [&["--version"][..], &["features"], &["state", container.id()], &["list"], &["list", "-f", "json"]]
    {
        let output = sandbox.cloison(arguments);
        output.ok();
        assert_eq!(output.stderr, "", "{}", output.describe());
        assert_ne!(output.stdout, "", "{}", output.describe());
    }
    container.end();
}

#[test]
fn list_prints_a_table() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let output = sandbox.cloison(["list"]);
    let mut lines = output.ok().lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(lines.next().unwrap(), ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let row = lines.next().unwrap();
    assert_eq!(row[0], container.id());
    assert_eq!(row[1], container.pid().to_string());
    assert_eq!(row[2], "running");
    assert_eq!(row[5], caller::name());
    assert_eq!(lines.next(), None);
    container.end();
}

#[test]
fn list_as_json_agrees_with_state_and_fills_the_owner() {
    let sandbox = Sandbox::new();
    let first = sandbox.sleeper().start();
    let second = sandbox.sleeper().create();
    for flags in [&["list", "-f", "json"][..], &["list", "--format", "json"], &["list", "--format=json"]] {
        let list = sandbox.cloison(flags).json();
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), 2);
        for container in [&first, &second] {
            let mut expected = container.state();
            expected["owner"] = caller::name().into();
            assert!(list.contains(&expected), "{expected} in {list:?}");
        }
    }
    first.end();
    second.delete_force().ok();
}

#[test]
fn list_quiet_prints_ids_only() {
    let sandbox = Sandbox::new();
    let first = sandbox.sleeper().create();
    let second = sandbox.sleeper().create();
    for flag in ["-q", "--quiet"] {
        let output = sandbox.cloison(["list", flag]);
        let listed: BTreeSet<&str> = output.ok().lines().collect();
        assert_eq!(listed, BTreeSet::from([first.id(), second.id()]));
    }
    first.delete_force().ok();
    second.delete_force().ok();
}

#[test]
fn list_without_containers_is_an_empty_table_and_null_in_json() {
    let sandbox = Sandbox::new();
    sandbox.directory("state");
    assert_eq!(sandbox.cloison(["list"]).ok().lines().count(), 1);
    assert_eq!(sandbox.cloison(["list", "-q"]).ok(), "");
    let list = sandbox.cloison(["list", "-f", "json"]).json();
    assert!(list.is_null() || list == json!([]), "{list}");
}

#[test]
fn list_shows_a_container_whose_process_is_gone_as_stopped() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let pid = container.pid();
    container.kill(&["KILL"]).ok();
    sandbox.wait_for_orphan(pid);
    let list = sandbox.cloison(["list", "-f", "json"]).json();
    assert_eq!((&list[0]["status"], &list[0]["pid"]), (&json!("stopped"), &json!(0)));
    container.delete().ok();
}

#[test]
fn list_goes_on_past_a_directory_that_is_no_container() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().create();
    let stray = sandbox.root().join("stray");
    fs::create_dir(&stray).unwrap();
    fs::write(sandbox.root().join("file"), "").unwrap();
    let output = sandbox.cloison(["list", "-q"]);
    assert_eq!(
        output.ok().lines().filter(|line| *line == container.id()).count(),
        1,
        "{}",
        output.describe()
    );
    fs::remove_dir(stray).unwrap();
    fs::remove_file(sandbox.root().join("file")).unwrap();
    container.delete_force().ok();
}

#[test]
fn an_unknown_list_format_is_refused() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.cloison(["list", "-f", "yaml"]).code(), 1);
}

#[test]
fn version_begins_as_engines_expect() {
    let sandbox = Sandbox::new();
    for flag in ["--version", "-v"] {
        let output = sandbox.cloison([flag]);
        let lines: Vec<&str> = output.ok().lines().collect();
        // Engines take the fields from these prefixes; the name is the binary's own.
        let name = if runtime::kind() == runtime::Kind::Cloison { "cloison" } else { "runc" };
        assert!(lines[0].starts_with(&format!("{name} version ")), "{}", output.describe());
        assert!(lines.iter().any(|line| line.starts_with("commit: ")), "{}", output.describe());
        assert!(lines.iter().any(|line| line.starts_with("spec: ")), "{}", output.describe());
    }
}

#[test]
fn help_is_printed_and_is_no_error() {
    let sandbox = Sandbox::new();
    for arguments in
        [&["--help"][..], &["-h"], &["create", "--help"], &["list", "--help"], &["kill", "--help"]]
    {
        let output = sandbox.cloison(arguments);
        assert!(output.ok().to_lowercase().contains("usage"), "{}", output.describe());
    }
}

#[test]
fn features_has_every_key_that_runc_has() {
    let runc = runtime::reference_runc();
    skip_unless!(runc.is_some(), "needs runc to compare with");
    only_for!(Cloison, "runc agrees with itself");
    let sandbox = Sandbox::new();
    let mut command = sandbox.bare_command(runc.unwrap());
    command.arg("features");
    let theirs = sandbox.finish(command).json();
    let ours = sandbox.cloison(["features"]).json();
    let mut missing = Vec::new();
    compare("", &theirs, &ours, &mut missing);
    // What is not built yet is not advertised, and the versions are our own. The kernel ignores `acl` and `noacl`.
    missing.retain(|pointer| {
        ![
            "/hooks",
            "/linux/seccomp",
            "/linux/apparmor",
            "/linux/selinux",
            "/linux/cgroup/systemd",
            "/annotations",
            "/ociVersion",
            "/mountOptions: \"acl\"",
            "/mountOptions: \"noacl\"",
        ]
        .iter()
        .any(|known| pointer.starts_with(known))
    });
    assert_eq!(missing, [""; 0], "in runc's features and not in ours");
}

/// Collects the pointers of keys, types and list members that are in one value and not in the other.
fn compare(pointer: &str, theirs: &Value, ours: &Value, missing: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, value) in theirs {
                let pointer = format!("{pointer}/{key}");
                match ours.get(key) {
                    Some(other) => compare(&pointer, value, other, missing),
                    None => missing.push(pointer),
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            missing.extend(
                theirs.iter().filter(|item| !ours.contains(item)).map(|item| format!("{pointer}: {item}")),
            );
        }
        (theirs, ours) if theirs == ours => {}
        (theirs, ours) => missing.push(format!("{pointer}: {theirs}, not {ours}")),
    }
}

#[test]
fn features_names_hooks_options_namespaces_and_versions() {
    let sandbox = Sandbox::new();
    let features = sandbox.cloison(["features"]).json();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert!(features["ociVersionMax"].as_str().is_some_and(|version| version.starts_with("1.")));
    // Only those that are run: a configuration with others is refused.
    let hooks = features["hooks"].as_array().unwrap();
    if runtime::kind() == runtime::Kind::Runc {
        assert!(hooks.contains(&json!("prestart")) && hooks.contains(&json!("poststop")), "{hooks:?}");
    } else {
        let bundle = sandbox.busybox("true").set("/hooks", json!({"prestart": [{"path": "/bin/true"}]}));
        assert_eq!(bundle.run().status.success(), hooks.contains(&json!("prestart")), "{hooks:?}");
    }
    for option in ["ro", "rro", "bind", "rbind", "rprivate", "tmpcopyup", "rnosuid", "nosymfollow"] {
        assert!(features["mountOptions"].as_array().unwrap().contains(&json!(option)), "{option}");
    }
    for namespace in ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"] {
        assert!(
            features["linux"]["namespaces"].as_array().unwrap().contains(&json!(namespace)),
            "{namespace}"
        );
    }
}

#[test]
fn spec_writes_a_configuration_that_runs() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true");
    sandbox.cloison(["spec", "--bundle", bundle.dir().to_str().unwrap()]).ok();
    let config = bundle.dir().join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    assert_eq!(spec["process"]["terminal"], json!(true));
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["echo", "it runs"]);
    bundle.write_raw(spec.to_string());
    assert_eq!(bundle.run_raw().ok(), "it runs\n");
}

#[test]
fn spec_never_overwrites() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true");
    bundle.write_raw("mine");
    let output = sandbox.cloison(["spec", "--bundle", bundle.dir().to_str().unwrap()]);
    output.refused_saying(&["config.json", "exist"]);
    assert_eq!(fs::read_to_string(bundle.dir().join("config.json")).unwrap(), "mine");
}

#[test]
fn spec_goes_to_the_current_directory_by_default() {
    let sandbox = Sandbox::new();
    let dir = sandbox.directory("bundle");
    let mut command = sandbox.command(["spec"]);
    command.current_dir(&dir);
    sandbox.finish(command).ok();
    assert!(dir.join("config.json").is_file());
}

#[test]
fn the_default_specification_is_what_the_harness_starts_from() {
    let sandbox = Sandbox::new();
    let dir = sandbox.directory("bundle");
    sandbox.cloison(["spec", "--bundle", dir.to_str().unwrap()]).ok();
    let written: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
    let mut expected = default_spec();
    expected["process"]["terminal"] = json!(true);
    for (pointer, why) in
        [("/ociVersion", "each runtime writes its own"), ("/hostname", "runc writes its own name")]
    {
        assert!(written.pointer(pointer).is_some_and(Value::is_string), "{why}");
        *expected.pointer_mut(pointer).unwrap() = written.pointer(pointer).unwrap().clone();
    }
    // Later releases have a cgroup namespace too, and drop the ambient capabilities and the masks of old kernels.
    for pointer in ["/process/user", "/process/env", "/process/cwd", "/process/rlimits", "/root", "/mounts"] {
        assert_eq!(written.pointer(pointer), expected.pointer(pointer), "{pointer}");
    }
    assert_eq!(keys(&written), keys(&expected));
    assert_eq!(keys(&written["process"]), keys(&expected["process"]));
    assert_eq!(keys(&written["linux"]), keys(&expected["linux"]));
}

#[test]
fn a_rootless_specification_maps_the_caller() {
    let sandbox = Sandbox::new();
    let dir = sandbox.directory("bundle");
    sandbox.cloison(["spec", "--rootless", "--bundle", dir.to_str().unwrap()]).ok();
    let spec: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
    let own = json!([{"containerID": 0, "hostID": caller::ordinary().unwrap_or(0), "size": 1}]);
    assert_eq!((&spec["linux"]["uidMappings"], &spec["linux"]["gidMappings"]), (&own, &own));
    let namespaces = spec["linux"]["namespaces"].as_array().unwrap();
    assert!(namespaces.contains(&json!({"type": "user"})), "{namespaces:?}");
    assert!(!namespaces.contains(&json!({"type": "network"})), "{namespaces:?}");
    assert!(spec["linux"].get("resources").is_none(), "an ordinary user cannot limit anything");
}

fn is_rfc3339_utc(text: &str) -> bool {
    let (date, time) = text.split_once('T').unwrap_or_default();
    date.len() == 10
        && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
        && time.ends_with('Z')
        && time.len() >= 9
        && time[..8].bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
}
