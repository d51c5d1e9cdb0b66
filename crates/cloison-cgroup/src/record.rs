//! What is remembered of a container's cgroup.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Cgroup;
use crate::disabled::Disabled;
use crate::legacy::{self, Legacy};
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
