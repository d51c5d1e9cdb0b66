#![forbid(unsafe_code)]
//! cloison

pub mod id;
pub mod signal;
pub mod spec;
pub mod state;
