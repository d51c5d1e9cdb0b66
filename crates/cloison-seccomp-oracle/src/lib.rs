#![forbid(unsafe_code)]
//! What `cloison-seccomp` is compared with. Nothing here is part of the runtime.
//!
//! | module | what is in it |
//! |---|---|
//! | `reference` | libseccomp, used as runc uses it |
//! | `model` | what a profile means, in the plainest words |
//! | `engines` | the default profiles of Docker, Podman and containerd |
//! | `calls` | which calls to try |
//!
//! The package `libseccomp-dev` has to be there.

mod calls;
mod engines;
mod model;
mod reference;

pub use calls::{calls, typical_calls};
pub use engines::{ENGINES, engine_profile};
pub use model::{Meaning, Model};
pub use reference::{Reference, known_alike, knows, number};
