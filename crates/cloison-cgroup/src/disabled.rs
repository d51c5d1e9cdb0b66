//! No cgroup at all.

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use std::path::Path;

use crate::claim::Claim;
use crate::devices::{DeviceRule, Policy};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::limits::{self, Place, Setting, Terms};
use crate::oom::OomWatch;
use crate::resources::Resources;
use crate::stats::{Stats, Subjects};
use crate::{Cgroup, legacy};

/// The cgroup of a container that has none of its own (`--cgroup-manager disabled`): making and removing it is
/// nothing, and nobody is in it, so its processes must be found by other means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {}

impl Cgroup for Disabled {
    fn create(&self) -> Result<()> {
        Ok(())
    }

    fn claim(&self) -> Result<Claim> {
        Ok(Claim::of_nothing())
    }

    fn delegate(&self, _uid: u32) -> Result<()> {
        Ok(())
    }

    fn apply(&self, resources: &Resources, terms: Terms) -> Result<Vec<Error>> {
        let mut resources = resources.clone();
        let unified = std::mem::take(&mut resources.unified);
        let mut groups = legacy::limits::settings(&resources)?;
        for (name, value) in unified {
            groups.push(vec![Setting::new(format!("unified/{name}"), "unified", name, value)]);
        }
        limits::set(self, groups, terms)
    }

    fn apply_devices(&self, rules: &[DeviceRule]) -> Result<()> {
        if Policy::of(rules).allows_everything() { Ok(()) } else { Err(Error::NoDeviceController) }
    }

    fn entry(&self) -> Result<Entry> {
        Ok(Entry::default())
    }

    fn exists(&self) -> bool {
        false
    }

    fn is_frozen(&self) -> Result<bool> {
        Ok(false)
    }

    fn freeze(&self) -> Result<()> {
        Err(Error::NoFreezer)
    }

    fn thaw(&self) -> Result<()> {
        Err(Error::NoFreezer)
    }

    fn processes(&self) -> Result<Vec<i32>> {
        Ok(Vec::new())
    }

    fn kill_all(&self, _signal: Signal) -> Result<()> {
        Ok(())
    }

    fn stats(&self, _of: Subjects) -> Result<Stats> {
        Ok(Stats::default())
    }

    fn watch_oom(&self) -> Result<Option<OomWatch>> {
        Ok(None)
    }

    fn remove(&self) -> Result<()> {
        Ok(())
    }
}

impl Place for Disabled {
    fn directory(&self, _controller: &str) -> std::result::Result<&Path, &'static str> {
        Err("the container has no cgroup of its own")
    }

    fn lacks(&self, _controller: &str) -> Option<&'static str> {
        None
    }
}
