//! Processes that wait for `start`, before they launch their program.

use std::time::{Duration, Instant};

use super::*;
use crate::socket;

/// The runtime's and the starter's bytes.
const READY: u8 = b'r';
const GO_ON: u8 = b'c';
const START: u8 = b's';

/// A child that waits, and who it talks to.
struct Waiting {
    child: Launched,
    scratch: TempDir,
    /// Kept open by the child, and watched by the test.
    kept: OwnedFd,
}

impl Waiting {
    /// Forks a child; it has not yet been told to go on.
    fn new(pad: Option<OwnedFd>, steps: Vec<LaunchStep>, program: &str, args: &[&str]) -> Self {
        let scratch = TempDir::new().unwrap();
        let directory = fs::File::open(scratch.path()).unwrap();
        let listener = socket::listen_at(directory.as_fd(), "start").unwrap();
        let (output, stdout) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let (runtime, report) = socket::pair().unwrap();
        let (kept, keep) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let what = Launch {
            early: Vec::new(),
            steps,
            program: LaunchProgram { candidates: strings(&[program]) },
            args: strings(args),
            env: vec![],
            report: Some(report),
            handshake: Some(Handshake { say: READY, hear: GO_ON }),
            wait: Some(Wait { listener, hear: START, keep: vec![keep], close_from: 3, be_seen: false }),
            pad,
        };
        let (pid, pidfd) = fork(&what, stdout);
        Self { child: Launched { pid, pidfd, output, report: runtime }, scratch, kept }
    }

    /// One that prints a word when it is started.
    fn shell(pad: Option<OwnedFd>) -> Self {
        Self::new(pad, vec![LaunchStep::CloseFrom(3)], SHELL, &["sh", "-c", "echo started"])
    }

    /// Hears that all is prepared, and lets the child wait.
    fn begin(self) -> Self {
        assert_eq!(socket::receive(self.child.report.as_fd()).unwrap().bytes, [READY]);
        socket::send(self.child.report.as_fd(), &[GO_ON], None).unwrap();
        self
    }

    fn connect(&self) -> OwnedFd {
        let directory = fs::File::open(self.scratch.path()).unwrap();
        socket::connect_at(directory.as_fd(), "start").unwrap()
    }

    /// Connects and says one byte.
    fn say(&self, byte: u8) -> OwnedFd {
        let starter = self.connect();
        socket::send(starter.as_fd(), &[byte], None).unwrap();
        starter
    }

    /// Starts the program; gives what it printed, what the starter and the runtime were told of a failure, and
    /// the ending.
    fn start(self) -> (String, Option<Failure>, Option<Failure>, Ending) {
        let starter = self.say(START);
        let told = socket::receive(starter.as_fd()).unwrap().bytes;
        let (output, report, ending) = self.child.finish();
        (output, Failure::from_bytes(&told), report, ending)
    }

    /// Waits until the child is in this system call.
    fn wait_for(&self, number: libc::c_long) {
        let number = format!("{number} ");
        self.wait_until(|| fs::read_to_string(self.child.path("syscall")).unwrap().starts_with(&number));
    }

    /// Looks until it is so; not for ever, since the child may have died.
    fn wait_until(&self, so: impl Fn() -> bool) {
        let begin = Instant::now();
        while !so() {
            assert!(begin.elapsed() < Duration::from_secs(10), "{}", self.status("State"));
            std::thread::yield_now();
        }
    }

