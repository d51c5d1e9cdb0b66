//! Checkpoint and restore by CRIU, which does the work: `criu(8)` is started as a child (`criu swrk`) and asked over one socket.
//!
//! | module | what is in it |
//! |---|---|
//! | `rpc` | the messages of CRIU's protocol |
//! | `criu` | a running CRIU, what it is asked and what it says meanwhile |
//! | `external` | what of a container is not in its checkpoint: bind mounts, masks, devices, joined namespaces, pipes |
//! | `stage` | where CRIU restores: a mount namespace of its own, with the root file system as it wants it |
//! | [`error`] | what can go wrong, and the lines of CRIU's log that say why |

use std::path::PathBuf;

use crate::plan::{Action, Plan};

pub(crate) mod criu;
pub mod error;
pub(crate) mod external;
pub(crate) mod rpc;
pub(crate) mod stage;

pub use error::Error;
pub use rpc::{CgroupsMode, NetworkLock};

/// What a checkpoint and a restore have in common.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The directory of the images.
    pub image_path: PathBuf,
    /// The directory for CRIU's logs and temporary files; the images' own if there is none.
    pub work_path: Option<PathBuf>,
    /// Established TCP connections are kept.
    pub tcp_established: bool,
    /// Unix sockets may have a peer outside.
    pub ext_unix_sk: bool,
    /// The container's session may have its leader outside: a terminal in the foreground.
    pub shell_job: bool,
    /// File locks are kept.
    pub file_locks: bool,
    /// What happens to the cgroups; CRIU's own opinion if nothing is said.
    pub manage_cgroups: Option<CgroupsMode>,
    /// The network namespace is made, and left empty.
    pub empty_network: bool,
    /// Pages that a later image has are dropped from its parents.
    pub auto_dedup: bool,
    /// Pages are fetched when they are touched.
    pub lazy_pages: bool,
    /// How the network is held still meanwhile.
    pub network_lock: Option<NetworkLock>,
}

/// What a checkpoint has beside.
#[derive(Debug, Clone, Default)]
pub struct Dump {
    /// Relative to the images: where those of the dump before are.
    pub parent_path: Option<PathBuf>,
    /// Only the memory, while the container goes on.
    pub pre_dump: bool,
    /// The container goes on afterwards.
    pub leave_running: bool,
    /// TCP connections that are being made are skipped.
    pub tcp_skip_in_flight: bool,
    /// Files without a name get one.
    pub link_remap: bool,
    /// Where the pages go: address and port of a page server.
    pub page_server: Option<(String, u16)>,
    /// Gets a zero byte when the server of lazy pages is ready.
    pub status_fd: Option<i32>,
}

/// What a restore has beside.
#[derive(Debug, Clone, Default)]
pub struct Wake {
    /// TCP connections are closed.
    pub tcp_close: bool,
    /// An `AppArmor` profile or `SELinux` label in the place of the one in the images: `apparmor:NAME`, `selinux:LABEL`.
    pub lsm_profile: Option<String>,
    /// An `SELinux` label for the mounts in the place of the one in the images.
    pub lsm_mount_context: Option<String>,
}

/// Whether nothing of it would be left out by CRIU without a word.
///
/// # Errors
/// [`Error::Landlock`].
pub(crate) fn can_be_kept(plan: &Plan) -> Result<(), Error> {
    let is_restricted = plan.container.iter().any(|step| matches!(step.action, Action::Landlock(_)));
    if is_restricted { Err(Error::Landlock) } else { Ok(()) }
}
