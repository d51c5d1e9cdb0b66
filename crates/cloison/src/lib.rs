#![forbid(unsafe_code)]
//! The OCI container runtime, as a library: what a shim or any other program embeds that makes containers without starting a binary.
//!
//! A [`Runtime`](lifecycle::Runtime) says where containers are kept; the verbs of [`lifecycle`] do the rest. Each leaves the machine as it
//! found it when it fails.
//!
//! ```no_run
//! use cloison::id::ContainerId;
//! use cloison::lifecycle::{self, CgroupDriver, CreateOptions, Runtime};
//! use cloison::signal::Signal;
//!
//! let runtime = Runtime { root: "/run/example".into(), cgroup: CgroupDriver::Cgroupfs };
//! let id = ContainerId::parse("box")?;
//! let options = CreateOptions {
//!     id: id.clone(),
//!     bundle: "/srv/box".into(),
//!     config: None,
//!     pid_file: None,
//!     console_socket: None,
//!     pidfd_socket: None,
//!     no_pivot: false,
//!     no_new_keyring: false,
//!     preserve_fds: 0,
//!     takes_streams: false,
//! };
//! // What would be done, step by step, without doing it.
//! println!("{}", lifecycle::plan(&runtime, &options)?);
//! lifecycle::create(&runtime, &options)?;
//! lifecycle::start(&runtime, &id)?;
//! lifecycle::kill(&runtime, &id, Signal::TERM, false)?;
//! lifecycle::delete(&runtime, &id, true)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The process that calls this must have one thread: namespaces are taken and given back, and the container's first process is a fork of
//! the caller.
//!
//! # Map
//!
//! | module | what is in it |
//! |---|---|
//! | [`spec`] | `config.json` as types, read and checked; every problem at once |
//! | [`plan`] | what will be done, as data: a pure function of the configuration, the options and the machine |
//! | [`lifecycle`] | the host's side: one file a verb |
//! | [`init`] | the container's side: from `clone3` to `execve` |
//! | [`hook`] | running a hook, and judging its end |
//! | [`resctrl`] | shares of caches and memory bandwidth |
//! | [`state`] | the directory of one container |
//! | [`checkpoint`] | checkpoint and restore, by CRIU |
//! | [`console`] | the caller's terminal in a foreground `run` |
//! | [`explain`] | what a seccomp profile says of a system call |
//! | [`monitor`] | the process that stays with a container, its log, and who attaches to it |
//! | [`notify`] | what a program tells a service manager |
//! | [`features`] | what this runtime can do, as engines ask for it |
//! | [`id`], [`signal`], [`errno`] | names of containers, signals by name, how an errno reads |

pub mod checkpoint;
pub mod console;
pub mod errno;
pub mod explain;
pub mod features;
pub mod hook;
pub mod id;
pub mod init;
pub mod lifecycle;
pub mod monitor;
pub mod notify;
pub mod plan;
pub mod resctrl;
pub mod signal;
pub mod spec;
pub mod state;
