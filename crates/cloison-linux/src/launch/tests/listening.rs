//! Filters with a listener.

use rustix::io::Errno;

use super::*;
use crate::process::take_descriptor;
use crate::seccomp::{Answer, NEW_LISTENER, Notification, receive, respond};
use crate::socket;

/// What the runtime says when the listener is handed over.
const TAKEN: u8 = b'l';

/// A filter that tells of one call and allows the others.
fn telling_of(number: libc::c_long) -> LaunchStep {
    let instruction = |code, jt, jf, k| SockFilter { code, jt, jf, k };
    let filter = vec![
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 0, 1, number as u32),
        instruction(0x06, 0, 0, 0x7fc0_0000),
        instruction(0x06, 0, 0, 0x7fff_0000),
    ];
    LaunchStep::Seccomp {
        filter,
        flags: NEW_LISTENER,
        listener: Some(Handover { hear: TAKEN, be_seen: false }),
    }
}

/// A child that hands a listener over and then runs a shell, and the listener.
fn listened_to(pad: Option<OwnedFd>, number: libc::c_long, script: &str) -> (Launched, OwnedFd) {
    let (output, stdout) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (runtime, report) = socket::pair().unwrap();
    let what = Launch {
        early: vec![],
        steps: vec![LaunchStep::CloseFrom(3), LaunchStep::NoNewPrivileges, telling_of(number)],
        program: LaunchProgram { candidates: strings(&[SHELL]) },
        args: strings(&["sh", "-c", script]),
        env: vec![],
        report: Some(report),
        handshake: None,
        wait: None,
        pad,
    };
    let (pid, pidfd) = fork(&what, stdout);
    drop(what);
    let told = socket::receive(runtime.as_fd()).unwrap().bytes;
    let told = told.as_slice().try_into().unwrap_or_else(|_| panic!("{told:?}"));
    let listener = take_descriptor(pidfd.as_fd(), i32::from_ne_bytes(told)).unwrap();
    (Launched { pid, pidfd, output, report: runtime }, listener)
}

fn hear(child: &Launched, listener: &OwnedFd) -> Notification {
    let heard = receive(listener.as_fd()).unwrap();
    assert_eq!(heard.pid.cast_signed(), child.pid.as_raw_pid());
    heard
}

fn go_on(child: &Launched) {
    socket::send(child.report.as_fd(), &[TAKEN], None).unwrap();
}

#[test]
fn listener_is_handed_over_and_answers_for_the_program() {
    for pad in pads() {
        let (child, listener) = listened_to(pad, libc::SYS_chdir, "cd /nowhere && echo there; cd /; echo $?");
        go_on(&child);
        let first = hear(&child, &listener);
        assert_eq!(i64::from(first.number), libc::SYS_chdir);
        respond(listener.as_fd(), first.id, Answer::Value(0)).unwrap();
        let second = hear(&child, &listener);
        respond(listener.as_fd(), second.id, Answer::Error(Errno::PERM)).unwrap();
        let (output, report, ending) = child.finish();
        assert!(output.contains("there\n") && output.ends_with("\n2\n"), "{output}");
        assert_eq!((report, ending), (None, Ending::Exited(0)));
    }
}

/// The runtime hears of the listener before anything else is done, so nothing but `write` has to be free of it.
#[test]
fn calls_of_the_launch_itself_can_wait_for_the_listener() {
    for number in [libc::SYS_read, libc::SYS_close, libc::SYS_execve] {
        for pad in pads() {
            let (child, listener) = listened_to(pad, number, "exit 5");
            go_on(&child);
            let heard = hear(&child, &listener);
            assert_eq!(i64::from(heard.number), number);
            respond(listener.as_fd(), heard.id, Answer::Continue).unwrap();
            drop(listener);
            // The others of the shell fail with ENOSYS, since nobody listens any more.
            let (_, report, ending) = child.finish();
            assert_eq!(report, None);
            assert!(matches!(ending, Ending::Exited(_)), "{ending:?}");
        }
    }
}

#[test]
fn nothing_is_executed_unless_the_listener_was_taken() {
    for pad in pads() {
        let (child, _listener) = listened_to(pad, libc::SYS_chdir, "echo run");
        socket::send(child.report.as_fd(), b"x", None).unwrap();
        let (output, report, ending) = child.finish();
        assert_eq!((output.as_str(), report, ending), ("", None, Ending::Exited(127)));
    }
}

/// The program, and a process that waits for `start`, would keep calls waiting for somebody who has gone.
#[test]
fn the_process_itself_does_not_keep_its_listener() {
    if !can_switch() {
        return;
    }
    for pad in pads() {
        let (output, stdout) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let (runtime, report) = socket::pair().unwrap();
        let what = Launch {
            early: vec![telling_of(libc::SYS_chdir), LaunchStep::Pause],
            steps: vec![],
            program: LaunchProgram { candidates: strings(&[SHELL]) },
            args: strings(&["sh"]),
            env: vec![],
            report: Some(report),
            handshake: None,
            wait: None,
            pad,
        };
        let (pid, pidfd) = fork(&what, stdout);
        drop(what);
        let told = socket::receive(runtime.as_fd()).unwrap().bytes;
        let number = i32::from_ne_bytes(told.as_slice().try_into().unwrap());
        let child = Launched { pid, pidfd, output, report: runtime };
        take_descriptor(child.pidfd.as_fd(), number).unwrap();
        go_on(&child);
        child.wait_for_pause();
        assert_eq!(take_descriptor(child.pidfd.as_fd(), number).unwrap_err(), Errno::BADF);
        send_signal(child.pidfd.as_fd(), Signal::KILL).unwrap();
        child.finish();
    }
}
