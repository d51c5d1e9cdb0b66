//! What can go wrong in a command.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use cloison::id::InvalidId;
use cloison::lifecycle;
use cloison::signal::UnknownSignal;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line makes no sense; `message` is one line, `usage` the help that belongs to it.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// How it is done.
        usage: String,
    },
    /// The name of the container is none.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// The name of the signal is none.
    #[error(transparent)]
    Signal(#[from] UnknownSignal),
    /// A profile cannot be explained.
    #[error(transparent)]
    Explain(#[from] cloison::explain::Error),
    /// `--root` is empty or `/`, below which every directory would be taken for a container.
    #[error("option --root should not be set to {0:?}")]
    Root(PathBuf),
    /// The file of `--log` cannot be appended to.
    #[error("cannot open the log file {path:?}")]
    Log {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// `$XDG_RUNTIME_DIR` does not let the caller make a directory, or set its mode.
    #[error("cannot make the state directory {path:?} below $XDG_RUNTIME_DIR")]
    RuntimeDirectory {
        /// The state directory.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// A relative path has no meaning, since the working directory is gone.
    #[error("cannot tell which directory the path {path:?} starts from")]
    WorkingDirectory {
        /// The path.
        path: PathBuf,
        /// What `getcwd(2)` says.
        #[source]
        error: io::Error,
    },
    /// `spec` does not overwrite.
    #[error("File config.json exists. Remove it first")]
    ConfigExists,
    /// A file cannot be written.
    #[error("cannot write {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// Standard output does not take what was to be printed.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] cloison_linux::Errno),
    /// A value has no form as JSON.
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    /// The host's `ps` tells nothing about the container.
    #[error(transparent)]
    Ps(#[from] crate::commands::PsError),
    /// The throw-away root file system of `try` could not be made.
    #[error(transparent)]
    Try(#[from] crate::commands::TryError),
    /// `exec` did not come to the program.
    #[error("exec failed")]
    Exec(#[source] Box<Error>),
    /// The new resources are not one.
    #[error(transparent)]
    Resources(#[from] cloison::spec::SpecError),
    /// A file cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// `wait` has no exit code to tell.
    #[error("wait failed")]
    Wait(#[source] Box<Error>),
    /// The library failed.
    #[error(transparent)]
    Lifecycle(#[from] lifecycle::Error),
}

impl Error {
    /// What the process ends with. That of `exec` and `wait` is otherwise the program's, so that its own is one that programs rarely have.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Exec(_) | Self::Wait(_) => ExitCode::from(255),
            _ => ExitCode::FAILURE,
        }
    }
}
