//! Whether a process may join a container, and how; then its birth.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloison_cgroup::Record;
use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::process::{CloneRequest, Fork};
use cloison_linux::signals::SignalFd;
use cloison_linux::{Errno, Kernel, Linux, Mode, OFlags, launch, process};

use super::ExecOptions;
use super::newcomer::Newcomer;
use crate::id::ContainerId;
use crate::init::channel::{Failure, FromInit};
use crate::init::create::Inheritance;
use crate::init::exec::{Container, join};
use crate::lifecycle::error::Doing as _;
use crate::lifecycle::first_process::FirstProcess;
use crate::lifecycle::score::Score;
use crate::lifecycle::{Error, Runtime, preserved, resctrl, rootless, store_with};
use crate::plan::exec::{Asked, ExecAction, ExecFacts, ExecPlan};
use crate::plan::labels::Modules;
use crate::plan::process::limits;
use crate::spec::{NamespaceType, Process, Spec};
use crate::state::{State, Status, View};

/// A process that may join: read, checked, planned. Nothing has been touched.
pub(super) struct Admission {
    pub(super) plan: ExecPlan,
    pub(super) view: View,
    pub(super) state: State,
    /// The cgroup to join.
    pub(super) cgroup: Record,
    /// It was not chosen, so that another will do if it cannot be had.
    pub(super) any_cgroup: bool,
    pub(super) first: FirstProcess,
    /// The root of the container's first process, where the container has no mount namespace.
    pub(super) root: Option<OwnedFd>,
    /// The launch leaves the runtime's executable.
    pub(super) seals: bool,
}

impl Admission {
    pub(super) fn new(
        runtime: &Runtime,
        id: &ContainerId,
        options: &ExecOptions,
        seals: bool,
    ) -> Result<Self, Error> {
        let view = store_with(runtime, id)?.open_unlocked(id)?;
        let state = view.load()?;
        let init = state.init.as_ref().ok_or(Error::CannotExec(Status::Creating))?;
        let first = FirstProcess::open(init)?.ok_or(Error::CannotExec(Status::Stopped))?;
        if !options.ignore_paused && state.cgroup.cgroup().is_frozen()? {
            return Err(Error::Paused);
        }
        let cgroup = state.cgroup.below(&options.cgroup)?;
        let document = options.process.as_deref().map(read_document).transpose()?;
        let spec = rootless::saved(&view, &state)?;
        let root =
            if spec.linux.namespace(NamespaceType::Mount).is_some() { None } else { Some(root_of(&first)?) };
        let asked = Asked { document, flags: options.flags.clone() };
        let facts = facts(&spec, &state)?;
        let plan = ExecPlan::new(spec, asked, id, options.preserve_fds, &facts)?;
        preserved::check(plan.program.preserve_fds)?;
        if log::log_enabled!(log::Level::Debug) {
            // How far it has come is told in the words of runc, which people look for in a log.
            log::debug!("nsexec container setup");
            plan.to_string().lines().for_each(|line| log::debug!("planned: {line}"));
        }
        let any_cgroup = options.cgroup.is_empty();
        Ok(Self { plan, view, state, cgroup, any_cgroup, first, root, seals })
    }

    pub(super) fn is_alive(&self) -> bool {
        // An error of poll is no news of the process.
        !self.first.wait(Duration::ZERO).unwrap_or(false)
    }

