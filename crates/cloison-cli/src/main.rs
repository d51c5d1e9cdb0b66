#![forbid(unsafe_code)]
//! cloison
fn main() {}
