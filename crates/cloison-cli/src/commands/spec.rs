//! `cloison spec`

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::args::{given, path};
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Spec {
    /// Directory to write config.json to [default: the current directory]
    #[arg(short, long, value_name = "DIR", value_parser = path())]
    bundle: Option<PathBuf>,
    /// Write a configuration for a caller without privilege
    #[arg(long)]
    rootless: bool,
}

impl Spec {
    /// Writes `config.json`, indented by tabs; never over one that is there.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let path = given(self.bundle).unwrap_or_default().join("config.json");
        let text = cloison::spec::example(self.rootless).to_json();
        // O_EXCL: no symbolic link is followed either.
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        match file.and_then(|mut file| file.write_all(&text)) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Error::ConfigExists),
            Err(error) => Err(Error::Write { path, error }),
        }
    }
}
