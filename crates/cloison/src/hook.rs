//! Running a hook: what it is told, where its output goes, and what its failure means
//! ([config.md](https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config.md#posix-platform-hooks)).
//!
//! A hook gets the container's state on its standard input, a process group of its own, and no descriptor but the three standard
//! streams. What it says is kept for the error of one that fails, unless annotations name files for it. Which hook runs when, and in
//! whose namespaces, is a matter of the [plan](crate::plan::hooks).

use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use cloison_linux::command::{Command, Finished, Limits, Outcome};
use cloison_linux::process::Ending;
use cloison_linux::{Errno, Kernel, Mode, OFlags, Signal};

use crate::errno::Text;
use crate::plan::hooks::{Environment, Hook, Outputs};
use crate::state::{ContainerState, Status};

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A hook ended with another status than 0, or not by itself. Users know these words from `runc`.
    #[error("error running {point} hook #{index}: {reason}")]
    Failed {
        /// The name of its point.
        point: &'static str,
        /// Its place among the hooks of that point.
        index: usize,
        /// How it ended, and what it said.
        reason: Box<Reason>,
    },
    /// The file for the output of hooks could not be opened.
    #[error("opening {} for the output of hooks: {}", path.display(), Text(*errno))]
    Output {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        errno: Errno,
    },
    /// A state that JSON cannot express: a bundle whose path is not text.
    #[error("telling hooks of the container's state")]
    State(#[from] serde_json::Error),
}

impl Error {
    /// The errno, where the kernel would not execute the hook.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Failed { reason, .. } => match **reason {
                Reason::NotRun { errno, .. } => Some(errno),
                Reason::NotEntered(_) | Reason::Ended { .. } => None,
            },
            Self::Output { errno, .. } => Some(*errno),
            Self::State(_) => None,
        }
    }
}

/// How a hook failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Reason {
    /// It could not be executed.
    NotRun {
        /// The program.
        path: PathBuf,
        /// What the kernel says.
        errno: Errno,
    },
    /// It could not enter the container, or not be executed there: why not.
    NotEntered(String),
    /// How it ended, and what it had said.
    Ended {
        /// How.
        outcome: Outcome,
        /// How long it was allowed to run, in seconds, if that was limited.
        timeout: Option<u64>,
        /// The end of its standard output.
        stdout: String,
        /// The end of its standard error.
        stderr: String,
    },
}

