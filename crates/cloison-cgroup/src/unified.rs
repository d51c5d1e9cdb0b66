//! The v2 cgroup: one directory.

mod controllers;
pub(crate) mod limits;

use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, access, openat};
use rustix::io::Errno;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::Cgroup;
use crate::claim::Claim;
use crate::delegate::delegate;
use crate::devices::{self, DeviceRule, Policy};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::files::{read_value, write_value};
use crate::freezer::Freezer;
use crate::limits::Terms;
use crate::make::Made;
use crate::oom::OomWatch;
use crate::patience::Patience;
use crate::resources::Resources;
use crate::signal::send_to_all;
use crate::stats::{Stats, Subjects};
use crate::{processes, tree};

/// A cgroup of the v2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unified {
    /// Where the hierarchy is mounted; controllers are handed down from there.
    pub mount: PathBuf,
    /// The cgroup's directory.
    pub directory: PathBuf,
}

impl Cgroup for Unified {
    fn create(&self) -> Result<()> {
        let mut made = Made::default();
        let created = self.create_noting(&mut made);
        made.kept_if_ok(created)
    }

    fn claim(&self) -> Result<Claim> {
        let claim = Claim::of(&self.directory)?;
        must_be_free(&self.directory).map(|()| claim)
    }

    fn delegate(&self, uid: u32) -> Result<()> {
        delegate(&self.directory, uid)
    }

    fn apply(&self, resources: &Resources, terms: Terms) -> Result<Vec<Error>> {
        crate::limits::set(self, limits::settings(resources, &self.directory)?, terms)
    }

    fn apply_devices(&self, rules: &[DeviceRule]) -> Result<()> {
        devices::unified::apply(&self.directory, &Policy::of(rules), rules.len())
    }

    fn entry(&self) -> Result<Entry> {
        Ok(Entry { directory: Some(directory(&self.directory)?), tasks: Vec::new() })
    }

    fn exists(&self) -> bool {
        access(&self.directory, rustix::fs::Access::EXISTS).is_ok()
    }

    fn is_frozen(&self) -> Result<bool> {
        is_frozen(&self.directory)
    }

    fn freeze(&self) -> Result<()> {
        no_freezer(Freezer::unified(&self.directory).freeze(), &self.directory)
    }

    fn thaw(&self) -> Result<()> {
        no_freezer(Freezer::unified(&self.directory).thaw(), &self.directory)
    }

    fn processes(&self) -> Result<Vec<i32>> {
        processes::pids(&self.directory)
    }

    fn kill_all(&self, signal: Signal) -> Result<()> {
        if signal != Signal::KILL {
            return send_to_all(&self.directory, signal);
        }
        if kill(&self.directory)? {
            return Ok(());
        }
        let freezer = Freezer::unified(&self.directory);
        let held = freezer.thawed_in_the_end();
        held.freeze();
        send_to_all(&self.directory, signal)
    }

    fn stats(&self, of: Subjects) -> Result<Stats> {
        let mut stats = Stats::default();
        stats.read_unified(&self.directory, of)?;
        Ok(stats)
    }

    fn watch_oom(&self) -> Result<Option<OomWatch>> {
        OomWatch::unified(&self.directory)
    }

    fn remove(&self) -> Result<()> {
        tree::remove(&self.directory, &mut Patience::default())
    }
}

impl Unified {
    /// Hands controllers down to a directory that somebody else has made.
    pub(crate) fn complete(&self) -> Result<()> {
        controllers::hand_down(&self.mount, &self.directory)
    }

    fn create_noting(&self, made: &mut Made) -> Result<()> {
        if !made.make(&self.directory)? {
            must_be_free(&self.directory)?;
        }
        controllers::hand_down(&self.mount, &self.directory)
    }
}

/// Refuses a cgroup that was there before and in which something runs or could not run.
pub(crate) fn must_be_free(directory: &Path) -> Result<()> {
    let count = processes::raw(directory)?.len();
    if count > 0 {
        return Err(Error::NotEmpty { path: directory.to_owned(), count });
    }
    if is_frozen(directory)? {
        return Err(Error::Frozen(directory.to_owned()));
    }
    Ok(())
}

/// The descriptor of a v2 cgroup that clone3(2) takes.
pub(crate) fn directory(path: &Path) -> Result<std::os::fd::OwnedFd> {
    openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|source| Error::Open { path: path.to_owned(), source })
}

/// Kills all that is in the cgroup and below it by `cgroup.kill` (Linux 5.14). Whether that could be: false on an
/// older kernel and for a threaded cgroup, true when the cgroup is gone.
pub(crate) fn kill(directory: &Path) -> Result<bool> {
    let file = directory.join("cgroup.kill");
    match write_value(&file, "1") {
        Ok(()) | Err(Errno::NODEV) => Ok(true),
        Err(Errno::NOENT | Errno::OPNOTSUPP) => Ok(false),
        Err(source) => Err(Error::Write { path: file, value: "1".to_owned(), source }),
    }
}

/// Whether any process is in the cgroup or below it, by `cgroup.events`; false when it is gone.
pub(crate) fn is_populated(directory: &Path) -> bool {
    read_value(&directory.join("cgroup.events"))
        .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
}

/// Whether `cgroup.freeze` (Linux 5.2) asks for the cgroup itself to be frozen.
pub(crate) fn is_frozen(directory: &Path) -> Result<bool> {
    Freezer::is_asked_for(&directory.join("cgroup.freeze"))
}

/// A file that is missing from a cgroup that is there means a kernel without it.
fn no_freezer(result: Result<()>, directory: &Path) -> Result<()> {
    match result {
        Err(Error::Write { source: Errno::NOENT, .. }) if directory.exists() => Err(Error::NoFreezer),
        result => result,
    }
}
