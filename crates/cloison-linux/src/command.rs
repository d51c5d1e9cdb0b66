//! Programs of the host that are run to their end: with input, with their output caught, and not for longer than allowed.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process_group, setpgid, umask};

use crate::Result;
use crate::launch::{self, Launch, LaunchProgram, LaunchStep};
use crate::namespace::NamespaceFlags;
use crate::process::{CloneRequest, Ending, Fork, clone3, send_signal, wait_pidfd};
use crate::signals::SignalSet;

/// How many bytes of each of its outputs are kept: the last ones, which tell how it ended.
pub const KEPT_OUTPUT: usize = 8 << 10;

/// A program to run.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// The program's absolute path.
    pub path: &'a CStr,
    /// The arguments, the first of which is the program's name.
    pub args: &'a [CString],
    /// The whole environment, `NAME=value`.
    pub env: &'a [CString],
    /// The working directory; the caller's where there is none.
    pub directory: Option<BorrowedFd<'a>>,
    /// The mask of modes; the caller's where there is none.
    pub umask: Option<u32>,
    /// What comes on its standard input.
    pub input: &'a [u8],
    /// Where its standard output and its standard error go instead of being caught.
    pub outputs: [Option<BorrowedFd<'a>>; 2],
    /// The limits of its run.
    pub limits: Limits<'a>,
}

/// How long a program may run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits<'a> {
    /// So long at most.
    pub timeout: Option<Duration>,
    /// No longer than this process, a pidfd.
    pub no_longer_than: Option<BorrowedFd<'a>>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, or by somebody else's signal.
    Ended(Ending),
    /// It ran for too long, and was killed with its process group.
    TimedOut,
    /// The process that it must not outlive has ended; it was killed with its process group.
    Outlived,
}

/// How a program ended, and the last [`KEPT_OUTPUT`] bytes of what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub outcome: Outcome,
    /// Its standard output, as far as it was caught.
    pub stdout: Vec<u8>,
    /// Its standard error, as far as it was caught.
    pub stderr: Vec<u8>,
}

/// Runs a program to its end, in a process group of its own, with no descriptor but the standard streams, with no signal blocked or
/// ignored.
///
/// Its end is the end of its process: what it has started and left behind is not waited for. Where it runs for too long, its whole
/// process group is killed.
///
/// # Errors
/// The errno of `execve(2)`, or of what comes before it.
pub fn run(command: &Command<'_>) -> Result<Finished> {
    let (ours, theirs) = streams(command.outputs)?;
    let (report, report_end) = pipe_with(PipeFlags::CLOEXEC)?;
    let request = CloneRequest { namespaces: NamespaceFlags::empty(), cgroup: None, as_sibling: false };
    match clone3(&request)? {
        Fork::Child => {
            drop((ours, report));
            become_program(command, &theirs, &report_end);
            // SAFETY: ends the child without running what its parent had registered.
            unsafe { libc::_exit(127) }
        }
        Fork::Parent { pid, pidfd } => {
            drop((theirs, report_end));
            attend(
                Attended { pid, pidfd, report: Some(report), streams: ours },
                command.input,
                &command.limits,
            )
        }
    }
}

/// Comes back only after a failure, which it has reported.
fn become_program(command: &Command<'_>, streams: &Theirs, report: &OwnedFd) {
    let errno = match prepare(command, streams) {
        Err(errno) => errno,
        Ok(()) => launch::launch(&Launch {
            early: Vec::new(),
            steps: vec![
                LaunchStep::ResetSignals,
                LaunchStep::CloseFrom(3),
                LaunchStep::SetSignalMask(SignalSet::NONE),
            ],
            program: LaunchProgram { candidates: vec![command.path.to_owned()] },
            args: command.args.to_vec(),
            env: command.env.to_vec(),
            report: rustix::io::fcntl_dupfd_cloexec(report, 3).ok(),
            handshake: None,
            wait: None,
            pad: None,
        }),
    };
    // As a launch reports: what failed, and why. Where nobody hears it, the status of the exit still tells that something did.
    let bytes = [0_u32.to_le_bytes(), errno.raw_os_error().cast_unsigned().to_le_bytes()].concat();
    let _ = rustix::io::write(report, &bytes);
}

