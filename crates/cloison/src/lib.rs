#![forbid(unsafe_code)]
//! cloison

pub mod id;
pub mod lifecycle;
pub mod signal;
pub mod spec;
pub mod state;
