//! What is remembered of a container's cgroup.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use serde::{Deserialize, Serialize};

use crate::Cgroup;
use crate::disabled::Disabled;
use crate::files::read_whole;
use crate::legacy::{self, Legacy};
use crate::procfs::memberships;
use crate::systemd::{Directories, Systemd};
use crate::unified::{self, Unified};

/// A container's cgroup as data: [planned](crate::Layout::place), kept in the container's state, and found again by
/// any later command without looking at the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "driver", rename_all = "kebab-case")]
pub enum Record {
    /// No cgroup: the container stays where the runtime was.
    Disabled(Disabled),
    /// One directory of the v2 hierarchy.
    Unified(Unified),
    /// A directory in each v1 hierarchy, and in the v2 one of a hybrid machine.
    Legacy(Legacy),
    /// A unit of systemd.
    Systemd(Systemd),
}

impl Record {
    /// The record of a container that has no cgroup of its own.
    #[must_use]
    pub fn disabled() -> Self {
        Self::Disabled(Disabled {})
    }

    /// The cgroup that this is the record of.
    #[must_use]
    pub fn cgroup(&self) -> &dyn Cgroup {
        match self {
            Self::Disabled(cgroup) => cgroup,
            Self::Unified(cgroup) => cgroup,
            Self::Legacy(cgroup) => cgroup,
            Self::Systemd(cgroup) => cgroup,
        }
    }

    /// The same cgroup as its directories alone, without the systemd that made it.
    #[must_use]
    pub fn directories(&self) -> Self {
        match self {
            Self::Systemd(Systemd { directories: Directories::Unified(cgroup), .. }) => {
                Self::Unified(cgroup.clone())
            }
            Self::Systemd(Systemd { directories: Directories::Legacy(cgroup), .. }) => {
                Self::Legacy(cgroup.clone())
            }
            other => other.clone(),
        }
    }

    /// Whether the caller has the rights to make the cgroup, as far as the files' permissions tell; of a v1 cgroup, in every
    /// hierarchy.
    #[must_use]
    pub fn may_be_made(&self) -> bool {
        match self {
            // What systemd may, it says itself.
            Self::Disabled(_) | Self::Systemd(_) => true,
            Self::Unified(cgroup) => may_make(&cgroup.directory) && may_be_entered(&cgroup.directory),
            Self::Legacy(cgroup) => cgroup
                .directories
                .iter()
                .map(|one| &one.path)
                .chain(&cgroup.unified)
                .all(|path| may_make(path)),
        }
    }

    /// The same without what the caller has no rights to and can be done without, as those who delegate v1 cgroups often leave it out: the
    /// v2 hierarchy of a hybrid machine, which has no controllers, and v1 hierarchies without a field in runtime-spec (`name=systemd`, `misc`).
    #[must_use]
    pub fn as_far_as_open(mut self) -> Self {
        let told = |path: &Path| log::debug!("{} is closed to the caller, and left out", path.display());
        if let Self::Legacy(cgroup) = &mut self {
            let closed = cgroup.unified.take_if(|path| !may_make(path) || !may_be_entered_from_here(path));
            if let Some(path) = closed {
                told(&path);
            }
            cgroup.directories.retain(|directory| {
                let is_kept = directory.has_limits() || may_make(&directory.path);
                if !is_kept {
                    told(&directory.path);
                }
                is_kept
            });
        }
        self
    }

    /// The directories by controller, as runc's `state.json` has them in `cgroup_paths`: `cpu`, `name=systemd`, and
    /// the empty name for the v2 hierarchy.
    #[must_use]
    pub fn paths(&self) -> BTreeMap<String, PathBuf> {
        match self {
            Self::Disabled(_) => BTreeMap::new(),
            Self::Systemd(_) => self.directories().paths(),
            Self::Unified(cgroup) => BTreeMap::from([(String::new(), cgroup.directory.clone())]),
            Self::Legacy(cgroup) => {
                let unified = cgroup.unified.iter().map(|path| (String::new(), path.clone()));
                let legacy = cgroup.directories.iter().flat_map(|directory| {
                    directory
                        .controllers
                        .iter()
                        .map(|controller| (controller.clone(), directory.path.clone()))
                });
                unified.chain(legacy).collect()
            }
        }
    }

    /// The cgroup, or the next one above it, that somebody has asked to be frozen: nobody in it does anything until it is thawed.
    #[must_use]
    pub fn frozen(&self) -> Option<PathBuf> {
        let own = self.paths().into_values();
        let mut levels = own.flat_map(|path| path.ancestors().map(Path::to_owned).collect::<Vec<_>>());
        // The other file, and both beyond the mount, are not there.
        let is_frozen = |level: &Path| {
            unified::is_frozen(level).unwrap_or(false) || legacy::is_frozen(level).unwrap_or(false)
        };
        levels.find(|level| is_frozen(level))
    }
}

/// Whether the caller may make this directory: mkdir(2) happens in the last one that is there; the one that is there already is written into.
fn may_make(path: &Path) -> bool {
    path.ancestors().find(|level| level.exists()).is_some_and(|level| {
        accessat(CWD, level, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
    })
}

/// Whether the caller, who is in the cgroup beside it, may be moved into a cgroup of v2 that is to be made: that takes the rights over the one
/// that has both (cgroups(7), "Cgroups v2 delegation: delegation containment").
fn may_be_entered(directory: &Path) -> bool {
    let Some(above) = directory.ancestors().skip(1).find(|level| level.exists()) else { return false };
    accessat(CWD, above.join("cgroup.procs"), Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// The same where the caller may be in any cgroup: it takes the rights over the nearest one that has both.
fn may_be_entered_from_here(directory: &Path) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    let Ok(text) = read_whole(Path::new("/proc/self/cgroup")) else { return false };
    let own = memberships(&text).into_iter().find(|one| one.controllers.is_empty()).map(|one| one.path);
    let Some(own) = own.and_then(|path| path.strip_prefix('/')) else { return false };
    let levels: Vec<&Path> =
        directory.ancestors().filter(|level| level.join("cgroup.procs").exists()).collect();
    let Some(here) = levels.last().map(|mount| mount.join(own)) else { return false };
    levels.iter().find(|level| here.starts_with(level)).is_some_and(|level| {
        accessat(CWD, level.join("cgroup.procs"), Access::WRITE_OK, AtFlags::EACCESS).is_ok()
    })
}
