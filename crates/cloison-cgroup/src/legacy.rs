//! The v1 cgroup: a directory in each hierarchy, and on hybrid machines one in the v2 hierarchy beside them.

mod cpuset;
pub(crate) mod limits;

use std::path::{Path, PathBuf};

use rustix::fs::access;
use rustix::io::Errno;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::Cgroup;
use crate::claim::Claim;
use crate::devices::{self, DeviceRule, Policy};
use crate::entry::{Entry, Tasks};
use crate::error::{Error, Result};
use crate::files::open_to_write;
use crate::freezer::Freezer;
use crate::limits::Terms;
use crate::make::Made;
use crate::oom::OomWatch;
use crate::patience::Patience;
use crate::resources::Resources;
use crate::signal::send_to_all;
use crate::stats::{Stats, Subjects};
use crate::unified;
use crate::{processes, tree};

/// A cgroup of the v1 hierarchies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legacy {
    /// Its directories, in the order to join them: memory last.
    pub directories: Vec<Directory>,
    /// Its directory in a hybrid machine's v2 hierarchy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unified: Option<PathBuf>,
}

/// A cgroup's directory in one v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// The controllers that act there: `cpu` and `cpuacct`, or `name=systemd`.
    pub controllers: Vec<String>,
    /// The directory.
    pub path: PathBuf,
}

impl Directory {
    /// Whether `controller` acts there.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

impl Cgroup for Legacy {
    fn create(&self) -> Result<()> {
        let mut made = Made::default();
        let created = self.create_noting(&mut made);
        made.kept_if_ok(created)
    }

    fn claim(&self) -> Result<Claim> {
        let Some(census) = self.census() else { return Ok(Claim::of_nothing()) };
        let claim = Claim::of(census)?;
        self.must_be_free().map(|()| claim)
    }

    fn delegate(&self, _uid: u32) -> Result<()> {
        Ok(())
    }

    fn apply(&self, resources: &Resources, terms: Terms) -> Result<Vec<Error>> {
        crate::limits::set(self, limits::settings(resources)?, terms)
    }

    fn apply_devices(&self, rules: &[DeviceRule]) -> Result<()> {
        let policy = Policy::of(rules);
        match (self.of("devices"), &self.unified) {
            (Some(directory), _) => devices::legacy::apply(directory, &policy),
            (None, Some(directory)) => devices::unified::apply(directory, &policy, rules.len()),
            (None, None) if policy.allows_everything() => Ok(()),
            (None, None) => Err(Error::NoDeviceController),
        }
    }

    fn entry(&self) -> Result<Entry> {
        let open = |directory: &Directory, file: &str| {
            let path = directory.path.join(file);
            match open_to_write(&path) {
                Ok(file) => Ok(Tasks { file, path }),
                Err(source) => Err(Error::Open { path, source }),
            }
        };
        let tasks = self.directories.iter().map(|directory| match open(directory, "tasks") {
            // Who gives a cgroup away often gives the file that v2 has, too.
            Err(error) if error.errno() == Some(Errno::ACCESS) => {
                open(directory, "cgroup.procs").map_err(|_| error)
            }
            opened => opened,
        });
        Ok(Entry {
            tasks: tasks.collect::<Result<_>>()?,
            directory: self.unified.as_deref().map(unified::directory).transpose()?,
        })
    }

    fn exists(&self) -> bool {
        self.census().is_some_and(|path| access(path, rustix::fs::Access::EXISTS).is_ok())
    }

    fn is_frozen(&self) -> Result<bool> {
        match (self.of("freezer"), &self.unified) {
            (Some(directory), _) => is_frozen(directory),
            (None, Some(directory)) => unified::is_frozen(directory),
            (None, None) => Ok(false),
        }
    }

    fn freeze(&self) -> Result<()> {
        self.freezer().ok_or(Error::NoFreezer)?.freeze()
    }

    fn thaw(&self) -> Result<()> {
        self.freezer().ok_or(Error::NoFreezer)?.thaw()
    }

    fn processes(&self) -> Result<Vec<i32>> {
        self.census().map_or_else(|| Ok(Vec::new()), processes::pids)
    }

