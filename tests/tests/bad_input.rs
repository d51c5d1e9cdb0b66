//! Broken, hostile and contradictory input: one clear error, exit code 1, and nothing left behind.

use std::fs;
use std::os::unix::fs::symlink;

use cloison_tests::{Bundle, Kind, Output, Rootfs, Sandbox, Value, json, only_for, runtime};

/// A command that must fail with code 1 and say something, and no panic of its own language.
#[track_caller]
fn assert_refused(output: &Output, words: &[&str]) {
    output.refused_saying(words);
    assert!(!output.stderr.contains("panic"), "{}", output.describe());
    assert!(!output.stderr.trim().is_empty(), "{}", output.describe());
}

/// Checks that `run` refuses the bundle; the pointer is what our own error must name, the words what every runtime's.
#[track_caller]
fn refused(sandbox: &Sandbox, bundle: &Bundle, pointer: &str, words: &[&str]) {
    let output = bundle.run();
    assert_refused(&output, words);
    if runtime::kind() == Kind::Cloison {
        assert_refused(&output, &[pointer]);
    }
    sandbox.assert_nothing_left();
}

#[test]
fn files_that_are_no_json_are_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true");
    let good = bundle.spec.to_string();
    let mut not_utf8 = good.clone().into_bytes();
    let at = good.find("xterm").unwrap();
    not_utf8[at] = 0xff;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("blank", b" \n\t".to_vec()),
        ("truncated", good.as_bytes()[..good.len() / 2].to_vec()),
        ("one bracket short", good.as_bytes()[..good.len() - 1].to_vec()),
        ("a number", b"42".to_vec()),
        ("a list", b"[]".to_vec()),
        ("zeros", vec![0; 4096]),
        ("deeply nested", "[".repeat(200_000).into_bytes()),
        ("deeply nested in a field", format!("{{\"annotations\":{}", "{\"a\":".repeat(100_000)).into_bytes()),
    ];
    for (name, bytes) in cases {
        bundle.write_raw(bytes);
        let output = bundle.run_raw();
        assert_eq!(output.code(), 1, "{name}: {}", output.describe());
        assert!(!output.stderr.contains("panicked"), "{name}: {}", output.describe());
        sandbox.assert_nothing_left();
    }
    if runtime::kind() == Kind::Cloison {
        bundle.write_raw(not_utf8);
        assert_refused(&bundle.run_raw(), &["config.json"]);
    }
}

#[test]
fn fifty_megabytes_are_read_or_refused_quickly() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true");
    let mut spec = bundle.spec.clone();
    spec["annotations"] = json!({"big": "x".repeat(50 << 20)});
    bundle.write_raw(spec.to_string());
    let output = bundle.run_raw();
    assert!([0, 1].contains(&output.code()), "{}", output.status);
    bundle.write_raw(" ".repeat(50 << 20));
    assert_eq!(bundle.run_raw().code(), 1);
}

#[test]
fn a_missing_configuration_is_named() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true");
    let output = bundle.run_raw();
    assert_refused(&output, &["config.json"]);
}

#[test]
fn a_missing_bundle_is_named() {
    let sandbox = Sandbox::new();
    let output = sandbox.cloison(["run", "--bundle", "/no/such/bundle", &sandbox.new_id()]);
    assert_refused(&output, &["/no/such/bundle"]);
}

#[test]
fn a_configuration_that_is_no_file_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true");
    fs::create_dir(bundle.dir().join("config.json")).unwrap();
    assert_refused(&bundle.run_raw(), &["config.json"]);
}

#[test]
fn values_of_the_wrong_type_are_refused_with_their_place() {
    let sandbox = Sandbox::new();
    let cases: Vec<(&str, Value)> = vec![
        ("/process", json!("a string")),
        ("/process/args", json!("sh")),
        ("/process/args/0", json!(7)),
        ("/process/user/uid", json!("root")),
        ("/process/user/uid", json!(-1)),
        ("/process/user/uid", json!(4_294_967_296_u64)),
        ("/process/rlimits/0/soft", json!(-1)),
        ("/process/rlimits", json!({})),
        ("/process/oomScoreAdj", json!("high")),
        ("/root/readonly", json!("yes")),
        ("/mounts", json!({})),
        ("/mounts/0/options", json!("ro")),
        ("/linux/namespaces", json!(5)),
        ("/linux/sysctl", json!(["a"])),
        ("/hostname", json!(["a"])),
        ("/annotations", json!({"a": 1})),
    ];
    let bundle = sandbox.busybox("true");
    for (pointer, value) in cases {
        let mut spec = bundle.spec.clone();
        set(&mut spec, pointer, value.clone());
        bundle.write_raw(spec.to_string());
        let output = bundle.run_raw();
        assert_eq!(output.code(), 1, "{pointer} = {value}: {}", output.describe());
        if runtime::kind() == Kind::Cloison {
            assert_refused(&output, &[pointer]);
        }
    }
    sandbox.assert_nothing_left();
}

