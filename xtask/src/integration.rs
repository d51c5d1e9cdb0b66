//! Single integration tests, as root, in PID and mount namespaces of their own.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use crate::{Result, build, command};

/// Builds the tests of one file below `tests/tests`; gives their program.
///
/// # Errors
/// When there is no such file, or the build fails.
pub(crate) fn program(file: &str) -> Result<PathBuf> {
    let mut cargo = build::cargo();
    cargo.args(["test", "--quiet", "--package", "cloison-tests", "--test", file]);
    let output = cargo.args(["--no-run", "--message-format", "json"]).stderr(Stdio::inherit()).output()?;
    build::executable(&String::from_utf8(output.stdout)?)
}

/// The names of a program's tests.
///
/// # Errors
/// When it cannot list them.
pub(crate) fn names(program: &Path) -> Result<Vec<String>> {
    let listed = command::words([program]).args(["--list", "--format", "terse"]).output()?;
    let listed = String::from_utf8(listed.stdout)?;
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// Runs one test, with `NAME=value` in its environment.
///
/// # Errors
/// When it cannot be started, or is not there.
pub(crate) fn run(program: &Path, name: &str, variables: &[String]) -> Result<Output> {
    let mut words = command::as_root()?;
    words.extend(["unshare", "--pid", "--fork", "--mount-proc", "env", "NEXTEST=1"].map(str::to_owned));
    words.extend_from_slice(variables);
    words.extend([&program.display().to_string(), "--exact", name, "--nocapture"].map(str::to_owned));
    let output = command::words(&words).stdin(Stdio::null()).output()?;
    if String::from_utf8_lossy(&output.stdout).contains("running 1 test") {
        return Ok(output);
    }
    Err(format!("{} has no test {name}: {}", program.display(), String::from_utf8_lossy(&output.stderr))
        .into())
}
