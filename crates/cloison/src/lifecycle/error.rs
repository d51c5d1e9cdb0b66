//! What can go wrong on the host side.

use rustix::io::Errno;

use crate::id::{ContainerId, InvalidId};
use crate::signal::Signal;
use crate::state::{self, Status};

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container's directory could not be made, found, read, written or removed.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The container's cgroup could not be made, used or removed.
    #[error(transparent)]
    Cgroup(#[from] cloison_cgroup::Error),
    /// A text is not a container's name.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// There is no process to send a signal to. Engines look for these words.
    #[error("container not running")]
    NotRunning,
    /// The container has to be stopped before it is deleted, or deleted by force.
    #[error("cannot delete container {id} that is not stopped: {status}")]
    NotStopped {
        /// The container.
        id: ContainerId,
        /// What it is instead.
        status: Status,
    },
    /// The first process was killed and did not end in time; a process that waits for a device cannot.
    #[error("container init still running: process {pid} has not ended {seconds} s after SIGKILL")]
    InitStillRunning {
        /// The process.
        pid: i32,
        /// How long it was waited for, in seconds.
        seconds: u64,
    },
    /// The first process could not be opened as a pidfd.
    #[error("cannot open process {pid}")]
    Open {
        /// The process.
        pid: i32,
        /// What the kernel says.
        source: Errno,
    },
    /// The first process could not be sent a signal.
    #[error("cannot send {signal} to process {pid}")]
    Signal {
        /// The signal.
        signal: Signal,
        /// The process.
        pid: i32,
        /// What the kernel says.
        source: Errno,
    },
    /// The end of the first process could not be waited for.
    #[error("cannot wait for the end of process {pid}")]
    Wait {
        /// The process.
        pid: i32,
        /// What the kernel says.
        source: Errno,
    },
}
