//! The steps of a plan: what is done, with every string, flag and number already worked out.

use std::fmt;

mod container;
mod host;
mod mount;

pub use self::container::{Action, Device, Masks};
pub use self::host::{BindSource, HostAction, NetDevice, SourceIds, StartUnit};
pub use self::mount::{MountSource, MountStep};

/// Where in `config.json` a step comes from: a JSON pointer (RFC 6901), or what rule of ours asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(pub std::borrow::Cow<'static, str>);

impl Origin {
    /// The pointer of one element of a list.
    pub fn index(list: &str, index: usize) -> Self {
        Self(format!("{list}/{index}").into())
    }

    /// The pointer of something that need not be there, and that the runtime does itself without.
    pub fn of_optional(is_there: bool, pointer: &'static str) -> Self {
        if is_there { pointer.into() } else { "runtime".into() }
    }

    /// The pointer of an object's field (RFC 6901).
    pub fn key(object: &str, key: &str) -> Self {
        Self(format!("{object}/{}", key.replace('~', "~0").replace('/', "~1")).into())
    }

    /// The index at the pointer's end.
    pub fn last_index(&self) -> Option<usize> {
        self.0.rsplit('/').next()?.parse().ok()
    }
}

impl From<&'static str> for Origin {
    fn from(pointer: &'static str) -> Self {
        Self(pointer.into())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One thing to do, and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<A> {
    /// What is done.
    pub action: A,
    /// Why.
    pub origin: Origin,
}

impl<A: fmt::Display> fmt::Display for Step<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  [{}]", self.action, self.origin)
    }
}

/// A line of `/proc/PID/uid_map`: `size` ids from `container` on are `host` and following (`user_namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMapping {
    /// First id inside.
    pub container: u32,
    /// First id outside.
    pub host: u32,
    /// How many.
    pub size: u32,
}

/// Offsets of clocks: seconds and nanoseconds, by the names of `time_namespaces(7)`.
pub type Offsets = Vec<(&'static str, i64, u32)>;

struct Clocks<'a>(&'a [(&'static str, i64, u32)]);

impl fmt::Display for Clocks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut offsets = self.0.iter();
        offsets.try_for_each(|(clock, seconds, nanos)| write!(f, " {clock} {seconds}.{nanos:09}"))
    }
}