fn set(spec: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match spec.pointer_mut(parent).unwrap() {
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        parent => parent[key] = value,
    }
}

#[test]
fn a_missing_root_is_refused() {
    let sandbox = Sandbox::new();
    refused(&sandbox, &sandbox.busybox("true").without("/root"), "/root", &["root"]);
}

#[test]
fn a_missing_process_is_refused() {
    let sandbox = Sandbox::new();
    refused(&sandbox, &sandbox.busybox("true").without("/process"), "/process", &["process"]);
}

#[test]
fn empty_args_are_refused() {
    let sandbox = Sandbox::new();
    refused(
        &sandbox,
        &sandbox.busybox("true").set("/process/args", json!([])),
        "/process/args",
        &["args must not be empty"],
    );
    refused(
        &sandbox,
        &sandbox.busybox("true").without("/process/args"),
        "/process/args",
        &["args must not be empty"],
    );
}

#[test]
fn an_empty_program_name_is_refused() {
    let sandbox = Sandbox::new();
    let output = sandbox.busybox("true").args([""]).run();
    assert_refused(&output, &[]);
}

#[test]
fn a_relative_working_directory_is_refused() {
    let sandbox = Sandbox::new();
    for cwd in ["relative", "./x", "../x"] {
        let bundle = sandbox.busybox("true").set("/process/cwd", cwd);
        refused(&sandbox, &bundle, "/process/cwd", &["cwd must be an absolute path"]);
    }
}

#[test]
fn ids_that_are_no_names_are_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true");
    bundle.write();
    let long = "i".repeat(1025);
    for id in ["a/b", "..", ".", "../escape", "/etc", "a b", "a\nb", "ü", "", "a*b", "a\tb", &long] {
        let output = sandbox.finish(bundle.run_command_as(id, &[]));
        assert_eq!(output.code(), 1, "{id:?}: {}", output.describe());
        assert!(!output.stderr.trim().is_empty(), "{id:?}");
    }
    for id in ["a/b", "a b", "ü"] {
        assert_refused(&sandbox.finish(bundle.run_command_as(id, &[])), &["invalid container id format"]);
    }
    assert_refused(&sandbox.finish(bundle.run_command_as("", &[])), &["container id cannot be empty"]);
    sandbox.assert_nothing_left();
}

#[test]
fn every_command_checks_the_id() {
    let sandbox = Sandbox::new();
    let outside = sandbox.directory("outside");
    fs::write(outside.join("state.json"), "{}").unwrap();
    fs::create_dir_all(sandbox.root()).unwrap();
    for arguments in [&["state"][..], &["start"], &["kill"], &["delete"], &["delete", "--force"]] {
        let mut command = sandbox.command(arguments);
        command.arg("../outside");
        let output = sandbox.finish(command);
        assert!([0, 1].contains(&output.code()), "{}", output.describe());
        assert!(outside.join("state.json").exists(), "{}", output.describe());
    }
}

/// runtime.md, "Operations".
#[test]
fn every_operation_wants_an_id() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true");
    bundle.write();
    for operation in ["state", "create", "start", "kill", "delete"] {
        let mut command = sandbox.command([operation]);
        command.current_dir(bundle.dir());
        let output = sandbox.finish(command);
        assert_eq!(output.code(), 1, "{operation}: {}", output.describe());
        // clap's words, and those of runc.
        let told = ["required arguments", "requires exactly", "requires a minimum"]
            .iter()
            .any(|words| output.stderr.contains(words));
        assert!(told, "{operation}: {}", output.stderr);
    }
    sandbox.assert_nothing_left();
}

/// runtime.md, "Operations".
#[test]
fn no_operation_knows_a_container_that_is_not_there() {
    let sandbox = Sandbox::new();
    let id = sandbox.new_id();
    for operation in ["state", "start", "kill", "delete"] {
        sandbox.cloison([operation, &id]).refused_saying(&["container does not exist"]);
    }
}

