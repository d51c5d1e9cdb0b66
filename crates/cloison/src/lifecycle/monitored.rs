//! `run --detach --monitor`: a process stays with the container.
//!
//! ```text
//!  cloison run ── fork ──▶ the monitor to be
//!     waits                  makes the container, as `run --detach` does
//!     exit 0 ◀── ready ───   leaves the caller's session, streams and descriptors
//!                            keeps the container until its end
//! ```
//!
//! The monitor makes the container itself, so that the first process is its child and tells it how it has ended. What fails until then is told
//! by the monitor to be, which still has the caller's standard error, and the command ends with its exit code.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::process::{self, CloneRequest, Ending, Fork};
use cloison_linux::signals::{self, SignalFd, SignalSet};
use cloison_linux::{Linux, Mode, OFlags, file, launch, sealed};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{chdir, getpid, setsid};

use super::birth::{Begin, Birth};
use super::conception::Conception;
use super::error::Doing as _;
use super::run::poststart;
use super::{Error, RunOptions, Runtime, console};
use crate::monitor::{self, Charge, LogDriver, LogError, LogFile, Streams};
use crate::notify::Notify;
use crate::plan::Plan;
use crate::plan::action::HostAction;
use crate::state::{Container, Init, LOG, Monitor, Store};

/// What a monitor does with the container's output.
#[derive(Debug, Clone)]
pub struct MonitorOptions {
    /// The form of the log.
    pub driver: LogDriver,
    /// The log, if it is not to be in the container's directory.
    pub log: Option<PathBuf>,
    /// How many bytes a log may have before it is put aside.
    pub max_size: u64,
}

/// Forks the monitor to be, and in the caller's process waits until the container runs.
pub(super) fn run(
    runtime: &Runtime,
    options: &RunOptions,
    monitor: &MonitorOptions,
    conception: Conception,
) -> Result<u8, Error> {
    if options.create.console_socket.is_some() {
        return Err(Error::UselessConsoleSocket);
    }
    if !launch::exe_switch_supported() {
        // Begins anew if it was not sealed yet: in the monitor to be, that would be one more monitor, and nobody to tell us.
        sealed::ensure_sealed_copy().doing("sealing a copy of the runtime")?;
    }
    // Its end must be told to us, whatever the caller does with its children.
    signals::hear_of_children().doing("undoing that SIGCHLD is ignored")?;
    let (told, tell) = pipe_with(PipeFlags::CLOEXEC).doing("making a pipe for the monitor")?;
    let request = CloneRequest { namespaces: NamespaceFlags::empty(), cgroup: None, as_sibling: false };
    match process::clone3(&request).doing("starting the monitor")? {
        Fork::Child => {
            drop(told);
            keep(runtime, options, monitor, conception, tell)
        }
        Fork::Parent { pidfd, .. } => {
            drop((tell, conception));
            let mut ready = [0];
            if File::from(told).read_exact(&mut ready).is_ok() {
                return Ok(0);
            }
            match process::wait_pidfd(pidfd.as_fd()).doing("waiting for the monitor")? {
                Ending::Killed(signal) => Err(Error::MonitorKilled(signal)),
                // It has said itself what failed.
                ending @ Ending::Exited(_) => Ok(u8::try_from(ending.exit_code()).unwrap_or(u8::MAX).max(1)),
            }
        }
    }
}

