//! The host side: one file a verb.
//!
//! Every verb takes a [`Runtime`] (what the global options say) and what the command line adds. A verb that fails leaves the
//! machine as it found it.

mod attach;
mod birth;
mod checkpoint;
mod conception;
mod console;
mod create;
mod delete;
mod device_rules;
mod error;
mod events;
mod exec;
mod first_process;
mod foreground;
mod hooks;
mod host_mounts;
mod id_maps;
mod kill;
mod limits;
mod list;
mod listener;
mod logs;
mod monitored;
mod net_devices;
mod pause;
mod pid_file;
mod place;
mod preserved;
mod ps;
mod receive;
mod record;
mod resctrl;
mod resize;
mod restore;
mod rootless;
mod run;
mod score;
mod sources;
mod start;
mod state;
mod stats;
#[cfg(test)]
mod testing;
mod update;
mod wait;

use std::path::PathBuf;

pub use attach::{AttachOptions, attach};
pub use checkpoint::checkpoint;
pub use cloison_cgroup::{Stats, Subjects};
pub use console::Unreachable;
pub use create::{create, plan};
pub use delete::delete;
pub use error::Error;
pub use events::{Event, EventLine, Usage, events, usage};
pub use exec::{ExecOptions, exec};
pub use kill::kill;
pub use list::{Listing, list};
pub use logs::{LogsOptions, logs};
pub use monitored::MonitorOptions;
pub use pause::{pause, resume};
pub use ps::processes;
pub use receive::{Receiving, receive};
pub use record::{Recording, record, record_running};
pub use resize::resize;
pub use restore::restore;
pub use rootless::advice as advice_on_user_namespaces;
pub use run::run;
pub use start::start;
pub use state::{StateReport, state};
pub use stats::{Sample, Samples, has_ended, percent, sample, sample_all};
pub use update::update;
pub use wait::wait;

use crate::id::ContainerId;
use crate::monitor::Deadline;
use crate::state::Store;

/// Where containers are kept and how their cgroups are made: what the global options say.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// The directory that holds one directory for each container (`--root`).
    pub root: PathBuf,
    /// Who makes cgroups (`--cgroup-manager`, `--systemd-cgroup`).
    pub cgroup: CgroupDriver,
}

/// Who makes a container's cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    /// We do, through the cgroup file system. A caller who is not root of the machine goes without where that is not permitted, unless the
    /// configuration names a place, or limits.
    Cgroupfs,
    /// The same for whoever calls, and limits may go without holding (`--rootless=true`).
    CgroupfsIfPermitted,
    /// We do, and nobody goes without (`--rootless=false`).
    CgroupfsAlways,
    /// The machine's systemd does, by D-Bus.
    Systemd,
    /// The user's systemd does, by D-Bus.
    UserSystemd,
    /// Nobody: the container stays in the caller's cgroup.
    Disabled,
}

/// What `create` is asked for.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// The container's name.
    pub id: ContainerId,
    /// The directory with `config.json` and, mostly, the root file system.
    pub bundle: PathBuf,
    /// A configuration elsewhere than `<bundle>/config.json`.
    pub config: Option<PathBuf>,
    /// Where to write the init's process id: digits only, no newline.
    pub pid_file: Option<PathBuf>,
    /// The `AF_UNIX` socket that gets the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// The `AF_UNIX` socket that gets a pidfd of the init.
    pub pidfd_socket: Option<PathBuf>,
    /// Move the root instead of `pivot_root` (for a root on an initramfs).
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on the process inherits, beside those of socket activation (`sd_listen_fds(3)`).
    pub preserve_fds: u32,
    /// The standard streams are not the caller's: whoever keeps the container has their other ends.
    pub takes_streams: bool,
}

/// What `run` is asked for.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The same as for `create`.
    pub create: CreateOptions,
    /// Return as soon as the process runs.
    pub detach: bool,
    /// Keep the state after the process has ended.
    pub keep: bool,
    /// Do not adopt the container's orphans.
    pub no_subreaper: bool,
    /// Leave a process behind that keeps the streams of a detached container.
    pub monitor: Option<MonitorOptions>,
    /// End the container after a time.
    pub deadline: Option<Deadline>,
}

/// The store that a container is looked for in; where there is no root, there is no container.
fn store_with(runtime: &Runtime, id: &ContainerId) -> Result<Store, crate::state::Error> {
    Store::at(&runtime.root).map_err(|error| match error {
        crate::state::Error::NoRoot { path } => {
            crate::state::Error::NotExist { path: path.join(id.as_str()) }
        }
        error => error,
    })
}

/// The owner's name in the bytes of an `/etc/passwd`: for the fuzz target.
#[cfg(fuzzing)]
pub fn name_in(passwd: &[u8], uid: u32) -> Option<String> {
    list::name_in(passwd, uid)
}
