//! `cloison wait`

use std::process::ExitCode;

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, Runtime};

use super::print;
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Wait {
    /// Prints the container's exit code, and ends with it; with 255 if that is not known.
    pub(crate) fn run(&self, runtime: &Runtime) -> Result<ExitCode, Error> {
        self.wait(runtime).map_err(|error| Error::Wait(Box::new(error)))
    }

    fn wait(&self, runtime: &Runtime) -> Result<ExitCode, Error> {
        let id = ContainerId::parse(&self.id)?;
        let code = lifecycle::wait(runtime, &id)?;
        print(format!("{code}\n").as_bytes())?;
        Ok(ExitCode::from(code))
    }
}
