//! What files said before they were written, to write that again.

use std::path::PathBuf;

use rustix::io::Errno;

use super::Unset;
use crate::error::Error;
use crate::files::{read_whole, write_value};

/// What was changed, in that order.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    path: PathBuf,
    before: String,
    unset: Unset,
}

impl Journal {
    pub(crate) fn note(&mut self, path: PathBuf, before: String, unset: Unset) {
        self.entries.push(Entry { path, before, unset });
    }

    /// Takes all changes back, the last one first, and tells of `cause` together with what could not be taken back.
    pub(crate) fn undo(self, cause: Error) -> Error {
        let mut left: Vec<&Entry> = self.entries.iter().rev().collect();
        // As with setting: what is invalid now may be valid once another value is back.
        while !left.is_empty() {
            let count = left.len();
            left.retain(|entry| match entry.restore() {
                Ok(()) => false,
                Err(errno) => {
                    log::debug!("taking back {}: {errno}", entry.path.display());
                    true
                }
            });
            if left.len() == count {
                break;
            }
        }
        let mut changed: Vec<PathBuf> = Vec::new();
        for entry in &self.entries {
            let is_as_before = left.iter().all(|one| one.path != entry.path)
                && (self.entries.iter().find(|one| one.path == entry.path)).is_none_or(Entry::is_restored);
            if !is_as_before && !changed.contains(&entry.path) {
                changed.push(entry.path.clone());
            }
        }
        if changed.is_empty() {
            Error::Undone(Box::new(cause))
        } else {
            Error::NotUndone { cause: Box::new(cause), changed }
        }
    }
}

impl Entry {
    fn restore(&self) -> Result<(), Errno> {
        self.unset.lines(&self.before).iter().try_for_each(|line| write_value(&self.path, line))
    }

    /// Whether the file says what it said before; what cannot be read was restored as far as anybody can tell.
    fn is_restored(&self) -> bool {
        read_whole(&self.path).map_or(true, |now| now == self.before)
    }
}
