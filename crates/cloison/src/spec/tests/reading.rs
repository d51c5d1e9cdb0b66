//! Files that are not as they should be.

use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::spec::{SIZE_LIMIT, Spec, SpecError};

const LEAST: &str =
    r#"{"ociVersion": "1.3.0", "process": {"args": ["sh"], "cwd": "/"}, "root": {"path": "rootfs"}}"#;

#[track_caller]
fn message(text: &str) -> String {
    Spec::from_slice(text.as_bytes()).unwrap_err().to_string()
}

#[track_caller]
fn problems(text: &str) -> Vec<String> {
    match Spec::from_slice(text.as_bytes()).unwrap_err() {
        SpecError::Invalid { problems, .. } => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_file_is_read() {
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("config.json");
    fs::write(&path, LEAST).unwrap();
    assert_eq!(Spec::load(&path).unwrap(), Spec::from_slice(LEAST.as_bytes()).unwrap());
}

#[test]
fn numbers_that_are_left_out_are_0() {
    let spec = r#"{"ociVersion": "1.3.0", "root": {"path": "rootfs"},
        "process": {"args": ["sh"], "cwd": "/", "user": {}, "rlimits": [{"type": "RLIMIT_CORE"}],
            "scheduler": {"policy": "SCHED_OTHER"}, "ioPriority": {"class": "IOPRIO_CLASS_BE"}},
        "linux": {
            "namespaces": [{"type": "user"}, {"type": "mount"}],
            "uidMappings": [{"size": 1}], "gidMappings": [{"size": 1}],
            "devices": [{"path": "/dev/x", "type": "c"}],
            "resources": {
                "devices": [{"access": "r"}],
                "blockIO": {"throttleReadBpsDevice": [{}]},
                "hugepageLimits": [{"pageSize": "2MB"}],
                "network": {"priorities": [{"name": "lo"}]}},
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"op": "SCMP_CMP_EQ"}]}]}}}"#;
    let spec = Spec::from_slice(spec.as_bytes()).unwrap();
    let (process, linux) = (&spec.process, &spec.linux);
    assert_eq!((process.user.uid, process.user.gid), (0, 0));
    assert_eq!((process.rlimits[0].soft, process.rlimits[0].hard), (0, 0));
    assert_eq!(process.io_priority.as_ref().map(|io| io.priority), Some(0));
    for row in [&linux.uid_mappings[0], &linux.gid_mappings[0]] {
        assert_eq!((row.container_id, row.host_id), (0, 0));
    }
    assert_eq!((linux.devices[0].major, linux.devices[0].minor), (0, 0));
    let resources = &linux.resources;
    assert!(!resources.devices[0].allow);
    let read = &resources.block_io.throttle_read_bps_device[0];
    assert_eq!((read.major, read.minor, read.rate), (0, 0, 0));
    assert_eq!(resources.hugepage_limits[0].limit, 0);
    assert_eq!(resources.network.priorities[0].priority, 0);
    let argument = &linux.seccomp.as_ref().unwrap().syscalls[0].args[0];
    assert_eq!((argument.index, argument.value, argument.value_two), (0, 0, 0));
}

