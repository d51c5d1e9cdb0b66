//! The story of a process that joins a container.
//!
//! It begins as a fork of the runtime, born in the container's PID namespace and cgroup, and not dumpable, so that nobody in the container
//! may look into it while it holds what belongs to the host (CVE-2016-9962). All other namespaces it enters by one call; then it does
//! what a first process does before its program, and the launch leaves nothing of the runtime in it (CVE-2019-5736).

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::process::{CloneRequest, Fork};
use cloison_linux::{Errno, Kernel, Mode, OFlags};

use super::channel::{Failure, FromInit};
use super::create::{self, Inheritance};
use super::error::{Doing, Error};
use super::rootfs::{self, Root};
use super::security;
use crate::plan::exec::{ExecPlan, Joining};
use crate::plan::process::c_string;

/// The container that a process joins.
#[derive(Debug, Clone, Copy)]
pub struct Container<'a> {
    /// Its first process.
    pub first: BorrowedFd<'a>,
    /// Its root, where the container has no mount namespace whose root that would be.
    pub root: Option<BorrowedFd<'a>>,
}

/// What is known on the way in, and used at its end.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    /// What the root will need of the host's procfs.
    descriptors: Option<OwnedFd>,
    /// The host's procfs, for a process that will have other descriptors.
    procfs: Option<OwnedFd>,
    /// What only the process itself can put into its environment.
    pub(super) env: Vec<CString>,
}

/// Runs the new process's side of a plan. Comes back only if it fails.
pub fn join(kernel: &dyn Kernel, plan: &ExecPlan, inherited: &Inheritance<'_>) -> Failure {
    // How far it has come is told in the words of runc, which people look for in a log.
    log::debug!("child process in init()");
    create::carry_out(kernel, &plan.newcomer, &plan.program, inherited)
}

/// One step of the way in.
pub(super) fn carry_out<'k>(
    kernel: &'k dyn Kernel,
    step: &Joining,
    inherited: &Inheritance<'_>,
    arrival: &mut Arrival,
    root: &mut Option<Root<'k>>,
) -> Result<(), Error> {
    let container =
        inherited.container.ok_or_else(|| Error::Refused("there is no container to join".to_owned()))?;
    match step {
        Joining::RaiseLimit(resource, limit) => kernel
            .prlimit(None, *resource, *limit)
            .doing(|| format!("error setting rlimits: raising the hard limit of {resource:?}")),
        Joining::Namespaces(kinds) => {
            // While `/proc` is the host's.
            arrival.descriptors = rootfs::descriptors(kernel)?;
            // Only who has entered a PID or a user namespace hands on.
            if kinds.intersects(NamespaceFlags::PID | NamespaceFlags::USER) && arrival.descriptors.is_some() {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                let procfs = kernel.open(Path::new("/proc"), flags, Mode::empty());
                arrival.procfs = Some(procfs.doing(|| "opening /proc")?);
            }
            enter(kernel, container, *kinds)?;
            if kinds.contains(NamespaceFlags::USER) { security::become_root(kernel) } else { Ok(()) }
        }
        Joining::HandOn => {
            hand_on(kernel, inherited.channel)?;
            if let Some(procfs) = arrival.procfs.take() {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                let own = kernel.open_in_root(procfs.as_fd(), Path::new("self/fd"), flags, Mode::empty());
                arrival.descriptors = Some(own.doing(|| "opening /proc/self/fd")?);
            }
            Ok(())
        }
        Joining::SessionKeyring(name) => security::join_session_keyring(kernel, name),
        Joining::Affinity(cpus) => {
            kernel.sched_setaffinity(cpus).doing(|| format!("error setting final CPU affinity to {cpus:?}"))
        }
        Joining::ListenPid => {
            let pid = kernel.getpid().as_raw_nonzero();
            arrival.env.push(c_string(&format!("LISTEN_PID={pid}")));
            Ok(())
        }
        Joining::Root => {
            *root = Some(enter_root(kernel, container, arrival.descriptors.take())?);
            Ok(())
        }
    }
}

/// Enters namespaces of the container's first process, all or none.
fn enter(kernel: &dyn Kernel, container: Container<'_>, kinds: NamespaceFlags) -> Result<(), Error> {
    match kernel.setns(container.first, kinds) {
        Err(Errno::SRCH) => Err(Error::Refused("the container has ended".to_owned())),
        entered => entered.doing(|| format!("joining the container's namespaces ({kinds})")),
    }
}

/// Lets a new process go on, as a child of the runtime's: who has entered a PID namespace is not in it itself (setns(2)).
fn hand_on(kernel: &dyn Kernel, channel: BorrowedFd<'_>) -> Result<(), Error> {
    let doing = || "starting a process in the container's PID namespace";
    let request = CloneRequest { namespaces: NamespaceFlags::empty(), cgroup: None, as_sibling: true };
    match kernel.clone3(&request).doing(doing)? {
        Fork::Child => FromInit::send_self(kernel, channel).doing(doing),
        Fork::Parent { .. } => std::process::exit(0),
    }
}

/// The root directory: that of the mount namespace that was entered, or else the one which the container's first process has.
fn enter_root<'k>(
    kernel: &'k dyn Kernel,
    container: Container<'_>,
    descriptors: Option<OwnedFd>,
) -> Result<Root<'k>, Error> {
    let doing = || "entering the container's root";
    if let Some(root) = container.root {
        kernel.fchdir(root).doing(doing)?;
        kernel.chroot_here().doing(doing)?;
    }
    let root = kernel.open(Path::new("/"), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).doing(doing)?;
    Ok(Root::with_descriptors(kernel, root, descriptors))
}
