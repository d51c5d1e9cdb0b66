//! `seccomp record`: which system calls a container's programs make.
//!
//! The container runs under a filter that tells of all calls, and a process of ours, which the container cannot see, lets each of them go
//! on and writes it down (`seccomp_unotify(2)`, Linux 5.5). That works for all programs of the container, whoever they run as, and takes
//! neither a tracer nor the machine's audit log.

mod running;

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::process::{self, CloneRequest, Fork};
use cloison_linux::seccomp::{Answer, Notification, receive, respond};
use cloison_linux::{Errno, Kernel, Linux, signals, socket};
use cloison_seccomp::{Architecture, Syscall};
use rustix::event::{PollFd, PollFlags, poll};

use super::conception::Conception;
use super::error::Doing as _;
use super::run::foreground;
use super::{Error, RunOptions, Runtime, console};
use crate::plan::seccomp::Filter;
use crate::spec;

pub use running::record_running;

/// The calls that were made: architecture as the kernel tells it (`AUDIT_ARCH_*`), number.
type Calls = BTreeSet<(u32, u32)>;

/// What a container's programs did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The least profile under which they can do it again.
    pub profile: spec::Seccomp,
    /// Calls that are in no table, so that no profile can name them: `AUDIT_ARCH_*` and number.
    pub unknown: Vec<(u32, u32)>,
    /// The container's exit code.
    pub exit_code: u8,
}

/// Runs a container in the foreground and writes down which system calls its programs make. The profile of its configuration is not
/// loaded.
///
/// # Errors
/// As [`run`](super::run()). [`Error::Unsupported`] if it is to be detached, or on machines without filters.
pub fn record(runtime: &Runtime, options: &RunOptions) -> Result<Recording, Error> {
    if options.detach {
        return Err(Error::Unsupported("recording a detached container is"));
    }
    let native = Architecture::NATIVE.ok_or(Error::Unsupported("seccomp on this architecture is"))?;
    let filter = Filter::recording().ok_or(Error::Unsupported("seccomp on this architecture is"))?;
    let mut conception = Conception::new(runtime, &options.create)?;
    console::check(options.create.console_socket.as_deref(), conception.plan.terminal, false)?;
    if !options.no_subreaper {
        process::set_child_subreaper(true).doing("becoming the reaper of the container's orphans")?;
    }
    if conception.plan.terminal {
        crate::console::claim()?;
    }
    // No signal for us is one for the recorder.
    signals::block_all().doing("blocking signals")?;
    let recorder = Recorder::begin()?;
    conception.record(filter, recorder.socket);
    let exit_code = foreground(runtime, options, conception)?;
    let calls = calls_in(&socket_end(recorder.result.as_fd())?);
    let (profile, unknown) = profile(native, &calls);
    Ok(Recording { profile, unknown, exit_code })
}

/// The process that writes down.
struct Recorder {
    /// Takes the listener.
    socket: OwnedFd,
    /// Tells what was written down.
    result: OwnedFd,
}

impl Recorder {
    fn begin() -> Result<Self, Error> {
        let doing = "starting the recorder";
        let (socket, theirs) = socket::pair().doing(doing)?;
        let (result, tell) = socket::pair().doing(doing)?;
        let request = CloneRequest { namespaces: NamespaceFlags::empty(), cgroup: None, as_sibling: false };
        match Linux.clone3(&request).doing(doing)? {
            Fork::Child => {
                drop((socket, result));
                let ended = serve(theirs.as_fd()).and_then(|calls| tell_all(tell.as_fd(), &calls));
                if let Err(errno) = ended {
                    log::error!("recording system calls: {errno}");
                }
                std::process::exit(i32::from(ended.is_err()))
            }
            // It is reaped with the container's orphans.
            Fork::Parent { .. } => Ok(Self { socket, result }),
        }
    }
}

