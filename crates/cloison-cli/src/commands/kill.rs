//! `cloison kill`

use std::process::ExitCode;

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, Runtime};
use cloison::signal::Signal;

use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// Signal by name, with or without SIG, or by number
    #[arg(value_name = "SIGNAL", default_value = "SIGTERM")]
    signal: String,
    /// Signal every process of the container; a stopped container is no error then
    #[arg(short, long)]
    all: bool,
}

impl Kill {
    /// Sends the signal.
    pub(crate) fn run(&self, runtime: &Runtime) -> Result<ExitCode, Error> {
        let id = ContainerId::parse(&self.id)?;
        let signal: Signal = self.signal.parse()?;
        lifecycle::kill(runtime, &id, signal, self.all)?;
        Ok(ExitCode::SUCCESS)
    }
}
