//! How a new process gets into a cgroup.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::write;

use crate::error::{Error, Result};

/// What a new process needs to get into a cgroup, opened by the runtime while it still has the rights to.
///
/// Nobody's pid is ever written to `cgroup.procs`: moving another process waits for an RCU grace period, 8 to 13 ms on
/// an idle machine. Instead the process is born in the v2 cgroup, and moves itself into the v1 ones while it is
/// still single-threaded, which needs no such wait (but where `tasks` is not the caller's, and `cgroup.procs` is).
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use cloison_cgroup::{CgroupPath, Layout};
/// # let path = CgroupPath::new(None, "box")?;
/// # let record = Layout::detect_for(&path)?.place(&path)?;
/// let entry = record.cgroup().entry()?;
/// // clone3: CLONE_INTO_CGROUP with the descriptor of entry.directory(), if there is one; in the child:
/// entry.join()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Entry {
    pub(crate) directory: Option<OwnedFd>,
    pub(crate) tasks: Vec<Tasks>,
}

/// A v1 cgroup's `tasks` file, open for writing; or its `cgroup.procs`, where that alone is the caller's.
#[derive(Debug)]
pub(crate) struct Tasks {
    pub(crate) file: OwnedFd,
    pub(crate) path: PathBuf,
}

impl Entry {
    /// The v2 cgroup's directory, for `CLONE_INTO_CGROUP` of clone3(2) (Linux 5.7).
    #[must_use]
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(AsFd::as_fd)
    }

    /// The v1 `tasks` files in the order to join by: memory last, so that it is not charged for joining the others.
    pub fn tasks(&self) -> impl ExactSizeIterator<Item = BorrowedFd<'_>> {
        self.tasks.iter().map(|tasks| tasks.file.as_fd())
    }

    /// Moves the calling thread into the v1 cgroups; to be called in the new process while it has one thread only, and the ids of who has opened
    /// the files: they take nobody else but from root (`__cgroup1_procs_write` in the kernel, since CVE-2021-4197).
    ///
    /// # Errors
    /// [`Error::Join`] with the `tasks` file that refused.
    pub fn join(&self) -> Result<()> {
        for tasks in &self.tasks {
            write(&tasks.file, b"0").map_err(|source| Error::Join { path: tasks.path.clone(), source })?;
        }
        Ok(())
    }
}
