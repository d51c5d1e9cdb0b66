//! The directory of one container, `<root>/<id>/`: all that outlives the command that made the container, and nothing else.
//!
//! | name | what it is |
//! |---|---|
//! | the directory itself | its existence is the claim on the id; `flock(2)` on it lets one command at a time change the container |
//! | `state.json` | a [`State`] |
//! | `config.json` | the bundle's configuration as it was at `create`, byte for byte |
//! | `exec.fifo` | a FIFO on which the first process has a lock until its `execve(2)`: "created" or "running" |
//! | `start` | the socket on which the first process waits for `start` |
//! | `monitor` | the socket of the process that keeps the container's streams, if there is one |
//! | `notify/notify.sock` | where the program tells a service manager that it is ready, if the runtime has one; mounted in the container |
//! | `exit.json` | an [`Exit`], which that process writes, once, without the lock: nobody else does |
//! | `log`, `log.1` | the container's output, and what was put aside of it |
//! | `*.new` | a file that is being written |
//!
//! [`Store`] finds and makes such directories. A [`View`] reads one and never waits; a [`Container`] has it locked and may write.
//! Everything goes by the directory's descriptor, which is opened without following a symbolic link.
//!
//! # Who tells what
//!
//! What the kernel knows is asked of the kernel, and not written down: whether the first process lives (its id *and* its start
//! time, because ids are given out again), whether it has begun the container's program (the lock on `exec.fifo`), whether it is
//! paused (the cgroup), whether somebody is at work on the container (the lock on the directory). So no crash can make it wrong.
//!
//! # A command may be killed at any instruction
//!
//! Locks end with the process that has them. What remains is what its system calls have done so far:
//!
//! - A directory without `state.json`, empty or with a `config.json`. It holds the id; there is no cgroup and no process yet,
//!   because a state that names the cgroup is saved before the cgroup is made. `list` warns of it, `state` says what it is
//!   ([`Error::Unfinished`]), and `delete --force` removes it.
//! - Each file is written to its `.new` name and renamed. `rename(2)` is atomic, so `state.json` is always a whole state, the last
//!   one that was saved. A `.new` that remains is overwritten by the next writing and removed with the directory.
//! - A state without a first process, which nobody has locked: the creation was interrupted. [`Status::Stopped`]; `delete` kills
//!   what the cgroup holds, removes the cgroup, then the directory.
//! - A removal deletes `state.json` after all other files, so up to the last step the container can be found and deleted again. An
//!   empty directory is what `mkdir` leaves, too, see above; its cgroup was removed before the first file was.
//!
//! Nothing is flushed to a disk: should the machine itself stop, the containers have stopped too, and what remains of their files,
//! be it half a state, is removed by `delete --force`.
//!
//! A `state.json` that does not hold a state ([`Error::Damaged`]) is nobody's crash, but can be met all the same. It is treated
//! like one that is missing; one of a layout that we do not know ([`Error::Layout`]) is left alone even by `delete --force`.
//!
//! # Two commands at a time
//!
//! A command that has waited for the lock looks whether the path still leads to the directory that it has locked, and begins
//! anew if not. One that has made the directory, and finds a state in it once it has the lock, has lost it to another.

mod container;
mod error;
mod files;
mod process;
mod record;
mod store;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod timestamp;
mod told;
mod view;

pub use container::Container;
pub use error::Error;
pub use record::{Exit, HostMount, Init, LAYOUT, LaterHooks, LogDriver, Monitor, State};
pub use store::Store;
pub use timestamp::Timestamp;
pub use told::ContainerState;
pub use view::{Status, View};

/// The container's [`State`].
const STATE: &str = "state.json";
/// The configuration that the container was made with.
const CONFIG: &str = "config.json";
/// Locked by the first process until it executes the container's program. Name and kind are those of what a first process of `runc` waits on:
/// who looks at the descriptors of a container that waits, to find some that have leaked into it, knows this one.
const CREATED: &str = "exec.fifo";
/// The socket that `start` connects to.
const START: &str = "start";
/// The socket of the container's monitor.
const MONITOR: &str = "monitor";
/// The directory of the socket for what the container tells a service manager. The container sees it.
pub(crate) const NOTIFY: &str = "notify";
/// How the container has ended.
const EXIT: &str = "exit.json";
/// The log of a container that was given no other place for it.
pub(crate) const LOG: &str = "log";

/// A state from the bytes of a `state.json`: for the fuzz target, which has no directory.
#[cfg(fuzzing)]
pub fn parse(bytes: &[u8]) -> Result<State, Error> {
    State::parse(bytes, std::path::Path::new(STATE))
}
