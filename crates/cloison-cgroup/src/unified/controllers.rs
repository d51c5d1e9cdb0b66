//! Handing controllers down from the root of the v2 hierarchy to a cgroup.

use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files::{read_value, write_value};

/// Makes every controller of the hierarchy available to the cgroup at `directory`, as far as the cgroups between
/// `mount` and it allow. What cannot be had is not an error here: it is one for whoever needs that controller.
///
/// Where a container has been before, this is two small reads.
pub(super) fn hand_down(mount: &Path, directory: &Path) -> Result<()> {
    let wanted = available(mount)?;
    let mut got = available(directory)?;
    if got != wanted {
        got = hand_down_by_level(mount, directory, wanted)?;
    }
    // Below a threaded cgroup there are no domain controllers, so with memory we are not below one.
    if lists(&got, "memory") { Ok(()) } else { leave_no_invalid_domain(mount, directory) }
}

/// Asks each cgroup from `mount` down to hand on what it has and the next one lacks; gives what reaches `directory`.
fn hand_down_by_level(mount: &Path, directory: &Path, wanted: String) -> Result<String> {
    let below = directory.strip_prefix(mount).unwrap_or(Path::new(""));
    let (mut above, mut has) = (mount.to_owned(), wanted);
    for name in below {
        let next = above.join(name);
        let mut reaches = available(&next)?;
        let lacking: Vec<String> =
            has.split(' ').filter(|name| !lists(&reaches, name)).map(|name| format!("+{name}")).collect();
        if !lacking.is_empty() {
            enable(&above, &lacking);
            reaches = available(&next)?;
        }
        (above, has) = (next, reaches);
    }
    Ok(has)
}

/// The controllers that a cgroup can use, separated by spaces, in the kernel's order.
fn available(directory: &Path) -> Result<String> {
    let file = directory.join("cgroup.controllers");
    read_value(&file).map_err(|source| Error::Read { path: file, source })
}

fn lists(controllers: &str, name: &str) -> bool {
    controllers.split(' ').any(|listed| listed == name)
}

/// Has `directory` hand controllers to its children: all at once, and one by one when the kernel refuses some.
fn enable(directory: &Path, controllers: &[String]) {
    let file = directory.join("cgroup.subtree_control");
    let Err(error) = write_value(&file, &controllers.join(" ")) else { return };
    log::debug!("{}: {error} for {}; trying each", file.display(), controllers.join(" "));
    for name in controllers {
        if let Err(error) = write_value(&file, name) {
            // EBUSY: processes are in that cgroup ("no internal processes"); EOPNOTSUPP: it is threaded and the
            // controller is not; EACCES: it was not delegated to us.
            log::debug!("{}: {name}: {error}; its sub-cgroups go without", file.display());
        }
    }
}

/// Below a threaded cgroup a new one is "domain invalid" and nothing can join it: it is made a threaded one too, and so
/// are those between.
fn leave_no_invalid_domain(mount: &Path, directory: &Path) -> Result<()> {
    let mut level = mount.to_owned();
    for name in directory.strip_prefix(mount).unwrap_or(Path::new("")) {
        level.push(name);
        let file = level.join("cgroup.type");
        match read_value(&file) {
            Ok(kind) if kind == "domain invalid" => write_value(&file, "threaded")
                .map_err(|source| Error::Write { path: file, value: "threaded".to_owned(), source })?,
            Ok(_) | Err(Errno::NOENT) => {}
            Err(source) => return Err(Error::Read { path: file, source }),
        }
    }
    Ok(())
}
