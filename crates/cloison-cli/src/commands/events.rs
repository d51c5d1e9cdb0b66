//! `cloison events`

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, EventLine, Runtime};

use super::print;
use crate::duration;
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// Time between two statistics
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse)]
    interval: Duration,
    /// Print the statistics once
    #[arg(long)]
    stats: bool,
}

impl Events {
    /// Prints one JSON object a line, until the container ends or nobody reads any more.
    pub(crate) fn run(&self, runtime: &Runtime) -> Result<ExitCode, Error> {
        let id = ContainerId::parse(&self.id)?;
        if self.stats {
            let stats = lifecycle::usage(runtime, &id)?;
            return print_line(&EventLine::of_stats(&id, &stats));
        }
        let mut outcome = Ok(ExitCode::SUCCESS);
        lifecycle::events(runtime, &id, self.interval, |event| {
            outcome = print_line(&EventLine::new(&id, &event));
            match outcome {
                Ok(code) if code == ExitCode::SUCCESS => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        })?;
        outcome
    }
}

fn print_line(line: &EventLine<'_>) -> Result<ExitCode, Error> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    print(&text)
}
