//! Limits of a container, as far as the runtime may set them.

use cloison_cgroup::{Cgroup, Resources, Terms};

use super::Error;
use super::device_rules::is_root_of_the_machine;

/// Sets the limits of a new cgroup. A runtime that is not the machine's root sets those that it was handed the controllers for, and
/// names the others.
pub(super) fn apply(cgroup: &dyn Cgroup, resources: &Resources) -> Result<(), Error> {
    let terms = Terms { lenient: !is_root_of_the_machine(), undo: false };
    for unheld in cgroup.apply(resources, terms)? {
        log::warn!("this limit will not hold: {}", in_one_line(&unheld));
    }
    Ok(())
}

/// An error and its causes.
fn in_one_line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