fn prepare(command: &Command<'_>, streams: &Theirs) -> Result<()> {
    setpgid(None, None)?;
    if let Some(mask) = command.umask {
        umask(Mode::from_raw_mode(mask));
    }
    if let Some(directory) = command.directory {
        rustix::process::fchdir(directory)?;
    }
    streams.put_in_place(command.outputs)
}

/// The caller's ends of the pipes to a program.
#[derive(Debug)]
pub struct Streams {
    input: Option<OwnedFd>,
    outputs: [Option<OwnedFd>; 2],
}

/// The program's ends.
#[derive(Debug)]
pub struct Theirs {
    input: OwnedFd,
    outputs: [Option<OwnedFd>; 2],
}

/// Makes pipes for the standard input of a program and for those outputs that go nowhere else.
pub fn streams(elsewhere: [Option<BorrowedFd<'_>>; 2]) -> Result<(Streams, Theirs)> {
    let (their_input, input) = pipe_with(PipeFlags::CLOEXEC)?;
    let (mut ours, mut theirs) = ([None, None], [None, None]);
    for (place, elsewhere) in elsewhere.iter().enumerate() {
        if elsewhere.is_none() {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            (ours[place], theirs[place]) = (Some(read), Some(write));
        }
    }
    for fd in ours.iter().flatten().chain([&input]) {
        fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
    }
    Ok((Streams { input: Some(input), outputs: ours }, Theirs { input: their_input, outputs: theirs }))
}

impl Theirs {
    /// Makes them the standard streams of the calling process.
    ///
    /// First to numbers above those of the streams, since a pipe may have got one of these itself.
    pub fn put_in_place(&self, elsewhere: [Option<BorrowedFd<'_>>; 2]) -> Result<()> {
        let [stdout, stderr] =
            [0, 1].map(|place| self.outputs[place].as_ref().map(AsFd::as_fd).or(elsewhere[place]));
        let sources = [Some(self.input.as_fd()), stdout, stderr];
        let mut copies = Vec::with_capacity(3);
        for source in sources {
            copies.push(rustix::io::fcntl_dupfd_cloexec(source.ok_or(Errno::BADF)?, 3)?);
        }
        for (number, copy) in copies.iter().enumerate() {
            crate::file::dup_onto(copy.as_fd(), number as u32)?;
        }
        Ok(())
    }
}

/// A program that was started, and that [`attend`] stays with.
#[derive(Debug)]
pub struct Attended {
    /// Its number, which is that of its process group, too.
    pub pid: Pid,
    /// Its process.
    pub pidfd: OwnedFd,
    /// Where the launch tells that it failed, if anybody is to hear it.
    pub report: Option<OwnedFd>,
    /// The pipes to it.
    pub streams: Streams,
}

/// Gives a program its input, takes its output, and waits for its end.
///
/// # Errors
/// The errno that was reported.
pub fn attend(mut program: Attended, mut input: &[u8], limits: &Limits<'_>) -> Result<Finished> {
    let start = Instant::now();
    let mut kept = [Vec::new(), Vec::new()];
    let mut report = Vec::new();
    let outcome = loop {
        if input.is_empty() {
            program.streams.input = None;
        }
        let left = limits.timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
        if left == Some(Duration::ZERO) {
            break end(&program, Outcome::TimedOut)?;
        }
        let ready = wait(&program, limits.no_longer_than, left)?;
        if ready.input {
            give(&mut program.streams.input, &mut input);
        }
        for (place, output) in program.streams.outputs.iter_mut().enumerate() {
            if ready.outputs[place] {
                take(output, &mut kept[place], KEPT_OUTPUT);
            }
        }
        if ready.report {
            hear(&mut program.report, &mut report);
        }
        if ready.end {
            break Outcome::Ended(wait_pidfd(program.pidfd.as_fd())?);
        }
        if ready.outlived {
            break end(&program, Outcome::Outlived)?;
        }
    };
    // What it had said before it ended.
    for (output, kept) in program.streams.outputs.iter_mut().zip(&mut kept) {
        take(output, kept, KEPT_OUTPUT);
    }
    if matches!(outcome, Outcome::Ended(_)) {
        hear(&mut program.report, &mut report);
    }
    if let Some(failure) = launch::Failure::from_bytes(&report) {
        return Err(failure.errno);
    }
    let [stdout, stderr] = kept;
    Ok(Finished { outcome, stdout, stderr })
}

/// What there is to do.
struct Ready {
    input: bool,
    outputs: [bool; 2],
    report: bool,
    end: bool,
    outlived: bool,
}

fn wait(program: &Attended, other: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<Ready> {
    let streams = &program.streams;
    let [stdout, stderr] = &streams.outputs;
    let watched = [
        (streams.input.as_ref().map(AsFd::as_fd), PollFlags::OUT),
        (stdout.as_ref().map(AsFd::as_fd), PollFlags::IN),
        (stderr.as_ref().map(AsFd::as_fd), PollFlags::IN),
        (program.report.as_ref().map(AsFd::as_fd), PollFlags::IN),
        (Some(program.pidfd.as_fd()), PollFlags::IN),
        (other, PollFlags::IN),
    ];
    let mut fds: Vec<PollFd<'_>> =
        watched.iter().filter_map(|(fd, flags)| fd.map(|fd| PollFd::from_borrowed_fd(fd, *flags))).collect();
    let timeout = timeout
        .map(|left| Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() });
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno),
    }
    let mut events = fds.iter().map(|fd| !fd.revents().is_empty());
    let mut next = |place: usize| watched[place].0.is_some() && events.next().unwrap_or(false);
    Ok(Ready {
        input: next(0),
        outputs: [next(1), next(2)],
        report: next(3),
        end: next(4),
        outlived: next(5),
    })
}

