//! `cloison attach`

use std::process::ExitCode;

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, AttachOptions, Runtime};
use cloison::monitor::DetachKeys;

use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// Keys that leave a container with a terminal, which goes on: characters, or ctrl- and a letter; empty for none
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q", value_parser = str::parse::<DetachKeys>)]
    detach_keys: DetachKeys,
    /// Only look: nothing of standard input goes to the container
    #[arg(long)]
    no_stdin: bool,
    /// Whether signals go to a container without a terminal [default: true]
    #[arg(
        long,
        value_name = "WHETHER",
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        hide_default_value = true,
        action = clap::ArgAction::Set,
        value_parser = super::boolean
    )]
    sig_proxy: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Attach {
    /// Attaches; the exit code is the container's own, or 0 if it was left before.
    pub(crate) fn run(self, runtime: &Runtime) -> Result<ExitCode, Error> {
        let id = ContainerId::parse(&self.id)?;
        let options = AttachOptions {
            detach_keys: self.detach_keys,
            no_input: self.no_stdin,
            keep_signals: !self.sig_proxy,
        };
        Ok(ExitCode::from(lifecycle::attach(runtime, &id, &options)?))
    }
}
