//! `cloison restore`

use std::process::ExitCode;

use clap::Args;
use cloison::checkpoint::Wake;
use cloison::lifecycle::{self, RunOptions, Runtime};

use super::checkpoint::Images;
use super::create::NewContainer;
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    container: NewContainer,
    #[command(flatten)]
    images: Images,
    /// Return as soon as the container goes on
    #[arg(short, long)]
    detach: bool,
    /// Keep the container's state after its process has ended
    #[arg(long)]
    keep: bool,
    /// Do not adopt processes that the container's first process leaves behind
    #[arg(long)]
    no_subreaper: bool,
    /// Close TCP connections
    #[arg(long)]
    tcp_close: bool,
    /// Security label in the place of the one that was dumped
    #[arg(long, value_name = "TYPE:NAME")]
    lsm_profile: Option<String>,
    /// Security label of the mounts in the place of the one that was dumped
    #[arg(long, value_name = "LABEL")]
    lsm_mount_context: Option<String>,
}

impl Restore {
    /// Restores the container; the exit code is the process's own, or 128 and the signal that killed it.
    pub(crate) fn run(self, runtime: &Runtime) -> Result<ExitCode, Error> {
        let images = self.images.into_options()?;
        let options = RunOptions {
            create: self.container.into_options()?,
            detach: self.detach,
            keep: self.keep,
            no_subreaper: self.no_subreaper,
            monitor: None,
            deadline: None,
        };
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let wake = Wake {
            tcp_close: self.tcp_close,
            lsm_profile: given(self.lsm_profile),
            lsm_mount_context: given(self.lsm_mount_context),
        };
        Ok(ExitCode::from(lifecycle::restore(runtime, &options, &images, &wake)?))
    }
}
