#![forbid(unsafe_code)]
//! The project's own tools.
fn main() {}
