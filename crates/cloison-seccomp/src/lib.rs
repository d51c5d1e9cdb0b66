#![forbid(unsafe_code)]
//! cloison-seccomp
