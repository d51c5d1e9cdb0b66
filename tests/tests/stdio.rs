//! Standard streams: inherited as they are.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use cloison_tests::{Sandbox, Screen, append_command, only_for};

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
        shell.args(["-c", &format!("exec \"$0\" \"$@\" {closed}")]);
        append_command(&mut shell, &command);
        sandbox.finish(shell).ok();
        assert_eq!(fs::read_to_string(bundle.rootfs().join("tmp/marker")).unwrap(), "fine\n", "{closed}");
    }
}

#[test]
fn standard_input_is_not_read_by_the_runtime() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("cat");
    bundle.write();
    let input = sandbox.file("input", "all of it");
    let mut command = bundle.run_command(&[]);
    command.stdin(fs::File::open(input).unwrap());
    assert_eq!(sandbox.finish(command).ok(), "all of it");
}

#[test]
fn streams_can_be_opened_by_their_names_by_another_user() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .busybox("echo named > /dev/stdout")
        .set("/process/user", cloison_tests::json!({"uid": 1000, "gid": 1000}));
    bundle.write();
    let (mut ours, theirs) = std::io::pipe().unwrap();
    // The caller's own, as a shell's or an engine's would be.
    cloison_tests::caller::give_open(&theirs);
    let mut command = bundle.run_command(&[]);
    command.stdout(theirs);
    let run = sandbox.spawn_with_own_stdio(command);
    let mut out = String::new();
    ours.read_to_string(&mut out).unwrap();
    run.wait().ok();
    assert_eq!(out, "named\n");
}

#[test]
fn the_program_has_the_callers_own_file_socket_pipe_or_terminal() {
    only_for!(Cloison, "a runc in the foreground puts pipes of its own between");
    let sandbox = Sandbox::new();
    // What it is, and which one. (A shell may change its own streams for what is built in.)
    let script = "for n in 0 1; do test -t $n && echo terminal >&2; what=$(stat -L -c '%F %i' /proc/$$/fd/$n); echo $what >&2; done";
    let bundle = sandbox.busybox(script);
    bundle.write();
    let file = sandbox.file("file", "");
    let (ours, socket) = UnixStream::pair().unwrap();
    let (pipe, _writer) = rustix::pipe::pipe().unwrap();
    let screen = Screen::new();
    let terminal = screen.terminal.try_clone().unwrap();
    let kinds: [(&str, OwnedFd); 4] = [
        ("regular empty file", fs::File::open(&file).unwrap().into()),
        ("socket", socket.into()),
        ("fifo", pipe),
        ("terminal\ncharacter special file", terminal),
    ];
    for (kind, stream) in kinds {
        let inode = rustix::fs::fstat(&stream).unwrap().st_ino;
        let mut run = bundle.run_command(&[]);
        run.stdin(stream.try_clone().unwrap())
            .stdout(stream)
            .stderr(fs::File::create(sandbox.dir().join("told")).unwrap());
        sandbox.spawn_with_own_stdio(run).wait().ok();
        let told = fs::read_to_string(sandbox.dir().join("told")).unwrap();
        assert_eq!(told, format!("{kind} {inode}\n").repeat(2));
    }
    drop(ours);
}
