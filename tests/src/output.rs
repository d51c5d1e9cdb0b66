//! What a finished command printed, and how it ended.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

use serde_json::Value;

/// A finished command of the runtime under test.
#[derive(Debug)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Everything on standard output, of the runtime and of a foreground container.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
    /// The file behind standard output: a container that still runs goes on writing there.
    pub stdout_file: PathBuf,
}

impl Output {
    /// The exit code, or 128 + n for a command that a signal killed.
    pub fn code(&self) -> i32 {
        self.status.code().or_else(|| self.status.signal().map(|signal| 128 + signal)).expect("it has ended")
    }

    /// Standard output of a command that must have succeeded.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert!(self.status.success(), "expected success:\n{}", self.describe());
        &self.stdout
    }

    /// Standard output of a success, without the space around it.
    #[track_caller]
    pub fn line(&self) -> &str {
        self.ok().trim()
    }

    /// Standard output of a success as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.ok()).unwrap_or_else(|error| panic!("{error}:\n{}", self.describe()))
    }

    /// Standard error of a command that must have failed with exit code 1.
    #[track_caller]
    pub fn refused(&self) -> &str {
        assert_eq!(self.status.code(), Some(1), "expected exit code 1:\n{}", self.describe());
        &self.stderr
    }

    /// Checks that the command failed with exit code 1 and that its error says all of this, in any letter case.
    #[track_caller]
    pub fn refused_saying(&self, words: &[&str]) {
        let error = self.refused().to_lowercase();
        for word in words {
            assert!(
                error.contains(&word.to_lowercase()),
                "the error should say {word:?}:\n{}",
                self.describe()
            );
        }
    }

    /// Checks that `exec` failed before there was a program, and that its error says all of this, in any letter case.
    #[track_caller]
    pub fn exec_refused_saying(&self, words: &[&str]) {
        assert_eq!(self.status.code(), Some(255), "expected exit code 255:\n{}", self.describe());
        let error = self.stderr.to_lowercase();
        for word in words {
            assert!(
                error.contains(&word.to_lowercase()),
                "the error should say {word:?}:\n{}",
                self.describe()
            );
        }
    }

    /// The last line of standard error.
    pub fn last_error_line(&self) -> &str {
        self.stderr.trim_end().rsplit('\n').next().unwrap_or_default()
    }

    /// The command, how it ended and what it printed.
    pub fn describe(&self) -> String {
        format!(
            "$ {}\n[{}]\n--- stdout\n{}--- stderr\n{}",
            self.command, self.status, self.stdout, self.stderr
        )
    }
}