    /// A line of `/proc/PID/status`.
    fn status(&self, name: &str) -> String {
        let status = fs::read_to_string(self.child.path("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap().trim().to_owned()
    }
}

/// What a start that works gives.
fn started() -> (String, Option<Failure>, Option<Failure>, Ending) {
    ("started\n".to_owned(), None, None, Ending::Exited(0))
}

#[test]
fn program_runs_when_it_is_started() {
    for pad in pads() {
        let waiting = Waiting::shell(pad).begin();
        waiting.wait_for(libc::SYS_accept4);
        assert_eq!(waiting.start(), started());
    }
}

#[test]
fn nothing_is_waited_for_before_the_runtime_lets_it() {
    for pad in pads() {
        let waiting = Waiting::shell(pad);
        let starter = waiting.say(START);
        waiting.wait_for(libc::SYS_read);
        let mut poll = [rustix::event::PollFd::new(&starter, rustix::event::PollFlags::IN)];
        let patience = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        assert_eq!(rustix::event::poll(&mut poll, Some(&patience)), Ok(0));
        let waiting = waiting.begin();
        assert!(socket::receive(starter.as_fd()).map_or(true, |told| told.bytes.is_empty()));
        assert_eq!(waiting.child.finish(), ("started\n".to_owned(), None, Ending::Exited(0)));
    }
}

#[test]
fn starters_that_die_before_their_byte_change_nothing() {
    for pad in pads() {
        let waiting = Waiting::shell(pad).begin();
        for _ in 0..3 {
            drop(waiting.connect());
        }
        let silent = waiting.connect();
        waiting.wait_for(libc::SYS_read);
        drop(silent);
        waiting.wait_for(libc::SYS_accept4);
        assert_eq!(waiting.start(), started());
    }
}

#[test]
fn starter_that_says_something_else_is_sent_away() {
    for pad in pads() {
        let waiting = Waiting::shell(pad).begin();
        let stranger = waiting.say(b'x');
        let empty = waiting.connect();
        socket::send(empty.as_fd(), &[], None).unwrap();
        assert!(socket::receive(stranger.as_fd()).unwrap().bytes.is_empty());
        assert!(socket::receive(empty.as_fd()).unwrap().bytes.is_empty());
        assert_eq!(waiting.start(), started());
    }
}

#[test]
fn second_starter_is_let_go_when_the_program_runs() {
    for pad in pads() {
        let waiting = Waiting::shell(pad).begin();
        waiting.wait_for(libc::SYS_accept4);
        send_signal(waiting.child.pidfd.as_fd(), Signal::STOP).unwrap();
        let (first, second) = (waiting.say(START), waiting.say(START));
        send_signal(waiting.child.pidfd.as_fd(), Signal::CONT).unwrap();
        assert!(socket::receive(first.as_fd()).unwrap().bytes.is_empty());
        // Its byte was never read.
        assert_eq!(socket::receive(second.as_fd()).unwrap_err(), Errno::CONNRESET);
        assert_eq!(waiting.child.finish(), ("started\n".to_owned(), None, Ending::Exited(0)));
    }
}

#[test]
fn failure_after_the_wait_is_told_to_the_starter() {
    for pad in pads() {
        let waiting = Waiting::new(pad, vec![LaunchStep::CloseFrom(3)], "/no/such/program", &["x"]).begin();
        drop(waiting.connect());
        let (_, starter, runtime, ending) = waiting.start();
        assert_eq!(starter, failure(FailedAt::Program(0), Errno::NOENT));
        assert_eq!((runtime, ending), (None, Ending::Exited(127)));
    }
}

#[test]
fn failed_step_after_the_wait_is_told_to_the_starter() {
    for pad in pads() {
        let bad = LaunchStep::Limit(Resource::Core, Rlimit { current: Some(2), maximum: Some(1) });
        let waiting = Waiting::new(pad, vec![LaunchStep::Umask(0), bad], SHELL, &["sh"]).begin();
        let (_, starter, runtime, _) = waiting.start();
        assert_eq!((starter, runtime), (failure(FailedAt::Step(1), Errno::INVAL), None));
    }
}

#[test]
fn process_ends_with_a_runtime_that_has_gone_or_says_something_else() {
    for pad in pads() {
        let waiting = Waiting::shell(pad);
        socket::send(waiting.child.report.as_fd(), b"x", None).unwrap();
        assert_eq!(wait_pidfd(waiting.child.pidfd.as_fd()), Ok(Ending::Exited(127)));
    }
    for pad in pads() {
        let Waiting { child: Launched { pidfd, report, .. }, .. } = Waiting::shell(pad);
        drop(report);
        assert_eq!(wait_pidfd(pidfd.as_fd()), Ok(Ending::Exited(127)));
    }
}

#[test]
fn waiting_process_can_be_stopped_continued_and_killed() {
    for pad in pads() {
        let waiting = Waiting::shell(pad).begin();
        waiting.wait_for(libc::SYS_accept4);
        for _ in 0..3 {
            send_signal(waiting.child.pidfd.as_fd(), Signal::STOP).unwrap();
            waiting.wait_until(|| waiting.status("State").starts_with('T'));
            send_signal(waiting.child.pidfd.as_fd(), Signal::CONT).unwrap();
            waiting.wait_for(libc::SYS_accept4);
        }
        send_signal(waiting.child.pidfd.as_fd(), Signal::KILL).unwrap();
        assert_eq!(waiting.child.finish(), (String::new(), None, Ending::Killed(libc::SIGKILL)));
    }
}

#[test]
fn waiting_process_can_be_moved_between_cpus() {
    let all = rustix::thread::sched_getaffinity(None).unwrap();
    let cpus = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
    for pad in pads() {
        let waiting = Waiting::shell(pad).begin();
        for cpu in cpus.clone() {
            let mut one = rustix::thread::CpuSet::new();
            one.set(cpu);
            rustix::thread::sched_setaffinity(Some(waiting.child.pid), &one).unwrap();
            drop(waiting.connect());
            // Through the loop once, on this CPU.
            waiting.wait_for(libc::SYS_accept4);
        }
        assert_eq!(waiting.start(), started());
    }
}

#[test]
fn process_that_says_it_is_ready_has_left_the_runtime() {
    if !can_switch() {
        return;
    }
    let waiting = Waiting::shell(Some(prepare_pad().unwrap()));
    assert_eq!(socket::receive(waiting.child.report.as_fd()).unwrap().bytes, [READY]);
    let exe = fs::read_link(waiting.child.path("exe")).unwrap();
    assert_eq!(exe, Path::new("/memfd:cloison-launch (deleted)"));
    let maps = fs::read_to_string(waiting.child.path("maps")).unwrap();
    let mapped = maps.lines().filter(|line| !line.ends_with("[vsyscall]")).count();
    assert!(mapped <= 3, "the tape, the code, and what the kernel writes to:\n{maps}");
    for name in ["cmdline", "environ"] {
        assert_eq!(fs::read_to_string(waiting.child.path(name)).unwrap(), "", "{name}");
    }
    let resident = waiting.status("VmRSS");
    let kilobytes: u64 = resident.trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes <= 64, "{resident}");
    send_signal(waiting.child.pidfd.as_fd(), Signal::KILL).unwrap();
    waiting.child.finish();
}

#[test]
fn waiting_process_has_only_the_descriptors_that_it_needs() {
    for pad in pads() {
        let secret = fs::File::open("/proc/version").unwrap();
        file::dup_onto(secret.as_fd(), 1000).unwrap();
        let waiting = Waiting::shell(pad).begin();
        waiting.wait_for(libc::SYS_accept4);
        let open = fs::read_dir(waiting.child.path("fd")).unwrap();
        let mut links: Vec<_> = open.map(|entry| fs::read_link(entry.unwrap().path()).unwrap()).collect();
        links.retain(|link| link.starts_with("/proc"));
        assert_eq!(links, Vec::<std::path::PathBuf>::new());
        // The standard streams, the listener at two numbers, and what is to be kept.
        assert_eq!(fs::read_dir(waiting.child.path("fd")).unwrap().count(), 6);

        let hung_up = |patience: Duration| {
            let flags = rustix::event::PollFlags::IN;
            let patience = rustix::event::Timespec::try_from(patience).unwrap();
            rustix::event::poll(&mut [rustix::event::PollFd::new(&waiting.kept, flags)], Some(&patience))
                .unwrap()
                == 1
        };
        assert!(!hung_up(Duration::ZERO), "what is to be kept is open");
        let starter = waiting.say(START);
        assert!(socket::receive(starter.as_fd()).unwrap().bytes.is_empty());
        assert!(hung_up(Duration::from_secs(10)), "and ends with the wait");
        waiting.child.finish();
    }
}

#[test]
fn nobody_can_be_told_of_a_wait_without_a_report() {
    let scratch = TempDir::new().unwrap();
    let directory = fs::File::open(scratch.path()).unwrap();
    let listener = socket::listen_at(directory.as_fd(), "start").unwrap();
    let program = LaunchProgram { candidates: strings(&[SHELL]) };
    let wait = Some(Wait { listener, hear: START, keep: vec![], close_from: 3, be_seen: false });
    let (steps, args, env) = (vec![], strings(&["sh"]), vec![]);
    let what =
        Launch { early: vec![], steps, program, args, env, report: None, handshake: None, wait, pad: None };
    assert_eq!(launch(&what), Errno::INVAL);
}

#[test]
fn a_signal_ends_a_process_that_waits_and_only_then() {
    for pad in pads() {
        for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT] {
            let waiting = Waiting::shell(pad.as_ref().map(|pad| pad.try_clone().unwrap())).begin();
            waiting.wait_for(libc::SYS_accept4);
            send_signal(waiting.child.pidfd.as_fd(), signal).unwrap();
            let (output, report, ending) = waiting.child.finish();
            assert_eq!((output.as_str(), report), ("", None));
            assert_eq!(ending, Ending::Exited(128 + signal.as_raw()));
        }
    }
}
