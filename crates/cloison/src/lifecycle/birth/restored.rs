//! The birth of a container that CRIU restores: the host's side without an init of our own.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use cloison_linux::{Errno, Pid, Signal, process};

use super::{Birth, FirstBorn};
use crate::checkpoint;
use crate::hook::OpenOutputs;
use crate::lifecycle::error::Doing as _;
use crate::lifecycle::{Error, device_rules, hooks, limits, resctrl};
use crate::plan::action::HostAction;

impl Birth<'_> {
    /// Makes the cgroup, and sets its limits: the part of the plan that a restored container's host side has. All else is CRIU's.
    pub(in crate::lifecycle) fn carry_out_for_criu(&mut self) -> Result<(), Error> {
        for step in std::mem::take(&mut self.plan.host) {
            match &step.action {
                HostAction::MakeCgroup => self.make_cgroup()?,
                HostAction::StartUnit(start) => {
                    self.start_placeholder()?;
                    self.start_unit(start)?;
                    self.place()?;
                }
                HostAction::DelegateCgroup(uid) => self.cgroup.cgroup().delegate(*uid)?,
                HostAction::LimitResources(resources) => {
                    limits::apply(self.cgroup.cgroup(), resources, self.lenient)?;
                }
                HostAction::LimitDevices(rules) => device_rules::apply(self.cgroup.cgroup(), rules)?,
                HostAction::OpenHookOutputs(outputs) => {
                    self.hook_outputs = OpenOutputs::open(self.kernel, outputs)?;
                }
                HostAction::JoinResctrl(request) => self.make_resctrl(request)?,
                HostAction::Hook(hook) => self.restore_hooks.push((**hook).clone()),
                _ => log::debug!("left to CRIU: {step}"),
            }
        }
        Ok(())
    }

    /// Runs the `prestart` and `createRuntime` hooks for a container of which CRIU has made the namespaces, with its process `pid`.
    pub(in crate::lifecycle) fn run_restore_hooks(&self, pid: Pid) -> Result<(), Error> {
        if self.restore_hooks.is_empty() {
            return Ok(());
        }
        let pidfd = process::pidfd_open(pid).doing("opening the process that is restored")?;
        let init = (pid.as_raw_nonzero().get(), pidfd.as_fd());
        let mut hooks = self.restore_hooks.iter();
        hooks.try_for_each(|hook| hooks::run_at_creation(self.kernel, hook, init, &self.hook_outputs))
    }

    /// CRIU is in the cgroup, and whoever has kept a unit's until then goes.
    pub(in crate::lifecycle) fn let_placeholder_go(&mut self) -> Result<(), Error> {
        let Some(FirstBorn { pidfd, .. }) = self.init.take() else { return Ok(()) };
        // It would go by itself, but not where somebody has frozen the unit meanwhile.
        match self.kernel.pidfd_send_signal(pidfd.as_fd(), Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(errno).doing("ending the unit's first process"),
        }
        let ended = self.kernel.wait_pidfd(pidfd.as_fd());
        ended.map(drop).doing("waiting for the end of the unit's first process")
    }

    /// Takes what CRIU has restored, also where it failed later.
    pub(in crate::lifecycle) fn take(&mut self, init: FirstBorn, terminal: Option<OwnedFd>) {
        (self.init, self.terminal) = (Some(init), terminal);
        // The program goes on, and does not begin.
        (self.state.hooks.start_container, self.state.hooks.poststart) = (false, false);
    }

    /// Puts what was restored into the container's class of service, and sees whose clocks it has. It may have ended meanwhile.
    ///
    /// # Errors
    /// Its processes do not get into the class, or it cannot be seen whose clocks they have.
    pub(in crate::lifecycle) fn look_at_restored(&mut self) -> Result<(), Error> {
        let first = self.first_born()?.pid.as_raw_nonzero().get();
        self.state.restored_clocks = has_other_clocks(first)?;
        resctrl::join_all(&self.state, self.cgroup.cgroup(), first)
    }
}

/// Whether a process is in another time namespace than the runtime.
fn has_other_clocks(pid: i32) -> Result<bool, Error> {
    let clocks = |process: &str| {
        let path = format!("/proc/{process}/ns/time");
        match fs::read_link(&path) {
            // A kernel without time namespaces.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            link => link.map(Some).map_err(|source| checkpoint::Error::File { path: path.into(), source }),
        }
    };
    Ok(clocks("self")? != clocks(&pid.to_string())?)
}
