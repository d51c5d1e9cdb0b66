//! A v1 cpuset is born without processors or memory nodes, and nothing can join it before it has both.

use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files::{read_value, write_value};
use crate::stats::cpuset::numbers;

/// The two files, by the names they have, and by those of a hierarchy mounted with `noprefix` (Android).
const FILES: [[&str; 2]; 2] = [["cpuset.cpus", "cpus"], ["cpuset.mems", "mems"]];

/// Gives the cpuset at `directory` what the one above it has and no other one has for itself alone, unless it has something already. The ones above are
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
        Ok(()) => return Ok(value),
        Err(Errno::INVAL) => {
            if let Some(left) = not_exclusive(directory, name, &value)
                && write_value(&file, &left).is_ok()
            {
                log::debug!("{}: {left} of {value}, the others are another's alone", file.display());
                return Ok(left);
            }
        }
        Err(source) => return Err(Error::Write { path: file, value, source }),
    }
    Err(Error::Write { path: file, value, source: Errno::INVAL })
}

/// What of the cpuset above is left when its other children have taken theirs that nobody else may have (`cpuset.cpu_exclusive`,
/// `cpuset.mem_exclusive`); none where that is nothing, or everything.
fn not_exclusive(directory: &Path, name: &str, value: &str) -> Option<String> {
    // `cpuset.cpu_exclusive` beside `cpuset.cpus`.
    let flag = format!("{}_exclusive", name.strip_suffix('s')?);
    let mut left = numbers(value)?;
    let all = left.len();
    for sibling in std::fs::read_dir(directory.parent()?).ok()?.flatten().map(|entry| entry.path()) {
        if sibling != directory && read_value(&sibling.join(&flag)).is_ok_and(|flag| flag == "1") {
            let taken = read_value(&sibling.join(name)).ok().and_then(|list| numbers(&list));
            left.retain(|number| taken.as_ref().is_none_or(|taken| !taken.contains(number)));
        }
    }
    let list: Vec<_> = left.iter().map(ToString::to_string).collect();
    (!left.is_empty() && left.len() < all).then(|| list.join(","))
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

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn what_a_sibling_has_for_itself_is_left_out() {
        let above = TempDir::new().unwrap();
        let cpuset = |name: &str, cpus: &str, exclusive: &str| {
            let directory = above.path().join(name);
            std::fs::create_dir(&directory).unwrap();
            std::fs::write(directory.join("cpuset.cpus"), format!("{cpus}\n")).unwrap();
            std::fs::write(directory.join("cpuset.cpu_exclusive"), format!("{exclusive}\n")).unwrap();
            directory
        };
        let own = cpuset("own", "", "0");
        cpuset("shares", "0-7", "0");
        assert_eq!(not_exclusive(&own, "cpuset.cpus", "0-7"), None, "it was refused for something else");
        cpuset("alone", "1-2,6", "1");
        assert_eq!(not_exclusive(&own, "cpuset.cpus", "0-7").as_deref(), Some("0,3,4,5,7"));
        assert_eq!(not_exclusive(&own, "cpuset.cpus", "1"), None, "nothing is left");
    }
}
