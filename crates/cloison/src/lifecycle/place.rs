//! Where a container's cgroup is to be, and whether it gets one.

use cloison_cgroup::{CgroupPath, Layout, Record, Systemd, Unit};

use super::device_rules::is_root_of_the_machine;
use super::{CgroupDriver, Error};
use crate::id::ContainerId;
use crate::plan::limits::{limiting, limits};
use crate::spec::Spec;

/// The hierarchies that the container sees, and its own place in them.
pub(super) fn choose(driver: CgroupDriver, spec: &Spec, id: &ContainerId) -> Result<(Layout, Record), Error> {
    let asked = spec.linux.cgroups_path.as_deref();
    // Who asks for a place is told when it cannot be had.
    let may_go_without = asked.is_none()
        && match driver {
            CgroupDriver::Cgroupfs => !is_root_of_the_machine(),
            CgroupDriver::CgroupfsIfPermitted => true,
            _ => false,
        };
    match driver {
        CgroupDriver::Disabled => Ok((layout_to_show(spec), Record::disabled())),
        CgroupDriver::Systemd => by_systemd(asked, id, false),
        CgroupDriver::UserSystemd => by_systemd(asked, id, true),
        _ if may_go_without => match delegated(spec, id) {
            // `--rootless=true` says that it may be so.
            (_, Record::Disabled(_)) if driver == CgroupDriver::Cgroupfs => unlimited(spec),
            found => Ok(found),
        },
        CgroupDriver::Cgroupfs | CgroupDriver::CgroupfsAlways | CgroupDriver::CgroupfsIfPermitted => {
            by_us(asked, id)
        }
    }
}

fn by_us(asked: Option<&str>, id: &ContainerId) -> Result<(Layout, Record), Error> {
    let place = CgroupPath::new(asked, id.as_str())?;
    let layout = Layout::detect_for(&place)?;
    let record = layout.place(&place)?.as_far_as_open();
    Ok((layout, record))
}

fn by_systemd(asked: Option<&str>, id: &ContainerId, user: bool) -> Result<(Layout, Record), Error> {
    let unit = Unit::new(asked, id.as_str(), user)?;
    let layout = Layout::detect()?;
    let record = Record::Systemd(Systemd::place(unit, &layout)?);
    Ok((layout, record))
}

/// A place where the caller may make a cgroup, of v1 or v2; else, for limits, a scope of the user's systemd, which takes some milliseconds
/// and so is not asked without need; else none.
fn delegated(spec: &Spec, id: &ContainerId) -> (Layout, Record) {
    match by_us(None, id) {
        Ok((layout, record)) if record.may_be_made() => return (layout, record),
        Ok(_) => log::debug!("the caller may make no cgroup beside its own"),
        Err(error) => log::debug!("no cgroup is made beside the caller's: {error}"),
    }
    if !limits(&spec.linux.resources).is_empty() {
        match by_systemd(None, id, true) {
            Ok(found) => return found,
            Err(error) => log::debug!("the user's systemd makes no cgroup: {error}"),
        }
    }
    log::debug!("the container stays in the caller's cgroup");
    (layout_to_show(spec), Record::disabled())
}

/// Without a cgroup and without limits that would have to hold.
fn unlimited(spec: &Spec) -> Result<(Layout, Record), Error> {
    let limits = limiting(limits(&spec.linux.resources));
    if !limits.is_empty() {
        return Err(Error::NoCgroupForLimits { limits });
    }
    Ok((layout_to_show(spec), Record::disabled()))
}

/// The hierarchies of a machine where the container gets no cgroup of its own: only looked for if the container mounts them.
fn layout_to_show(spec: &Spec) -> Layout {
    if !spec.mounts.iter().any(|mount| mount.kind.as_deref() == Some("cgroup")) {
        return Layout::Absent;
    }
    Layout::detect().unwrap_or_else(|error| {
        log::debug!("no cgroups to show: {error}");
        Layout::Absent
    })
}
