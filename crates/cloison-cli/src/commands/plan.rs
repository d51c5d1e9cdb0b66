//! `cloison plan`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, CreateOptions, Runtime};

use super::print;
use crate::args::{absolute, absolute_if_given, given, path};
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Directory with config.json [default: the current directory]
    #[arg(value_name = "BUNDLE", value_parser = path())]
    bundle: Option<PathBuf>,
    /// Name that the container would have
    #[arg(long, value_name = "CONTAINER-ID", default_value = "planned")]
    id: String,
    /// Configuration to use instead of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE", value_parser = path())]
    config: Option<PathBuf>,
    /// As for create
    #[arg(long)]
    no_pivot: bool,
    /// As for create
    #[arg(long)]
    no_new_keyring: bool,
    /// As for create
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
}

impl Plan {
    /// Prints the plan: the same object that `create` would carry out.
    pub(crate) fn run(self, runtime: &Runtime) -> Result<ExitCode, Error> {
        let options = CreateOptions {
            id: ContainerId::parse(&self.id)?,
            bundle: absolute(given(self.bundle).unwrap_or_else(|| PathBuf::from(".")))?,
            config: absolute_if_given(self.config)?,
            pid_file: None,
            console_socket: None,
            pidfd_socket: None,
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            preserve_fds: self.preserve_fds,
            takes_streams: false,
        };
        print(lifecycle::plan(runtime, &options)?.to_string().as_bytes())
    }
}