#[test]
fn ids_with_every_allowed_character_work() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("echo fine");
    bundle.write();
    // The name of systemd's unit cannot have a plus sign.
    let signs = if sandbox.uses_systemd() { "_-." } else { "_+-." };
    for extra in ["aZ09", signs, "-"] {
        let id = format!("{}{extra}", sandbox.new_id());
        assert_eq!(sandbox.finish(bundle.run_command_as(&id, &[])).ok(), "fine\n", "{id}");
    }
}

#[test]
fn an_unknown_namespace_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true");
    let place = format!("/linux/namespaces/{}", bundle.spec["linux"]["namespaces"].as_array().unwrap().len());
    let bundle = bundle.push("/linux/namespaces", json!({"type": "magic"}));
    refused(&sandbox, &bundle, &place, &["magic"]);
}

#[test]
fn a_namespace_named_twice_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").push("/linux/namespaces", json!({"type": "ipc"}));
    refused(&sandbox, &bundle, "/linux/namespaces", &["ipc"]);
}

#[test]
fn an_unknown_rlimit_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox("true")
        .push("/process/rlimits", json!({"type": "RLIMIT_MAGIC", "hard": 1, "soft": 1}));
    refused(&sandbox, &bundle, "/process/rlimits/1", &["rlimit_magic"]);
}

#[test]
fn an_rlimit_named_twice_is_refused() {
    only_for!(Cloison, "runc takes the last");
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox("true")
        .push("/process/rlimits", json!({"type": "RLIMIT_NOFILE", "hard": 1, "soft": 1}));
    refused(&sandbox, &bundle, "/process/rlimits", &["rlimit_nofile"]);
}

#[test]
fn a_soft_limit_above_the_hard_one_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox("true")
        .set("/process/rlimits", json!([{"type": "RLIMIT_CORE", "hard": 1, "soft": 2}]));
    refused(&sandbox, &bundle, "/process/rlimits/0", &[]);
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").set("/root/path", "file");
    fs::write(bundle.dir().join("file"), "").unwrap();
    refused(&sandbox, &bundle, "/root/path", &["not a directory"]);
}

#[test]
fn a_root_that_is_missing_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").set("/root/path", "nowhere");
    refused(&sandbox, &bundle, "/root/path", &["nowhere"]);
}

#[test]
fn a_root_that_is_a_symlink_is_refused() {
    only_for!(Cloison, "runc resolves the link");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").set("/root/path", "link");
    symlink("rootfs", bundle.dir().join("link")).unwrap();
    refused(&sandbox, &bundle, "/root/path", &["link"]);
}

#[test]
fn an_empty_root_path_is_refused() {
    only_for!(Cloison, "runc takes the bundle itself");
    let sandbox = Sandbox::new();
    refused(&sandbox, &sandbox.busybox("true").set("/root/path", ""), "/root/path", &[]);
}

#[test]
fn a_root_without_anything_says_that_the_program_is_missing() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle(Rootfs::empty()).args(["sh"]).writable();
    assert_refused(&bundle.run(), &["sh", "executable file not found in $path"]);
}

#[test]
fn all_problems_are_told_at_once() {
    only_for!(Cloison, "runc tells the first");
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox("true")
        .set("/process/args", json!([]))
        .set("/process/cwd", "relative")
        .set("/process/user/uid", "root")
        .set("/root/path", 5)
        .push("/linux/namespaces", json!({"type": "magic"}))
        .push("/process/rlimits", json!({"type": "RLIMIT_MAGIC", "hard": 1, "soft": 1}));
    let output = bundle.run();
    assert_refused(
        &output,
        &[
            "/process/args",
            "/process/cwd",
            "/process/user/uid",
            "/root/path",
            &format!(
                "/linux/namespaces/{}",
                bundle.spec["linux"]["namespaces"].as_array().unwrap().len() - 1
            ),
            "/process/rlimits/1",
        ],
    );
}

/// runtime.md, "Create": a property that cannot be applied. One of each part that the kernel may refuse.
#[test]
fn what_the_kernel_refuses_is_an_error_and_no_container() {
    let sandbox = Sandbox::new();
    let new = || sandbox.busybox("true");
    for (name, bundle) in [
        ("sysctl", new().set("/linux/sysctl", json!({"net.no.such.setting": "1"}))),
        ("mount", new().mount("ext4", "/dev/null", "/mnt", &[])),
    ] {
        bundle.write();
        let id = sandbox.new_id();
        let output = sandbox.finish(bundle.create_command(&id, &[]));
        assert_eq!(output.code(), 1, "{name}: {}", output.describe());
        sandbox.cloison(["state", &id]).refused_saying(&["does not exist"]);
    }
    sandbox.assert_nothing_left();
}

