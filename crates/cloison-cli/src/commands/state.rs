//! `cloison state`

use std::process::ExitCode;

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, Runtime};

use super::print;
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct State {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl State {
    /// Prints the state: indented by two blanks and, as engines expect it, without a newline at the end.
    pub(crate) fn run(&self, runtime: &Runtime) -> Result<ExitCode, Error> {
        let state = lifecycle::state(runtime, &ContainerId::parse(&self.id)?)?;
        print(&serde_json::to_vec_pretty(&state)?)
    }
}