    fn kill_all(&self, signal: Signal) -> Result<()> {
        let Some(census) = self.census() else { return Ok(()) };
        if signal != Signal::KILL {
            return send_to_all(census, signal);
        }
        // What was frozen before dies only once it is thawed, whoever killed it.
        let freezer = self.freezer();
        let held = freezer.as_ref().map(Freezer::thawed_in_the_end);
        // On a hybrid machine each process is in the v2 cgroup from its birth. If that one is empty, someone has moved
        // them out of it, or was killed halfway through moving them in.
        if let Some(unified) = &self.unified
            && unified::is_populated(unified)
            && unified::kill(unified)?
        {
            return Ok(());
        }
        if let Some(held) = &held {
            held.freeze();
        }
        send_to_all(census, signal)
    }

    fn stats(&self, of: Subjects) -> Result<Stats> {
        let mut stats = Stats::default();
        if let Some(directory) = &self.unified {
            stats.read_unified(directory, of)?;
        }
        stats.read_legacy(self, of)?;
        Ok(stats)
    }

    fn watch_oom(&self) -> Result<Option<OomWatch>> {
        match (self.of("memory"), &self.unified) {
            (Some(directory), _) => OomWatch::legacy(directory),
            (None, Some(directory)) => OomWatch::unified(directory),
            (None, None) => Ok(None),
        }
    }

    fn remove(&self) -> Result<()> {
        let mut patience = Patience::default();
        // The v2 one first: it alone tells when its last process is gone, and then they are all empty.
        let legacy = self.directories.iter().map(|directory| directory.path.as_path());
        let all = self.unified.as_deref().into_iter().chain(legacy);
        // One that stays must not keep the others from being removed.
        let failures: Vec<Error> = all.filter_map(|path| tree::remove(path, &mut patience).err()).collect();
        failures.into_iter().next().map_or(Ok(()), Err)
    }
}

impl Legacy {
    /// The directory in the hierarchy of `controller`.
    #[must_use]
    pub fn of(&self, controller: &str) -> Option<&Path> {
        self.directories
            .iter()
            .find(|directory| directory.has(controller))
            .map(|directory| directory.path.as_path())
    }

    /// What can hold the processes still; on a hybrid machine without the v1 hierarchy it is the v2 cgroup's.
    fn freezer(&self) -> Option<Freezer> {
        let legacy = self.of("freezer").map(Freezer::legacy);
        legacy.or_else(|| {
            let directory = self.unified.as_ref().filter(|path| path.join("cgroup.freeze").exists())?;
            Some(Freezer::unified(directory))
        })
    }

    /// The directory by which the cgroup's processes are counted; all have the same ones. `devices` as runc does, so
    /// that both runtimes agree on which cgroup is in use.
    fn census(&self) -> Option<&Path> {
        self.of("devices").or_else(|| self.directories.first().map(|directory| directory.path.as_path()))
    }

    fn create_noting(&self, made: &mut Made) -> Result<()> {
        if self.make_missing(made)? { Ok(()) } else { self.must_be_free() }
    }

    /// Makes the directories that somebody else who has made some has not.
    pub(crate) fn complete(&self) -> Result<()> {
        let mut made = Made::default();
        let completed = self.make_missing(&mut made);
        made.kept_if_ok(completed).map(drop)
    }

    /// Whether none was there.
    fn make_missing(&self, made: &mut Made) -> Result<bool> {
        let mut all_new = true;
        for directory in &self.directories {
            let new = made.make(&directory.path)?;
            all_new &= new;
            if directory.has("cpuset") {
                cpuset::inherit(&directory.path, new)?;
            }
        }
        if let Some(unified) = &self.unified {
            made.make(unified)?;
        }
        Ok(all_new)
    }

    /// Refuses a cgroup that was there before and in which something runs or could not run.
    pub(crate) fn must_be_free(&self) -> Result<()> {
        if let Some(path) = self.census() {
            let count = processes::raw(path)?.len();
            if count > 0 {
                return Err(Error::NotEmpty { path: path.to_owned(), count });
            }
        }
        match self.of("freezer").or(self.unified.as_deref()) {
            Some(path) if self.is_frozen()? => Err(Error::Frozen(path.to_owned())),
            _ => Ok(()),
        }
    }
}

/// Whether the cgroup itself, and not one above it, was asked to be frozen.
pub(crate) fn is_frozen(directory: &Path) -> Result<bool> {
    Freezer::is_asked_for(&directory.join("freezer.self_freezing"))
}
