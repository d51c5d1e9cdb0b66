//! What `features` says is what the runtime does (features.md and features-linux.md of runtime-spec): each claim is tried on this kernel.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cloison_linux::seccomp::{Answer, Notification};
use cloison_tests::{Agent, Sandbox, Value, caller, host, json, only_for, runc_lacks, skip_unless};

fn features(sandbox: &Sandbox) -> Value {
    sandbox.cloison(["features"]).json()
}

/// The list of texts at a place.
fn list(features: &Value, pointer: &str) -> Vec<String> {
    let list = features.pointer(pointer).and_then(Value::as_array);
    let list = list.unwrap_or_else(|| panic!("{pointer} is a list: {features}"));
    list.iter().map(|name| name.as_str().expect("texts").to_owned()).collect()
}

fn is(features: &Value, pointer: &str) -> bool {
    features.pointer(pointer).and_then(Value::as_bool).unwrap_or_else(|| panic!("{pointer}: {features}"))
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

#[test]
fn the_document_is_of_the_form_of_the_specification() {
    let sandbox = Sandbox::new();
    let features = features(&sandbox);
    assert!(!has_null(&features), "what is unknown is left out: {features}");
    let annotations = features["annotations"].as_object().expect("a map");
    for (key, value) in annotations {
        assert!(!key.is_empty() && value.is_string(), "{key}: {value}");
    }
    let expected: BTreeSet<&str> = [
        "annotations",
        "hooks",
        "linux",
        "mountOptions",
        "ociVersionMax",
        "ociVersionMin",
        "potentiallyUnsafeConfigAnnotations",
    ]
    .into();
    let keys: BTreeSet<&str> = features.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(keys.is_subset(&expected), "{keys:?}");
    assert_eq!(sandbox.cloison(["features"]).json(), features, "it says the same each time");
}

#[test]
fn both_versions_run() {
    let sandbox = Sandbox::new();
    let features = features(&sandbox);
    let versions = ["ociVersionMin", "ociVersionMax"].map(|key| features[key].as_str().unwrap().to_owned());
    let numbers = versions.clone().map(|version| {
        let core = version.split(['-', '+']).next().unwrap().to_owned();
        core.split('.').map(|part| part.parse::<u32>().unwrap()).collect::<Vec<_>>()
    });
    assert!(numbers[0] <= numbers[1], "{versions:?}");
    for version in versions {
        sandbox.busybox("true").set("/ociVersion", version).run().ok();
    }
}

#[test]
fn each_hook_is_run() {
    let sandbox = Sandbox::new();
    let notes = sandbox.directory("notes");
    let mut bundle = sandbox.busybox("true").mount("bind", &notes, "/notes", &["bind", "rw"]);
    let names = list(&features(&sandbox), "/hooks");
    assert!(names.len() >= 6, "{names:?}");
    for name in &names {
        let notes = if name == "startContainer" { "/notes".into() } else { notes.display().to_string() };
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", format!(": > {notes}/{name}")]});
        bundle = bundle.set(&format!("/hooks/{name}"), json!([hook]));
    }
    bundle.run().ok();
    for name in names {
        assert!(notes.join(&name).exists(), "{name}");
    }
}

/// The options of the table in config.md, "Linux mount options".
const OPTIONS: &str = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud noatime nodev nodiratime noexec \
    noiversion nolazytime norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime remount rexec rnoatime \
    rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid \
    rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable";

#[test]
fn each_mount_option_is_known_and_no_other() {
    only_for!(Cloison, "the claims of others are theirs");
    let sandbox = Sandbox::new();
    let names = list(&features(&sandbox), "/mountOptions");
    for name in OPTIONS.split_whitespace() {
        assert!(names.iter().any(|one| one == name), "runtime-spec has {name}");
    }
    let volume = sandbox.directory("volume");
    let mut bundle = sandbox.busybox("echo fine").writable();
    for name in &names {
        let (bound, new) = (format!("/m/bound-{name}"), format!("/m/new-{name}"));
        if name != "tmpcopyup" {
            let mut options = vec!["rbind"];
            if name == "remount" {
                bundle = bundle.mount("bind", &volume, &bound, &["rbind"]);
            }
            if !name.ends_with("bind") || name == "unbindable" || name == "runbindable" {
                options.push(name);
            }
            // An ordinary user may not change when the host's mounts note that files were read.
            if caller::ordinary().is_none() || !name.contains("atime") {
                bundle = bundle.mount("bind", &volume, &bound, &options);
            }
        }
        let may = name != "mand" || caller::may_have_mandatory_locks();
        if may && !["bind", "rbind", "remount"].contains(&name.as_str()) {
            bundle = bundle.mount("tmpfs", "tmpfs", &new, &[name]);
        }
    }
    assert_eq!(bundle.run().ok(), "fine\n");
    // What is not listed is the file system's: tmpfs refuses it by its name, and bind mounts have no such options.
    for unknown in ["no-such-option", "idmap=uids=0-1-10", "size"] {
        assert!(!names.iter().any(|name| name == unknown), "{unknown}");
        let output = sandbox.busybox("true").mount("tmpfs", "tmpfs", "/m", &[unknown]).run();
        assert_eq!(output.code(), 1, "{}", output.describe());
        let output = sandbox.busybox("true").mount("bind", &volume, "/m", &["bind", unknown]).run();
        output.refused_saying(&["filesystem-specific", unknown]);
    }
    sandbox.busybox("true").mount("tmpfs", "tmpfs", "/m", &["size=64k"]).run().ok();
}

#[test]
fn each_namespace_is_made() {
    runc_lacks!("1.2: time namespaces");
    let sandbox = Sandbox::new();
    let names = list(&features(&sandbox), "/linux/namespaces");
    assert_eq!(names, ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]);
    for name in names {
        let file = match name.as_str() {
            "mount" => "mnt",
            "network" => "net",
            other => other,
        };
        if !host::has_namespace(file) {
            continue;
        }
        let bundle = sandbox.busybox(&format!("readlink /proc/self/ns/{file}"));
        let bundle = match name.as_str() {
            "user" => bundle.user_namespace(100_000),
            "cgroup" | "time" => bundle.namespace(&name, None),
            // The others are there from the beginning.
            _ => bundle,
        };
        let there = bundle.spec["linux"]["namespaces"].as_array().unwrap();
        assert!(there.iter().any(|namespace| namespace["type"] == *name), "{name}");
        let of_host = fs::read_link(format!("/proc/self/ns/{file}")).unwrap();
        let output = bundle.run();
        assert!(output.ok().starts_with(&format!("{file}:[")), "{name}: {}", output.describe());
        assert_ne!(output.line(), of_host.to_str().unwrap(), "{name}");
    }
    sandbox.busybox("true").namespace("nothing", None).run().refused_saying(&["nothing"]);
}