/// Lets all calls go on, until nobody is left who could make one.
fn serve(socket: BorrowedFd<'_>) -> Result<Calls, Errno> {
    let Some(listener) = socket::receive(socket)?.fd else {
        // The container was never made.
        return Ok(Calls::new());
    };
    let mut calls = Calls::new();
    let mut handing_over = true;
    while comes(listener.as_fd())? {
        let call = match receive(listener.as_fd()) {
            Ok(call) => call,
            // Its maker was killed.
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        };
        handing_over = handing_over && is_of_handover(&call);
        if !handing_over {
            calls.insert((call.architecture, call.number.cast_unsigned()));
        }
        match respond(listener.as_fd(), call.id, Answer::Continue) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(calls)
}

/// The launch begins by hearing that its listener is handed over, and closes it: that is for the recording only.
fn is_of_handover(call: &Notification) -> bool {
    let is = |name| {
        let native = Architecture::NATIVE.filter(|native| native.audit() == call.architecture);
        let number = native.and_then(|native| Syscall::named(name)?.number(native));
        number == Some(call.number.cast_unsigned())
    };
    // One byte, as no program reads first: a loader reads a whole header.
    (is("read") && call.arguments[2] == 1) || is("close")
}

fn comes(listener: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut polled = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
    loop {
        match poll(&mut polled, None) {
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => return Ok(polled[0].revents().contains(PollFlags::IN)),
        }
    }
}

/// The calls in packets, eight bytes each.
fn tell_all(socket: BorrowedFd<'_>, calls: &Calls) -> Result<(), Errno> {
    let bytes: Vec<u8> = calls
        .iter()
        .flat_map(|(audit, number)| [audit.to_ne_bytes(), number.to_ne_bytes()].concat())
        .collect();
    bytes.chunks(8 * 1024).try_for_each(|packet| socket::send(socket, packet, None))
}

fn socket_end(socket: BorrowedFd<'_>) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    loop {
        let message = socket::receive(socket).doing("reading what was recorded")?;
        if message.bytes.is_empty() {
            return Ok(all);
        }
        all.extend(message.bytes);
    }
}

fn calls_in(bytes: &[u8]) -> Calls {
    let number = |four: &[u8]| four.try_into().map_or(0, u32::from_ne_bytes);
    bytes.chunks_exact(8).map(|call| (number(&call[..4]), number(&call[4..]))).collect()
}

/// The profile that allows these calls, and `write(2)`, of which the recorder does not hear; and the calls that it cannot name.
fn profile(native: Architecture, calls: &Calls) -> (spec::Seccomp, Vec<(u32, u32)>) {
    let mut names = BTreeSet::from(["write".to_owned()]);
    let mut architectures = vec![native];
    let mut unknown = Vec::new();
    for &(audit, number) in calls {
        let known = Architecture::ALL.into_iter().filter(|architecture| architecture.audit() == audit);
        let mut found = known.filter_map(|one| Some((one, Syscall::numbered(number, one)?)));
        let Some((architecture, call)) = found.next() else {
            unknown.push((audit, number));
            continue;
        };
        names.insert(call.name().to_owned());
        if !architectures.contains(&architecture) {
            architectures.push(architecture);
        }
    }
    let rule = spec::Syscall {
        names: names.into_iter().collect(),
        action: spec::SeccompAction::Allow,
        errno_ret: None,
        args: Vec::new(),
    };
    let profile = spec::Seccomp {
        default_action: Some(spec::SeccompAction::Errno),
        architectures: architectures
            .iter()
            .filter_map(|one| spec::SeccompArch::from_name(one.name()))
            .collect(),
        syscalls: vec![rule],
        ..spec::Seccomp::default()
    };
    (profile, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_is_heard() {
        let calls = Calls::from([(1, 2), (0xc000_003e, 0), (0xc000_003e, u32::MAX)]);
        let (ours, theirs) = socket::pair().unwrap();
        tell_all(theirs.as_fd(), &calls).unwrap();
        drop(theirs);
        assert_eq!(calls_in(&socket_end(ours.as_fd()).unwrap()), calls);
    }

    #[test]
    fn the_profile_names_what_was_called_on_each_architecture() {
        let (x86_64, x86) = (Architecture::X86_64, Architecture::X86);
        let calls = Calls::from([
            (x86_64.audit(), 0),
            (x86_64.audit(), 0x4000_0000 + 39),
            (x86.audit(), 5),
            (x86_64.audit(), 9999),
        ]);
        let (profile, unknown) = profile(x86_64, &calls);
        assert_eq!(profile.syscalls[0].names, ["getpid", "open", "read", "write"]);
        let names: Vec<_> = profile.architectures.iter().map(|one| one.as_str()).collect();
        assert_eq!(names, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
        assert_eq!(unknown, [(x86_64.audit(), 9999)]);
        assert_eq!(profile.default_action, Some(spec::SeccompAction::Errno));
    }
}
