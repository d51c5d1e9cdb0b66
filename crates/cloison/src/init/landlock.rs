//! Rights that the init gives up before it becomes the program.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use cloison_linux::landlock::FileRights;
use cloison_linux::{Errno, Kernel, OFlags};

use super::error::{Doing, Error};
use super::rootfs::{Root, is_directory};
use crate::plan::landlock::Ruleset;

/// The rights that a link of the image may choose the place of: `/bin` is one to `usr/bin` nearly everywhere.
const THROUGH_LINKS: FileRights =
    FileRights::EXECUTE.union(FileRights::READ_FILE).union(FileRights::READ_DIR);

/// Restricts this process, with the rights that it still has for that.
///
/// The paths are resolved below the container's root. The image is an enemy's: a link in it would widen a rule to where it leads, so that
/// only reading and executing goes through links, and never to what is above the path. A rule is about what is
/// there now: what takes its place later is not meant by it.
pub(super) fn restrict(kernel: &dyn Kernel, root: &Root<'_>, ruleset: &Ruleset) -> Result<(), Error> {
    let made = kernel.landlock_ruleset(&ruleset.restricted).doing(|| "making a Landlock ruleset")?;
    for (path, rights) in &ruleset.paths {
        let doing = || format!("allowing by Landlock what is done to {}", path.display());
        let refused = |why: &str| Error::Refused(format!("{}: {why}", doing()));
        let mut found = root.open_without_links(path, OFlags::PATH);
        let through_links = matches!(found, Err(Errno::LOOP));
        if through_links {
            if !THROUGH_LINKS.contains(*rights) {
                return Err(refused("a link is there, which gives no rights but to read and to execute"));
            }
            found = root.open(path, OFlags::PATH);
        }
        let beneath = match found {
            Err(Errno::NOENT) => return Err(refused("it is not there in the container")),
            found => found.doing(doing)?,
        };
        if through_links && is_above(kernel, root, path, beneath.as_fd()).doing(doing)? {
            return Err(refused("a link there leads to a directory above it"));
        }
        let is_directory = is_directory(&kernel.fstat(beneath.as_fd()).doing(doing)?);
        let rights = if is_directory { *rights } else { *rights & FileRights::OF_FILES };
        if rights.is_empty() {
            log::debug!("no rule of Landlock for {}: nothing of that can be done to it", path.display());
            continue;
        }
        kernel.landlock_allow_beneath(made.as_fd(), beneath.as_fd(), rights).doing(doing)?;
    }
    for (port, right) in &ruleset.ports {
        let doing = || format!("allowing the port {port} by Landlock");
        kernel.landlock_allow_port(made.as_fd(), *port, *right).doing(doing)?;
    }
    kernel.landlock_restrict_self(made.as_fd()).doing(|| "restricting the program by Landlock")
}

/// Whether `beneath`, which was found at `path`, is one of the directories that `path` goes through, the root among them.
fn is_above(
    kernel: &dyn Kernel,
    root: &Root<'_>,
    path: &Path,
    beneath: BorrowedFd<'_>,
) -> Result<bool, Errno> {
    let found = kernel.fstat(beneath)?;
    for above in path.ancestors().skip(1) {
        let stat = kernel.fstat(root.open(above, OFlags::PATH)?.as_fd())?;
        if (stat.st_dev, stat.st_ino) == (found.st_dev, found.st_ino) {
            return Ok(true);
        }
    }
    Ok(false)
}
