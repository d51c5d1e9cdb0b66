//! What can be wrong with a container's directory.

use std::path::PathBuf;

use rustix::io::Errno;

/// Why a container's directory could not be made, found, read, written or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The root directory, which holds one directory for each container, is not there.
    #[error("the state directory {} does not exist", path.display())]
    NoRoot {
        /// The root directory.
        path: PathBuf,
    },
    /// There is no such container. Engines look for "does not exist".
    #[error("container does not exist: there is no {}", path.display())]
    NotExist {
        /// Where its directory would be.
        path: PathBuf,
    },
    /// The directory is there and another command is at this moment filling or emptying it.
    #[error("container does not exist: {} is being created or deleted at this moment", path.display())]
    InTransit {
        /// The container's directory.
        path: PathBuf,
    },
    /// The directory is there, but its creation was interrupted before the first state was written.
    #[error(
        "container does not exist: {} has no state.json, so its creation was interrupted; `delete --force` removes what is left",
        path.display()
    )]
    Unfinished {
        /// The container's directory.
        path: PathBuf,
    },
    /// Somebody else has this name.
    #[error("container with given ID already exists: {}", path.display())]
    Exist {
        /// The container's directory.
        path: PathBuf,
    },
    /// A file of ours does not hold what we write into it.
    #[error("{} is damaged, and only `delete --force` can remove the container", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with line and column.
        source: serde_json::Error,
    },
    /// A state that JSON cannot express. No value that this program makes is one.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// `state.json` was written by another version of this program, in a way that this one cannot read.
    #[error(
        "{} has layout {found}, and this version of cloison knows layout {known} only: use the version that made the container",
        path.display()
    )]
    Layout {
        /// The file.
        path: PathBuf,
        /// The layout that the file says it has.
        found: u32,
        /// The layout that we write.
        known: u32,
    },
    /// A tree inside the container's directory is deeper than anything that belongs there.
    #[error("cannot remove {}: it is more than {depth} directories deep", path.display())]
    TooDeep {
        /// The container's directory.
        path: PathBuf,
        /// How deep we go.
        depth: u32,
    },
    /// A system call failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel says.
        source: Errno,
    },
    /// The container's cgroup could not be asked whether it is frozen.
    #[error("cannot tell whether the container is paused")]
    Cgroup(#[from] cloison_cgroup::Error),
}

impl Error {
    /// There is nothing to find: neither a state nor the remains of one.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::NoRoot { .. } | Self::NotExist { .. })
    }

    /// The directory is there, and holds no state that anybody could still use.
    pub fn is_wreck(&self) -> bool {
        matches!(self, Self::Unfinished { .. } | Self::Damaged { .. })
    }
}

/// `map_err` for a system call on `path`.
pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(Errno) -> Error {
    let path = path.into();
    move |source| Error::Io { action, path, source }
}
