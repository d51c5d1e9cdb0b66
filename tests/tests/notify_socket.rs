//! `NOTIFY_SOCKET`: a service manager that is told by a program in a container.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cloison_tests::host::why_no_criu;
use cloison_tests::{Bundle, Container, Foreground, Sandbox, only_for, until};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Tells the service manager from inside: `logger` writes datagrams to /dev/log, whose first line is its own.
const TELL: &str = "ln -s $NOTIFY_SOCKET /dev/log; tell() { logger \"x\n$1\"; }; ";

struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn new(sandbox: &Sandbox) -> Self {
        let socket = cloison_tests::receiver::listen_for_datagrams(sandbox.dir().join("manager"));
        socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Self { socket }
    }

    /// The next message, and the descriptor that came with it.
    fn hear(&self) -> (String, Option<OwnedFd>) {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        let got = recvmsg(&self.socket, parts, &mut control, RecvFlags::CMSG_CLOEXEC).expect("a message");
        let fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let fd = fds.last();
        (String::from_utf8_lossy(&bytes[..got.bytes]).into_owned(), fd)
    }

    /// Messages up to the barrier, one a line, which is let down.
    fn until_barrier(&self) -> String {
        let mut all = String::new();
        loop {
            let (text, fd) = self.hear();
            if text == "BARRIER=1" {
                assert!(fd.is_some(), "a barrier is a descriptor");
                return all;
            }
            all += text.trim_end();
            all.push('\n');
        }
    }
}

fn managed(sandbox: &Sandbox, mut command: Command) -> Command {
    command.env("NOTIFY_SOCKET", sandbox.dir().join("manager"));
    command
}

fn bundle<'s>(sandbox: &'s Sandbox, script: &str) -> Bundle<'s> {
    sandbox.busybox(&format!("{TELL}{script}")).set("/root/readonly", false)
}

fn socket_of(sandbox: &Sandbox, container: &Container<'_>) -> std::path::PathBuf {
    sandbox.root().join(container.id()).join("notify/notify.sock")
}

#[test]
fn start_stays_until_the_program_is_ready() {
    only_for!(Cloison, "runc looks at the first line of a message alone, which logger writes itself");
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let bundle = bundle(&sandbox, "sleep 0.3; tell READY=1; exec sleep 1000");
    bundle.write();
    let id = sandbox.new_id();
    sandbox.finish(managed(&sandbox, bundle.create_command(&id, &[]))).ok();
    let container = sandbox.container(&id);
    let mut start = sandbox.spawn(managed(&sandbox, sandbox.command(["start", &id])));
    let told = manager.until_barrier();
    let pid = container.pid();
    assert_eq!(told, format!("READY=1\nMAINPID={pid}\n"));
    let _ = start.child();
    start.wait().ok();
    container.end();
}

#[test]
fn run_detached_stays_until_the_program_is_ready_or_has_ended() {
    only_for!(Cloison, "runc looks at the first line of a message alone, which logger writes itself");
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let ready = bundle(&sandbox, "tell READY=1; exec sleep 1000");
    ready.write();
    let id = sandbox.new_id();
    let run = sandbox.spawn(managed(&sandbox, ready.run_command_as(&id, &["--detach"])));
    let told = manager.until_barrier();
    let container = sandbox.container(&id);
    assert_eq!(told, format!("READY=1\nMAINPID={}\n", container.pid()));
    run.wait().ok();
    container.end();
    let silent = bundle(&sandbox, "sleep 0.2");
    silent.write();
    let id = sandbox.new_id();
    sandbox.finish(managed(&sandbox, silent.run_command_as(&id, &["--detach"]))).ok();
    let container = sandbox.container(&id);
    container.until("stopped");
    container.delete().ok();
}

#[test]
fn in_the_foreground_all_is_passed_on_with_the_number_of_the_runtime() {
    only_for!(Cloison, "runc passes on READY alone");
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let script = "tell STATUS=begins; tell 'READY=1\nMAINPID=1'; tell FDSTORE=1; tell STOPPING=1; exit 3";
    let bundle = bundle(&sandbox, script);
    bundle.write();
    let run = sandbox.spawn(managed(&sandbox, bundle.run_command(&[])));
    assert_eq!(manager.hear().0, "STATUS=begins");
    assert_eq!(manager.hear().0, format!("READY=1\nMAINPID={}", run.pid()));
    assert_eq!(manager.hear().0, "STOPPING=1");
    assert_eq!(run.wait().code(), 3);
}

