//! A v1 cpuset is born without processors or memory nodes, and nothing can join it before it has both.

use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files::{read_value, write_value};

/// The two files, by the names they have, and by those of a hierarchy mounted with `noprefix` (Android).
const FILES: [[&str; 2]; 2] = [["cpuset.cpus", "cpus"], ["cpuset.mems", "mems"]];

/// Gives the cpuset at `directory` what the one above it has, unless it has something already. The ones above are
/// filled first if they need to be. A `new` one is known to be empty and not read.
pub(super) fn inherit(directory: &Path, new: bool) -> Result<()> {
    for names in FILES {
        if new || read_either(directory, names)?.1.is_empty() {
            inherit_one(directory, names)?;
        }
    }
    Ok(())
}

/// Copies one file's value from the cpuset above `directory`, and says what it is.
fn inherit_one(directory: &Path, names: [&str; 2]) -> Result<String> {
    let above = directory.parent().unwrap_or(directory);
    let (name, mut value) = read_either(above, names)?;
    if value.is_empty() {
        // It ends at the latest at the root of the hierarchy, which always has a value.
        value = inherit_one(above, names)?;
    }
    let file = directory.join(name);
    match write_value(&file, &value) {
        Ok(()) => Ok(value),
        Err(source) => Err(Error::Write { path: file, value, source }),
    }
}

/// The name of the file that is there, and what it says.
fn read_either<'a>(directory: &Path, names: [&'a str; 2]) -> Result<(&'a str, String)> {
    let [usual, unprefixed] = names;
    let (name, value) = match read_value(&directory.join(usual)) {
        Err(Errno::NOENT) => (unprefixed, read_value(&directory.join(unprefixed))),
        value => (usual, value),
    };
    match value {
        Ok(value) => Ok((name, value)),
        Err(source) => Err(Error::Read { path: directory.join(usual), source }),
    }
}
