//! `cloison ps`

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use clap::{Args, ValueEnum};
use cloison::id::ContainerId;
use cloison::lifecycle::{self, Runtime};
use cloison_linux::signals;

use super::print;
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Form of the list
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    format: Format,
    /// Name of the container, and options of the host's ps, which has to print a column PID [default: -ef]
    #[arg(value_names = ["CONTAINER-ID", "PS-OPTION"], trailing_var_arg = true, required = true, num_args = 1..)]
    words: Vec<OsString>,
}

/// The form of the list.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// The lines of the host's `ps`.
    #[value(help = None)]
    Table,
    /// A JSON array of process ids.
    #[value(help = None)]
    Json,
}

/// Why the host's `ps` says nothing about the container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PsError {
    /// There is no `ps`, or it cannot be executed.
    #[error("cannot run ps")]
    Run(#[source] std::io::Error),
    /// `ps` failed, with what it said.
    #[error("ps failed ({status}): {}", text.trim_end())]
    Failed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        text: String,
    },
    /// There is no column to tell processes by.
    #[error("couldn't find PID field in ps output: {0:?}")]
    NoPid(String),
    /// A line has no number where the title has `PID`.
    #[error("unable to parse pid in ps output: {0:?}")]
    BadLine(String),
}

impl Ps {
    /// Prints the container's processes: those lines of the host's `ps` that are about them.
    pub(crate) fn run(self, runtime: &Runtime) -> Result<ExitCode, Error> {
        // One list, so that after the name no word is taken for an option of ours.
        let mut words = self.words.into_iter();
        let id = words.next().unwrap_or_default();
        let pids = lifecycle::processes(runtime, &ContainerId::parse(&id.to_string_lossy())?)?;
        let text = match self.format {
            Format::Json => serde_json::to_string(&pids)? + "\n",
            Format::Table => lines_about(&pids, &host_ps(words.collect())?)?,
        };
        print(text.as_bytes())
    }
}

/// What the host's `ps` prints.
fn host_ps(mut options: Vec<OsString>) -> Result<String, PsError> {
    if options.is_empty() {
        options.push("-ef".into());
    }
    // Where the caller ignores SIGCHLD, nobody could wait for ps.
    signals::hear_of_children().map_err(|errno| PsError::Run(errno.into()))?;
    let output = Command::new("ps").args(options).output().map_err(PsError::Run)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let text = text + &String::from_utf8_lossy(&output.stderr);
        return Err(PsError::Failed { status: output.status, text });
    }
    Ok(text)
}

/// The title and the lines whose field below `PID` is one of `pids`, which ascend.
fn lines_about(pids: &[i32], text: &str) -> Result<String, PsError> {
    let mut lines = text.lines();
    let title = lines.next().unwrap_or_default();
    let column = title.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| PsError::NoPid(title.to_owned()))?;
    let mut about = format!("{title}\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let pid = line.split_whitespace().nth(column).and_then(|field| field.parse().ok());
        let pid: i32 = pid.ok_or_else(|| PsError::BadLine(line.to_owned()))?;
        if pids.binary_search(&pid).is_ok() {
            about.push_str(line);
            about.push('\n');
        }
    }
    Ok(about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_by_the_column_that_is_called_pid() {
        let text = "UID        PID  PPID CMD\nroot         7     1 sleep 9\nroot         9     7 9 sh\n\n";
        let expected = "UID        PID  PPID CMD\nroot         9     7 9 sh\n";
        assert_eq!(lines_about(&[1, 9], text).unwrap(), expected);
        assert_eq!(lines_about(&[], "  PID CMD\n    1 init\n").unwrap(), "  PID CMD\n");
    }

    #[test]
    fn output_by_which_nobody_can_be_told_is_refused() {
        let error = lines_about(&[1], "CMD\ninit\n").unwrap_err();
        assert!(error.to_string().starts_with("couldn't find PID field in ps output"), "{error}");
        assert!(matches!(lines_about(&[1], ""), Err(PsError::NoPid(_))));
        assert!(matches!(lines_about(&[1], "PID\nx\n"), Err(PsError::BadLine(_))));
        assert!(matches!(lines_about(&[1], "CMD PID\nsh\n"), Err(PsError::BadLine(_))));
    }
}
