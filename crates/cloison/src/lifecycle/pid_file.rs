//! The pid file: digits only, whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use cloison_linux::Pid;

use super::Error;

/// Writes the process id, without a newline, to a hidden file beside `path`, and renames it.
pub(super) fn write(path: &Path, pid: Pid) -> Result<(), Error> {
    let failed = |source| Error::PidFile { path: path.to_owned(), source };
    let name = path.file_name().ok_or_else(|| failed(std::io::ErrorKind::InvalidInput.into()))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary: PathBuf = path.with_file_name(hidden);
    let open = || OpenOptions::new().write(true).create_new(true).open(&temporary);
    let opened = open().or_else(|error| match error.kind() {
        // What a runtime that was killed has left.
        std::io::ErrorKind::AlreadyExists => fs::remove_file(&temporary).and_then(|()| open()),
        _ => Err(error),
    });
    let mut file = opened.map_err(failed)?;
    let written = file.write_all(pid.to_string().as_bytes()).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|source| {
        remove(&temporary);
        failed(source)
    })
}

/// Takes it away again after a failure.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        log::debug!("removing {}: {error}", path.display());
    }
}
