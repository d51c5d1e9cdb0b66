//! What can go wrong on the container's side.

use std::path::PathBuf;

use cloison_linux::Errno;

use crate::errno::Text;

/// Why a step of the init failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{doing}: {}", Text(*errno))]
    Call {
        /// What was being done, and to what.
        doing: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// A file system was not mounted; the kernel may have said why in its log for this mount (fsopen(2)).
    #[error("{doing}: {}{}", Text(*errno), said(log))]
    Mount {
        /// What was being done.
        doing: String,
        /// What the kernel said.
        errno: Errno,
        /// What it said in words, may be empty.
        log: String,
    },
    /// A rule of ours that keeps the container from reaching the host.
    #[error("{0}")]
    Refused(String),
    /// No file of that name in any directory of `PATH`.
    #[error("exec: {name:?}: executable file not found in $PATH")]
    NotInPath {
        /// `argv[0]`.
        name: String,
    },
    /// The program's file is not there or cannot be executed.
    #[error("exec: {path:?}: {}", Text(*errno))]
    Program {
        /// The program's path.
        path: PathBuf,
        /// Why not.
        errno: Errno,
    },
    /// The program's path is a directory. execve(2) has `EACCES` for it, newer releases of `runc` say `EISDIR`, and older ones of `dockerd` know
    /// the former alone: whoever looks for the one or the other finds it.
    #[error("exec: {path:?}: is a directory: permission denied")]
    ProgramIsDirectory {
        /// The program's path.
        path: PathBuf,
    },
    /// A hook failed.
    #[error(transparent)]
    Hook(#[from] crate::hook::Error),
    /// The runtime is gone; nobody waits for this container.
    #[error("the runtime has ended before the container was made")]
    Orphaned,
}

fn said(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!(" (the kernel says: {log})") }
}

impl Error {
    /// The errno, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { errno, .. } | Self::Mount { errno, .. } | Self::Program { errno, .. } => {
                Some(*errno)
            }
            Self::Hook(error) => error.errno(),
            Self::NotInPath { .. } => Some(Errno::NOENT),
            Self::ProgramIsDirectory { .. } => Some(Errno::ACCESS),
            Self::Refused(_) | Self::Orphaned => None,
        }
    }
}

/// Names what was being done when a system call failed.
pub(crate) trait Doing<T> {
    /// `doing` is only worked out after a failure.
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, Errno> {
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T, Error> {
        self.map_err(|errno| Error::Call { doing: doing().into(), errno })
    }
}
