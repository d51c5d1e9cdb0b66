//! `cloison run`

use std::process::ExitCode;

use clap::Args;
use cloison::lifecycle::{self, RunOptions, Runtime};

use super::create::NewContainer;
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
}

impl Run {
    /// Runs the container; the exit code is the process's own, or 128 and the signal that killed it.
    pub(crate) fn run(self, runtime: &Runtime) -> Result<ExitCode, Error> {
        Ok(ExitCode::from(lifecycle::run(runtime, &self.into_options()?)?))
    }

    /// What the library wants to know.
    pub(crate) fn into_options(self) -> Result<RunOptions, Error> {
        Ok(RunOptions {
            create: self.container.into_options()?,
            detach: self.detach,
            keep: self.keep,
            no_subreaper: self.no_subreaper,
        })
    }
}