#[test]
fn a_barrier_goes_through_with_its_descriptor_and_a_monitor_goes_on() {
    only_for!(Cloison, "no other runtime has a monitor");
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let bundle = bundle(&sandbox, "tell READY=1; exec sleep 1000");
    bundle.write();
    let id = sandbox.new_id();
    sandbox.finish(managed(&sandbox, bundle.run_command_as(&id, &["--detach", "--monitor"]))).ok();
    let container = sandbox.container(&id);
    assert_eq!(manager.hear().0, format!("READY=1\nMAINPID={}", container.pid()));
    let program = UnixDatagram::unbound().unwrap();
    program.connect(socket_of(&sandbox, &container)).unwrap();
    let (ours, theirs) = rustix::pipe::pipe().unwrap();
    let fds = [theirs.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(&program, &[IoSlice::new(b"BARRIER=1")], &mut control, SendFlags::empty()).unwrap();
    drop(theirs);
    let (text, fd) = manager.hear();
    assert_eq!(text, "BARRIER=1");
    let has_ended = || {
        let mut fds = [rustix::event::PollFd::new(&ours, rustix::event::PollFlags::empty())];
        rustix::event::poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap() > 0
    };
    assert!(!has_ended());
    drop(fd);
    until("the barrier is down", has_ended);
    program.send(&[b'x'; 5000]).unwrap();
    program.send(b"STATUS=after").unwrap();
    assert_eq!(manager.hear().0, "STATUS=after");
    container.delete_force().ok();
}

#[test]
fn without_a_service_manager_nothing_is_different() {
    let sandbox = Sandbox::new();
    let script = "echo ${NOTIFY_SOCKET:-none}; test -e /run/notify || echo nothing";
    assert_eq!(sandbox.busybox(script).run().ok(), "none\nnothing\n");
    let bundle = sandbox.busybox(script);
    bundle.write();
    let mut command = bundle.run_command(&[]);
    command.env("NOTIFY_SOCKET", "");
    assert_eq!(sandbox.finish(command).ok(), "none\nnothing\n");
}

#[test]
fn the_socket_is_read_only_by_its_mount_and_open_to_every_user_inside() {
    only_for!(Cloison, "a runc in the foreground waits for READY for ever");
    let sandbox = Sandbox::new();
    let _manager = Manager::new(&sandbox);
    let script = "echo $NOTIFY_SOCKET; stat -c %a /run/notify/notify.sock; grep -c ' /run/notify ro,nosuid,nodev,noexec' /proc/self/mountinfo; touch /run/notify/x 2>/dev/null || echo closed";
    let bundle = sandbox.busybox(script).set("/root/readonly", false);
    bundle.write();
    let output = sandbox.finish(managed(&sandbox, bundle.run_command(&[])));
    assert_eq!(output.ok(), "/run/notify/notify.sock\n777\n1\nclosed\n");
}

#[test]
fn a_service_manager_that_is_not_there_is_named_and_leaves_nothing() {
    only_for!(Cloison, "runc goes on in silence");
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper().set("/root/readonly", false);
    bundle.write();
    let gone: &Path = &sandbox.dir().join("manager");
    let output = sandbox.finish(managed(&sandbox, bundle.run_command(&[])));
    output.refused_saying(&[gone.to_str().unwrap(), "NOTIFY_SOCKET", "no such file"]);
    sandbox.assert_nothing_left();
}

/// Runs a program that is ready, and later tells more when it is asked to; takes it to disk, and restores it with these flags.
fn restored<'s>(sandbox: &'s Sandbox, manager: &Manager, flags: &[&str]) -> (Foreground<'s>, Container<'s>) {
    let script =
        "tell READY=1; until test -e /tmp/again; do sleep 0.05; done; tell STATUS=again; exec sleep 1000";
    let bundle = bundle(sandbox, script).dumpable().mount("tmpfs", "tmpfs", "/tmp", &[]);
    bundle.write();
    let id = sandbox.new_id();
    // What is to be dumped has no file of the host open.
    let spawn = |mut command: Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        sandbox.spawn_with_own_stdio(managed(sandbox, command))
    };
    let run = spawn(bundle.run_command_as(&id, &["--detach"]));
    assert_eq!(manager.until_barrier(), format!("READY=1\nMAINPID={}\n", sandbox.container(&id).pid()));
    run.wait().ok();
    let images = sandbox.dir().join("images");
    let mut checkpoint = sandbox.command(["checkpoint", "--image-path"]);
    checkpoint.arg(&images).arg(&id);
    sandbox.finish(checkpoint).ok();
    let mut restore = sandbox.command(["restore", "--bundle"]);
    restore.arg(bundle.dir()).arg("--image-path").arg(&images).args(flags).arg(&id);
    (spawn(restore), sandbox.container(&id))
}

#[test]
fn restore_says_that_the_program_is_ready_which_does_not_say_it_again() {
    only_for!(Cloison, "runc mounts a place for the socket and makes none");
    if let Some(reason) = why_no_criu() {
        return cloison_tests::skip::report(reason);
    }
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let (restore, container) = restored(&sandbox, &manager, &["--detach"]);
    let told = manager.until_barrier();
    assert_eq!(told, format!("READY=1\nMAINPID={}\n", container.pid()));
    restore.wait().ok();
    container.end();
}

#[test]
fn in_the_foreground_a_restored_program_tells_more_by_the_socket_that_it_knows() {
    only_for!(Cloison, "runc mounts a place for the socket and makes none");
    if let Some(reason) = why_no_criu() {
        return cloison_tests::skip::report(reason);
    }
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let (restore, container) = restored(&sandbox, &manager, &[]);
    assert_eq!(manager.hear().0, format!("READY=1\nMAINPID={}", restore.pid()));
    container.exec(["touch", "/tmp/again"]).ok();
    assert_eq!(manager.hear().0, "STATUS=again");
    container.kill(&["KILL"]).ok();
    assert_eq!(restore.wait().code(), 137);
}
