//! Rights that the init gives up before it becomes the program.

use std::os::fd::AsFd;

use cloison_linux::landlock::FileRights;
use cloison_linux::{Errno, Kernel, OFlags};

use super::error::{Doing, Error};
use super::rootfs::{Root, is_directory};
use crate::plan::landlock::Ruleset;

/// Restricts this process, with the rights that it still has for that.
///
/// The paths are resolved below the container's root. A rule is about what is there now: what takes its place later is not meant by it.
pub(super) fn restrict(kernel: &dyn Kernel, root: &Root<'_>, ruleset: &Ruleset) -> Result<(), Error> {
    let made = kernel.landlock_ruleset(&ruleset.restricted).doing(|| "making a Landlock ruleset")?;
    for (path, rights) in &ruleset.paths {
        let doing = || format!("allowing by Landlock what is done to {}", path.display());
        let beneath = match root.open(path, OFlags::PATH) {
            Err(Errno::NOENT) => {
                return Err(Error::Refused(format!("{}: it is not there in the container", doing())));
            }
            opened => opened.doing(doing)?,
        };
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