    /// The host's list of the plan, up to the waiting. The process begins with `streams`, which puts its standard streams in place. The signals
    /// end the wait for it.
    pub(super) fn admit<'k>(
        &'k self,
        kernel: &'k dyn Kernel,
        streams: &dyn Fn() -> Result<(), Errno>,
        to_end: &SignalFd,
    ) -> Result<Newcomer<'k>, Error> {
        let (mut newcomer, mut score) = (None, None);
        for step in &self.plan.host {
            match &step.action {
                ExecAction::OomScoreAdj(adjustment) => score = Some(Score::lend(kernel, *adjustment)?),
                ExecAction::Hide => {
                    kernel.set_dumpable(false).doing("hiding the runtime from other processes")?;
                }
                ExecAction::Affinity(cpus) => {
                    kernel
                        .sched_setaffinity(cpus)
                        .doing(format!("error setting initial CPU affinity to {cpus:?}"))?;
                    log::debug!("nsexec: affinity: {}", mask(cpus));
                }
                ExecAction::EnterForChildren(kinds) => self.enter_for_children(kernel, *kinds)?,
                ExecAction::Clone { by_go_between } => {
                    newcomer = Some(self.clone_process(kernel, *by_go_between, streams, to_end)?);
                    if let Some(score) = score.take() {
                        score.take_back()?;
                    }
                }
                ExecAction::JoinResctrl(_) => {
                    if let Some(pid) = newcomer.as_ref().and_then(Newcomer::pid) {
                        resctrl::join(&self.state, pid.as_raw_nonzero().get())?;
                    }
                }
                ExecAction::Await => {}
            }
        }
        newcomer.ok_or(Error::Protocol)
    }

    /// Not given back: there are no other children, and the runtime itself stays where it is.
    fn enter_for_children(&self, kernel: &dyn Kernel, kinds: NamespaceFlags) -> Result<(), Error> {
        kernel.setns(self.first.as_fd(), kinds).doing(format!("joining the container's {kinds} namespace"))
    }

    /// Into the container's cgroup; by systemd, if a user has the rights to it only within what is delegated; and if that has gone, or
    /// takes no processes any more since others were made below it, into the one that the container's first process is in now.
    fn clone_process<'k>(
        &'k self,
        kernel: &'k dyn Kernel,
        by_go_between: bool,
        streams: &dyn Fn() -> Result<(), Errno>,
        to_end: &SignalFd,
    ) -> Result<Newcomer<'k>, Error> {
        let cloned = self.clone_into(kernel, &self.cgroup, by_go_between, streams, to_end);
        if let Err(Error::Call { errno, .. } | Error::CgroupOutOfReach { errno, .. }) = &cloned
            && let Some(outside) = self.outside(*errno)
        {
            log::debug!("systemd is asked to put the process into the container's cgroup: {errno}");
            let mut newcomer =
                self.clone_into(kernel, &Record::disabled(), by_go_between, streams, to_end)?;
            newcomer.outside = Some(outside);
            return Ok(newcomer);
        }
        match cloned {
            Err(Error::JoinCgroup(error)) if self.any_cgroup && is_no_place(&error) => {
                let now = Record::of_process(self.first.pid()).map_err(Error::JoinCgroup)?;
                let now = now.in_hierarchies_of(&self.cgroup);
                log::debug!("joining the cgroup of the container's first process: {error}");
                self.clone_into(kernel, &now, by_go_between, streams, to_end)
            }
            result => result,
        }
    }

    fn clone_into<'k>(
        &'k self,
        kernel: &'k dyn Kernel,
        cgroup: &Record,
        by_go_between: bool,
        streams: &dyn Fn() -> Result<(), Errno>,
        to_end: &SignalFd,
    ) -> Result<Newcomer<'k>, Error> {
        let entry = cgroup.cgroup().entry().map_err(Error::JoinCgroup)?;
        let (ours, theirs) = kernel.socketpair().doing("making a socket for the new process")?;
        let pad = self.seals.then(launch::prepare_pad).transpose().doing("preparing the launch")?;
        let tasks: Vec<BorrowedFd<'_>> = entry.tasks().collect();
        let inherited = Inheritance {
            channel: theirs.as_fd(),
            cgroup: &tasks,
            sources: &[],
            start: None,
            hook_outputs: [None, None],
            held_root: None,
            streams: None,
            pad: pad.as_ref().map(AsFd::as_fd),
            container: Some(Container {
                first: self.first.as_fd(),
                root: self.root.as_ref().map(AsFd::as_fd),
            }),
        };
        let request = CloneRequest {
            namespaces: NamespaceFlags::empty(),
            cgroup: entry.directory(),
            as_sibling: false,
        };
        match kernel.clone3(&request).map_err(|errno| not_started(cgroup, errno))? {
            Fork::Child => {
                // The runtime's end of the socket must not live on in the child, or it would never see that the runtime has gone.
                drop(ours);
                let failure = match streams() {
                    Ok(()) => join(kernel, &self.plan, &inherited),
                    Err(errno) => Failure {
                        errno: Some(errno.raw_os_error()),
                        causes: vec![format!("putting the standard streams in place: {errno}")],
                    },
                };
                if let Err(errno) = FromInit::send_failure(kernel, inherited.channel, &failure) {
                    log::debug!("nobody to tell that {failure}: {errno}");
                }
                std::process::exit(1)
            }
            Fork::Parent { pid, pidfd } => {
                drop(theirs);
                let mut newcomer = Newcomer::new(kernel, self, (pid, pidfd), ours);
                if by_go_between {
                    newcomer.adopt(to_end)?;
                }
                Ok(newcomer)
            }
        }
    }
}

