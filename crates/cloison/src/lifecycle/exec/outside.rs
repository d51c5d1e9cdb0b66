//! A process that comes from outside of what systemd has delegated to a user, as from a login session beside the user's systemd.
//!
//! The kernel lets such a user neither give birth to a process in the container's cgroup nor move one there (cgroups(7), "Delegation
//! containment"). systemd may, and does it for who has the same uid as the process. So the process is moved when it has done everything
//! but becoming the program, which may have another uid.

use std::path::{Path, PathBuf};

use cloison_cgroup::{Directories, Record, Systemd};
use cloison_linux::Errno;

use super::admission::Admission;
use super::newcomer::Newcomer;
use crate::lifecycle::Error;

/// Where a process is to go.
pub(super) struct Outside<'a> {
    unit: &'a Systemd,
    /// In the unit's cgroup, or that itself.
    directory: PathBuf,
}

impl Admission {
    /// Whether systemd may do what the kernel has refused with `errno`.
    pub(super) fn outside(&self, errno: Errno) -> Option<Outside<'_>> {
        let Record::Systemd(unit) = &self.state.cgroup else { return None };
        let is_refused = unit.unit.user && matches!(errno, Errno::ACCESS | Errno::PERM);
        let directory = is_refused.then(|| directory(&self.cgroup.directories()))??;
        Some(Outside { unit, directory })
    }
}

impl Newcomer<'_> {
    /// Has systemd move the process, where that is needed.
    pub(super) fn enter_cgroup(&mut self) -> Result<(), Error> {
        let (Some(Outside { unit, directory }), Some((pid, _))) = (self.outside.take(), &self.process) else {
            return Ok(());
        };
        let pid = pid.as_raw_nonzero().get();
        let moved = unit.attach(pid, &directory);
        match moved {
            // As where the kernel does it: the container may have divided its cgroup.
            Err(error) if self.admission.any_cgroup => {
                let first = Record::of_process(self.admission.first.pid()).map_err(Error::JoinCgroup)?;
                match self::directory(&first).filter(|now| is_below(unit, now) && *now != directory) {
                    Some(now) => {
                        log::debug!("joining the cgroup of the container's first process: {error}");
                        unit.attach(pid, &now).map_err(Error::JoinCgroup)
                    }
                    None => Err(Error::JoinCgroup(error)),
                }
            }
            moved => moved.map_err(Error::JoinCgroup),
        }
    }
}

fn directory(cgroup: &Record) -> Option<PathBuf> {
    match cgroup {
        Record::Unified(cgroup) => Some(cgroup.directory.clone()),
        _ => None,
    }
}

fn is_below(unit: &Systemd, directory: &Path) -> bool {
    matches!(&unit.directories, Directories::Unified(own) if directory.starts_with(&own.directory))
}
