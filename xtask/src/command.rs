//! Running other programs, and being root for those that need it.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::Result;

/// Variables that mean something to the tests, and that `sudo` would drop.
const KEPT: [&str; 8] = [
    "HOME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "RUST_BACKTRACE",
    "CLOISON_BIN",
    "RUNC_BIN",
    "CLOISON_TEST_DEBIAN",
    "CLOISON_TEST_MIRROR",
];

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started, or ends with anything but success.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|error| format!("{}: {error}", program(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", program(command)).into()) }
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// The words that go before a command which has to be root's: none for root itself.
///
/// # Errors
/// When we are not root and there is no `sudo`.
pub(crate) fn as_root() -> Result<Vec<String>> {
    if std::fs::metadata("/proc/self")?.uid() == 0 {
        return Ok(Vec::new());
    }
    let sudo = find("sudo").ok_or("this needs root, and there is no sudo")?;
    let kept = KEPT.iter().filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)));
    let mut words = vec![sudo.display().to_string(), "env".to_owned()];
    words.extend(kept);
    words.push(format!("PATH={}", directories().to_string_lossy()));
    Ok(words)
}

/// A command made of several words.
pub(crate) fn words<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().expect("a command has a first word"));
    command.args(words);
    command
}

/// Where a program lies: in `PATH`, or in the directories that only root's `PATH` has.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&directories()).map(|directory| directory.join(name)).find(|path| path.is_file())
}

fn directories() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    path
}
