//! The monitor: a process that stays with a container after `run --detach --monitor` has returned. It keeps the container's streams or
//! terminal, its log and its exit code, and lets clients in.
//!
//! ```text
//!  cloison attach ─┐                     monitor                        container
//!  cloison attach ─┼── socket ──▶ ┌──────────────────┐
//!  cloison wait   ─┤              │ input, 16 KiB    ├──▶ pipe or ──▶ program's 0
//!  cloison resize ─┘ ◀── bytes ── │ output, 16 KiB   │ ◀── terminal ◀── program's 1, 2
//!                    ◀── code ─── └──┬───────────┬───┘
//!                                   log      exit.json
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | `serve` | the monitor's loop |
//! | `clients` | who is connected, and what each still has to get |
//! | `streams` | the container's streams or terminal, from the outside |
//! | `deadline` | what ends a container that has run for too long |
//! | `log_file`, `log_format`, `log_reader` | the log |
//! | `protocol` | what the monitor and its clients say |
//! | `client`, `keys` | the other side: `attach` |
//!
//! # Nothing holds the container for ever
//!
//! One piece of output is under way at a time. It goes to the log at once, then to every attached client; the next piece is read when all
//! have it. A client whose queue in the kernel is full makes the container wait, as a terminal or a pipe does, so that a burst reaches
//! a slow reader whole; one that takes nothing for `clients::PATIENCE` is dropped. The log is a regular file, whose
//! writing does not wait for anybody; if its disk is full it loses lines, never the container.
//!
//! # Out of the container's reach
//!
//! The monitor is outside of all of the container's namespaces, and its parent: inside it has no number. A container that was given the host's PID
//! namespace sees it in `/proc` as any other process of the host; it is not dumpable, so its memory, its descriptors and its executable
//! (CVE-2019-5736) are for those alone who may trace any process of the host. The socket lies in the state directory, and is its owner's alone.
//!
//! # When it is killed
//!
//! The container goes on, as a child of whoever adopts orphans: its pipes are closed at their other end and its terminal is hung up. `kill`,
//! `state` and `delete` need no monitor.

mod client;
mod clients;
mod deadline;
mod keys;
mod log_file;
mod log_format;
mod log_reader;
mod protocol;
mod serve;
mod streams;

pub use crate::state::LogDriver;
pub use deadline::{Deadline, TIMED_OUT};
pub use keys::{DetachKeys, UnknownKey};
pub use log_file::{DEFAULT_MAX_SIZE, LogError, LogReason};
pub use log_format::LogEntry;
pub use log_reader::LogReader;

pub(crate) use client::{Client, Left};
pub(crate) use deadline::Countdown;
pub(crate) use log_file::LogFile;
pub(crate) use protocol::{Answer, Request, put, take};
pub(crate) use serve::{Charge, serve};
pub(crate) use streams::{Ends, Streams};

use rustix::io::Errno;

use crate::errno::Text;

/// Why a container could not be kept, or its streams not be reached.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub enum Error {
    /// `poll(2)` failed.
    #[error("waiting for a container and its clients: {}", Text(*.0))]
    Wait(Errno),
    /// Signals could not be read.
    #[error("reading signals beside a container: {}", Text(*.0))]
    Signals(Errno),
    /// The container's streams could not be made or prepared.
    #[error("preparing the container's streams: {}", Text(*.0))]
    Streams(Errno),
    /// The connection to the monitor failed.
    #[error("speaking with the container's monitor: {}", Text(*.0))]
    Connection(Errno),
    /// The monitor said what nobody expects from it.
    #[error("the container's monitor does not follow the protocol")]
    Protocol,
    /// The monitor has ended the connection: it was killed, or this client did not read.
    #[error("the container's monitor has gone, or has dropped this client because it did not read")]
    Dropped,
    /// The caller's terminal could not be used.
    #[error(transparent)]
    Console(#[from] crate::console::Error),
}
