//! The terminal of a detached container: sent to whoever listens on the console socket.

use std::fs::{self, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use cloison_tests::receiver::{read_until, receive};
use cloison_tests::{Bundle, Container, Output, Sandbox, json, only_for, runc_lacks, skip_unless};
use rustix::termios::tcgetwinsize;

fn at_terminal<'s>(sandbox: &'s Sandbox, script: &str) -> Bundle<'s> {
    sandbox.busybox(script).set("/process/terminal", true)
}

fn create(bundle: &Bundle<'_>, id: &str, socket: &Path) -> Output {
    bundle.try_create(id, &["--console-socket", socket.to_str().unwrap()])
}

#[test]
fn the_socket_gets_one_message_with_the_master_and_a_name() {
    let sandbox = Sandbox::new();
    let socket = sandbox.dir().join("console");
    let listener = cloison_tests::receiver::listen(&socket);
    let bundle = at_terminal(&sandbox, "tty; stty size; read x; echo got $x; exec sleep 1000")
        .set("/process/consoleSize", json!({"height": 20, "width": 70}));
    let id = sandbox.new_id();
    create(&bundle, &id, &socket).ok();
    let (name, master) = receive(&listener);
    assert!(name.starts_with("/dev/"), "{name}");
    let size = tcgetwinsize(&master).unwrap();
    assert_eq!((size.ws_col, size.ws_row), (70, 20));
    let container = sandbox.container(&id);
    container.start().ok();
    assert!(read_until(&master, "20 70").contains("/dev/pts/0\r\n"));
    rustix::io::write(&master, b"it\n").unwrap();
    read_until(&master, "got it");
    container.end();
}

#[test]
fn run_detached_sends_the_terminal_too() {
    let sandbox = Sandbox::new();
    let socket = sandbox.dir().join("console");
    let listener = cloison_tests::receiver::listen(&socket);
    let bundle = at_terminal(&sandbox, "echo hello; exec sleep 1000");
    bundle.write();
    let id = sandbox.new_id();
    let flags = ["--detach", "--console-socket", socket.to_str().unwrap()];
    sandbox.finish(bundle.run_command_as(&id, &flags)).ok();
    let (_, master) = receive(&listener);
    read_until(&master, "hello\r\n");
    sandbox.container(&id).end();
}

#[test]
fn the_path_of_the_socket_may_be_longer_than_an_address() {
    only_for!(Cloison, "runc connects by the path, which has at most 107 bytes");
    let sandbox = Sandbox::new();
    let deep = sandbox.directory(&format!("{}/{}", "d".repeat(100), "e".repeat(100)));
    let short = sandbox.dir().join("console");
    let listener = cloison_tests::receiver::listen(&short);
    let long = deep.join("f".repeat(200));
    fs::rename(&short, &long).unwrap();
    let id = sandbox.new_id();
    create(&at_terminal(&sandbox, "exec sleep 1000"), &id, &long).ok();
    receive(&listener);
    sandbox.container(&id).delete_force().ok();
}

#[test]
fn a_socket_that_does_not_answer_is_told_by_its_path_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let at = |name: &str| sandbox.dir().join(name);
    drop(cloison_tests::receiver::listen(at("deaf")));
    sandbox.file("file", "");
    let _datagrams = cloison_tests::receiver::listen_for_datagrams(at("datagrams"));
    for (name, why) in [
        ("missing", "no such file"),
        ("deaf", "refused"),
        ("file", ""),
        ("datagrams", ""),
        ("file/below", "not a directory"),
    ] {
        let bundle = at_terminal(&sandbox, "true");
        create(&bundle, &sandbox.new_id(), &at(name)).refused_saying(&[at(name).to_str().unwrap(), why]);
        sandbox.assert_nothing_left();
    }
}

#[test]
fn what_is_wrong_with_the_socket_is_said() {
    only_for!(Cloison, "runc says `connection refused` for all");
    let sandbox = Sandbox::new();
    let at = |name: &str| sandbox.dir().join(name);
    drop(cloison_tests::receiver::listen(at("deaf")));
    sandbox.file("file", "");
    let _datagrams = cloison_tests::receiver::listen_for_datagrams(at("datagrams"));
    for (name, why) in
        [("deaf", "nobody listens"), ("file", "is not a socket"), ("datagrams", "is not a stream socket")]
    {
        create(&at_terminal(&sandbox, "true"), &sandbox.new_id(), &at(name)).refused_saying(&[why]);
    }
}

#[test]
fn a_receiver_that_hangs_up_at_once_does_no_harm() {
    let sandbox = Sandbox::new();
    let socket = sandbox.dir().join("console");
    let listener = cloison_tests::receiver::listen(&socket);
    let receiver = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let id = sandbox.new_id();
    // Whether the message was sent before or after is the kernel's affair.
    let created = create(&at_terminal(&sandbox, "true"), &id, &socket);
    receiver.join().unwrap();
    if created.status.success() {
        sandbox.container(&id).delete_force().ok();
    }
}