/// In the monitor to be: makes the container and stays with it.
fn keep(
    runtime: &Runtime,
    options: &RunOptions,
    monitor: &MonitorOptions,
    mut conception: Conception,
    tell: OwnedFd,
) -> Result<u8, Error> {
    if !options.no_subreaper {
        process::set_child_subreaper(true).doing("becoming the reaper of the container's orphans")?;
    }
    let own = Init::of(getpid())?;
    conception.state.monitor =
        Some(Monitor { process: own, driver: monitor.driver, log: monitor.log.clone() });
    let pipes = if conception.plan.terminal {
        None
    } else {
        let (streams, ends) = Streams::pipes(owner(&conception.plan))?;
        conception.state.streams =
            crate::checkpoint::external::names_of(ends.as_fds().map(|fd| fd.as_raw_fd()));
        conception.streams = Some(ends);
        Some(streams)
    };
    let mut birth = Birth::begin(&Linux, runtime, conception, Begin::AtOnce)?;
    console::hand_over(&options.create, &mut birth)?;
    let streams = match (pipes, birth.terminal.take()) {
        (Some(pipes), _) => pipes,
        (None, Some(master)) => Streams::terminal(master)?,
        (None, None) => return Err(Error::Protocol),
    };
    let listener = birth.container()?.listen_monitor()?;
    let log = open_log(birth.container()?, monitor)?;
    let notify = Notify::open(birth.container()?, birth.first_born()?.pid)?;
    let view = Store::at(&runtime.root)?.open_unlocked(&options.create.id)?;
    let begin = || {
        birth.commit(options.create.pid_file.as_deref())?;
        birth.wait_until_running()?;
        poststart(runtime, options, birth)
    };
    let (first, log) = match begin() {
        Ok((first, _)) => (first, log),
        Err(error) => {
            log.into_iter().for_each(LogFile::forget);
            return Err(error);
        }
    };
    let signals = leave_the_caller()?;
    // Whoever has started us may have gone meanwhile; the container runs all the same.
    if let Err(error) = File::from(tell).write_all(b"r") {
        log::debug!("nobody waits for the container to run: {error}");
    }
    let deadline = options.deadline;
    let charge = Charge {
        pid: first.pid,
        pidfd: first.pidfd,
        streams,
        log,
        listener,
        deadline,
        view,
        notify,
        signals,
    };
    monitor::serve(charge)?;
    Ok(0)
}

/// Who the container's user is on the host, if that is not the one who makes the pipes.
fn owner(plan: &Plan) -> Option<u32> {
    let uid = plan.program.uid;
    let maps = plan.host.iter().find_map(|step| match &step.action {
        HostAction::WriteIdMaps { uids, .. } => Some(uids),
        _ => None,
    });
    let Some(maps) = maps else { return (uid != 0).then_some(uid) };
    maps.iter().find_map(|map| {
        let offset = uid.checked_sub(map.container).filter(|offset| *offset < map.size)?;
        map.host.checked_add(offset)
    })
}

fn open_log(container: &Container, options: &MonitorOptions) -> Result<Option<LogFile>, Error> {
    if options.driver == LogDriver::None {
        return Ok(None);
    }
    let (driver, max_size) = (options.driver, options.max_size);
    if let Some(path) = &options.log {
        return Ok(Some(LogFile::open(path, driver, max_size)?));
    }
    let opened = LogFile::open_at(container.own_directory()?, LOG, driver, max_size);
    Ok(Some(opened.map_err(|reason| LogError { path: container.path().join(LOG), reason })?))
}

/// Lets go of all that is the caller's: its session and terminal, its streams, its descriptors, its directory. Gives the signals, which are
/// blocked from here on.
fn leave_the_caller() -> Result<SignalFd, Error> {
    signals::block_all().doing("blocking signals")?;
    let signals = SignalFd::new(SignalSet::ALL).doing("watching signals")?;
    // Not to be looked into or traced by whoever has the same user id, inside a container or outside.
    process::set_dumpable(false).doing("hiding the monitor from other processes")?;
    // A child that was just made leads no process group, for which alone this is refused.
    setsid().doing("leaving the caller's session")?;
    chdir("/").doing("leaving the caller's directory")?;
    let null = file::open(Path::new("/dev/null"), OFlags::RDWR, Mode::empty()).doing("opening /dev/null")?;
    (0..3)
        .try_for_each(|stream| file::dup_onto(null.as_fd(), stream))
        .doing("leaving the caller's streams")?;
    file::close_inherited(3).doing("leaving the caller's descriptors")?;
    Ok(signals)
}
