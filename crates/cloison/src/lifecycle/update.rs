//! `update`: other limits for a container that is there.

use std::path::Path;

use cloison_cgroup::{Cgroup, DeviceRule, Terms};

use super::resctrl::NewShares;
use super::{Error, Runtime, device_rules, store_with};
use crate::id::ContainerId;
use crate::plan::device_rules::device_rules as all_device_rules;
use crate::plan::limits::limits;
use crate::spec::{self, Resources, Spec};
use crate::state::{Container, State, Status};

/// Sets the limits that `change` has, and leaves the others as they are. Rules for devices, if it has any, replace those of the
/// container; what both allow is not interrupted. `shares` are lines of `schemata`, for the container's class of service.
///
/// Either all of it is done, or nothing.
///
/// # Errors
/// [`Error::NotRunning`] for a container that has stopped; a limit that cannot be set. That error says if something could not be
/// given its old value again.
pub fn update(
    runtime: &Runtime,
    id: &ContainerId,
    change: &Resources,
    shares: &[String],
) -> Result<(), Error> {
    let container = store_with(runtime, id)?.open(id)?;
    let state = container.load()?;
    match container.status(&state)? {
        Status::Created | Status::Running | Status::Paused => {}
        Status::Creating | Status::Stopped => return Err(Error::NotRunning),
    }
    let mut next = state.clone();
    let first = state.init.map_or(0, |init| init.pid.as_raw_nonzero().get());
    let shares = NewShares::apply(&container, &mut next, first, shares)?;
    let done = update_cgroup(&container, &state, change, &mut next);
    if done.is_err() {
        shares.iter().for_each(NewShares::take_back);
    }
    done?;
    container.save(&next).map_err(|source| Error::NotSaved { source })
}

fn update_cgroup(
    container: &Container,
    state: &State,
    change: &Resources,
    next: &mut State,
) -> Result<(), Error> {
    let cgroup = state.cgroup.cgroup();
    let changed = limits(change);
    next.resources.merge(&changed);
    let rules = NewRules::of(container, state, &change.devices)?;
    if let Some(rules) = &rules {
        device_rules::apply(cgroup, &rules.new)?;
        next.device_rules = Some(change.devices.clone());
    }
    let terms = Terms { lenient: false, undo: true };
    if let Err(error) = cgroup.apply(&changed.completed(&next.resources), terms) {
        if let Some(rules) = &rules {
            rules.take_back(cgroup);
        }
        return Err(error.into());
    }
    Ok(())
}

/// Device rules that are to replace others.
struct NewRules {
    old: Vec<DeviceRule>,
    new: Vec<DeviceRule>,
}

impl NewRules {
    /// None if there is nothing to replace: engines hand over what they know of a container's resources, and that includes the
    /// rules that it has. Setting those again could undo what somebody else has added for it since.
    fn of(container: &Container, state: &State, asked: &[spec::DeviceRule]) -> Result<Option<Self>, Error> {
        if asked.is_empty() {
            return Ok(None);
        }
        let mut spec = Spec::parse(&container.load_config()?, Path::new("config.json"))?;
        if let Some(rules) = &state.device_rules {
            spec.linux.resources.devices.clone_from(rules);
        }
        if spec.linux.resources.devices == asked {
            log::debug!("the container has these device rules already");
            return Ok(None);
        }
        let old = all_device_rules(&spec);
        spec.linux.resources.devices = asked.to_vec();
        Ok(Some(Self { old, new: all_device_rules(&spec) }))
    }

    fn take_back(&self, cgroup: &dyn Cgroup) {
        if let Err(error) = device_rules::apply(cgroup, &self.old) {
            log::warn!("the old device rules are not in force again: {error}");
        }
    }
}