/// Kills a program with its process group, and reaps it.
fn end(program: &Attended, outcome: Outcome) -> Result<Outcome> {
    // Before it has a group of its own, there is none of this number.
    match kill_process_group(program.pid, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => return Err(errno),
    }
    match send_signal(program.pidfd.as_fd(), Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => return Err(errno),
    }
    wait_pidfd(program.pidfd.as_fd()).map(|_| outcome)
}

/// Writes what the pipe takes. A program need not read its input: what it has closed is done with.
fn give(pipe: &mut Option<OwnedFd>, input: &mut &[u8]) {
    let Some(fd) = pipe else { return };
    match rustix::io::write(fd, input) {
        Ok(written) => *input = &input[written..],
        Err(Errno::AGAIN | Errno::INTR) => {}
        Err(_) => *input = &[],
    }
}

/// Reads what is in the pipe, and keeps the last `limit` bytes of all. At the end of the stream the pipe is closed.
fn take(pipe: &mut Option<OwnedFd>, kept: &mut Vec<u8>, limit: usize) {
    // Not for ever: what the program has left behind may go on writing.
    for _ in 0..64 {
        let Some(fd) = pipe else { return };
        kept.reserve(limit);
        match rustix::io::read(&*fd, spare_capacity(kept)) {
            Ok(0) => *pipe = None,
            Ok(_) => {
                let surplus = kept.len().saturating_sub(limit);
                kept.drain(..surplus);
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return,
            Err(_) => *pipe = None,
        }
    }
}

/// A report is one packet of one write.
fn hear(pipe: &mut Option<OwnedFd>, report: &mut Vec<u8>) {
    let Some(fd) = pipe.take() else { return };
    let mut bytes = [0; launch::Failure::SIZE];
    if let Ok(length) = rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut bytes)) {
        report.extend(&bytes[..length]);
    }
}
