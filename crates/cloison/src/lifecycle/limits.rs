//! Limits of a container, as far as the runtime may set them.

use cloison_cgroup::{Cgroup, OomWatch, Record, Resources, Subjects, Terms};

use super::device_rules::is_root_of_the_machine;
use super::{CgroupDriver, Error};

/// Whether limits may be left out for want of rights or controllers, each with a warning: where the caller has said that containers may go
/// without cgroups. A limit that does not hold is a lie otherwise.
pub(super) fn may_be_left_out(driver: CgroupDriver) -> bool {
    let said = matches!(driver, CgroupDriver::CgroupfsIfPermitted | CgroupDriver::Disabled);
    said && !is_root_of_the_machine()
}

/// Sets the limits of a new cgroup; those that cannot be set are named.
pub(super) fn apply(cgroup: &dyn Cgroup, resources: &Resources, lenient: bool) -> Result<(), Error> {
    let terms = Terms { lenient, undo: false };
    for unheld in cgroup.apply(resources, terms)? {
        log::warn!("this limit will not hold: {}", in_one_line(&unheld));
    }
    Ok(())
}

/// Watches for a process that these limits will kill in a unit of systemd, which goes with its last process; other cgroups stay, and can
/// be [asked](killed_for_want_of_memory).
pub(super) fn memory_kills(cgroup: &Record, resources: &Resources) -> Option<OomWatch> {
    if resources.is_empty() || !matches!(cgroup, Record::Systemd(_)) {
        return None;
    }
    cgroup.cgroup().watch_oom().unwrap_or_else(|error| {
        log::debug!("nobody will know whether memory was out: {error}");
        None
    })
}

/// Whether a process in the cgroup was killed because memory was out.
pub(super) fn killed_for_want_of_memory(cgroup: &dyn Cgroup) -> bool {
    match cgroup.stats(Subjects::MEMORY) {
        Ok(stats) => stats.memory.events.and_then(|events| events.oom_kill).unwrap_or(0) > 0,
        Err(error) => {
            log::debug!("nobody knows whether memory was out: {error}");
            false
        }
    }
}

/// An error and its causes.
fn in_one_line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
