//! Shares of caches and memory bandwidth, by the kernel's resctrl file system (Intel RDT and its like): `linux.intelRdt`.
//!
//! A container is in a class of service, which is a directory with a file `schemata` that says what its processes may have, and a file
//! `tasks` of who they are. The class is the container's own, or one that others are in, too. A monitoring group below it
//! (`mon_groups/ID`) counts what this one container uses.
//!
//! | module | what is in it |
//! |---|---|
//! | [`Resctrl`] | the file system, and what it can share out |
//! | [`Group`] | a container's class and monitoring group: made, joined, changed, removed |
//! | [`schemata`] | lines like `L3:0=7f0;1=1f`, compared by what they mean |
//! | [`usage`] | what is told of a group by `events` |

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use cloison_linux::mountinfo::{self, Mount};
use serde::{Deserialize, Serialize};

use crate::spec::IntelRdt;

pub mod schemata;
pub mod usage;

pub use usage::Usage;

/// Where the kernel has a directory for it to be mounted on.
const USUAL_PLACE: &str = "/sys/fs/resctrl";

/// The longest file of it that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// The resctrl file system of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resctrl {
    root: PathBuf,
}

/// What was being done to the resctrl file system when it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory.
    #[error("{doing} {}{}", path.display(), words(last_status))]
    File {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// `info/last_cmd_status`, in which the kernel says what it did not like; empty if it says nothing.
        last_status: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// The class that is to be joined, and not to be made, is not there.
    #[error("the class of service {class:?} is not there ({} is no directory), and without schemata it is not made", path.display())]
    NoClass {
        /// `closID`.
        class: String,
        /// Where it would be.
        path: PathBuf,
    },
    /// The class that is there shares things out in another way.
    #[error(
        "the class of service {class:?} has {found:?}, and not {wanted:?}: others are in it, and it is not changed"
    )]
    Differs {
        /// `closID`.
        class: String,
        /// The line that was asked for.
        wanted: String,
        /// The line that it has; empty if it has none of this resource.
        found: String,
    },
    /// New threads are there each time that all have been put into the class.
    #[error("the container starts threads as fast as they are put into {}: pause it, and try again", class.display())]
    Forking {
        /// The directory of the class.
        class: PathBuf,
    },
    /// A process whose threads cannot be seen.
    #[error("listing {}", path.display())]
    Threads {
        /// The directory.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} holds {found:?}, expected {expected}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What it should.
        expected: &'static str,
    },
}

/// What a container asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The class: none for one of the container's own, `/` for the default one.
    pub class: Option<String>,
    /// Lines of `schemata`, in the order in which they are written.
    pub schemata: Vec<String>,
    /// A monitoring group of its own.
    pub monitored: bool,
}

impl Request {
    /// What a configuration asks for.
    pub fn of(settings: &IntelRdt) -> Self {
        let lines = settings.l3_cache_schema.iter().chain(&settings.mem_bw_schema).chain(&settings.schemata);
        Self {
            class: settings.clos_id.clone(),
            schemata: lines.filter(|line| !line.is_empty()).cloned().collect(),
            monitored: settings.enable_monitoring,
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.class.as_deref() {
            None => f.write_str("join a resctrl class of the container's own")?,
            Some("/") => f.write_str("join the default resctrl class")?,
            Some(class) => write!(f, "join the resctrl class {class}")?,
        }
        if !self.schemata.is_empty() {
            write!(f, " with {}", self.schemata.join(" "))?;
        }
        f.write_str(if self.monitored { ", monitored" } else { "" })
    }
}

/// A container's place in it, as `state.json` keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The directory of the class.
    pub class: PathBuf,
    /// The class is the container's alone and ends with it.
    pub own: bool,
    /// The directory of the monitoring group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<PathBuf>,
    /// The class has a name of its own (`closID`) and was made for this container, which is not born yet: if it never is, the class goes
    /// with it, unless somebody else has joined meanwhile. No other command knows that, and so it is not kept.
    #[serde(skip)]
    pub made: bool,
}

