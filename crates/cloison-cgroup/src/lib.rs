#![forbid(unsafe_code)]
//! Control groups for containers: v1, v2 and hybrid behind one trait.
//!
//! A container's cgroup is [placed](Layout::place) where its `cgroupsPath` says, [made](Cgroup::create),
//! [entered](Cgroup::entry) by the container's first process, and in the end [emptied](Cgroup::kill_all) and
//! [removed](Cgroup::remove). Between those, commands find it again by its [`Record`].
//!
//! ```no_run
//! use cloison_cgroup::{CgroupPath, Layout, Record, Signal};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let path = CgroupPath::new(Some("/machines/box"), "box")?;
//! let record: Record = Layout::detect_for(&path)?.place(&path)?;
//!
//! let cgroup = record.cgroup();
//! cgroup.create()?;
//! let entry = cgroup.entry()?; // clone3 into entry.directory(), entry.join() in the child
//!
//! cgroup.kill_all(Signal::KILL)?;
//! cgroup.remove()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Limits, devices, figures
//!
//! [`Resources`] has what runtime-spec calls `linux.resources`, in its units, and converts where v2 counts otherwise (shares to weights, memory
//! and swap to swap alone). What the machine cannot do is an error that names the field, the file and the controller; a caller without
//! rights may be [lenient](Terms) and hears of each limit that will not hold. An update may be done as a whole or not at all.
//!
//! ```no_run
//! # use cloison_cgroup::{Cgroup, Error};
//! use cloison_cgroup::{DeviceAccess, DeviceKind, DeviceRule, Limit, Resources, Subjects, Terms};
//!
//! # fn limit(cgroup: &dyn Cgroup) -> Result<(), Error> {
//! let mut resources = Resources::default();
//! resources.memory.limit = Some(Limit::At(64 << 20));
//! resources.memory.swap = Some(Limit::At(64 << 20)); // of both: no swap
//! resources.cpu.quota = Some(Limit::At(20_000)); // of the 100 000 µs of a period
//! resources.pids = Some(Limit::At(100));
//! cgroup.apply(&resources, Terms { lenient: false, undo: true })?;
//!
//! // /dev/null and nothing else; may be called again while processes run, and is exchanged in one step on v2.
//! let null = DeviceRule {
//!     allow: true,
//!     kind: DeviceKind::Char,
//!     major: Some(1),
//!     minor: Some(3),
//!     access: DeviceAccess::READ | DeviceAccess::WRITE,
//! };
//! cgroup.apply_devices(&[null])?;
//!
//! cgroup.freeze()?; // returns when everybody stands still
//! let stats = cgroup.stats(Subjects::all())?;
//! println!("processor time in ns: {:?}, processes: {:?}", stats.cpu.usage, stats.pids);
//! cgroup.thaw()
//! # }
//! ```
//!
//! # With systemd
//!
//! [`Systemd::place`] says where a unit's cgroup will be, [`Systemd::start`] has systemd make it around a process, over a D-Bus client of its own
//! on which nothing is waited for without a deadline. From then on it is a [`Cgroup`] like any other: what systemd has properties for is told
//! to it first, so that limits hold when it writes the files anew.
//!
//! # What it needs
//!
//! Linux 5.2 for the freezer of v2, 5.6 for device rules that are exchanged, 5.7 for processes that are born in a cgroup, 5.14 for `cgroup.kill` (before,
//! processes are frozen, signalled and thawed). No threads, no shared libraries, no `unsafe`: system calls are made by `rustix` and
//! `cloison-linux`.
//!
//! # Map
//!
//! | module | what is there |
//! |---|---|
//! | `layout` | which hierarchies are mounted where, and where a path lies in them |
//! | `path` | `cgroupsPath`, cleaned |
//! | `record` | a cgroup as data |
//! | `unified`, `legacy`, `disabled` | the drivers |
//! | `systemd` | the driver that has systemd make them: units, their properties, and the way to it over D-Bus |
//! | `entry` | how a process gets in |
//! | `joining` | which cgroup a process joins that comes later |
//! | `devices` | device rules: their shortest form, the v1 files, the v2 program |
//! | `resources`, `limits` | limits as data; writing them, and taking back what was written |
//! | `claim`, `delegate` | keeping a new cgroup from others; giving it to a user |
//! | `make`, `tree`, `patience` | making directories; walking and removing them; waiting for the last process |
//! | `processes`, `signal`, `freezer` | who is inside, signalling all of them, and holding them still |
//! | [`stats`], `oom` | what the kernel counts; hearing of processes that are killed for want of memory |
//! | `procfs`, `files` | parsing `/proc`; reading and writing small files |

mod claim;
mod delegate;
mod devices;
mod disabled;
mod entry;
mod error;
mod files;
mod freezer;
mod joining;
mod layout;
mod legacy;
mod limits;
mod make;
mod oom;
mod path;
mod patience;
mod processes;
mod procfs;
mod record;
mod resources;
mod rights;
mod signal;
pub mod stats;
mod systemd;
mod tree;
mod unified;

pub use claim::Claim;
pub use devices::{DeviceAccess, DeviceKind, DeviceRule};
pub use disabled::Disabled;
pub use entry::Entry;
pub use error::{Error, Result};
pub use layout::{Hierarchy, Layout, Mode};
pub use legacy::{Directory, Legacy};
pub use limits::{LimitError, Terms};
pub use oom::OomWatch;
pub use path::CgroupPath;
pub use record::Record;
pub use resources::{
    BlockDevice, BlockIo, Cpu, HugepageLimit, InterfacePriority, Limit, Memory, Network, Rdma, Resources,
    SwapError, Throttle, WeightDevice,
};
pub use rustix::process::Signal;
pub use stats::{Stats, Subjects};
pub use systemd::{Birth, BusError, Directories, Property, Systemd, Unit, Value, Why};
pub use unified::Unified;

