#![forbid(unsafe_code)]
//! The harness.
