//! `cloison logs`

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, LogsOptions, Runtime};
use cloison::monitor::LogEntry;
use cloison::state::Timestamp;

use super::BROKEN_PIPE;
use crate::duration;
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on with what is written, until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Nothing from before a time: RFC 3339, seconds since 1970, or how long ago, such as 10m
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Put the time before each line
    #[arg(short, long)]
    timestamps: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Logs {
    /// Prints what the container wrote: its standard error on standard error.
    pub(crate) fn run(self, runtime: &Runtime) -> Result<ExitCode, Error> {
        let id = ContainerId::parse(&self.id)?;
        let options = LogsOptions { follow: self.follow, since: self.since };
        let mut printer = Printer { timestamps: self.timestamps, within_line: [false; 2] };
        let mut failed = None;
        lifecycle::logs(runtime, &id, &options, |entry| match printer.print(&entry) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        match failed {
            None => Ok(ExitCode::SUCCESS),
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::from(BROKEN_PIPE)),
            Some(error) => Err(Error::Output(error)),
        }
    }
}

struct Printer {
    timestamps: bool,
    /// By stream: the last piece had no newline, so that the next one belongs to the same line.
    within_line: [bool; 2],
}

impl Printer {
    fn print(&mut self, entry: &LogEntry) -> io::Result<()> {
        let within_line = &mut self.within_line[usize::from(entry.is_error)];
        let mut line = Vec::with_capacity(entry.time.len() + 1 + entry.bytes.len());
        if self.timestamps && !*within_line {
            line.extend_from_slice(entry.time.as_bytes());
            line.push(b' ');
        }
        line.extend_from_slice(&entry.bytes);
        *within_line = !entry.bytes.ends_with(b"\n");
        if entry.is_error {
            io::stderr().write_all(&line)
        } else {
            let mut output = io::stdout().lock();
            output.write_all(&line)?;
            output.flush()
        }
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Timestamp::at_second(seconds));
    }
    let ago = || duration::parse(text).ok().map(Timestamp::ago);
    Timestamp::parse(text)
        .or_else(ago)
        .ok_or_else(|| "expected a time such as 2026-11-25T12:00:00Z, seconds since 1970, or 10m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_or_how_long_ago() {
        assert_eq!(time("0").unwrap().as_str(), "1970-01-01T00:00:00Z");
        assert_eq!(time("2026-11-25T13:00:00+01:00").unwrap().as_str(), "2026-11-25T12:00:00Z");
        assert!(time("10m").unwrap().with_nine_digits() < Timestamp::now().with_nine_digits());
        for wrong in ["", "yesterday", "-5", "12:00"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