/// What `CLONE_INTO_CGROUP` gives for a cgroup that takes no process: one that has gone, has others below it that share out its
/// controllers, or is of threads (clone(2), cgroups(7)).
const NO_PLACE: [Errno; 4] = [Errno::NOENT, Errno::NODEV, Errno::BUSY, Errno::OPNOTSUPP];

fn is_no_place(error: &cloison_cgroup::Error) -> bool {
    error.errno().is_some_and(|errno| NO_PLACE.contains(&errno))
}

fn not_started(cgroup: &Record, errno: Errno) -> Error {
    match cgroup.paths().remove("") {
        Some(path) if NO_PLACE.contains(&errno) => {
            Error::JoinCgroup(cloison_cgroup::Error::Join { path, source: errno })
        }
        _ => Error::not_born("starting the process", cgroup, errno),
    }
}

/// CPUs as one number, the lowest bit of which is the first.
fn mask(cpus: &[u32]) -> String {
    let mut digits = vec![0_u8; cpus.iter().max().map_or(1, |highest| *highest as usize / 4 + 1)];
    for cpu in cpus {
        digits[*cpu as usize / 4] |= 1 << (cpu % 4);
    }
    let digits = digits.iter().rev().map(|digit| format!("{digit:x}"));
    format!("0x{}", digits.collect::<String>())
}

fn read_document(path: &Path) -> Result<(PathBuf, Process), Error> {
    Ok((path.to_owned(), Process::load(path)?))
}

pub(super) fn facts(spec: &Spec, state: &State) -> Result<ExecFacts, Error> {
    let joins_user = spec.linux.namespace(NamespaceType::User).is_some();
    let sys_admin = cloison_linux::capability::Capability::SYS_ADMIN;
    let privileged = !joins_user
        || process::identity().doing("reading the runtime's capabilities")?.capabilities.contains(sys_admin);
    let resources = if joins_user { limits(spec) } else { Vec::new() };
    Ok(ExecFacts {
        rootfs: PathBuf::from(&state.rootfs),
        modules: Modules::detect(),
        privileged,
        groups_denied: groups_denied(state),
        joins_cgroup: matches!(state.cgroup.directories(), Record::Legacy(_)),
        no_new_keyring: state.no_new_keyring,
        restored_clocks: state.restored_clocks,
        resctrl: state.resctrl.as_ref().map(|group| group.class.clone()),
        activation: preserved::socket_activation(),
        limits: resources
            .into_iter()
            .map(|(resource, _)| (resource, rustix::process::getrlimit(resource)))
            .collect(),
    })
}

/// Whether the first process may not change its groups, as an ordinary user's container may not.
fn groups_denied(state: &State) -> bool {
    let Some(init) = state.init else { return false };
    std::fs::read(format!("/proc/{}/setgroups", init.pid)).is_ok_and(|text| text.starts_with(b"deny"))
}

/// The root directory of a process, for as long as it is that process's.
pub(super) fn root_of(first: &FirstProcess) -> Result<OwnedFd, Error> {
    let path = format!("/proc/{}/root", first.pid());
    let root = Linux.open(Path::new(&path), OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
    let root = root.doing(format!("opening {path}"))?;
    // Only now, for before it was open the number could still change hands.
    if first.wait(Duration::ZERO)? { Err(Error::CannotExec(Status::Stopped)) } else { Ok(root) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_print_as_a_mask() {
        for (cpus, expected) in [
            (&[0][..], "0x1"),
            (&[1], "0x2"),
            (&[0, 1], "0x3"),
            (&[3, 4], "0x18"),
            (&[64], "0x10000000000000000"),
        ] {
            assert_eq!(mask(cpus), expected);
        }
    }
}