#[test]
fn a_terminal_that_nobody_would_get_is_refused() {
    let sandbox = Sandbox::new();
    let words = "cannot allocate tty if runc will detach without setting console socket";
    let bundle = at_terminal(&sandbox, "true");
    bundle.try_create(&sandbox.new_id(), &[]).refused_saying(&[words]);
    bundle.run_with(&["--detach"]).refused_saying(&[words]);
}

#[test]
fn who_has_nobody_for_a_terminal_is_told_who_could_be_that() {
    only_for!(Cloison, "runc gives no hints");
    let sandbox = Sandbox::new();
    let bundle = at_terminal(&sandbox, "true");
    bundle.run_with(&["--detach"]).refused_saying(&["hint: ", "cloison console", "cloison attach"]);
}

#[test]
fn a_socket_for_no_terminal_is_refused() {
    let sandbox = Sandbox::new();
    let words = "cannot use console socket if runc will not detach or allocate tty";
    let socket = sandbox.dir().join("console");
    let _listener = cloison_tests::receiver::listen(&socket);
    let flags = ["--console-socket", socket.to_str().unwrap()];
    let without = sandbox.busybox("true");
    without.try_create(&sandbox.new_id(), &flags).refused_saying(&[words]);
    without.run_with(&flags).refused_saying(&[words]);
    without.run_with(&["--detach", flags[0], flags[1]]).refused_saying(&[words]);
    at_terminal(&sandbox, "true").run_with(&flags).refused_saying(&[words]);
}

#[test]
fn a_receiver_that_never_accepts_is_given_up() {
    only_for!(Cloison, "runc waits for ever");
    let sandbox = Sandbox::new();
    let socket = sandbox.dir().join("console");
    let (kind, flags) = (rustix::net::SocketType::STREAM, rustix::net::SocketFlags::CLOEXEC);
    let unix = rustix::net::AddressFamily::UNIX;
    let listener = rustix::net::socket_with(unix, kind, flags, None).unwrap();
    rustix::net::bind(&listener, &rustix::net::SocketAddrUnix::new(&socket).unwrap()).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    cloison_tests::caller::give(&socket);
    let _waits = UnixStream::connect(&socket).unwrap();
    create(&at_terminal(&sandbox, "true"), &sandbox.new_id(), &socket)
        .refused_saying(&[socket.to_str().unwrap(), "queue of connections is full"]);
    sandbox.assert_nothing_left();
}

#[test]
fn a_socket_that_the_caller_may_not_use_is_told_and_leaves_nothing() {
    only_for!(Cloison, "runc needs the capability for more than this");
    let sandbox = Sandbox::new();
    skip_unless!(!sandbox.uses_systemd(), "is without cgroups, and so without --systemd-cgroup");
    let socket = sandbox.dir().join("console");
    let _listener = cloison_tests::receiver::listen(&socket);
    fs::set_permissions(&socket, Permissions::from_mode(0o000)).unwrap();
    let bundle = at_terminal(&sandbox, "true");
    bundle.write();
    let create = bundle.create_command(&sandbox.new_id(), &["--console-socket", socket.to_str().unwrap()]);
    let output = if cloison_tests::caller::ordinary().is_some() {
        sandbox.finish(create)
    } else {
        // Root may use everything by this capability alone.
        let mut without = sandbox.bare_command("setpriv");
        without.args(["--bounding-set=-dac_override", "--inh-caps=-dac_override"]);
        without.arg(create.get_program()).args(["--cgroup-manager", "disabled"]).args(create.get_args());
        sandbox.finish(without)
    };
    output.refused_saying(&[socket.to_str().unwrap(), "permission denied"]);
    sandbox.assert_nothing_left();
}

#[test]
fn the_pidfd_socket_gets_the_first_process_of_create_and_of_run() {
    runc_lacks!("1.2: --pidfd-socket");
    let sandbox = Sandbox::new();
    let socket = sandbox.dir().join("pidfd");
    let listener = cloison_tests::receiver::listen(&socket);
    let flags = ["--pidfd-socket", socket.to_str().unwrap()];
    let is_of = |container: &Container<'_>| {
        let (_, pidfd) = receive(&listener);
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
        assert!(info.lines().any(|line| line == format!("Pid:\t{}", container.pid())), "{info}");
    };
    let bundle = sandbox.sleeper();
    let created = bundle.create_with(&flags);
    is_of(&created);
    created.delete_force().ok();
    bundle.write();
    let id = sandbox.new_id();
    sandbox.finish(bundle.run_command_as(&id, &[&["--detach"], &flags[..]].concat())).ok();
    let running = sandbox.container(&id);
    is_of(&running);
    running.end();
}
