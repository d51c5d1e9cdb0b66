//! `cloison pause` and `cloison resume`

use std::process::ExitCode;

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, Runtime};

use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Pause {
    /// Freezes the container.
    pub(crate) fn run(&self, runtime: &Runtime) -> Result<ExitCode, Error> {
        lifecycle::pause(runtime, &ContainerId::parse(&self.id)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Resume {
    /// Thaws the container.
    pub(crate) fn run(&self, runtime: &Runtime) -> Result<ExitCode, Error> {
        lifecycle::resume(runtime, &ContainerId::parse(&self.id)?)?;
        Ok(ExitCode::SUCCESS)
    }
}
