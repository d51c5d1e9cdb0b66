//! A birth in a unit of systemd.
//!
//! systemd makes a scope around a process that is there. So a fork of the runtime, the usher, is put into it; once the unit is
//! complete, the usher starts the init, which thereby is born in its cgroups, as everywhere else, and goes. Were the init itself put into
//! the unit, all that it does would have to wait for systemd, and a user could not be born outside of what systemd has handed to
//! that user.
//!
//! Where CRIU is to restore a container, the process in the unit is but a placeholder: CRIU enters the cgroup by itself, and the
//! placeholder goes.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use cloison_cgroup::{Record, Systemd};
use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::process::{CloneRequest, Fork};
use cloison_linux::{Errno, Kernel};

use super::{Begin, Birth, Error, FirstBorn, HostAction};
use crate::init::channel::{Failure, FromInit, ToInit};
use crate::lifecycle::error::Doing as _;
use crate::lifecycle::first_process::is_readable_within;
use crate::plan::StartUnit;

/// How long the unit's first process may take to answer: it does hardly anything, but for joining cgroups, and not even that in a frozen one.
const PATIENCE: Duration = Duration::from_secs(10);

impl Birth<'_> {
    /// Starts the usher, with all that the init will inherit.
    pub(super) fn start_usher(
        &mut self,
        namespaces: NamespaceFlags,
        begin: Begin,
        seals: bool,
        sources: &[(usize, OwnedFd)],
    ) -> Result<(), Error> {
        let Record::Systemd(unit) = self.cgroup.clone() else { return Err(Error::Protocol) };
        // The usher would hang in a cgroup that is there and frozen.
        self.make_cgroup()?;
        self.clone_init(namespaces, begin, seals, sources, Some(unit))
    }

    /// Has systemd make the unit around the usher.
    pub(super) fn start_unit(&mut self, start: &StartUnit) -> Result<(), Error> {
        let Record::Systemd(mut unit) = self.cgroup.clone() else { return Err(Error::Protocol) };
        let birth = cloison_cgroup::Birth {
            description: format!("cloison container {}", self.state.id),
            pid: self.first_born()?.pid.as_raw_nonzero().get(),
            resources: Some(&self.state.resources),
            properties: start.properties.clone(),
        };
        if let Err(error) = unit.start(birth) {
            // What is somebody else's must not be touched by undoing; and systemd has been asked to stop what is ours.
            self.state.cgroup =
                if error.is_unit_exists() { Record::disabled() } else { self.cgroup.directories() };
            return Err(error.into());
        }
        let cgroup = Record::Systemd(unit);
        if cgroup != self.cgroup {
            self.state.cgroup = cgroup.clone();
            self.container()?.save(&self.state)?;
            self.cgroup = cgroup;
        }
        Ok(())
    }

    /// Has the usher start the init.
    pub(super) fn have_it_born(&mut self) -> Result<(), Error> {
        self.tell_it_is_complete()?;
        self.await_answer()?;
        self.adopt()
    }

    fn tell_it_is_complete(&self) -> Result<(), Error> {
        let told = ToInit::Placed.send(self.kernel, self.first_born()?.channel()?);
        self.unless_the_init_died(told.doing("telling the unit's first process that it is complete"))
    }

    /// Starts the placeholder.
    pub(super) fn start_placeholder(&mut self) -> Result<(), Error> {
        let Record::Systemd(unit) = self.cgroup.clone() else { return Err(Error::Protocol) };
        self.make_cgroup()?;
        let (ours, theirs) =
            self.kernel.socketpair().doing("making a socket for the unit's first process")?;
        let request = CloneRequest { namespaces: NamespaceFlags::empty(), cgroup: None, as_sibling: false };
        match self.kernel.clone3(&request).doing("starting the unit's first process")? {
            Fork::Child => {
                drop(ours);
                if let Some(container) = self.container.take() {
                    container.leave_to_parent();
                }
                wait_in(self.kernel, &unit, theirs.as_fd());
                hold_place(self.kernel, theirs.as_fd())
            }
            Fork::Parent { pid, pidfd } => {
                self.init = Some(FirstBorn { pid, pidfd, channel: Some(ours) });
                Ok(())
            }
        }
    }

    /// Has the placeholder enter what systemd has not put it into.
    pub(super) fn place(&mut self) -> Result<(), Error> {
        self.tell_it_is_complete()?;
        self.await_answer()?;
        self.wait_until_ready(&[])
    }

    /// An answer, or the end of it.
    fn await_answer(&self) -> Result<(), Error> {
        let answered = is_readable_within(self.first_born()?.channel()?, PATIENCE);
        if answered.doing("waiting for the unit's first process")? {
            return Ok(());
        }
        let unit = match &self.cgroup {
            Record::Systemd(systemd) => systemd.unit.name.clone(),
            _ => return Err(Error::Protocol),
        };
        Err(Error::Stuck { unit, seconds: PATIENCE.as_secs(), frozen: self.cgroup.frozen() })
    }
}

/// The namespaces that the init will be started in.
pub(super) fn namespaces_of(steps: &[crate::plan::Step<HostAction>]) -> NamespaceFlags {
    let cloning = steps.iter().find_map(|step| match step.action {
        HostAction::CloneInit(namespaces) => Some(namespaces),
        _ => None,
    });
    cloning.unwrap_or(NamespaceFlags::empty())
}

/// What the usher does: waits until the unit is complete, and enters what systemd has not put it into. Where that fails, or where the
/// runtime is gone, it does not come back.
pub(super) fn wait_in(kernel: &dyn Kernel, unit: &Systemd, channel: BorrowedFd<'_>) {
    let failure = match ToInit::receive(kernel, channel) {
        Ok(Some(ToInit::Placed)) => match unit.join() {
            Ok(()) => return,
            Err(error) => {
                Failure { errno: error.errno().map(Errno::raw_os_error), causes: vec![error.to_string()] }
            }
        },
        Ok(_) => std::process::exit(0),
        Err(errno) => Failure {
            errno: Some(errno.raw_os_error()),
            causes: vec!["waiting for the container's unit".to_owned()],
        },
    };
    if let Err(errno) = FromInit::send_failure(kernel, channel, &failure) {
        log::debug!("nobody to tell that {failure}: {errno}");
    }
    std::process::exit(1)
}

/// What the placeholder does from then on: it says that it is there, and goes with the runtime's end of the socket.
fn hold_place(kernel: &dyn Kernel, channel: BorrowedFd<'_>) -> ! {
    let held = FromInit::send_ready(kernel, channel).and_then(|()| ToInit::receive(kernel, channel));
    std::process::exit(i32::from(held.is_err()))
}
