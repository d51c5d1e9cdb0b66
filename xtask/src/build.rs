//! Building the runtime, and finding what was built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Result, command};

/// Cargo, the one that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The directory of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Builds the runtime in a profile (`dev`, `release`), and gives the path of its binary.
///
/// # Errors
/// When the build fails.
pub(crate) fn runtime(profile: &str) -> Result<PathBuf> {
    command::run(cargo().args(["build", "--package", "cloison-cli", "--profile", profile]))?;
    // Cargo names the binary on standard output, as JSON, and builds nothing anew.
    let mut again = cargo();
    again.args(["build", "--package", "cloison-cli", "--profile", profile]);
    let output = again.args(["--quiet", "--message-format", "json"]).stderr(Stdio::inherit()).output()?;
    executable(&String::from_utf8(output.stdout)?)
}

/// The program that cargo's JSON messages name last.
///
/// # Errors
/// When they name none.
pub(crate) fn executable(messages: &str) -> Result<PathBuf> {
    let path = messages.lines().filter_map(|line| line.split_once("\"executable\":\"")).next_back();
    let path = path.and_then(|(_, rest)| rest.split_once('"')).ok_or("cargo does not say what it built")?.0;
    Ok(Path::new(path).to_owned())
}