/// `SIGSYS`.
const BAD_SYSTEM_CALL: i32 = Signal::SYS.as_raw();

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun { path, errno } => write!(f, "exec {}: {}", path.display(), Text(*errno)),
            Self::NotEntered(why) => f.write_str(why),
            Self::Ended { outcome, timeout, stdout, stderr } => {
                match outcome {
                    Outcome::Ended(Ending::Exited(status)) => write!(f, "exit status {status}")?,
                    // What a filter does: whoever sees it should think of the seccomp profile.
                    Outcome::Ended(Ending::Killed(BAD_SYSTEM_CALL)) => {
                        write!(f, "killed by signal {BAD_SYSTEM_CALL}: bad system call")?;
                    }
                    Outcome::Ended(Ending::Killed(signal)) => write!(f, "killed by signal {signal}")?,
                    Outcome::TimedOut => {
                        write!(f, "hook ran past specified timeout of {}.0s", timeout.unwrap_or_default())?;
                    }
                    Outcome::Outlived => {
                        f.write_str("the container was killed while the hook was running")?;
                    }
                }
                for (name, text) in [("stdout", stdout), ("stderr", stderr)] {
                    if !text.is_empty() {
                        write!(f, ", {name}: {text}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// The files that the output of hooks goes to, opened.
#[derive(Debug, Default)]
pub struct OpenOutputs([Option<OwnedFd>; 2]);

impl OpenOutputs {
    /// Opens them for appending, or makes them, for their owner alone (0600). The paths are the host's.
    pub fn open(kernel: &dyn Kernel, outputs: &Outputs) -> Result<Self, Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOCTTY;
        let open = |path: &Option<PathBuf>| {
            let path = path.as_deref();
            let open = |path: &Path| {
                let file = kernel.open(path, flags, Mode::RUSR | Mode::WUSR);
                file.map_err(|errno| Error::Output { path: path.to_owned(), errno })
            };
            path.map(open).transpose()
        };
        Ok(Self([open(&outputs.stdout)?, open(&outputs.stderr)?]))
    }

    /// For a hook: standard output, standard error.
    pub fn as_fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [0, 1].map(|place| self.0[place].as_ref().map(AsFd::as_fd))
    }
}

/// What a hook finds where it runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place<'a> {
    /// Its working directory, if it is not the runtime's.
    pub directory: Option<BorrowedFd<'a>>,
    /// Its mask of modes, if it is not the runtime's.
    pub umask: Option<u32>,
    /// Where its output goes, if it is not kept.
    pub outputs: [Option<BorrowedFd<'a>>; 2],
    /// The container's first process, which it must not outlive.
    pub no_longer_than: Option<BorrowedFd<'a>>,
}

/// Runs a hook in the caller's own namespaces, and waits for its end.
///
/// # Errors
/// Whatever is not an exit with status 0.
pub fn run(
    kernel: &dyn Kernel,
    hook: &Hook,
    status: Status,
    pid: Option<i32>,
    place: &Place<'_>,
) -> Result<(), Error> {
    let inherited;
    let env = match &hook.env {
        Environment::Given(env) => env,
        Environment::OfTheRuntime | Environment::OfTheProgram => {
            inherited = own_environment();
            &inherited
        }
    };
    let command = Command {
        path: &hook.path,
        args: &hook.args,
        env,
        directory: place.directory,
        umask: place.umask,
        input: &told(hook, status, pid)?,
        outputs: place.outputs,
        limits: Limits { timeout: hook.timeout, no_longer_than: place.no_longer_than },
    };
    judge(hook, kernel.run_command(&command))
}

/// The container's state as a hook gets it.
pub fn told(hook: &Hook, status: Status, pid: Option<i32>) -> Result<Vec<u8>, Error> {
    let told = &hook.told;
    let state = ContainerState {
        oci_version: &told.oci_version,
        id: told.id.as_str(),
        status,
        pid,
        bundle: &told.bundle,
        annotations: &told.annotations,
    };
    Ok(state.to_json()?)
}

/// What the end of a hook means.
pub fn judge(hook: &Hook, finished: Result<Finished, Errno>) -> Result<(), Error> {
    let (point, index) = (hook.point.name(), hook.index);
    let path = || Path::new(std::ffi::OsStr::new(&*hook.path.to_string_lossy())).to_owned();
    let reason = match finished {
        Err(errno) => Reason::NotRun { path: path(), errno },
        Ok(Finished { outcome, stdout, stderr }) => {
            let [stdout, stderr] =
                [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned());
            if outcome == Outcome::Ended(Ending::Exited(0)) {
                for (name, text) in [("stdout", stdout), ("stderr", stderr)] {
                    if !text.is_empty() {
                        log::debug!("{name} of {point} hook #{index}: {text}");
                    }
                }
                return Ok(());
            }
            Reason::Ended { outcome, timeout: hook.timeout.map(|timeout| timeout.as_secs()), stdout, stderr }
        }
    };
    Err(Error::Failed { point, index, reason: Box::new(reason) })
}

/// A hook that could not enter the container, or not be executed there.
pub fn not_entered(hook: &Hook, why: String) -> Error {
    let reason = Box::new(Reason::NotEntered(why));
    Error::Failed { point: hook.point.name(), index: hook.index, reason }
}

/// What of the caller's environment can be handed on.
fn own_environment() -> Vec<CString> {
    let entry = |(mut name, value): (std::ffi::OsString, std::ffi::OsString)| {
        name.push("=");
        name.push(value);
        CString::new(name.into_vec()).ok()
    };
    std::env::vars_os().filter_map(entry).collect()
}
