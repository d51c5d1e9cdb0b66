//! The pid file, the log, exit codes and usage errors: what engines read byte by byte.

use std::fs;
use std::path::Path;

use cloison_tests::{Kind, Output, Sandbox, Value, json, only_for, runtime};

#[test]
fn the_pid_file_holds_the_bare_number() {
    let sandbox = Sandbox::new();
    let file = sandbox.dir().join("pid");
    let container = sandbox.sleeper().create_with(&["--pid-file", file.to_str().unwrap()]);
    // go-runc parses the bytes as they are: a newline would be an error.
    assert_eq!(fs::read_to_string(&file).unwrap(), container.pid().to_string());
    container.delete_force().ok();
}

#[test]
fn the_pid_file_of_a_detached_run_is_there_when_it_returns() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    bundle.write();
    let id = sandbox.new_id();
    let file = sandbox.dir().join("pid");
    sandbox.finish(bundle.run_command_as(&id, &["-d", "--pid-file", file.to_str().unwrap()])).ok();
    let container = sandbox.container(&id);
    assert_eq!(fs::read_to_string(&file).unwrap(), container.pid().to_string());
    container.end();
}

#[test]
fn a_relative_pid_file_is_made_where_the_command_was_run() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    bundle.write();
    let here = sandbox.directory("here");
    let id = sandbox.new_id();
    let mut command = bundle.create_command(&id, &["--pid-file", "the.pid"]);
    command.current_dir(&here);
    sandbox.finish(command).ok();
    let names: Vec<_> = fs::read_dir(&here).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["the.pid"], "and no temporary file beside it");
    sandbox.container(&id).delete_force().ok();
}

#[test]
fn an_old_pid_file_is_replaced() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("pid", "an old and much longer content");
    let container = sandbox.sleeper().create_with(&["--pid-file", file.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&file).unwrap(), container.pid().to_string());
    container.delete_force().ok();
}

#[test]
fn a_pid_file_that_cannot_be_written_fails_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let output = sandbox.sleeper().try_create(&sandbox.new_id(), &["--pid-file", "/proc/nowhere/pid"]);
    output.refused_saying(&["/proc/nowhere"]);
}

fn failing_create(sandbox: &Sandbox, log: &Path, flags: &[&str]) -> Output {
    let bundle = sandbox.busybox("true").args(["/no/such/program"]);
    bundle.write();
    let mut arguments = vec!["--log", log.to_str().unwrap()];
    arguments.extend(flags);
    arguments.extend(["run", "--bundle", bundle.dir().to_str().unwrap()]);
    let id = sandbox.new_id();
    arguments.push(&id);
    sandbox.cloison(arguments)
}

#[test]
fn the_json_log_has_one_line_an_error_as_engines_decode_it() {
    let sandbox = Sandbox::new();
    let log = sandbox.dir().join("log.json");
    let output = failing_create(&sandbox, &log, &["--log-format", "json"]);
    assert_eq!(output.code(), 1);
    let text = fs::read_to_string(&log).unwrap();
    assert_eq!(text.lines().count(), 1, "podman decodes the whole file as one object: {text}");
    assert!(text.ends_with('\n'));
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["level"], "error", "in lower case");
    assert!(line["msg"].as_str().unwrap().contains("/no/such/program"), "{line}");
    let time = line["time"].as_str().unwrap();
    assert!(time.len() >= 20 && time.as_bytes()[10] == b'T', "{time}");
}

#[test]
fn the_log_is_appended_to() {
    let sandbox = Sandbox::new();
    let log = sandbox
        .file("log.json", "{\"level\":\"info\",\"msg\":\"before\",\"time\":\"2026-01-01T00:00:00Z\"}\n");
    failing_create(&sandbox, &log, &["--log-format", "json"]);
    failing_create(&sandbox, &log, &["--log-format=json"]);
    let text = fs::read_to_string(&log).unwrap();
    let levels: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["level"].clone()).collect();
    assert_eq!(levels, ["info", "error", "error"]);
}

#[test]
fn the_text_log_has_time_level_and_message() {
    let sandbox = Sandbox::new();
    let log = sandbox.dir().join("log");
    failing_create(&sandbox, &log, &[]);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("time=\"20"), "{text}");
    assert!(text.contains(" level=error msg=\""), "{text}");
}

#[test]
fn an_error_is_also_printed_when_the_log_is_a_file() {
    let sandbox = Sandbox::new();
    let output = failing_create(&sandbox, &sandbox.dir().join("log"), &["--log-format", "json"]);
    // conmon takes what create prints as the error to show.
    assert!(output.stderr.contains("/no/such/program"), "{}", output.describe());
    assert!(!output.stderr.contains("level="), "the bare message: {}", output.describe());
}

#[test]
fn nothing_is_logged_when_all_is_well() {
    let sandbox = Sandbox::new();
    let log = sandbox.dir().join("log");
    let bundle = sandbox.busybox("true");
    bundle.write();
    let id = sandbox.new_id();
    sandbox.cloison(["--log", log.to_str().unwrap(), "run", "-b", bundle.dir().to_str().unwrap(), &id]).ok();
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
}

