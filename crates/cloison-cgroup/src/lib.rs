#![forbid(unsafe_code)]
//! cloison-cgroup