#[test]
fn capabilities_are_those_that_are_known() {
    let sandbox = Sandbox::new();
    let names = list(&features(&sandbox), "/linux/capabilities");
    let last: usize = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
    assert!(last < names.len(), "this kernel has capabilities that are not listed: {last}");
    // An unknown one is told of; those of which the caller has none would be refused.
    let can = |number: usize| host::has_capability(u32::try_from(number).unwrap());
    let given: Vec<&str> =
        names.iter().enumerate().filter(|(number, _)| can(*number)).map(|(_, name)| name.as_str()).collect();
    let output = sandbox.busybox("true").capabilities(&given).run();
    output.ok();
    assert_eq!(output.stderr, "");
}

#[test]
fn cgroups_of_this_machine_are_among_those_that_are_supported() {
    only_for!(Cloison, "the claims of others are theirs");
    let sandbox = Sandbox::new();
    let features = features(&sandbox);
    for (kind, at) in [("cgroup", "/linux/cgroup/v1"), ("cgroup2", "/linux/cgroup/v2")] {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let is_here = mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind));
        assert!(is(&features, at) || !is_here, "{at}");
    }
    let container = sandbox.sleeper().start();
    let table = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    container.end();
    assert!(table.contains(sandbox.name()), "the container has a cgroup of its own: {table}");
    // Without systemd, and without a user's, it is systemd that is missed.
    assert!(
        is(&features, "/linux/cgroup/systemd") && is(&features, "/linux/cgroup/systemdUser"),
        "{features}"
    );
    let bundle = sandbox.busybox("true");
    bundle.write();
    let mut command = sandbox.bare_command(cloison_tests::runtime::binary());
    command.arg("--root").arg(sandbox.root()).args(["--systemd-cgroup", "run", "--bundle"]);
    command.arg(bundle.dir()).arg(sandbox.new_id());
    let output = sandbox.finish(command);
    if host::has_systemd() {
        output.ok();
    } else {
        output.refused_saying(&["systemd"]);
    }
}

