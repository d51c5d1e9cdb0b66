//! A directory that stands for a cgroup's.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::source::Source;

/// A new directory with files, removed at the end.
pub(super) struct Tree(TempDir);

impl Tree {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(TempDir::new().unwrap());
        for (name, text) in files {
            fs::write(tree.path().join(name), text).unwrap();
        }
        tree
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn source(&self) -> Source {
        Source::open(self.path()).unwrap().unwrap()
    }
}
