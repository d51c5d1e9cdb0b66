//! `cloison start`

use std::process::ExitCode;

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, Runtime};

use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Start {
    /// Starts the container's process; a failed `execve` is an error here.
    pub(crate) fn run(&self, runtime: &Runtime) -> Result<ExitCode, Error> {
        lifecycle::start(runtime, &ContainerId::parse(&self.id)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
