//! How many processes there are.

use std::path::Path;

use serde::Serialize;

use super::Limit;
use super::source::{Source, value_of};
use crate::error::Result;
use crate::processes;

/// Processes and threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// How many there are: `pids.current`, which counts threads; without the controller the processes of `cgroup.procs`.
    pub current: u64,
    /// How many there may be: `pids.max`; absent without the controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// How many forks the limit has refused: `max` of `pids.events` (Linux 4.8).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
}

impl Pids {
    /// The files of v1.
    pub(super) fn legacy(source: &Source) -> Result<Option<Self>> {
        let Some(current) = source.number("pids.current")? else { return Ok(None) };
        let refused = source.pairs("pids.events")?.and_then(|pairs| value_of(&pairs, "max"));
        Ok(Some(Self { current, limit: source.limit("pids.max")?, refused }))
    }

    /// The files of v2, and without the controller the processes of `directory` and below.
    pub(super) fn unified(source: &Source, directory: &Path, controlled: bool) -> Result<Option<Self>> {
        if controlled {
            return Self::legacy(source);
        }
        if source.text("cgroup.procs")?.is_none() && source.text("cgroup.threads")?.is_none() {
            return Ok(None);
        }
        let current = processes::raw(directory)?.len() as u64;
        Ok(Some(Self { current, limit: None, refused: None }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn the_controller_counts_and_limits() {
        let tree = Tree::new(&[("pids.current", "3\n"), ("pids.max", "10\n"), ("pids.events", "max 7\n")]);
        let pids = Pids::legacy(&tree.source()).unwrap().unwrap();
        assert_eq!(pids, Pids { current: 3, limit: Some(Limit(10)), refused: Some(7) });
    }

    #[test]
    fn without_the_controller_processes_are_counted() {
        let tree = Tree::new(&[("cgroup.procs", "1\n2\n3\n")]);
        let pids = Pids::unified(&tree.source(), tree.path(), false).unwrap().unwrap();
        assert_eq!(pids, Pids { current: 3, limit: None, refused: None });
    }

    #[test]
    fn without_files_there_is_no_count() {
        let tree = Tree::new(&[("pids.current", "many\n")]);
        assert_eq!(Pids::legacy(&tree.source()).unwrap(), None);
        assert_eq!(Pids::unified(&tree.source(), tree.path(), false).unwrap(), None);
    }
}
