//! `cloison console`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cloison::lifecycle::{self, Receiving};

use crate::args::path;
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Console {
    /// End with the first terminal, instead of waiting for the next one
    #[arg(long, conflicts_with = "null")]
    single: bool,
    /// Show nothing: read what comes, from any number of terminals, and throw it away
    #[arg(long)]
    null: bool,
    /// Where to listen: what create and run are given as --console-socket
    #[arg(value_name = "SOCKET", value_parser = path())]
    socket: PathBuf,
}

impl Console {
    /// Serves terminals; the exit code is 0 after a single one, else 128 and the signal that ended this.
    pub(crate) fn run(&self) -> Result<ExitCode, Error> {
        let receiving = match (self.single, self.null) {
            (_, true) => Receiving::Null,
            (true, false) => Receiving::One,
            (false, false) => Receiving::Each,
        };
        Ok(ExitCode::from(lifecycle::receive(&self.socket, receiving)?))
    }
}
