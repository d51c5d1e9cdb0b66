#![forbid(unsafe_code)]
//! cloison
