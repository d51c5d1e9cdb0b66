//! `logs`: what a container that has a monitor has written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cloison_tests::{Bundle, Container, Sandbox, Value, caller, only_for, until};

fn run<'s>(sandbox: &'s Sandbox, bundle: &Bundle<'s>, flags: &[&str]) -> Container<'s> {
    bundle.write();
    let id = sandbox.new_id();
    sandbox.finish(bundle.run_command_as(&id, &[&["--detach", "--monitor"], flags].concat())).ok();
    sandbox.container(&id)
}

fn run_to_end<'s>(sandbox: &'s Sandbox, script: &str, flags: &[&str]) -> Container<'s> {
    let container = run(sandbox, &sandbox.busybox(script), flags);
    sandbox.cloison(["wait", container.id()]).ok();
    container
}

#[test]
fn streams_are_kept_apart_and_each_byte_in_the_form_of_the_cri() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let container = run_to_end(&sandbox, "echo one; echo bad >&2; printf '\\377\\000x'", &[]);
    let logs = sandbox.cloison(["logs", container.id()]);
    assert_eq!(logs.stderr, "bad\n");
    assert_eq!(fs::read(&logs.stdout_file).unwrap(), b"one\n\xff\0x");
    let path = sandbox.root().join(container.id()).join("log");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read(path).unwrap();
    assert!(String::from_utf8_lossy(&text).lines().any(|line| line.ends_with("Z stdout F one")));
    container.delete().ok();
}

#[test]
fn the_form_of_docker_is_there_too() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let path = sandbox.dir().join("c.log");
    let flags = ["--log-driver", "json", "--log-path", path.to_str().unwrap()];
    let container = run_to_end(&sandbox, "echo 'a \"b\"'; echo bad >&2", &flags);
    let lines: Vec<Value> =
        fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["log"] == "a \"b\"\n" && line["stream"] == "stdout"), "{lines:?}");
    assert!(lines.iter().any(|line| line["log"] == "bad\n" && line["stream"] == "stderr"), "{lines:?}");
    assert_eq!(sandbox.cloison(["logs", container.id()]).ok(), "a \"b\"\n");
    container.delete().ok();
    assert!(path.exists(), "a log elsewhere is its owner's");
}

#[test]
fn logs_can_be_followed_to_the_end() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let container = run(
        &sandbox,
        &sandbox
            .busybox("echo one; while ! test -e /go; do sleep 0.05; done; echo two")
            .set("/root/readonly", false),
        &[],
    );
    let following = sandbox.spawn(sandbox.command(["logs", "--follow", container.id()]));
    following.until_prints("one\n");
    container.exec(["touch", "/go"]).ok();
    assert_eq!(following.wait().ok(), "one\ntwo\n");
    assert_eq!(sandbox.cloison(["logs", "-f", container.id()]).ok(), "one\ntwo\n", "it has ended");
    container.delete().ok();
}

#[test]
fn times_are_shown_and_chosen() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let container = run_to_end(&sandbox, "echo one; sleep 1.2; echo two", &[]);
    let logs = |flags: &[&str]| {
        let all = [&["logs"], flags, &[container.id()]].concat();
        sandbox.cloison(all).ok().to_owned()
    };
    let stamped = logs(&["--timestamps"]);
    let times: Vec<_> = stamped.lines().map(|line| line.split_once(' ').unwrap()).collect();
    assert_eq!((times[0].1, times[1].1), ("one", "two"));
    assert!(times[0].0 < times[1].0 && times[0].0.len() == 30, "{stamped}");
    assert_eq!(logs(&["--since", times[1].0]), "two\n");
    assert_eq!(logs(&["--since", "1h"]), "one\ntwo\n");
    assert_eq!(logs(&["--since", "0"]), "one\ntwo\n");
    assert_eq!(logs(&["--since", "2100-01-01T00:00:00Z"]), "");
    sandbox.cloison(["logs", "--since", "yesterday", container.id()]).refused_saying(&["expected a time"]);
    container.delete().ok();
}

#[test]
fn a_log_stays_below_twice_its_size_and_keeps_the_newest() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let container = run(&sandbox, &sandbox.busybox("read x; seq 1 20000"), &["--log-max-size", "64k"]);
    let following = sandbox.spawn(sandbox.command(["logs", "--follow", container.id()]));
    let mut attach = sandbox.command(["attach", container.id()]);
    attach.stdin(fs::File::open(sandbox.file("go", "go\n")).unwrap());
    assert!(sandbox.finish(attach).ok().ends_with("\n20000\n"));
    let size = |name: &str| fs::metadata(sandbox.root().join(container.id()).join(name)).unwrap().len();
    assert!(size("log") <= 65536 && size("log.1") <= 65536, "{} {}", size("log"), size("log.1"));
    let logs = sandbox.cloison(["logs", container.id()]);
    // The first one may be the second half of a line.
    let numbers: Vec<u32> = logs.ok().lines().skip(1).map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers.last(), Some(&20000));
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "no line is lost in between");
    let followed = following.wait();
    assert!(followed.ok().ends_with("\n20000\n"));
    container.delete().ok();
}

#[test]
fn there_may_be_no_log() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let container = run_to_end(&sandbox, "echo x", &["--log-driver", "none"]);
    assert!(!sandbox.root().join(container.id()).join("log").exists());
    sandbox.cloison(["logs", container.id()]).refused_saying(&["has no log"]);
    container.delete().ok();
}

#[test]
fn what_cannot_be_a_log_is_refused_and_leaves_nothing() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let mut mkfifo = sandbox.bare_command("mkfifo");
    mkfifo.arg("pipe");
    sandbox.finish(mkfifo).ok();
    caller::give(&sandbox.dir().join("pipe"));
    let refused = |path: &Path, why: &str| {
        let flags = ["--detach", "--monitor", "--log-path", path.to_str().unwrap()];
        sandbox.sleeper().run_with(&flags).refused_saying(&[path.to_str().unwrap(), why]);
        sandbox.assert_nothing_left();
    };
    refused(&sandbox.dir().join("pipe"), "is not a regular file");
    refused(sandbox.dir(), "is not a regular file");
    refused(&sandbox.dir().join("no/log"), "no such file");
    refused(Path::new("/dev/full"), "is not a regular file");
    sandbox.sleeper().run_with(&["--detach", "--log-driver", "json"]).refused_saying(&["--monitor"]);
    sandbox.sleeper().run_with(&["--detach", "--monitor", "--log-max-size", "0"]).refused_saying(&["a size"]);
}

#[test]
fn a_full_disk_loses_lines_and_never_the_container() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let disk = sandbox.directory("disk");
    sandbox.mount("tmpfs", &disk, "tmpfs", rustix::mount::MountFlags::empty(), "size=64k");
    let log = disk.join("log");
    let container = run(
        &sandbox,
        &sandbox.busybox("head -c 1000000 /dev/zero; exit 3"),
        &["--log-path", log.to_str().unwrap()],
    );
    until("it ends", || container.status() == "stopped");
    assert_eq!(sandbox.cloison(["wait", container.id()]).code(), 3);
    container.delete().ok();
}
