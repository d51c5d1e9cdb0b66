//! `attach`: the caller's streams at a container that has a monitor.

use std::os::fd::AsFd;

use cloison_linux::process::send_signal;
use cloison_linux::signals::{self, SignalFd, SignalSet};
use rustix::io::Errno;

use super::error::Doing as _;
use super::first_process::FirstProcess;
use super::{Error, Runtime, store_with};
use crate::id::ContainerId;
use crate::monitor::{Client, DetachKeys, Left};
use crate::state::Status;

/// How a container is attached to.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// The keys that leave a container with a terminal.
    pub detach_keys: DetachKeys,
    /// Only look: nothing goes to the container.
    pub no_input: bool,
    /// Signals end the attaching, and do not go to the container.
    pub keep_signals: bool,
}

/// Attaches to a container, and gives its exit code; 0 if the caller left before, 128 and the signal's number if that ended it.
///
/// To a container without a terminal signals go on, but for SIGHUP. The caller's signals are blocked from then on.
///
/// # Errors
/// [`Error::NoMonitor`], [`Error::MonitorGone`], [`Error::NotRunningById`]; the connection was lost.
pub fn attach(runtime: &Runtime, id: &ContainerId, options: &AttachOptions) -> Result<u8, Error> {
    let view = store_with(runtime, id)?.open_unlocked(id)?;
    let state = view.load()?;
    if matches!(view.status(&state)?, Status::Stopped) {
        return Err(Error::NotRunningById(id.clone()));
    }
    if state.monitor.is_none() {
        return Err(Error::NoMonitor(id.clone()));
    }
    let socket = view.connect_monitor()?.ok_or_else(|| Error::MonitorGone(id.clone()))?;
    let first = state.init.as_ref().map(FirstProcess::open).transpose()?.flatten();
    let client = Client::attach(socket, !options.no_input)?;
    if client.is_terminal() && !options.no_input {
        crate::console::claim()?;
    }
    signals::block_all().doing("blocking signals")?;
    let signals = SignalFd::new(SignalSet::ALL).doing("watching signals")?;
    let forward = |signal| {
        let Some(first) = &first else { return };
        match send_signal(first.as_fd(), signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => log::warn!("signal {} was not forwarded: {errno}", signal.as_raw()),
        }
    };
    let forwards = !client.is_terminal() && !options.keep_signals;
    let forward: Option<&dyn Fn(_)> = if forwards { Some(&forward) } else { None };
    match client.relay(&signals, &options.detach_keys, !options.no_input, forward)? {
        Left::Ended(code) => Ok(code),
        Left::Detached => Ok(0),
        Left::Signalled(signal) => Ok(u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX)),
    }
}