impl Error {
    /// The process that was to join has ended.
    pub fn is_gone(&self) -> bool {
        let errno = rustix::io::Errno::SRCH.raw_os_error();
        matches!(self, Self::File { source, .. } if source.raw_os_error() == Some(errno))
    }
}

impl Resctrl {
    /// Looks for it where it usually is, and then among all mounts; none if it is not mounted.
    pub fn find() -> Option<Self> {
        Self::among(mountinfo::read().ok()?)
    }

    fn among(mounts: Vec<Mount>) -> Option<Self> {
        let found = mounts.into_iter().filter(|mount| mount.fs_type == "resctrl").map(|mount| mount.point);
        let mut found: Vec<_> = found.collect();
        let at = found.iter().position(|path| path == Path::new(USUAL_PLACE)).unwrap_or(0);
        (!found.is_empty()).then(|| Self { root: found.swap_remove(at) })
    }

    /// One that is mounted there.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it shares this out: `L3`, `MB`.
    pub fn has(&self, resource: &str) -> bool {
        self.root.join("info").join(resource).is_dir()
    }

    /// Where the container of this name would be. Nothing is made.
    pub fn place(&self, request: &Request, id: &str) -> Group {
        let class = match request.class.as_deref() {
            Some("/") => self.root.clone(),
            Some(class) => self.root.join(class),
            None => self.root.join(id),
        };
        let own = request.class.is_none() && !class.is_dir();
        let monitor = request.monitored.then(|| class.join("mon_groups").join(id));
        Group { class, own, monitor, made: false }
    }

    /// Makes what `place` has said, as far as it is not there, and shares out as asked. Where it fails, nothing of it is left.
    ///
    /// # Errors
    /// [`Error::NoClass`] and [`Error::Differs`] for classes of others, as runtime-spec demands.
    pub fn make(&self, request: &Request, group: &mut Group) -> Result<(), Error> {
        let there = group.class.is_dir();
        match request.class.as_deref() {
            Some(class) if !there && request.schemata.is_empty() => {
                return Err(Error::NoClass { class: class.to_owned(), path: group.class.clone() });
            }
            // Without a name it has the container's, which an administrator may have given to one, or a container of another `--root`.
            class if there && !group.own => {
                let name = group.class.file_name().unwrap_or_default().to_string_lossy();
                self.compare(class.unwrap_or(&name), request, group)?;
            }
            _ => {}
        }
        // One that has come since it was said that it would be made is somebody else's, and an error.
        if !there || group.own {
            fs::create_dir(&group.class).map_err(|error| self.failed("making", &group.class, error))?;
        }
        group.made = !there && !group.own;
        let mut made = Group { class: group.class.clone(), own: !there, monitor: None, made: false };
        let filled = self.fill(request, group, there, &mut made);
        if filled.is_err()
            && let Err(error) = self.remove(&made)
        {
            log::warn!("left behind: {error}");
        }
        filled
    }

    fn fill(&self, request: &Request, group: &Group, compared: bool, made: &mut Group) -> Result<(), Error> {
        if !request.schemata.is_empty() && !compared {
            self.share_out(group, &request.schemata)?;
        }
        let Some(monitor) = &group.monitor else { return Ok(()) };
        // One that is there is somebody else's, and would go with the container.
        fs::create_dir(monitor).map_err(|error| self.failed("making", monitor, error))?;
        made.monitor = Some(monitor.clone());
        Ok(())
    }

    /// Writes lines of `schemata`.
    pub fn share_out(&self, group: &Group, lines: &[String]) -> Result<(), Error> {
        let mut text = lines.join("\n");
        text.push('\n');
        self.write(&group.class.join("schemata"), text.as_bytes())
    }

