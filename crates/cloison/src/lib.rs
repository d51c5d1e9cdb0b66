#![forbid(unsafe_code)]
//! cloison

pub mod errno;
pub mod console;
pub mod features;
pub mod id;
pub mod init;
pub mod lifecycle;
pub mod plan;
pub mod signal;
pub mod spec;
pub mod state;
