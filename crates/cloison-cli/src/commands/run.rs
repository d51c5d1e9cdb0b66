//! `cloison run`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use cloison::lifecycle::{self, CreateOptions, MonitorOptions, RunOptions, Runtime};
use cloison::monitor::{DEFAULT_MAX_SIZE, Deadline, LogDriver};

use super::create::NewContainer;
use super::update::bytes;
use crate::args::{absolute_if_given, path};
use crate::duration;
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    container: NewContainer,
    /// Return as soon as the process runs
    #[arg(short, long)]
    detach: bool,
    /// Keep the container's state after its process has ended
    #[arg(long)]
    keep: bool,
    /// Do not adopt processes that the container's first process leaves behind
    #[arg(long)]
    no_subreaper: bool,
    /// Leave a process behind that keeps the streams or the terminal of a detached container: see attach, logs, wait and resize
    #[arg(long, requires = "detach")]
    monitor: bool,
    /// Form of the monitor's log [default: file]
    #[arg(long, value_name = "DRIVER", value_enum, requires = "monitor")]
    log_driver: Option<Driver>,
    /// Where the monitor's log is [default: in the container's state directory]
    #[arg(long, value_name = "FILE", requires = "monitor", value_parser = path())]
    log_path: Option<PathBuf>,
    /// How large the log may get before it is put aside, such as 500k, 10m or 1g [default: 10m]
    #[arg(long, value_name = "SIZE", requires = "monitor", value_parser = size)]
    log_max_size: Option<u64>,
    /// End the container after a time such as 30s: with SIGTERM, then SIGKILL; the exit code is 124 then
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// How long after SIGTERM the SIGKILL comes
    #[arg(long, value_name = "TIME", requires = "timeout", default_value = "10s", value_parser = duration::parse)]
    timeout_grace: Duration,
}

/// The form of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Driver {
    /// Lines with time and stream before the text, as the Kubernetes CRI has them
    File,
    /// Lines of JSON, as Docker's json-file has them
    Json,
    /// None
    None,
}

impl Run {
    /// Runs the container; the exit code is the process's own, or 128 and the signal that killed it.
    pub(crate) fn run(self, runtime: &Runtime) -> Result<ExitCode, Error> {
        Ok(ExitCode::from(lifecycle::run(runtime, &self.into_options()?)?))
    }

    /// What the library wants to know.
    pub(crate) fn into_options(self) -> Result<RunOptions, Error> {
        let monitor = if self.monitor {
            Some(MonitorOptions {
                driver: match self.log_driver {
                    None | Some(Driver::File) => LogDriver::File,
                    Some(Driver::Json) => LogDriver::Json,
                    Some(Driver::None) => LogDriver::None,
                },
                log: absolute_if_given(self.log_path)?,
                max_size: self.log_max_size.unwrap_or(DEFAULT_MAX_SIZE),
            })
        } else {
            None
        };
        Ok(RunOptions {
            create: CreateOptions { takes_streams: self.monitor, ..self.container.into_options()? },
            detach: self.detach,
            keep: self.keep,
            no_subreaper: self.no_subreaper,
            monitor,
            deadline: self.timeout.map(|after| Deadline { after, grace: self.timeout_grace }),
        })
    }
}

/// A number of bytes that a log can have.
fn size(text: &str) -> Result<u64, String> {
    let bytes = bytes(text).ok().and_then(|bytes| u64::try_from(bytes).ok());
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| "expected a size such as 500k, 10m or 1.5g".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_of_a_log_is_more_than_nothing() {
        let table = [("1", 1), ("500k", 500 << 10), ("10m", 10 << 20), ("10MB", 10 << 20), ("1G", 1 << 30)];
        for (text, expected) in table {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for wrong in ["", "0", "m", "-1", "1x", "99999999999999999999", "99999999999g"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
