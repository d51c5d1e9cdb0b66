//! A directory that stands for a cgroup's.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::source::Source;

/// A new directory with files, removed at the end.
pub(super) struct Tree(PathBuf);

impl Tree {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir()
            .join(format!("cloison-stats-{}-{number}", std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos()));
        fs::create_dir(&path).unwrap();
        let tree = Self(path);
        for (name, text) in files {
            fs::write(tree.0.join(name), text).unwrap();
        }
        tree
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn source(&self) -> Source {
        Source::open(&self.0).unwrap().unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays behind: {error}", self.0.display());
        }
    }
}