/// glossary.md, "JSON": there is to be none. Of texts and numbers Go, and so `runc`, takes the last, too.
#[test]
fn the_last_of_two_members_of_one_name_holds() {
    let twice = LEAST.replace(r#""cwd": "/""#, r#""cwd": "/first", "cwd": "/last""#);
    assert_eq!(Spec::from_slice(twice.as_bytes()).unwrap().process.cwd, "/last");
}

#[test]
fn a_missing_file_is_named_with_its_errno() {
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("config.json");
    let error = Spec::load(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("JSON specification file {} not found", path.display()));
    let SpecError::NotFound { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.raw_os_error(), Some(2));
}

#[test]
fn a_file_that_cannot_be_opened_is_named_with_its_errno() {
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("config.json");
    std::os::unix::fs::symlink("config.json", &path).unwrap();
    let error = Spec::load(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read {}", path.display()));
    let SpecError::Read { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.raw_os_error(), Some(40));
    assert_ne!(source.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_fifo_a_directory_and_a_device_are_refused_without_waiting() {
    let scratch = TempDir::new().unwrap();
    let fifo = scratch.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for (path, kind) in [
        (fifo.as_path(), "a FIFO"),
        (scratch.path(), "a directory"),
        (Path::new("/dev/zero"), "a character device"),
    ] {
        let message = Spec::load(path).unwrap_err().to_string();
        assert_eq!(message, format!("{} is {kind}, not a regular file", path.display()));
    }
}

#[test]
fn a_file_above_the_limit_is_refused_by_its_size() {
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("config.json");
    fs::File::create(&path).unwrap().set_len(SIZE_LIMIT + 1).unwrap();
    let message = Spec::load(&path).unwrap_err().to_string();
    assert_eq!(message, format!("{} holds 16777217 bytes, at most 16777216 are read", path.display()));

    let padded = |size: u64| format!("{LEAST}{}", " ".repeat(size as usize - LEAST.len()));
    assert!(Spec::from_slice(padded(SIZE_LIMIT).as_bytes()).is_ok());
    assert!(matches!(Spec::from_slice(padded(SIZE_LIMIT + 1).as_bytes()), Err(SpecError::TooLarge { .. })));
}

#[test]
fn errors_of_syntax_say_where() {
    for (text, expected) in [
        ("", "config.json, line 1, column 0: nothing is there, where a JSON object is needed"),
        (" \n ", "config.json, line 2, column 1: nothing is there, where a JSON object is needed"),
        ("{", "config.json, line 1, column 1: the text ends in the middle of an object"),
        (
            "{\"process\": {\n\"args\": [\"sh",
            "config.json, line 2, column 12: the text ends in the middle of a string",
        ),
        ("{}\n}", "config.json, line 2, column 1: something follows the end of the JSON object"),
        ("{\"a\": 1,}", "config.json, line 1, column 9: trailing comma"),
        ("{'a': 1}", "config.json, line 1, column 2: key must be a string"),
        ("{\"hostname\": 5\n\"x\"}", "config.json, line 2, column 1: expected `,` or `}`"),
    ] {
        assert_eq!(message(text), expected, "{text:?}");
    }
}

#[test]
fn a_byte_that_is_not_utf8_is_found() {
    let error = Spec::from_slice(b"{\n \"hostname\": \"a\xff\"}").unwrap_err();
    assert_eq!(error.to_string(), "config.json, line 2, column 16: the byte 0xff is not UTF-8");
}

#[test]
fn deep_nesting_is_refused_where_it_is_kept() {
    let deep = |key: &str, depth| format!("{{\"{key}\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
    for key in ["process", "mounts", "windows"] {
        for depth in [127, 100_000] {
            assert!(
                message(&deep(key, depth)).ends_with("nested more than 127 levels deep"),
                "{key} {depth}"
            );
        }
    }
    // What is ignored is passed over without going down into it.
    for (key, depth) in [("windows", 126), ("unknown", 1_000_000)] {
        let text = LEAST.replacen('{', &format!("{},", deep(key, depth).trim_end_matches('}')), 1);
        assert!(Spec::from_slice(text.as_bytes()).is_ok(), "{key}");
    }
}

#[test]
fn what_is_no_object_is_refused() {
    assert_eq!(message("null"), "config.json: found null, expected an object");
    assert_eq!(message("[]"), "config.json: found a list, expected an object");
    assert_eq!(message("5"), "config.json: found 5, expected an object");
    let text =
        LEAST.replace(r#"{"path": "rootfs"}"#, r#"["rootfs"], "linux": [], "mounts": [["/proc"], {}]"#);
    assert_eq!(
        problems(&text),
        [
            "/linux: found a list, expected an object",
            "/mounts/0: found a list, expected an object",
            "/root: found a list, expected an object",
            "/mounts/1/destination: missing, expected an absolute path in the container",
            "/mounts/1/type: missing, expected a file system such as proc or tmpfs, or the option bind or rbind",
        ]
    );
}

#[test]
fn null_is_absent_and_the_last_of_two_keys_wins() {
    let text = r#"{"ociVersion": "x", "ociVersion": "1.3.0", "hostname": null, "mounts": null, "hooks": null,
        "process": {"args": ["sh"], "cwd": "/", "env": null, "user": null, "capabilities": {"bounding": null}},
        "root": {"path": "rootfs", "readonly": null},
        "linux": {"namespaces": null, "resources": {"memory": {"limit": null}, "devices": null}}}"#;
    let spec = Spec::from_slice(text.as_bytes()).unwrap();
    assert_eq!(spec.oci_version, "1.3.0");
    assert_eq!(spec.process.capabilities, Some(crate::spec::Capabilities::default()));
}

#[test]
fn unknown_fields_are_ignored_everywhere() {
    let text = r#"{"ociVersion": "1.3.0", "new": {"x": [1]}, "root": {"path": "r", "new": null},
        "process": {"args": ["sh"], "cwd": "/", "new": 5},
        "linux": {"namespaces": [{"type": "pid", "new": {}}], "intelRdt": {"enableCMT": true}}}"#;
    Spec::from_slice(text.as_bytes()).unwrap();
}

#[test]
fn all_wrong_types_and_all_broken_rules_are_reported_at_once() {
    let text = r#"{"ociVersion": 5, "hostname": "x",
        "process": {"args": ["sh", 1, null, {}], "cwd": "tmp", "terminal": "yes", "user": {"uid": -1, "gid": 1.5},
            "rlimits": [{"type": "RLIMIT_CPU"}, {"type": "X", "soft": 2}, {"type": 7}, {"type": "RLIMIT_CPU"}]},
        "root": {"path": "r"},
        "linux": {"resources": {"memory": {"limit": "64M"}, "pids": {"limit": 99999999999999999999}},
            "maskedPaths": {}, "readonlyPaths": ["/x"]}}"#;
    assert_eq!(
        problems(text),
        [
            "/linux/maskedPaths: found an object, expected a list",
            "/linux/resources/memory/limit: found \"64M\", expected a whole number from -9223372036854775808 to \
             9223372036854775807",
            "/linux/resources/pids/limit: found 1e+20, expected a whole number from -9223372036854775808 to \
             9223372036854775807",
            "/ociVersion: found 5, expected a string",
            "/process/args/1: found 1, expected a string",
            "/process/args/2: found null, expected a string",
            "/process/args/3: found an object, expected a string",
            "/process/rlimits/1/type: found \"X\", expected a resource of getrlimit(2): RLIMIT_CPU, RLIMIT_FSIZE, \
             RLIMIT_DATA, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_RSS, RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK, \
             RLIMIT_AS, RLIMIT_LOCKS, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO, RLIMIT_RTTIME",
            "/process/rlimits/2/type: found 7, expected a resource of getrlimit(2): RLIMIT_CPU, RLIMIT_FSIZE, \
             RLIMIT_DATA, RLIMIT_STACK, RLIMIT_CORE, RLIMIT_RSS, RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK, \
             RLIMIT_AS, RLIMIT_LOCKS, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO, RLIMIT_RTTIME",
            "/process/terminal: found \"yes\", expected true or false",
            "/process/user/gid: found 1.5, expected a whole number from 0 to 4294967295",
            "/process/user/uid: found -1, expected a whole number from 0 to 4294967295",
            "/process/cwd: Cwd must be an absolute path, not \"tmp\"",
            "/process/rlimits/3/type: duplicated rlimit RLIMIT_CPU, each may be set once",
            "/hostname: unable to set hostname without a private UTS namespace, add {\"type\": \"uts\"}",
            "/linux/readonlyPaths: unable to restrict sys entries without a private MNT namespace, add {\"type\": \
             \"mount\"}",
        ]
    );
}

#[test]
fn what_could_not_be_read_is_not_missing_as_well() {
    for (section, pointer) in [
        (r#""process": {"args": 5, "cwd": "/"}"#, "/process/args"),
        (r#""process": {"args": [5], "cwd": "/"}"#, "/process/args/0"),
        (r#""process": {"args": ["sh"], "cwd": 5}"#, "/process/cwd"),
        (r#""process": 5"#, "/process"),
    ] {
        let text = format!(r#"{{"ociVersion": "1.3.0", "root": {{"path": "r"}}, {section}}}"#);
        let problems = problems(&text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(&format!("{pointer}: found 5, expected ")), "{problems:?}");
    }
}

#[test]
fn a_namespace_list_that_could_not_be_read_may_hold_any_namespace() {
    let text = r#"{"ociVersion": "1.3.0", "root": {"path": "r"}, "process": {"args": ["sh"], "cwd": "/"},
        "hostname": "x", "linux": {"namespaces": [{"type": "UTS"}], "sysctl": {"net.ipv4.ip_forward": "1"}}}"#;
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("/linux/namespaces/0/type: found \"UTS\""), "{problems:?}");
}

#[test]
fn a_long_text_is_shown_shortened() {
    let text = LEAST.replace("\"/\"", "[]").replace("[\"sh\"]", &format!("\"{}\"", "é".repeat(1000)));
    let found = format!("found \"{}\"…, expected a list", "é".repeat(60));
    assert_eq!(
        problems(&text),
        [format!("/process/args: {found}"), "/process/cwd: found a list, expected a string".to_owned()]
    );
}

#[test]
fn a_hopeless_file_ends_after_a_hundred_problems() {
    let text = LEAST.replace("[\"sh\"]", &format!("[{}1]", "1,".repeat(500)));
    let problems = problems(&text);
    assert_eq!(problems.len(), 101);
    assert_eq!(problems[99], "/process/args/99: found 1, expected a string");
    assert_eq!(problems[100], "100 values are of a wrong type, the rest was not looked at");
}

#[test]
fn a_wrong_type_far_from_an_error_of_syntax_is_not_what_is_reported() {
    assert!(message(r#"{"process": 5, "x": }"#).contains("line 1, column 21: expected value"));
}
