//! What can go wrong with systemd, and with the way to it.

use std::fmt;
use std::time::Duration;

use rustix::io::Errno;

use super::address::Whose;

/// A call to systemd that failed: which, of which unit, over which socket, and why.
#[derive(Debug, thiserror::Error)]
#[error("systemd ({bus}): {call}{}: {why}", Of(unit.as_deref()))]
pub struct BusError {
    /// The method or the property; `connecting`.
    pub call: String,
    /// The unit that it was about.
    pub unit: Option<String>,
    /// The socket, or whose systemd was looked for.
    pub bus: String,
    /// What happened.
    pub why: Why,
}

/// Why a call to systemd failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Nothing says where the bus is.
    #[error("there is no address of a bus: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR names one")]
    NoAddress,
    /// `connect(2)` failed.
    #[error("connect: {0}")]
    Connect(Errno),
    /// The other side does not believe that we are who we are.
    #[error("the bus does not let us in, it says {0:?}")]
    Rejected(String),
    /// No answer until the deadline.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The job was accepted, but did not end until the deadline.
    #[error("the job has not ended within {} s", .0.as_secs_f32())]
    Job(Duration),
    /// The job ended, and not well.
    #[error("the job ended as {0:?}, not as \"done\"")]
    JobResult(String),
    /// The other side closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// An answer that means nothing.
    #[error("the answer is {0}")]
    Protocol(&'static str),
    /// An error as the answer.
    #[error("{text} ({name})")]
    Refused {
        /// `org.freedesktop.systemd1.UnitExists`
        name: String,
        /// The same for people.
        text: String,
    },
    /// A system call failed.
    #[error("{0}")]
    Socket(Errno),
}

impl BusError {
    /// Whether systemd has answered with the error of this name, `NoSuchUnit`, say.
    pub(crate) fn is(&self, error: &str) -> bool {
        matches!(&self.why, Why::Refused { name, .. } if name.rsplit('.').next() == Some(error))
    }
}

struct Of<'a>(Option<&'a str>);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |unit| write!(f, " of {unit}"))
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "of the machine",
            Self::User => "of the user",
        })
    }
}
