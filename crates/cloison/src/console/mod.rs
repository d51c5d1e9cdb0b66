//! The foreground terminal: what goes between the caller's streams and the container's pseudo terminal.
//!
//! ```text
//!  the caller                  the runtime                            the container
//!  standard input  ──▶ to the container ──▶ master ══ pty ══ terminal ──▶ the program
//!  standard output ◀── to the caller    ◀──                           ◀──
//!  SIGWINCH        ──▶ the size         ──▶                           ──▶ SIGWINCH
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | `relay` | the bytes, both ways, and the size |
//! | `raw` | the mode of the caller's terminal, and its way back |
//! | `buffer` | bytes on their way |
//! | `output` | the caller's standard output, without waiting for it |
//!
//! # Who makes lines of newlines
//!
//! Of two terminals one behind the other only one may turn a newline into a carriage return and a newline. If both standard
//! input and output are terminals, the caller's does nothing to what is written: then full-screen programs, which may take
//! a bare newline for "one down", look as they do outside. Else the container's does nothing, so that files and pipes get
//! the lines that programs write, as `runc` has it.
//!
//! # The way back
//!
//! The mode from before is set again when the relay is dropped (the program's end, an error, a hangup) and by a panic hook,
//! because a panic aborts without dropping anything. Signals cannot end the runtime meanwhile: all are blocked and read.
//! What is left is SIGKILL and a fault of the runtime itself; only another process could clean up after these, and a
//! second process for each terminal is not worth it: `reset` or `stty sane` helps.

mod buffer;
mod output;
mod raw;
mod relay;

use rustix::io::Errno;

pub use output::Output;
pub(crate) use raw::{RawMode, claim};
pub(crate) use relay::{Flow, Relay, Window};

use crate::errno::Text;

/// Why a terminal could not be served.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub enum Error {
    /// The caller runs in the background of a session where nobody could bring it to the front.
    #[error("the caller's terminal belongs to another process group: {}", Text(*.0))]
    Background(Errno),
    /// The mode of the caller's terminal could not be read or set.
    #[error("making the caller's terminal raw: {}", Text(*.0))]
    Raw(Errno),
    /// The master of the container's terminal does not do what a master does.
    #[error("preparing the container's terminal: {}", Text(*.0))]
    Prepare(Errno),
    /// The container's terminal could not be read.
    #[error("reading from the container's terminal: {}", Text(*.0))]
    Read(Errno),
    /// The container's terminal does not take what is typed.
    #[error("writing to the container's terminal: {}", Text(*.0))]
    Write(Errno),
    /// `poll(2)` failed.
    #[error("waiting for a terminal: {}", Text(*.0))]
    Wait(Errno),
    /// Signals could not be read or let through.
    #[error("reading signals beside a terminal: {}", Text(*.0))]
    Signals(Errno),
}