#[test]
fn a_version_of_the_specification_we_do_not_know_is_refused() {
    let sandbox = Sandbox::new();
    for version in ["2.0.0", "0.9", "nonsense"] {
        let output = sandbox.busybox("true").set("/ociVersion", version).run();
        if runtime::kind() == Kind::Cloison {
            assert_refused(&output, &["/ociVersion", version]);
        }
    }
    for version in ["1.0.0", "1.0.2-dev", "1.1.0", "1.2.1", "1.3.0"] {
        sandbox.busybox("true").set("/ociVersion", version).run().ok();
    }
}

#[test]
fn unknown_fields_are_no_error() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").set("/tomorrow", json!({"a": [1]})).set("/linux/tomorrow", 5);
    bundle.run().ok();
}

#[test]
fn a_mount_without_destination_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").push("/mounts", json!({"type": "tmpfs", "source": "tmpfs"}));
    let output = bundle.run();
    assert_eq!(output.code(), 1, "{}", output.describe());
    if runtime::kind() == Kind::Cloison {
        assert_refused(&output, &["/mounts/7"]);
    }
}

#[test]
fn strings_with_nul_are_refused() {
    only_for!(Cloison, "runc cuts a hostname at its NUL");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true");
    for (pointer, value) in [
        ("/process/args/0", "sh\0"),
        ("/process/cwd", "/\0"),
        ("/hostname", "a\0b"),
        ("/root/path", "rootfs\0"),
    ] {
        let mut spec = bundle.spec.clone();
        set(&mut spec, pointer, json!(value));
        bundle.write_raw(spec.to_string());
        assert_refused(&bundle.run_raw(), &[pointer]);
    }
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    let sandbox = Sandbox::new();
    let root = sandbox.directory("state");
    sandbox.mount("tmpfs", &root, "tmpfs", rustix::mount::MountFlags::RDONLY, "");
    let bundle = sandbox.busybox("true");
    let output = bundle.run();
    assert_refused(&output, &[root.to_str().unwrap(), "read-only file system"]);
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let root = sandbox.directory("state");
    sandbox.mount("tmpfs", &root, "tmpfs", rustix::mount::MountFlags::empty(), "size=4k,mode=700");
    fs::write(root.join("fill"), vec![0; 4096]).unwrap();
    let output = sandbox.busybox("true").try_create(&sandbox.new_id(), &[]);
    // runc loses the reason.
    assert_refused(&output, if runtime::kind() == Kind::Cloison { &["no space left"] } else { &[] });
    fs::remove_file(root.join("fill")).unwrap();
    sandbox.assert_nothing_left();
}

#[test]
fn a_disk_without_inodes_is_told_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let root = sandbox.directory("state");
    for inodes in 2..6 {
        sandbox.mount(
            "tmpfs",
            &root,
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            &format!("nr_inodes={inodes},mode=700"),
        );
        let id = sandbox.new_id();
        let output = sandbox.sleeper().try_create(&id, &[]);
        if output.status.success() {
            sandbox.container(&id).delete_force().ok();
        } else {
            assert_refused(&output, if runtime::kind() == Kind::Cloison { &["no space left"] } else { &[] });
        }
        sandbox.assert_nothing_left();
    }
}

#[test]
fn a_root_directory_that_is_a_file_is_named() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("file", "");
    let bundle = sandbox.busybox("true");
    bundle.write();
    let mut command = sandbox.bare_command(runtime::binary());
    command.arg("--root").arg(&file).args(["run", "--bundle"]).arg(bundle.dir()).arg(sandbox.new_id());
    assert_refused(&sandbox.finish(command), &[file.to_str().unwrap(), "not a directory"]);
}

#[test]
fn a_failure_at_any_mount_leaves_nothing() {
    let sandbox = Sandbox::new();
    for position in [0, 3, 6] {
        let bundle = sandbox.busybox("true").edit(|spec| {
            let broken = json!({"destination": "/mnt", "type": "nonsensefs", "source": "none"});
            spec["mounts"].as_array_mut().unwrap().insert(position, broken);
        });
        refused(&sandbox, &bundle, &format!("/mounts/{position}"), &["/mnt"]);
    }
}
