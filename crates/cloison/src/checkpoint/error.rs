//! Why a checkpoint or a restore failed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use cloison_linux::Errno;
use cloison_linux::process::Ending;

use crate::errno::Text;

/// How many of the log's errors are told.
const TOLD: usize = 3;

/// How many lines of a log are read: a log that never ends would keep us for ever.
const LOG_LINES: usize = 1 << 20;

/// Why a checkpoint or a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no CRIU. The words are those that engines look for.
    #[error("exec: \"criu\": executable file not found in $PATH")]
    NotInstalled,
    /// CRIU could not be executed, or what goes before that failed.
    #[error("starting criu: {0}")]
    Start(String),
    /// CRIU is older than what was asked for needs.
    #[error("CRIU version {found} must be {needed} or higher for {what}")]
    TooOld {
        /// What was found: major × 10000 + minor × 100 + sublevel.
        found: i32,
        /// What is needed.
        needed: i32,
        /// What for.
        what: &'static str,
    },
    /// This CRIU, or this kernel, cannot do what was asked for.
    #[error("criu is missing features: {0}")]
    Missing(&'static str),
    /// CRIU tried, and failed.
    #[error("criu failed: type {request} errno {errno}{}; the log is {}", in_words(reasons), log.display())]
    Failed {
        /// What it was asked: `DUMP`, `PRE_DUMP`, `RESTORE`.
        request: &'static str,
        /// The errno that it tells, which may be 0.
        errno: i32,
        /// The errors in its log.
        reasons: Vec<String>,
        /// Its log.
        log: PathBuf,
    },
    /// CRIU ended in the middle.
    #[error("criu failed: it ended with {}{}; the log is {}", .0.exit_code(), in_words(.1), .2.display())]
    Ended(Ending, Vec<String>, PathBuf),
    /// CRIU said what its protocol does not know.
    #[error("criu does not follow its protocol: {0}")]
    Protocol(String),
    /// The container is restricted by Landlock, which no images of CRIU's have: it would wake without.
    #[error(
        "a container with the annotation org.cloison.landlock cannot be checkpointed: CRIU does not know Landlock"
    )]
    Landlock,
    /// A system call failed.
    #[error("{doing}: {}", Text(*errno))]
    Call {
        /// What was being done, and to what.
        doing: String,
        /// What the kernel says.
        errno: Errno,
    },
    /// A file or a directory of the images cannot be used.
    #[error("{}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// The file of the names of descriptors is not one.
    #[error("{}", path.display())]
    Descriptors {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

fn in_words(reasons: &[String]) -> String {
    reasons.iter().flat_map(|reason| [": ", reason]).collect()
}

/// The first errors in a log of CRIU's. A log that cannot be read has none.
pub(crate) fn errors_in(log: &Path) -> Vec<String> {
    let Ok(file) = File::open(log) else { return Vec::new() };
    let lines = BufReader::new(file).lines().take(LOG_LINES).map_while(Result::ok);
    // "(00.012345)      1: Error (criu/files.c:1234): What is wrong"
    let errors = lines.filter_map(|line| line.split_once("Error (").map(|(_, rest)| rest.to_owned()));
    errors
        .map(|rest| rest.split_once("): ").map_or(rest.clone(), |(_, reason)| reason.trim().to_owned()))
        .take(TOLD)
        .collect()
}

/// Names what was being done when a system call failed.
pub(crate) trait Doing<T> {
    /// What was being done, and to what.
    fn doing(self, doing: impl Into<String>) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, Errno> {
    fn doing(self, doing: impl Into<String>) -> Result<T, Error> {
        self.map_err(|errno| Error::Call { doing: doing.into(), errno })
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_first_errors_of_a_log_are_told_without_their_places() {
        let scratch = TempDir::new().unwrap();
        let log = scratch.path().join("dump.log");
        let text = "(00.001) Version: 3.17\n(00.002)      1: Error (criu/tty.c:12): tty: Found dangling tty\n\
                    (00.003) Warn  (x.c:1): no\n(00.004) Error (criu/cr-dump.c:1): Dumping FAILED.\n";
        std::fs::write(&log, text).unwrap();
        assert_eq!(errors_in(&log), ["tty: Found dangling tty", "Dumping FAILED."]);
        assert!(errors_in(&scratch.path().join("missing")).is_empty());
        let error =
            Error::Failed { request: "DUMP", errno: 0, reasons: errors_in(&log), log: "/i/dump.log".into() };
        let expected = "criu failed: type DUMP errno 0: tty: Found dangling tty: Dumping FAILED.; the log is /i/dump.log";
        assert_eq!(error.to_string(), expected);
    }
}
