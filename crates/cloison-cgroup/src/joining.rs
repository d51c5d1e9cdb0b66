//! Which cgroup a process joins that is not a container's first one: the container's own, one below it, or where the first process is now.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::read_whole;
use crate::layout::{Layout, mountinfo};
use crate::legacy::Legacy;
use crate::record::Record;
use crate::unified::Unified;

impl Record {
    /// The cgroups below this one that `asked` names, each as `[CONTROLLER[,CONTROLLER…]:]PATH`: on v2 one path, on v1 one for all
    /// hierarchies, or one for some of them. Without any it is this cgroup itself. Nothing is looked at.
    ///
    /// # Errors
    /// [`Error::BadSubCgroup`] for a path that leads out of this cgroup, [`Error::UnknownController`],
    /// [`Error::BadSubCgroupArgument`], and [`Error::NoCgroup`] where there is none that others could be below.
    pub fn below(&self, asked: &[String]) -> Result<Self> {
        if asked.is_empty() {
            return Ok(self.clone());
        }
        if let Self::Systemd(_) = self {
            return self.directories().below(asked);
        }
        let asked = asked.iter().map(|one| Asked::parse(one, asked.len())).collect::<Result<Vec<_>>>()?;
        match self {
            Self::Disabled(_) | Self::Systemd(_) => Err(Error::NoCgroup),
            Self::Unified(cgroup) => below_unified(cgroup, &asked).map(Self::Unified),
            Self::Legacy(cgroup) => below_legacy(cgroup, &asked).map(Self::Legacy),
        }
    }

    /// The same in the v1 hierarchies alone that `other` is in, too, if both are of v1.
    #[must_use]
    pub fn in_hierarchies_of(mut self, other: &Self) -> Self {
        if let (Self::Legacy(cgroup), Self::Legacy(other)) = (&mut self, &other.directories()) {
            let is_there = |one: &crate::Directory| {
                other.directories.iter().any(|directory| directory.controllers == one.controllers)
            };
            cgroup.directories.retain(is_there);
        }
        self
    }

    /// The cgroups that a process is in.
    ///
    /// # Errors
    /// [`Error::Read`], and [`Error::NotMounted`] where they cannot be reached.
    pub fn of_process(pid: i32) -> Result<Self> {
        let read = |path: &str| {
            read_whole(Path::new(path)).map_err(|source| Error::Read { path: PathBuf::from(path), source })
        };
        match Layout::parse(mountinfo()?, &read(&format!("/proc/{pid}/cgroup"))?) {
            Layout::Absent | Layout::Unified { own: None, .. } => Err(Error::NotMounted),
            Layout::Unified { mount, own: Some(own) } => {
                Ok(Self::Unified(Unified { directory: mount.join(own), mount }))
            }
            layout @ Layout::Legacy { .. } => Ok(Self::Legacy(of_legacy(layout))),
        }
    }
}

/// The hierarchies of a layout, each at the process's own place.
fn of_legacy(layout: Layout) -> Legacy {
    let Layout::Legacy { hierarchies, .. } = layout else {
        return Legacy { directories: Vec::new(), unified: None };
    };
    let mut directories: Vec<_> = hierarchies
        .into_iter()
        .map(|hierarchy| crate::Directory {
            path: hierarchy.mount.join(&hierarchy.own),
            controllers: hierarchy.controllers,
        })
        .collect();
    // As a container's first process does.
    directories.sort_by_key(|directory| directory.has("memory"));
    Legacy { directories, unified: None }
}

/// One argument.
struct Asked<'a> {
    /// None of them stands for all.
    controllers: Vec<&'a str>,
    below: PathBuf,
}

impl<'a> Asked<'a> {
    fn parse(argument: &'a str, of: usize) -> Result<Self> {
        let bad = |why| Err(Error::BadSubCgroupArgument { argument: argument.to_owned(), why });
        let (controllers, path) = match argument.split_once(':') {
            Some((controllers, path)) => (controllers.split(',').collect(), path),
            None if of > 1 => return bad("missing <controller>: prefix"),
            None => (Vec::new(), argument),
        };
        if controllers.contains(&"") {
            return bad("empty <controller> prefix");
        }
        Ok(Self { controllers, below: below(path)? })
    }
}

/// A path without a way out: neither `..`, nor what no cgroup's name has.
fn below(path: &str) -> Result<PathBuf> {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let is_bad = |part: &str| part == ".." || part.contains(['\0', '\n']);
    if parts.clone().any(is_bad) {
        return Err(Error::BadSubCgroup(path.to_owned()));
    }
    Ok(parts.collect())
}

