//! `resize`: the size of a terminal that a monitor keeps.

use std::os::fd::AsFd;

use super::{Error, Runtime, store_with};
use crate::id::ContainerId;
use crate::monitor::{self, Answer, Request, put, take};

/// Gives the container's terminal a size, of which its programs are told (SIGWINCH).
///
/// # Errors
/// [`Error::NoMonitor`], [`Error::MonitorGone`], [`Error::NoTerminal`].
pub fn resize(runtime: &Runtime, id: &ContainerId, columns: u16, rows: u16) -> Result<(), Error> {
    let view = store_with(runtime, id)?.open_unlocked(id)?;
    if view.load()?.monitor.is_none() {
        return Err(Error::NoMonitor(id.clone()));
    }
    let socket = view.connect_monitor()?.ok_or_else(|| Error::MonitorGone(id.clone()))?;
    let request = Request::Resize(columns, rows).packet();
    put(socket.as_fd(), &request).map_err(monitor::Error::Connection)?;
    let mut packet = [0; 2];
    let count = take(socket.as_fd(), &mut packet).map_err(monitor::Error::Connection)?;
    match Answer::parse(&packet[..count]) {
        Some(Answer::Done { terminal: true }) => Ok(()),
        Some(Answer::Done { terminal: false }) => Err(Error::NoTerminal(id.clone())),
        None if count == 0 => Err(Error::MonitorGone(id.clone())),
        _ => Err(monitor::Error::Protocol.into()),
    }
}
