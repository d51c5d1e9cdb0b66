//! Two containers that ask for one cgroup at the same time.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files::open_directory;

/// Keeps a new cgroup from others until its first process is inside, which then does.
///
/// It is a lock on the directory (flock(2)), so it ends at the latest with the process that has it.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "held for its lock")] Option<OwnedFd>);

impl Claim {
    /// Of a cgroup that cannot be shared, since there is none.
    pub(crate) fn of_nothing() -> Self {
        Self(None)
    }

    /// Of the cgroup at `directory`.
    pub(crate) fn of(directory: &Path) -> Result<Self> {
        let error = |source| Error::Open { path: directory.to_owned(), source };
        let descriptor = open_directory(directory).map_err(error)?;
        match flock(&descriptor, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(Some(descriptor))),
            Err(Errno::WOULDBLOCK) => Err(Error::InUse(directory.to_owned())),
            Err(errno) => Err(error(errno)),
        }
    }
}