/// What is claimed, a place in the configuration with a value, and a word of the answer where this machine lacks what it takes.
const SWITCHES: &[(&str, &str, &str, &str)] = &[
    ("/linux/apparmor/enabled", "/process/apparmorProfile", r#""no-such-profile""#, "apparmor"),
    ("/linux/selinux/enabled", "/process/selinuxLabel", r#""a:b:c:s0""#, "selinux"),
    ("/linux/intelRdt/enabled", "/linux/intelRdt", r#"{"closID": "no-such-class"}"#, "intelRdt"),
    ("/linux/intelRdt/schemata", "/linux/intelRdt", r#"{"schemata": ["L9:0=f"]}"#, "intelRdt"),
    ("/linux/intelRdt/monitoring", "/linux/intelRdt", r#"{"enableMonitoring": true}"#, "intelRdt"),
    ("/linux/netDevices/enabled", "/linux/netDevices", r#"{"nosuchdevice": {}}"#, "nosuchdevice"),
    ("/linux/cgroup/rdma", "/linux/resources/rdma", r#"{"nosuchhca": {"hcaHandles": 1}}"#, "rdma"),
];

#[test]
fn what_is_enabled_is_carried_out_or_refused_for_want_of_the_machine() {
    only_for!(Cloison, "the claims of others are theirs");
    let sandbox = Sandbox::new();
    let features = features(&sandbox);
    for (claim, pointer, value, word) in SWITCHES {
        assert!(is(&features, claim), "{claim}");
        let value: Value = value.parse().unwrap();
        // None of them can be done as asked, on any machine: what is said must be about what is missing.
        let output = sandbox.busybox("true").set(pointer, value).run();
        if output.status.success() {
            assert_eq!(*claim, "/linux/intelRdt/monitoring", "{pointer} is passed over");
        } else {
            output.refused_saying(&[word]);
            assert!(!output.stderr.contains("not supported by cloison"), "{}", output.describe());
        }
    }
    assert!(is(&features, "/linux/mountExtensions/idmap/enabled"));
    let volume = sandbox.directory("volume");
    let maps = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let mount = json!({
        "destination": "/m", "type": "bind", "source": volume.to_str().unwrap(), "options": ["bind", "idmap"],
        "uidMappings": maps, "gidMappings": maps,
    });
    let output = sandbox.busybox("true").push("/mounts", mount).run();
    if !output.status.success() {
        // Not every file system can be mapped, no mount before Linux 5.12, and none by an ordinary user.
        let reason = match host::kernel() {
            _ if caller::ordinary().is_some() => "maps ids needs CAP_SYS_ADMIN",
            kernel if kernel < (5, 12) => "since Linux 5.12",
            _ => "mapping the ids of",
        };
        output.refused_saying(&[reason, "volume"]);
    }
}

fn go_on(_: &Notification) -> Answer {
    Answer::Continue
}

/// Runs under a profile; if it tells of calls, with an agent.
fn under(sandbox: &Sandbox, profile: Value) -> Result<(), String> {
    let mut profile = profile;
    let notifies = profile.to_string().contains("SCMP_ACT_NOTIFY");
    let agent = notifies.then(|| {
        let path = sandbox.dir().join(format!("{}.sock", sandbox.new_id()));
        Agent::new(&path, 1, go_on)
    });
    if let Some(agent) = &agent {
        profile["listenerPath"] = agent.path().into();
    }
    let output = sandbox.busybox("grep Seccomp: /proc/self/status").set("/linux/seccomp", profile).run();
    let loaded = output.status.success() && output.stdout.contains('2');
    if loaded && let Some(agent) = agent {
        agent.finish();
    }
    if loaded { Ok(()) } else { Err(output.describe()) }
}

#[test]
fn each_part_of_a_filter_is_known() {
    let sandbox = Sandbox::new();
    let features = features(&sandbox);
    skip_unless!(is(&features, "/linux/seccomp/enabled"), "needs a processor that filters are compiled for");
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let actions = list(&features, "/linux/seccomp/actions");
    assert!(actions.len() >= 9, "{actions:?}");
    for action in actions {
        under(&sandbox, rule(json!({"names": ["acct"], "action": action})))
            .unwrap_or_else(|why| panic!("{action}: {why}"));
    }
    let operators = list(&features, "/linux/seccomp/operators");
    assert!(operators.len() >= 7, "{operators:?}");
    for operator in operators {
        let args = json!([{"index": 0, "value": 7, "valueTwo": 7, "op": operator}]);
        under(&sandbox, rule(json!({"names": ["acct"], "action": "SCMP_ACT_ERRNO", "args": args})))
            .unwrap_or_else(|why| panic!("{operator}: {why}"));
    }
    let architectures = list(&features, "/linux/seccomp/archs");
    assert!(architectures.len() >= 3, "{architectures:?}");
    for architecture in architectures {
        let mut profile = rule(json!({"names": ["acct", "mount"], "action": "SCMP_ACT_ERRNO"}));
        profile["architectures"] = json!([architecture]);
        // Numbers of the other byte order cannot be compared by one filter, libseccomp refuses them too.
        if let Err(why) = under(&sandbox, profile) {
            assert!(why.contains("has another byte order than this machine"), "{architecture}: {why}");
        }
    }
    for unknown in [
        rule(json!({"names": ["acct"], "action": "SCMP_ACT_NOTHING"})),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NOTHING"]}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NOTHING"]}),
    ] {
        assert!(under(&sandbox, unknown).unwrap_err().contains("NOTHING"));
    }
}

#[test]
fn supported_flags_are_those_that_the_kernel_takes() {
    runc_lacks!("1.2: flags of filters in features");
    let sandbox = Sandbox::new();
    let features = features(&sandbox);
    let known = list(&features, "/linux/seccomp/knownFlags");
    let supported = list(&features, "/linux/seccomp/supportedFlags");
    assert!(supported.iter().all(|flag| known.contains(flag)), "{supported:?} of {known:?}");
    assert!(known.len() >= 4, "{known:?}");
    for flag in known {
        // One that tells of calls: else there is nothing to wait for.
        let action = if flag.ends_with("RECV") { "SCMP_ACT_NOTIFY" } else { "SCMP_ACT_ERRNO" };
        let profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "flags": [flag], "syscalls": [{"names": ["acct"], "action": action}],
        });
        let loaded = under(&sandbox, profile);
        assert_eq!(loaded.is_ok(), supported.contains(&flag), "{flag}: {loaded:?}");
    }
}

#[test]
fn each_memory_policy_is_known() {
    let sandbox = Sandbox::new();
    let features = features(&sandbox);
    skip_unless!(features.pointer("/linux/memoryPolicy").is_some(), "runc has it since 1.4: memoryPolicy");
    let without_nodes = ["MPOL_DEFAULT", "MPOL_LOCAL"];
    let modes = list(&features, "/linux/memoryPolicy/modes");
    assert!(modes.len() >= 7, "{modes:?}");
    for mode in modes {
        let mut policy = json!({"mode": mode});
        if !without_nodes.contains(&mode.as_str()) {
            policy["nodes"] = "0".into();
        }
        is_known(&sandbox, &policy);
    }
    for flag in list(&features, "/linux/memoryPolicy/flags") {
        is_known(&sandbox, &json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}));
    }
}

