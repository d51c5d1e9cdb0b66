//! `cloison delete`

use std::process::ExitCode;

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, Runtime};

use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// Kill what still runs (SIGKILL), and do not mind a container that is not there
    #[arg(short, long)]
    force: bool,
}

impl Delete {
    /// Deletes the container.
    pub(crate) fn run(&self, runtime: &Runtime) -> Result<ExitCode, Error> {
        lifecycle::delete(runtime, &ContainerId::parse(&self.id)?, self.force)?;
        Ok(ExitCode::SUCCESS)
    }
}