fn below_unified(cgroup: &Unified, asked: &[Asked<'_>]) -> Result<Unified> {
    match asked {
        [Asked { controllers, below }] if controllers.is_empty() => {
            Ok(Unified { directory: cgroup.directory.join(below), ..cgroup.clone() })
        }
        _ => {
            let controller = asked.iter().flat_map(|one| &one.controllers).next();
            Err(Error::UnknownController(controller.map(ToString::to_string).unwrap_or_default()))
        }
    }
}

fn below_legacy(cgroup: &Legacy, asked: &[Asked<'_>]) -> Result<Legacy> {
    let mut moved = cgroup.clone();
    for one in asked {
        if one.controllers.is_empty() {
            moved.directories.iter_mut().for_each(|directory| directory.path.push(&one.below));
            // Engines know the v1 hierarchies, and make nothing in the other one.
            let unified = moved.unified.as_ref().map(|unified| unified.join(&one.below));
            moved.unified = unified.filter(|path| path.is_dir()).or(moved.unified);
        }
        for controller in &one.controllers {
            let index = cgroup.directories.iter().position(|directory| directory.has(controller));
            let index = index.ok_or_else(|| Error::UnknownController((*controller).to_owned()))?;
            let (place, wanted) =
                (&mut moved.directories[index].path, cgroup.directories[index].path.join(&one.below));
            // Controllers that share a hierarchy can only go together.
            if *place != cgroup.directories[index].path && *place != wanted {
                let argument = format!("{controller}:{}", one.below.display());
                let why = "its hierarchy is asked for twice";
                return Err(Error::BadSubCgroupArgument { argument, why });
            }
            *place = wanted;
        }
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Directory;

    fn legacy() -> Record {
        let directory = |controllers: &[&str], path: &str| Directory {
            controllers: controllers.iter().map(ToString::to_string).collect(),
            path: path.into(),
        };
        Record::Legacy(Legacy {
            directories: vec![
                directory(&["cpu", "cpuacct"], "/cg/cpu/c1"),
                directory(&["memory"], "/cg/memory/c1"),
            ],
            unified: Some("/cg/unified/c1".into()),
        })
    }

    fn unified() -> Record {
        Record::Unified(Unified { mount: "/cg".into(), directory: "/cg/c1".into() })
    }

    fn paths(record: &Record, asked: &[&str]) -> Result<Vec<String>> {
        let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
        let below = record.below(&asked)?;
        Ok(below.paths().into_iter().map(|(name, path)| format!("{name}={}", path.display())).collect())
    }

    fn refused(record: &Record, asked: &[&str]) -> String {
        paths(record, asked).unwrap_err().to_string()
    }

    #[test]
    fn hierarchies_that_a_container_is_not_in_are_not_joined() {
        let Record::Legacy(mut process) = legacy() else { unreachable!() };
        process
            .directories
            .push(Directory { controllers: vec!["name=systemd".to_owned()], path: "/cg/systemd".into() });
        assert_eq!(Record::Legacy(process).in_hierarchies_of(&legacy()), legacy());
        assert_eq!(unified().in_hierarchies_of(&legacy()), unified());
    }

    #[test]
    fn nothing_asked_for_or_the_root_is_the_cgroup_itself() {
        for record in [legacy(), unified(), Record::disabled()] {
            assert_eq!(record.below(&[]).unwrap(), record);
        }
        for path in ["/", "", ".", "//./"] {
            assert_eq!(legacy().below(&[path.to_owned()]).unwrap(), legacy());
            assert_eq!(unified().below(&[path.to_owned()]).unwrap(), unified());
        }
    }

    #[test]
    fn a_path_is_below_the_cgroup_whether_it_begins_with_a_slash_or_not() {
        for path in ["a/b", "/a/b", "a//./b/"] {
            assert_eq!(paths(&unified(), &[path]).unwrap(), ["=/cg/c1/a/b"]);
        }
        let all = ["=/cg/unified/c1", "cpu=/cg/cpu/c1/a", "cpuacct=/cg/cpu/c1/a", "memory=/cg/memory/c1/a"];
        assert_eq!(paths(&legacy(), &["a"]).unwrap(), all, "the v2 one is not there, so it stays");
    }

    #[test]
    fn controllers_of_v1_are_placed_one_by_one() {
        let found = paths(&legacy(), &["cpu,cpuacct:a", "memory:/b/c"]).unwrap();
        let expected =
            ["=/cg/unified/c1", "cpu=/cg/cpu/c1/a", "cpuacct=/cg/cpu/c1/a", "memory=/cg/memory/c1/b/c"];
        assert_eq!(found, expected);
        assert!(paths(&legacy(), &["memory:b"]).unwrap().contains(&"cpu=/cg/cpu/c1".to_owned()));
    }

    #[test]
    fn no_path_leads_out_of_the_cgroup() {
        for path in ["..", "a/..", "../c2", "/../x", "a/../../b", "cpu:..", "a\0", "a\nb"] {
            let error = refused(&legacy(), &[path]);
            assert!(error.starts_with("bad sub cgroup path"), "{path}: {error}");
        }
        assert!(refused(&unified(), &["../c2"]).starts_with("bad sub cgroup path"));
    }

    #[test]
    fn what_names_no_hierarchy_is_refused() {
        assert_eq!(refused(&legacy(), &["whaaat:/"]), "unknown controller whaaat in --cgroup");
        assert_eq!(refused(&unified(), &["cpu:/a"]), "unknown controller cpu in --cgroup");
        assert!(refused(&legacy(), &[":a"]).contains("(empty <controller> prefix)"));
        assert!(refused(&legacy(), &["cpu,:a"]).contains("(empty <controller> prefix)"));
        assert!(refused(&legacy(), &["a", "cpu:b"]).contains("(missing <controller>: prefix)"));
        assert!(refused(&legacy(), &["cpu:a", "cpuacct:b"]).contains("asked for twice"));
        assert!(matches!(Record::disabled().below(&["a".to_owned()]), Err(Error::NoCgroup)));
    }

    #[test]
    fn our_own_cgroups_are_found() {
        let own = Record::of_process(std::process::id().cast_signed()).unwrap();
        let paths = own.paths();
        assert!(!paths.is_empty());
        for path in paths.into_values() {
            let text = std::fs::read_to_string(path.join("cgroup.procs")).unwrap();
            assert!(text.lines().any(|line| line == std::process::id().to_string()), "{}", path.display());
        }
    }
}