#[test]
fn debug_logs_more() {
    let sandbox = Sandbox::new();
    let log = sandbox.dir().join("log");
    let bundle = sandbox.busybox("true");
    bundle.write();
    let id = sandbox.new_id();
    let dir = bundle.dir().to_str().unwrap();
    sandbox
        .cloison(["--debug", "--log-format", "json", "--log", log.to_str().unwrap(), "run", "-b", dir, &id])
        .ok();
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("\"level\":\"debug\""), "{text}");
    for line in text.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn the_log_level_can_be_chosen() {
    only_for!(Cloison, "runc has only --debug");
    let sandbox = Sandbox::new();
    for (level, lines) in [("error", false), ("debug", true)] {
        let log = sandbox.dir().join(level);
        let bundle = sandbox.busybox("true");
        bundle.write();
        let id = sandbox.new_id();
        let dir = bundle.dir().to_str().unwrap();
        sandbox.cloison(["--log-level", level, "--log", log.to_str().unwrap(), "run", "-b", dir, &id]).ok();
        assert_eq!(!fs::read_to_string(&log).unwrap_or_default().is_empty(), lines, "{level}");
    }
}

#[test]
fn an_unknown_log_format_is_refused() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.cloison(["--log-format", "xml", "list"]).code(), 1);
}

#[test]
fn usage_errors_exit_1_with_a_message() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["nonsense"][..],
        &["create"],
        &["create", "--nonsense", "x"],
        &["create", "one", "two"],
        &["state"],
        &["state", "one", "two"],
        &["start"],
        &["delete"],
        &["kill"],
        &["list", "--nonsense"],
        &["--nonsense", "list"],
        &["create", "--bundle"],
    ] {
        let output = sandbox.cloison(arguments);
        // runc prints its help and exits 3 for an unknown command.
        let expected = if arguments == ["nonsense"] { &[1, 3][..] } else { &[1] };
        assert!(expected.contains(&output.code()), "{}", output.describe());
        assert!(!(output.stderr.is_empty() && output.stdout.is_empty()), "{}", output.describe());
    }
}

#[test]
fn go_style_flags_with_one_dash_are_understood() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("echo fine");
    bundle.write();
    let id = sandbox.new_id();
    let output = sandbox.cloison(["run", "-no-subreaper", "-bundle", bundle.dir().to_str().unwrap(), &id]);
    assert_eq!(output.ok(), "fine\n");
}

#[test]
fn flags_take_their_value_after_a_space_or_an_equals_sign() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("echo fine");
    bundle.write();
    let dir = bundle.dir().to_str().unwrap();
    for flags in [vec![format!("--bundle={dir}")], vec!["-b".into(), dir.into()], vec![format!("-b={dir}")]] {
        let mut command = sandbox.command(["run"]);
        command.args(&flags).arg(sandbox.new_id());
        assert_eq!(sandbox.finish(command).ok(), "fine\n", "{flags:?}");
    }
}

#[test]
fn rootless_takes_true_false_and_auto() {
    let sandbox = Sandbox::new();
    sandbox.directory("state");
    for value in ["true", "false", "auto"] {
        sandbox.cloison([&format!("--rootless={value}"), "list"]).ok();
        sandbox.cloison(["--rootless", value, "list"]).ok();
    }
}

#[test]
fn execve_failures_say_what_dockerd_looks_for() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle(cloison_tests::Rootfs::busybox().with(|root| {
        fs::write(root.join("etc/data"), "no program").unwrap();
    }));
    for (program, text) in [
        ("no-such-program", "executable file not found in $path"),
        ("/no/such/program", "no such file or directory"),
        ("/etc/data", "permission denied"),
        ("/etc/passwd/x", "not a directory"),
    ] {
        let bundle = sandbox.bundle(cloison_tests::Rootfs::busybox().with(|root| {
            fs::write(root.join("etc/data"), "no program").unwrap();
        }));
        bundle.args([program]).run().refused_saying(&[text, program]);
    }
    // Newer releases of runc say EISDIR. Engines that are older than those know EACCES alone.
    let output = bundle.args(["/etc"]).run();
    let error = output.refused().to_lowercase();
    assert!(
        error.contains("permission denied")
            || runtime::kind() != Kind::Cloison && error.contains("is a directory"),
        "{error}"
    );
}

#[test]
fn start_tells_when_the_program_cannot_be_executed() {
    only_for!(Cloison, "runc loses the error once the FIFO is open");
    let sandbox = Sandbox::new();
    let rootfs = cloison_tests::Rootfs::busybox().with(|root| {
        fs::write(root.join("bin/broken"), "\x7fELF and then nothing").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(root.join("bin/broken"), mode).unwrap();
    });
    let container = sandbox.bundle(rootfs).args(["/bin/broken"]).create();
    let pid = container.pid();
    container.start().refused_saying(&["/bin/broken", "exec format error"]);
    sandbox.wait_for_orphan(pid);
    assert_eq!(container.status(), "stopped");
    container.delete().ok();
}

#[test]
fn the_configuration_may_have_another_name() {
    only_for!(Cloison, "runc has no --config");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("echo other");
    let other = sandbox.file("other.json", bundle.spec.to_string());
    let output = sandbox.finish(bundle.run_command(&["--config", other.to_str().unwrap()]));
    assert_eq!(output.ok(), "other\n");
}

#[test]
fn the_cgroup_manager_can_be_named_or_disabled() {
    only_for!(Cloison, "runc has no --cgroup-manager");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("cat /proc/self/cgroup").edit(|spec| spec["linux"]["resources"] = json!({}));
    bundle.write();
    for (manager, has_one) in [("cgroupfs", true), ("disabled", false)] {
        let id = sandbox.new_id();
        let dir = bundle.dir().to_str().unwrap();
        let output = sandbox.cloison(["--cgroup-manager", manager, "run", "-b", dir, &id]);
        assert_eq!(output.ok().contains(&id), has_one, "{manager}: {}", output.describe());
    }
    assert_eq!(sandbox.cloison(["--cgroup-manager", "nonsense", "list"]).code(), 1);
}
