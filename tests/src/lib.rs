#![forbid(unsafe_code)]
// A harness panics on everything that it did not expect: that is how a test fails.
#![allow(clippy::missing_panics_doc)]
//! What a user of the binary sees, tested on a real kernel with real containers.
//!
//! Each test makes a [`Sandbox`], builds a [`Bundle`] in it, and runs a container runtime on it. The runtime is whatever
//! `CLOISON_BIN` names, the workspace's own `cloison` otherwise, so that a claim about `runc` is checked against `runc`.
//! When the sandbox is dropped it looks for everything the runtime may have left on the machine: processes, mounts,
//! cgroups and files. A test that leaves something fails, even when all its assertions held.
//!
//! ```no_run
//! use cloison_tests::Sandbox;
//!
//! let sandbox = Sandbox::new();
//! let output = sandbox.busybox("hostname").edit(|spec| spec["hostname"] = "ship".into()).run();
//! assert_eq!(output.ok(), "ship\n");
//! ```
//!
//! - [`agent`]: one that answers the calls a seccomp filter tells of
//! - [`sandbox`]: the directory, names and commands of one test
//! - [`bundle`]: `config.json` and its root file system
//! - [`bytes`]: many of them, there and back
//! - [`rootfs`]: where root file systems come from
//! - [`caller`]: who calls the runtime, root or an ordinary user
//! - [`engines`]: the seccomp profiles of engines
//! - [`container`]: one container between `create` and `delete`
//! - [`screen`]: a terminal that somebody sits at
//! - [`output`]: what a finished command printed
//! - [`receiver`]: who listens on a socket that a descriptor is sent to
//! - [`patience`]: how long things may take
//! - [`race`]: an enemy who exchanges paths meanwhile
//! - [`leaks`]: what must not be there afterwards
//! - [`runtime`]: the binary under test, and what it is
//! - [`host`]: what this machine can do
//! - [`tmux`]: a terminal with a shell, for what only a person would notice
//! - [`skip`]: tests that cannot run here say so
//! - [`user`]: one who is not root

pub mod agent;
pub mod bundle;
pub mod bytes;
pub mod caller;
pub mod cgroup;
pub mod container;
pub mod engines;
pub mod host;
pub mod leaks;
pub mod output;
pub mod patience;
pub mod race;
pub mod receiver;
pub mod rootfs;
pub mod runtime;
pub mod sandbox;
pub mod screen;
pub mod skip;
pub mod tmux;
pub mod user;

pub use agent::Agent;
pub use bundle::Bundle;
pub use container::Container;
pub use output::Output;
pub use rootfs::Rootfs;
pub use runtime::Kind;
pub use sandbox::{Foreground, Sandbox, append_command, until};
pub use screen::Screen;
pub use serde_json::{Value, json};