/// A container's cgroup, on whatever the machine has.
pub trait Cgroup: std::fmt::Debug {
    /// Makes the cgroup and what is missing above it, ready to be entered; on v2 with every controller that can be
    /// had. When it fails, what it made is gone again.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] and [`Error::Frozen`] for a cgroup that was there before and cannot be used;
    /// [`Error::Make`], [`Error::Read`] and [`Error::Write`] when the kernel refuses.
    fn create(&self) -> Result<()>;

    /// Keeps the cgroup, which has just been made and holds nobody, from others that make a container in it at the same time;
    /// to be dropped once the container's first process is inside.
    ///
    /// # Errors
    /// [`Error::InUse`] when another one was faster, [`Error::NotEmpty`] and [`Error::Frozen`] when its container is there
    /// already, [`Error::Open`], [`Error::Read`].
    fn claim(&self) -> Result<Claim>;

    /// Gives the cgroup to a user, as far as the kernel has it for that: who can do as `uid` may then make cgroups below it and
    /// move its processes into them, but cannot change its limits. On v1, where that is not safe, nothing is given.
    ///
    /// # Errors
    /// [`Error::Delegate`].
    fn delegate(&self, uid: u32) -> Result<()>;

    /// Sets the limits that `resources` has, and leaves the others as they are. Gives the limits that do not hold, each as
    /// the error that names it, which only lenient [`Terms`] allow.
    ///
    /// To change limits of memory or swap, both have to be in `resources` ([`Resources::completed`]).
    ///
    /// # Errors
    /// [`Error::Limit`] with the reason, [`Error::Gone`], [`Error::Read`]. Where `terms` want it undone, one of these is in
    /// [`Error::Undone`] or [`Error::NotUndone`].
    fn apply(&self, resources: &Resources, terms: Terms) -> Result<Vec<Error>>;

    /// Makes the cgroup allow the devices that `rules` allow, and no others; a list without rules denies all of them. May
    /// be called again for a running container: what both lists allow stays allowed meanwhile, but for a v1 cgroup
    /// that was allowed everything in general, which has to deny everything for a moment.
    ///
    /// On v1 the kernel's `devices` hierarchy does it; on v2 a program that ends with the cgroup (Linux 5.6). What allows
    /// everything needs no rights to succeed.
    ///
    /// # Errors
    /// [`Error::DeviceRulesTooFine`] for what v1 cannot express, [`Error::TooManyDeviceRules`] for a list of thousands,
    /// [`Error::NoDeviceController`] for a cgroup that can restrict no devices, [`Error::LoadProgram`],
    /// [`Error::Program`], [`Error::Open`], [`Error::Read`] and [`Error::Write`] when the kernel refuses, as it does in
    /// a user namespace ([`Error::is_permission`]).
    fn apply_devices(&self, rules: &[DeviceRule]) -> Result<()>;

    /// Opens what a new process needs to get in.
    ///
    /// # Errors
    /// [`Error::Open`] when the cgroup is gone or may not be entered.
    fn entry(&self) -> Result<Entry>;

    /// Whether the cgroup is there.
    fn exists(&self) -> bool;

    /// Whether the cgroup itself (not one above it) is frozen or being frozen; false when it is gone.
    ///
    /// # Errors
    /// [`Error::Read`].
    fn is_frozen(&self) -> Result<bool>;

    /// Holds every process inside still, sub-cgroups included, and those that come later; returns when all are, or after ten
    /// seconds with an error. After an error they all go on. It lasts until [`thaw`](Cgroup::thaw), whatever becomes of the
    /// caller.
    ///
    /// # Errors
    /// [`Error::NoFreezer`] for a cgroup that cannot be frozen, [`Error::NotFrozen`] when a process did not stop in time,
    /// [`Error::Read`] and [`Error::Write`] when the kernel refuses or the cgroup is gone.
    fn freeze(&self) -> Result<()>;

    /// Lets every process inside go on. One that was not frozen is no error.
    ///
    /// # Errors
    /// [`Error::NoFreezer`] and [`Error::Write`].
    fn thaw(&self) -> Result<()>;

    /// The processes inside, sub-cgroups included, by ascending pid; none when the cgroup is gone.
    ///
    /// # Errors
    /// [`Error::Open`] and [`Error::Read`].
    fn processes(&self) -> Result<Vec<i32>>;

    /// Sends `signal` to every process inside, sub-cgroups included; those forked meanwhile get it too. SIGKILL
    /// thaws a frozen cgroup, and does not wait for the processes' end ([`remove`](Cgroup::remove) does).
    ///
    /// # Errors
    /// [`Error::Signal`] when one process refuses (the others have been signalled), [`Error::Forking`] when new ones
    /// appear without end.
    fn kill_all(&self, signal: Signal) -> Result<()>;

    /// What the kernel counts of what was asked for. A cgroup that is gone has no statistics.
    ///
    /// # Errors
    /// [`Error::Open`] and [`Error::Read`] for files that are there and cannot be read.
    fn stats(&self, of: Subjects) -> Result<Stats>;

    /// Watches for processes that are killed for want of memory; none where the kernel does not count memory here.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Read`] and [`Error::Write`].
    fn watch_oom(&self) -> Result<Option<OomWatch>>;

    /// Removes the cgroup with its sub-cgroups, but none above it; waits up to two seconds for killed processes to
    /// leave. That it is gone already is success.
    ///
    /// # Errors
    /// [`Error::Busy`] when processes stay, [`Error::Remove`].
    fn remove(&self) -> Result<()>;
}