/// It is taken, or the kernel is the one that does not know it.
fn is_known(sandbox: &Sandbox, policy: &Value) {
    let output = sandbox.busybox("true").set("/linux/memoryPolicy", policy.clone()).run();
    let of_kernel = ["invalid argument", "function not implemented"];
    let refused = of_kernel.iter().any(|errno| output.stderr.contains(errno));
    assert!(output.status.success() || refused, "{policy}: {}", output.describe());
    assert!(!output.stderr.contains("expected"), "{policy}: {}", output.describe());
}

/// All sources of the runtime, without their tests.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs")
            && name != "tests.rs"
            && name != "features.rs"
        {
            found.push(path);
        }
    }
}

/// Names of annotations in double quotes, in the code and not in its tests.
fn annotations_in(source: &str) -> impl Iterator<Item = &str> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let texts = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
    texts.filter(|text| {
        let name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
        let prefixes = ["org.cloison.", "org.criu.", "org.systemd.property", "run.oci."];
        name && prefixes.iter().any(|prefix| text.starts_with(prefix)) && text.matches('.').count() >= 2
    })
}

#[test]
fn each_annotation_that_is_acted_on_is_listed() {
    only_for!(Cloison, "the claims of others are theirs");
    let sandbox = Sandbox::new();
    let listed = list(&features(&sandbox), "/potentiallyUnsafeConfigAnnotations");
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    skip_unless!(crates.is_dir(), "needs the sources");
    let mut files = Vec::new();
    for name in ["cloison", "cloison-cgroup", "cloison-cli"] {
        sources(&crates.join(name).join("src"), &mut files);
    }
    let mut used = BTreeSet::new();
    for file in files {
        let source = fs::read_to_string(file).unwrap();
        used.extend(annotations_in(&source).map(ToOwned::to_owned));
    }
    assert!(used.len() >= 5, "{used:?}");
    let covers =
        |entry: &str, name: &str| if entry.ends_with('.') { name.starts_with(entry) } else { name == entry };
    for name in &used {
        assert!(listed.iter().any(|entry| covers(entry, name)), "{name} is not listed: {listed:?}");
    }
    for entry in &listed {
        assert!(
            used.iter().any(|name| covers(entry, name)),
            "nothing is read that {entry} stands for: {used:?}"
        );
    }
}
