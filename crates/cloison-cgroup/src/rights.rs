//! What the caller may do to a cgroup, before it is tried.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::files::read_whole;
use crate::legacy::Directory;
use crate::procfs::memberships;
use crate::record::Record;

impl Record {
    /// Whether the caller has the rights to make the cgroup, as far as the files' permissions tell; of a v1 cgroup, in every
    /// hierarchy.
    #[must_use]
    pub fn may_be_made(&self) -> bool {
        match self {
            // What systemd may, it says itself.
            Self::Disabled(_) | Self::Systemd(_) => true,
            Self::Unified(cgroup) => may_make(&cgroup.directory) && takes_from_here(&cgroup.directory),
            Self::Legacy(cgroup) => cgroup
                .directories
                .iter()
                .map(|one| &one.path)
                .chain(&cgroup.unified)
                .all(|path| may_make(path)),
        }
    }

    /// The same without what is closed to the caller and can be done without, as those who delegate v1 cgroups often leave it out: the v2
    /// hierarchy of a hybrid machine, and v1 hierarchies that nothing in a configuration is about. With nothing but those it is unchanged.
    #[must_use]
    pub fn as_far_as_open(mut self) -> Self {
        let told = |path: &Path| log::debug!("{} is closed to the caller, and left out", path.display());
        if let Self::Legacy(cgroup) = &mut self {
            let closed = cgroup.unified.take_if(|path| !may_make(path) || !takes_from_here(path));
            if let Some(path) = closed {
                told(&path);
            }
            if !cgroup.directories.iter().all(is_spare) {
                cgroup.directories.retain(|directory| {
                    let is_kept = !is_spare(directory) || may_make(&directory.path);
                    if !is_kept {
                        told(&directory.path);
                    }
                    is_kept
                });
            }
        }
        self
    }

    /// Whether the caller may let a process be born in the v2 cgroup, as far as the files' permissions tell: others may forbid it, too.
    #[must_use]
    pub fn may_be_entered(&self) -> bool {
        self.paths().remove("").is_none_or(|directory| takes_from_here(&directory))
    }
}

/// Whether no field of runtime-spec, no verb and no statistics are about it.
fn is_spare(directory: &Directory) -> bool {
    let spare = ["misc", "perf_event", "debug"];
    directory.controllers.iter().all(|name| name.starts_with("name=") || spare.contains(&name.as_str()))
}

/// Whether the caller may make this directory: mkdir(2) happens in the last one that is there; the one that is there already is written into.
fn may_make(path: &Path) -> bool {
    path.ancestors().find(|level| level.exists()).is_some_and(|level| {
        accessat(CWD, level, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
    })
}

/// Whether the caller may move processes between two cgroups of v2 that are both below this one (cgroups(7), "Cgroups v2 delegation:
/// delegation containment").
fn may_move_below(directory: &Path) -> bool {
    accessat(CWD, directory.join("cgroup.procs"), Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// Whether a cgroup of v2, which need not be there yet, takes the caller from where that is.
fn takes_from_here(directory: &Path) -> bool {
    let levels: Vec<&Path> =
        directory.ancestors().filter(|level| level.join("cgroup.procs").exists()).collect();
    let Some(mount) = levels.last() else { return false };
    if rustix::process::geteuid().is_root() && may_move_below(mount) {
        return true;
    }
    let Ok(text) = read_whole(Path::new("/proc/self/cgroup")) else { return false };
    let own = memberships(&text).into_iter().find(|one| one.controllers.is_empty()).map(|one| one.path);
    let Some(own) = own.and_then(|path| path.strip_prefix('/')) else { return false };
    let here = mount.join(own);
    levels.iter().find(|level| here.starts_with(level)).is_some_and(|level| may_move_below(level))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::legacy::Legacy;

    /// A hierarchy in a directory, or below a file, where nobody makes directories.
    fn hierarchy(directory: &TempDir, controller: &str, is_open: bool) -> Directory {
        let place = directory.path().join(controller);
        let made = if is_open { std::fs::create_dir(&place) } else { std::fs::write(&place, "") };
        made.unwrap();
        Directory { controllers: vec![controller.to_owned()], path: place.join("c1") }
    }

    fn left_of(hierarchies: &[(&str, bool)]) -> (Vec<PathBuf>, bool) {
        let directory = TempDir::new().unwrap();
        let directories = hierarchies.iter().map(|(name, is_open)| hierarchy(&directory, name, *is_open));
        let record = Record::Legacy(Legacy { directories: directories.collect(), unified: None });
        let left = record.as_far_as_open();
        let names = left
            .paths()
            .into_values()
            .map(|path| path.parent().unwrap().strip_prefix(directory.path()).unwrap().to_owned());
        (names.collect(), left.may_be_made())
    }

    #[test]
    fn what_nothing_is_about_is_left_out_where_it_is_closed() {
        let hierarchies = [("memory", true), ("misc", false), ("name=systemd", false), ("perf_event", true)];
        assert_eq!(left_of(&hierarchies), (vec!["memory".into(), "perf_event".into()], true));
    }

    #[test]
    fn what_something_is_about_is_kept_and_cannot_be_made() {
        let hierarchies = [("memory", true), ("pids", false)];
        assert_eq!(left_of(&hierarchies), (vec!["memory".into(), "pids".into()], false));
    }

    #[test]
    fn a_cgroup_does_not_vanish() {
        assert_eq!(left_of(&[("name=systemd", false)]), (vec!["name=systemd".into()], false));
    }
}
