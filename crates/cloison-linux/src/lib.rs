//! Linux system calls for container runtimes, as typed functions.
//!
//! This crate is the only place of the project where `unsafe` stands. What the steps of a container's birth
//! need is one trait, [`Kernel`]; [`Linux`] asks the real kernel and [`fake::Fake`] records what it was
//! asked, so that every order of calls, and every failure in the middle of it, is a unit test. Beside the
//! trait stand plain functions for what is needed outside of a plan: locks, waiting, signals, sockets.
//!
//! Two rules hold everywhere. A descriptor that this crate opens is close-on-exec. A path that an image can
//! influence is only ever resolved below a directory descriptor, by [`Kernel::open_in_root`].
//!
//! ```
//! use cloison_linux::{Kernel, Linux, Mode, OFlags};
//! use std::os::fd::AsFd;
//! use std::path::Path;
//!
//! let kernel = Linux;
//! let root = kernel.open(Path::new("/proc"), OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
//! // `..` cannot climb out of the root: this is /proc/version.
//! let file = kernel.open_in_root(root.as_fd(), Path::new("../../version"), OFlags::RDONLY, Mode::empty())?;
//! let version = kernel.read_to_end(file.as_fd(), 4096)?;
//! assert!(version.starts_with(b"Linux"));
//! # Ok::<(), cloison_linux::Errno>(())
//! ```
//!
//! # Map
//!
//! | module | what is in it |
//! |---|---|
//! | [`kernel`] | the trait [`Kernel`] |
//! | [`fake`] | a kernel that records, answers as it was told, and fails on demand |
//! | [`process`] | `clone3`, pidfds, waiting, start times, identity |
//! | [`command`] | programs of the host that are run to their end |
//! | [`signals`] | blocking, `signalfd`, numbers |
//! | [`namespace`] | the eight kinds of namespace |
//! | [`mount`] | the mount API by descriptors |
//! | [`mountinfo`] | the table of mounts |
//! | [`file`](mod@file) | opening, making and reading files without leaving a root |
//! | [`socket`] | messages with descriptors, sockets in a directory |
//! | [`schedule`] | CPU, I/O and memory placement |
//! | [`keyring`] | the session keyring |
//! | [`remount`] | what `mount_setattr(2)` does, on kernels that lack it |
//! | [`network`] | the loopback interface, and devices that are moved into a container |
//! | [`landlock`] | rights on files and ports that a process gives up |
//! | [`bpf`] | programs that decide which devices a cgroup may use |
//! | [`seccomp`] | what filters of system calls can do |
//! | [`trace`] | system calls of tasks that run already |
//! | [`capability`] | names, numbers and sets of capabilities |
//! | [`terminal`] | pseudo terminals and their sizes |
//! | [`memory`] | what of our own memory can be given back |
//! | [`lock`] | locks on the state directory |
//! | [`launch`] | from "ready" to the container's program, without the runtime's binary in memory |
//! | [`sealed`] | running from a sealed copy where `launch` cannot switch the executable |

#![cfg(target_os = "linux")]
// The kernel takes and gives every argument as a machine word, whatever its sign.
#![allow(clippy::cast_sign_loss, clippy::cast_possible_wrap)]

pub mod bpf;
pub mod capability;
pub mod command;
pub mod fake;
pub mod file;
pub mod kernel;
pub mod keyring;
pub mod landlock;
pub mod launch;
mod linux;
pub mod lock;
pub mod memory;
pub mod mount;
pub mod mountinfo;
pub mod namespace;
pub mod network;
pub mod process;
mod raw;
pub mod remount;
pub mod schedule;
pub mod sealed;
pub mod seccomp;
pub mod signals;
pub mod socket;
pub mod terminal;
pub mod trace;

pub use kernel::{Kernel, Result};
pub use linux::Linux;

pub use rustix::fs::{Dev, FileType, Mode, OFlags, Stat, StatFs, major, makedev, minor};
pub use rustix::io::Errno;
pub use rustix::mount::{FsMountFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags};
pub use rustix::process::{Pid, Resource, Rlimit, Signal};
