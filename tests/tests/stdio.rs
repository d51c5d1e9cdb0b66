//! Standard streams: inherited as they are.

use std::io::{Read, Write};
use std::process::Stdio;

use cloison_tests::Sandbox;

#[test]
fn pipes_carry_data_in_and_out() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("tr a-z A-Z; echo problem >&2");
    bundle.write();
    let mut command = bundle.run_command(&[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = sandbox.spawn_with_own_stdio(command);
    run.child().stdin.take().unwrap().write_all(b"through the pipe").unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    run.child().stdout.take().unwrap().read_to_string(&mut out).unwrap();
    run.child().stderr.take().unwrap().read_to_string(&mut err).unwrap();
    run.wait().ok();
    assert_eq!((out.as_str(), err.as_str()), ("THROUGH THE PIPE", "problem\n"));
}

#[test]
fn much_data_goes_through() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("head -c 20000000 /dev/zero | tr '\\0' x");
    bundle.write();
    let mut command = bundle.run_command(&[]);
    command.stdout(Stdio::piped());
    let mut run = sandbox.spawn_with_own_stdio(command);
    let mut data = Vec::new();
    run.child().stdout.take().unwrap().read_to_end(&mut data).unwrap();
    run.wait().ok();
    assert_eq!(data.len(), 20_000_000);
}

#[test]
fn the_reader_sees_the_end_when_a_detached_container_ends() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("echo from the container");
    bundle.write();
    let id = sandbox.new_id();
    let mut command = bundle.run_command_as(&id, &["--detach"]);
    command.stdout(Stdio::piped());
    let mut run = sandbox.spawn_with_own_stdio(command);
    let mut out = String::new();
    // The end comes only when no process of the runtime holds the pipe any more.
    run.child().stdout.take().unwrap().read_to_string(&mut out).unwrap();
    run.wait().ok();
    assert_eq!(out, "from the container\n");
    sandbox.container(&id).until("stopped");
    sandbox.container(&id).delete().ok();
}

#[test]
fn closed_streams_are_no_trouble() {
    let sandbox = Sandbox::new();
    let marker = "echo fine > /tmp/marker";
    for closed in ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"] {
        let bundle = sandbox.busybox(marker).writable();
        bundle.write();
        let command = bundle.run_command(&[]);
        let mut shell = sandbox.bare_command("/bin/bash");
        shell
            .args(["-c", &format!("exec \"$0\" \"$@\" {closed}")])
            .arg(command.get_program())
            .args(command.get_args());
        sandbox.finish(shell).ok();
        assert_eq!(
            std::fs::read_to_string(bundle.rootfs().join("tmp/marker")).unwrap(),
            "fine\n",
            "{closed}"
        );
    }
}

#[test]
fn standard_input_is_not_read_by_the_runtime() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("cat");
    bundle.write();
    let input = sandbox.file("input", "all of it");
    let mut command = bundle.run_command(&[]);
    command.stdin(std::fs::File::open(input).unwrap());
    assert_eq!(sandbox.finish(command).ok(), "all of it");
}

#[test]
fn streams_can_be_opened_by_their_names_by_another_user() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox("echo named > /dev/stdout")
        .set("/process/user", cloison_tests::json!({"uid": 1000, "gid": 1000}));
    bundle.write();
    let mut command = bundle.run_command(&[]);
    command.stdout(Stdio::piped());
    let mut run = sandbox.spawn_with_own_stdio(command);
    let mut out = String::new();
    run.child().stdout.take().unwrap().read_to_string(&mut out).unwrap();
    run.wait().ok();
    assert_eq!(out, "named\n");
}
