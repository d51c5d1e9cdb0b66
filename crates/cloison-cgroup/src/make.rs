//! Making the directories of a cgroup, and taking them back when a later step fails.

use std::path::{Path, PathBuf};

use rustix::fs::{Mode, mkdir, rmdir};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// The directories that one creation made, in that order.
#[derive(Debug, Default)]
pub(crate) struct Made {
    directories: Vec<PathBuf>,
}

impl Made {
    /// Makes `path`, and what is missing above it. Whether it is new.
    pub(crate) fn make(&mut self, path: &Path) -> Result<bool> {
        match self.make_one(path) {
            Err(Error::Make { source: Errno::NOENT, .. }) if path.parent().is_some() => {
                self.make(path.parent().unwrap_or(path))?;
                self.make_one(path)
            }
            made => made,
        }
    }

    fn make_one(&mut self, path: &Path) -> Result<bool> {
        match mkdir(path, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                self.directories.push(path.to_owned());
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            Err(source) => Err(Error::Make { path: path.to_owned(), source }),
        }
    }

    /// Removes what was made, if `result` is an error, so that a creation that failed leaves nothing behind.
    pub(crate) fn kept_if_ok<T>(self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            for path in self.directories.iter().rev() {
                if let Err(error) = rmdir(path) {
                    log::debug!("taking back cgroup {}: {error}", path.display());
                }
            }
        }
        result
    }
}
