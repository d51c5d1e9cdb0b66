//! `cloison create`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, CreateOptions, Runtime};

use super::handover::Handover;
use crate::args::{absolute, absolute_if_given, given, path};
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Create {
    #[command(flatten)]
    container: NewContainer,
    /// Accepted since engines pass it: create always leaves the process in the background
    #[arg(short, long, hide = true)]
    detach: bool,
}

// What `create` and `run` must know of the container to make. (A doc comment would become part of the help.)
#[derive(Debug, Args)]
pub(crate) struct NewContainer {
    /// Name of the container to be: letters, digits, dots and _ + -
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// Directory with config.json [default: the current directory]
    #[arg(short, long, value_name = "DIR", value_parser = path())]
    bundle: Option<PathBuf>,
    /// Configuration to use instead of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE", value_parser = path())]
    config: Option<PathBuf>,
    #[command(flatten)]
    handover: Handover,
    /// Move the root file system into place instead of pivoting to it (for a host that runs from an initramfs; less safe)
    #[arg(long)]
    no_pivot: bool,
    /// Let the container use the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
}

impl Create {
    /// Creates the container.
    pub(crate) fn run(self, runtime: &Runtime) -> Result<ExitCode, Error> {
        lifecycle::create(runtime, &self.container.into_options()?)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl NewContainer {
    /// What the library wants to know, with each path made absolute.
    pub(crate) fn into_options(self) -> Result<CreateOptions, Error> {
        let handover = self.handover.absolute()?;
        Ok(CreateOptions {
            id: ContainerId::parse(&self.id)?,
            bundle: absolute(given(self.bundle).unwrap_or_else(|| PathBuf::from(".")))?,
            config: absolute_if_given(self.config)?,
            pid_file: handover.pid_file,
            console_socket: handover.console_socket,
            pidfd_socket: handover.pidfd_socket,
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            preserve_fds: handover.preserve_fds,
            takes_streams: false,
        })
    }
}
