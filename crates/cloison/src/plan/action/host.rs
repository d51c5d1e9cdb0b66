//! What the runtime does on the host's side.

use std::fmt;
use std::path::PathBuf;

use cloison_cgroup::{DeviceRule, Property, Resources, Unit};
use cloison_linux::Resource;
use cloison_linux::namespace::NamespaceFlags;

use super::{Clocks, IdMapping, Offsets};
use crate::plan::hooks::{Hook, Outputs};
use crate::resctrl;

/// The source of an idmapped mount, which the host's side opens, since the init may not map its ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindSource {
    /// Which of the plan's mounts it is for.
    pub mount: usize,
    /// The file or directory.
    pub path: PathBuf,
    /// With the mounts below it.
    pub recursive: bool,
    /// How its ids are mapped.
    pub id_map: SourceIds,
    /// Whether they are mapped for the mounts below it, too.
    pub maps_all: bool,
}

/// How the ids of a mount are mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceIds {
    /// By these maps of uids and gids.
    Maps(Vec<IdMapping>, Vec<IdMapping>),
    /// Like the user namespace that the container joins.
    Joined(PathBuf),
}

impl fmt::Display for BindSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for a bind mount, idmapped: ", self.path.display())?;
        match &self.id_map {
            SourceIds::Maps(uids, gids) => write!(f, "uids {}, gids {}", Maps(uids), Maps(gids)),
            SourceIds::Joined(path) => write!(f, "as in {}", path.display()),
        }
    }
}

/// What the runtime does on the host's side of a container's birth.
#[derive(Debug, Clone, PartialEq)]
pub enum HostAction {
    /// Binds the root file system on itself, in the runtime's own mount namespace: what all mounts of a container without one lie on, so that
    /// they can be taken back.
    HoldMounts(PathBuf),
    /// Makes the container's cgroup.
    MakeCgroup,
    /// Has systemd make the container's cgroup, with a process in it that will start the init.
    StartUnit(Box<StartUnit>),
    /// Opens the source of a bind mount.
    OpenSource(BindSource),
    /// Maps the ids of a source that is there only once the mounts before it are, so that the init opens it.
    MapSource(BindSource),
    /// Sets the offsets of the clocks in a new time namespace: seconds and nanoseconds, by the names of `time_namespaces(7)`.
    TimeOffsets(Offsets),
    /// Puts children into an existing namespace.
    JoinNamespace(NamespaceFlags, PathBuf),
    /// Starts the init in new namespaces.
    CloneInit(NamespaceFlags),
    /// Writes the maps of the init's new user namespace.
    WriteIdMaps {
        /// `uid_map`.
        uids: Vec<IdMapping>,
        /// `gid_map`.
        gids: Vec<IdMapping>,
    },
    /// Moves a network device from the runtime's network namespace into the container's.
    MoveNetDevice(NetDevice),
    /// Puts the init into a class of service of the resctrl file system, which is made where it is not there.
    JoinResctrl(Box<resctrl::Request>),
    /// Writes `/proc/self/oom_score_adj` (proc(5)) until the init is born, which inherits it.
    LendOomScoreAdj(i32),
    /// Writes `/proc/PID/oom_score_adj` (proc(5)).
    OomScoreAdj(i32),
    /// Raises the hard limit of the init, which only the host's side may; the init sets the exact values itself.
    RaiseLimit(Resource, u64),
    /// Opens the files that the output of hooks is appended to.
    OpenHookOutputs(Outputs),
    /// Waits until the init has made its mounts, and has not yet changed its root.
    AwaitMounts,
    /// Runs a hook in the runtime's namespaces.
    Hook(Box<Hook>),
    /// Lets the init go on after the hooks.
    LetInitGoOn,
    /// Waits until the init has made the container's root and needs nothing more to be done before its program.
    AwaitInit,
    /// Gives the cgroup to this user of the host, so that the container can divide it.
    DelegateCgroup(u32),
    /// Sets limits of the cgroup.
    LimitResources(Box<Resources>),
    /// Lets the cgroup use the devices of these rules only. Not before the init is ready: a file system may be mounted from a block
    /// device that the container itself may not use.
    LimitDevices(Vec<DeviceRule>),
}

/// A network device that goes into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub name: String,
    /// Its name in the container; `%d` stands for a number that makes it one that no other has.
    pub inside: String,
    /// The network namespace that it goes to; none if it is the init's new one.
    pub namespace: Option<PathBuf>,
}

impl fmt::Display for NetDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "move the network device {} into ", self.name)?;
        match &self.namespace {
            Some(path) => write!(f, "the network namespace {}", path.display())?,
            None => f.write_str("the container's network namespace")?,
        }
        if self.inside == self.name { Ok(()) } else { write!(f, " as {}", self.inside) }
    }
}

/// A unit of systemd for the container.
#[derive(Debug, Clone, PartialEq)]
pub struct StartUnit {
    /// Its name, and where it is.
    pub unit: Unit,
    /// What annotations `org.systemd.property.NAME` ask for.
    pub properties: Vec<Property>,
}

impl fmt::Display for HostAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HoldMounts(path) => {
                write!(f, "bind the root file system {} on itself, on the host", path.display())
            }
            Self::MakeCgroup => f.write_str("make the cgroup"),
            Self::StartUnit(start) => {
                let unit = &start.unit;
                let whose = if unit.user { " of the user's systemd" } else { "" };
                write!(f, "start the unit {} in {}{whose}", unit.name, unit.slice)?;
                start.properties.iter().try_for_each(|one| write!(f, ", {}={}", one.name, one.value))
            }
            Self::OpenSource(source) => write!(f, "open {source}"),
            Self::MapSource(source) => write!(f, "map what the init opens: {source}"),
            Self::TimeOffsets(offsets) => write!(f, "time offsets{}", Clocks(offsets)),
            Self::JoinNamespace(kind, path) => {
                write!(f, "put children into the {kind} namespace {}", path.display())
            }
            Self::CloneInit(namespaces) => write!(f, "start the init with new namespaces: {namespaces}"),
            Self::WriteIdMaps { uids, gids } => {
                write!(f, "id maps: uids {}, gids {}", Maps(uids), Maps(gids))
            }
            Self::MoveNetDevice(device) => device.fmt(f),
            Self::JoinResctrl(request) => request.fmt(f),
            Self::LendOomScoreAdj(score) => write!(f, "oom_score_adj {score}, for the init"),
            Self::OomScoreAdj(score) => write!(f, "oom_score_adj {score}"),
            Self::RaiseLimit(resource, hard) => write!(f, "raise the hard limit of {resource:?} to {hard}"),
            Self::OpenHookOutputs(outputs) => write!(f, "open files for the output of hooks: {outputs}"),
            Self::AwaitMounts => f.write_str("wait until the init has made its mounts"),
            Self::Hook(hook) => hook.fmt(f),
            Self::LetInitGoOn => f.write_str("let the init go on"),
            Self::AwaitInit => f.write_str("wait until the init is ready"),
            Self::DelegateCgroup(uid) => write!(f, "give the cgroup to uid {uid}"),
            Self::LimitResources(resources) => {
                let limits = serde_json::to_string(resources).map_err(|_| fmt::Error)?;
                write!(f, "limit resources: {limits}")
            }
            Self::LimitDevices(rules) => {
                let rules: Vec<_> = rules.iter().map(ToString::to_string).collect();
                write!(f, "limit devices: {}", rules.join(", "))
            }
        }
    }
}

struct Maps<'a>(&'a [IdMapping]);

impl fmt::Display for Maps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, map) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{}→{}×{}", map.container, map.host, map.size)?;
        }
        Ok(())
    }
}
