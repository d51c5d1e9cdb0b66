//! The container's side: from `clone3` to `execve`.
//!
//! The init is a fork of the runtime. It runs the second list of a [`Plan`](crate::plan::Plan), in order, and becomes the container's
//! program. It speaks with the runtime over one socket ([`channel`]); when it fails it says which step failed and why, and
//! exits, and everything that it has made in its own namespaces goes with it.
//!
//! | module | what is in it |
//! |---|---|
//! | [`create`] | the story of a container's birth: each line is one step |
//! | [`exec`] | the story of a process that joins a container |
//! | `rootfs` | mounts, devices, masked paths, the change of root |
//! | `security` | namespaces, keyring, sysctls: what stands between the container and the host |
//! | `landlock` | rights on files and ports that are given up |
//! | `program` | finding the program, `HOME`, the working directory, the launch |
//! | [`channel`] | what the init and the runtime say to each other |
//! | [`error`] | what can go wrong |

pub mod channel;
pub mod create;
pub mod error;
pub mod exec;
mod landlock;
mod program;
pub(crate) mod rootfs;
pub(crate) mod security;

#[cfg(test)]
mod tests;

/// The home of a user in the bytes of an `/etc/passwd`: for the fuzz target.
#[cfg(fuzzing)]
pub fn home_in(passwd: &[u8], uid: u32) -> Option<Vec<u8>> {
    program::home_in(passwd, uid)
}