    /// Lines of `schemata` as they are.
    pub fn shares(&self, group: &Group) -> Result<Vec<String>, Error> {
        Ok(self.read(&group.class.join("schemata"))?.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// Puts a process into the class, and into the monitoring group. What it starts from then on is in them, too.
    pub fn join(&self, group: &Group, pid: i32) -> Result<(), Error> {
        let pid = pid.to_string();
        self.write(&group.class.join("tasks"), pid.as_bytes())?;
        group.monitor.as_ref().map_or(Ok(()), |monitor| self.write(&monitor.join("tasks"), pid.as_bytes()))
    }

    /// The threads that are in the class, and in the monitoring group.
    pub fn members(&self, group: &Group) -> Result<HashSet<i32>, Error> {
        let threads = |directory: &Path| -> Result<HashSet<i32>, Error> {
            let text = self.read(&directory.join("tasks"))?;
            Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
        };
        let members = threads(&group.class)?;
        let Some(monitor) = &group.monitor else { return Ok(members) };
        let monitored = threads(monitor)?;
        Ok(members.intersection(&monitored).copied().collect())
    }

    /// Removes what is the container's alone. What is gone already is no error.
    pub fn remove(&self, group: &Group) -> Result<(), Error> {
        group.monitor.as_ref().map_or(Ok(()), |monitor| self.remove_directory(monitor))?;
        let is_ours = group.own || group.made && self.is_empty(&group.class)?;
        if is_ours { self.remove_directory(&group.class) } else { Ok(()) }
    }

    fn remove_directory(&self, directory: &Path) -> Result<(), Error> {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("removing", directory, error))
            }
            _ => Ok(()),
        }
    }

    /// Whether nobody is in a class, or about to be: whoever wants to be monitored has made a group in it before. One that has gone has nobody.
    fn is_empty(&self, class: &Path) -> Result<bool, Error> {
        let groups = class.join("mon_groups");
        match fs::read_dir(&groups).map(|mut groups| groups.next().is_some()) {
            Ok(true) => return Ok(false),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.failed("listing", &groups, error));
            }
            Ok(false) | Err(_) => {}
        }
        let path = class.join("tasks");
        match fs::read_to_string(&path) {
            Ok(tasks) => Ok(tasks.trim().is_empty()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(self.failed("reading", &path, error)),
        }
    }

    fn compare(&self, class: &str, request: &Request, group: &Group) -> Result<(), Error> {
        if request.schemata.is_empty() {
            return Ok(());
        }
        let found = self.shares(group)?;
        let steps = self.read(&self.root.join("info/MB/bandwidth_gran")).ok();
        let step = steps.and_then(|text| text.parse().ok()).unwrap_or(1);
        let differs = |wanted: &&String| !schemata::is_in(wanted, &found, step);
        request.schemata.iter().find(differs).map_or(Ok(()), |wanted| {
            let same = found.iter().find(|line| schemata::resource(line) == schemata::resource(wanted));
            let found = same.cloned().unwrap_or_default();
            Err(Error::Differs { class: class.to_owned(), wanted: wanted.clone(), found })
        })
    }

    fn read(&self, path: &Path) -> Result<String, Error> {
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text));
        read.map_err(|error| self.failed("reading", path, error))?;
        Ok(text.trim().to_owned())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        // One write, since the kernel takes each by itself.
        let written = File::options().write(true).open(path).and_then(|mut file| file.write_all(bytes));
        written.map_err(|error| self.failed("writing", path, error))
    }

    fn failed(&self, doing: &'static str, path: &Path, source: io::Error) -> Error {
        let status = fs::read_to_string(self.root.join("info/last_cmd_status")).unwrap_or_default();
        let last_status = status.trim().trim_start_matches("ok").to_owned();
        Error::File { doing, path: path.to_owned(), last_status, source }
    }
}

fn words(last_status: &str) -> String {
    if last_status.is_empty() { String::new() } else { format!(" (last_cmd_status: {last_status})") }
}

#[cfg(test)]
mod tests;
