//! `logs`: what a container has written.

use std::ops::ControlFlow;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::error::Doing as _;
use super::first_process::FirstProcess;
use super::{Error, Runtime, store_with};
use crate::id::ContainerId;
use crate::monitor::{LogDriver, LogEntry, LogError, LogReader};
use crate::state::{LOG, Timestamp, View};

/// Which entries of a log are told.
#[derive(Debug, Clone, Default)]
pub struct LogsOptions {
    /// Go on with what is written until the container's end.
    pub follow: bool,
    /// None from before this moment.
    pub since: Option<Timestamp>,
}

/// Tells the entries of a container's log, the oldest first, until there are no more or `tell` has enough.
///
/// # Errors
/// [`Error::NoMonitor`], [`Error::NoLog`]; the log cannot be read.
pub fn logs(
    runtime: &Runtime,
    id: &ContainerId,
    options: &LogsOptions,
    mut tell: impl FnMut(LogEntry) -> ControlFlow<()>,
) -> Result<(), Error> {
    let view = store_with(runtime, id)?.open_unlocked(id)?;
    let monitor = view.load()?.monitor.ok_or_else(|| Error::NoMonitor(id.clone()))?;
    if monitor.driver == LogDriver::None {
        return Err(Error::NoLog(id.clone()));
    }
    let mut reader = match &monitor.log {
        Some(path) => LogReader::open(path, monitor.driver)?,
        None => own_log(&view, monitor.driver)?,
    };
    let since = options.since.as_ref().map(Timestamp::with_nine_digits);
    // Before the first reading: what is written after the last one is written before its end.
    let writer = FirstProcess::open(&monitor.process)?;
    if options.follow {
        reader.watch().doing("watching the log")?;
    }
    loop {
        let ended = match &writer {
            Some(writer) => writer.wait(std::time::Duration::ZERO)?,
            None => true,
        };
        reader.forget_changes();
        while let Some(entry) = reader.next().doing("reading the log")? {
            let is_late = since.as_ref().is_none_or(|since| entry.time >= *since);
            if is_late && tell(entry).is_break() {
                return Ok(());
            }
        }
        let (Some(writer), true) = (&writer, options.follow && !ended) else { return Ok(()) };
        let changes = reader.watch().doing("watching the log")?;
        let mut fds = [PollFd::from_borrowed_fd(changes, PollFlags::IN), PollFd::new(writer, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).doing("waiting for the log"),
        }
    }
}

fn own_log(view: &View, driver: LogDriver) -> Result<LogReader, Error> {
    let opened = LogReader::open_at(view.own_directory()?, LOG, driver);
    Ok(opened.map_err(|reason| LogError { path: view.path().join(LOG), reason })?)
}
