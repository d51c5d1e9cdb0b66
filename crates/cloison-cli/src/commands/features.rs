//! `cloison features`

use std::process::ExitCode;

use clap::Args;
use cloison::features;

use super::{indented, print};
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Features {}

impl Features {
    /// Prints the features document, indented by four blanks.
    pub(crate) fn run() -> Result<ExitCode, Error> {
        let mut text = indented(&features::features(), b"    ")?;
        text.push(b'\n');
        print(&text)
    }
}
