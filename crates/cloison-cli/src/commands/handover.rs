//! What goes between a caller and the process that it starts: the options that `create`, `run`, `restore` and `exec` have in common.

use std::path::PathBuf;

use clap::Args;

use crate::args::{absolute_if_given, path};
use crate::error::Error;

// (A doc comment would become part of the help.)
#[derive(Debug, Args)]
pub(crate) struct Handover {
    /// File to write the process id to
    #[arg(long, value_name = "FILE", value_parser = path())]
    pub(crate) pid_file: Option<PathBuf>,
    /// Unix socket that receives the master of the process's terminal
    #[arg(long, value_name = "SOCKET", value_parser = path())]
    pub(crate) console_socket: Option<PathBuf>,
    /// Unix socket that receives a pidfd of the process
    #[arg(long, value_name = "SOCKET", value_parser = path())]
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// How many descriptors from 3 on the process inherits, after those of socket activation
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) preserve_fds: u32,
}

impl Handover {
    /// The same with each path made absolute, and without those that are empty.
    pub(crate) fn absolute(self) -> Result<Self, Error> {
        Ok(Self {
            pid_file: absolute_if_given(self.pid_file)?,
            console_socket: absolute_if_given(self.console_socket)?,
            pidfd_socket: absolute_if_given(self.pidfd_socket)?,
            preserve_fds: self.preserve_fds,
        })
    }
}
