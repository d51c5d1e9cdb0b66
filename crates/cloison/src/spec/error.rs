//! What can be wrong with a `config.json`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The largest file that is read, in bytes. Real ones stay below 1 MiB.
pub const SIZE_LIMIT: u64 = 16 * 1024 * 1024;

/// One thing that is wrong, or that is ignored: where, what stands there, and what may stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands, as a JSON pointer (RFC 6901): `/linux/resources/memory/limit`.
    pub pointer: String,
    /// A sentence without the place.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.pointer, self.message)
        }
    }
}

/// Why there is no [`Spec`](super::Spec).
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The file is not there.
    #[error("JSON specification file {} not found", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
        /// ENOENT.
        source: io::Error,
    },
    /// The file cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Something that is not a file stands there.
    #[error("{} is {kind}, not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What stands there, with its article.
        kind: &'static str,
    },
    /// The file is larger than [`SIZE_LIMIT`].
    #[error("{} holds {size} bytes, at most {SIZE_LIMIT} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// The text is not JSON.
    #[error("{}, line {line}, column {column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The byte within the line, counted from 1; 0 stands before the first.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// The text is JSON, but breaks rules of the specification.
    #[error("{}", list(path, problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All that is wrong, at least one.
        problems: Vec<Problem>,
    },
}

/// One problem makes one line, several make a list.
fn list(path: &Path, problems: &[Problem]) -> String {
    let path = path.display();
    if let [problem] = problems {
        return format!("{path}: {problem}");
    }
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    format!("{path} has {} problems:\n{}", problems.len(), lines.join("\n"))
}
