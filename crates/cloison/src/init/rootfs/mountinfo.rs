//! The table of the mounts that the init sees (`proc_pid_mountinfo(5)`).

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use cloison_linux::{Kernel, Mode, OFlags};

use crate::init::error::{Doing, Error};

/// No table of mounts is longer than this, in bytes (`fs.mount-max` allows 100,000 of them).
const LONGEST: usize = 64 << 20;

/// One mount.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Which directory of its file system is mounted.
    pub(super) root: String,
    /// Where.
    pub(super) point: PathBuf,
    pub(super) fs_type: String,
}

/// Reads the table, while `/proc` is still the host's.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read(kernel: &dyn Kernel) -> Result<Vec<Mount>, Error> {
    let doing = || "reading /proc/self/mountinfo";
    let file = kernel.open(Path::new("/proc/self/mountinfo"), OFlags::RDONLY, Mode::empty()).doing(doing)?;
    let text = kernel.read_to_end(file.as_fd(), LONGEST).doing(doing)?;
    Ok(String::from_utf8_lossy(&text).lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Mount> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
    let fs_type = file_system.split(' ').next()?.to_owned();
    Some(Mount { root, point: point.into(), fs_type })
}

/// Undoes the octal escapes.
fn unescape(field: &str) -> String {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    pairs.iter().fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}
