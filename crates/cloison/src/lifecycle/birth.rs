//! The host's side of a container's birth: what `create` and `run` have in common.
//!
//! Everything that a birth leaves on the machine (a state directory, a cgroup, a process) is held by a [`Birth`]; dropped before it is
//! [committed](Birth::commit), it takes all of it away again.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloison_cgroup::{Claim, OomWatch, Record};
use cloison_linux::process;
use cloison_linux::{Errno, Kernel, Mode, OFlags, Resource, Rlimit, Signal, launch, sealed, signals};

use self::borrowed::Borrowed;
pub(super) use self::cloning::FirstBorn;
use super::conception::Conception;
use super::delete::destroy;
use super::error::Doing as _;
use super::first_process::ends_within;
use super::listener::{self, Filtered};
use super::net_devices::MovedDevices;
use super::{
    Error, Runtime, device_rules, hooks, host_mounts, id_maps, limits, preserved, resctrl, sources, start,
};
use crate::hook::OpenOutputs;
use crate::init::channel::{FromInit, ToInit};
use crate::monitor::Ends;
use crate::plan::Plan;
use crate::plan::action::{HostAction, IdMapping};
use crate::plan::hooks::Hook;
use crate::resctrl::Request;
use crate::state::{Container, Init, State, Status, Store};

mod borrowed;
mod cloning;
mod conversation;
mod restored;
mod usher;

#[cfg(test)]
mod tests;

/// How long an init that is killed may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container that is being made.
pub(super) struct Birth<'k> {
    kernel: &'k dyn Kernel,
    /// None once it is removed or committed.
    container: Option<Container>,
    pub(super) plan: Plan,
    cgroup: Record,
    /// Limits may be left out.
    lenient: bool,
    /// Keeps the cgroup from others while it is empty.
    claim: Option<Claim>,
    /// Tells whether the init was killed by the limits of memory, when its cgroup has gone with it.
    memory_kills: RefCell<Option<OomWatch>>,
    state: State,
    init: Option<FirstBorn>,
    /// Where the output of hooks goes.
    hook_outputs: OpenOutputs,
    /// The PID namespace that a go-between enters for the init, since the runtime could not come back from it.
    pid_namespace: Option<PathBuf>,
    /// The host's hooks that are to come while CRIU restores.
    restore_hooks: Vec<Hook>,
    /// The container's standard streams, until the init has them.
    streams: Option<Ends>,
    /// The master of the container's terminal.
    pub(super) terminal: Option<OwnedFd>,
    /// The pid file, once it is written.
    pid_file: Option<PathBuf>,
    /// The mount on which a container without a mount namespace has its own, until the init has it.
    held_root: Option<OwnedFd>,
    /// Network devices that are the container's once it is committed.
    net_devices: MovedDevices,
    committed: bool,
    /// The init waits for `start`.
    waits: bool,
    recorder: Option<OwnedFd>,
}

/// When the program starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// As soon as the birth is committed.
    AtOnce,
    /// When `start` says so.
    WhenStarted,
}

impl Begin {
    /// For a `run`: hooks that come before the program see a container that waits for its start.
    pub(super) fn of_run(conception: &Conception) -> Self {
        if conception.state.hooks.start_container { Self::WhenStarted } else { Self::AtOnce }
    }
}

impl<'k> Birth<'k> {
    /// Makes the state directory, the cgroup and the init, and waits until the init has made everything but the program.
    pub(super) fn begin(
        kernel: &'k dyn Kernel,
        runtime: &Runtime,
        conception: Conception,
        begin: Begin,
    ) -> Result<Self, Error> {
        let seals = launch::exe_switch_supported();
        if !seals {
            // From here on /proc/self/exe is a file that nobody can write to (CVE-2019-5736). Does not come back if it was not yet so.
            sealed::ensure_sealed_copy().doing("sealing a copy of the runtime")?;
        }
        let mut birth = Self::prepare(kernel, runtime, conception)?;
        birth.waits = begin == Begin::WhenStarted;
        birth.carry_out(begin, seals)?;
        Ok(birth)
    }

    /// Makes the state directory, and nothing else.
    pub(super) fn prepare(
        kernel: &'k dyn Kernel,
        runtime: &Runtime,
        conception: Conception,
    ) -> Result<Self, Error> {
        let Conception { plan, config, cgroup, state, recorder, streams, notifies } = conception;
        for warning in &plan.warnings {
            log::warn!("{warning}");
        }
        if let Some(filter) = &plan.program.seccomp {
            filter.unknown.iter().for_each(|name| log::debug!("unknown seccomp syscall {name:?} ignored"));
            log::debug!("seccomp filter flags: {}", filter.flags);
        }
        let steps =
            plan.host.iter().map(ToString::to_string).chain(plan.container.iter().map(ToString::to_string));
        if log::log_enabled!(log::Level::Debug) {
            steps.for_each(|step| log::debug!("planned: {step}"));
        }
        preserved::check(plan.program.preserve_fds)?;
        signals::hear_of_children().doing("undoing that SIGCHLD is ignored")?;
        let container = Store::make(&runtime.root)?.create(&state.id)?;
        let mut birth = Self {
            kernel,
            container: Some(container),
            plan,
            cgroup,
            lenient: limits::may_be_left_out(runtime.cgroup),
            claim: None,
            memory_kills: RefCell::default(),
            state,
            init: None,
            hook_outputs: OpenOutputs::default(),
            pid_namespace: None,
            restore_hooks: Vec::new(),
            streams,
            terminal: None,
            pid_file: None,
            held_root: None,
            net_devices: MovedDevices::default(),
            committed: false,
            waits: false,
            recorder,
        };
        // Looked at before it is in the state: a crash from here on must not leave a state by which others' processes are killed.
        birth.refuse_foreign_cgroup()?;
        // Saved before the cgroup is made: whoever deletes what a crash has left must know of it.
        birth.container()?.save_config(&config)?;
        birth.container()?.save(&birth.state)?;
        if notifies {
            birth.container()?.make_notify_directory()?;
        }
        Ok(birth)
    }

    /// The container's cgroup.
    pub(super) fn cgroup(&self) -> &dyn cloison_cgroup::Cgroup {
        self.cgroup.cgroup()
    }

    /// The last state that was saved.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn container(&self) -> Result<&Container, Error> {
        self.container.as_ref().ok_or(Error::NotRunning)
    }

    /// The host's list of the plan, in order.
    fn carry_out(&mut self, begin: Begin, seals: bool) -> Result<(), Error> {
        let mut before = Borrowed::new(self.kernel);
        let mut sources = Vec::new();
        let mut to_map = Vec::new();
        let steps = std::mem::take(&mut self.plan.host);
        let namespaces = usher::namespaces_of(&steps);
        let gets_devices = steps.iter().any(
            |step| matches!(&step.action, HostAction::MoveNetDevice(device) if device.namespace.is_none()),
        );
        for step in steps {
            let origin = step.origin.clone();
            match &step.action {
                HostAction::HoldMounts(path) => self.hold_mounts(path)?,
                HostAction::MakeCgroup => self.make_cgroup()?,
                HostAction::StartUnit(start) => {
                    let waiting = self.start_usher(namespaces, begin, seals, &sources);
                    before.undo()?;
                    waiting.and_then(|()| self.start_unit(start))?;
                }
                HostAction::OpenSource(source) => {
                    sources.push((source.mount, sources::open(self.kernel, source, &origin)?));
                }
                HostAction::MapSource(source) => to_map.push((source.clone(), origin)),
                HostAction::LendOomScoreAdj(score) => before.score(*score)?,
                HostAction::TimeOffsets(offsets) => before.time_offsets(offsets)?,
                HostAction::JoinNamespace(kind, path) => {
                    if !before.join(*kind, path)? {
                        self.pid_namespace = Some(path.clone());
                    }
                }
                HostAction::CloneInit(_) if self.init.is_some() => self.have_it_born()?,
                HostAction::CloneInit(namespaces) => {
                    let born = self.clone_init(*namespaces, begin, seals, &sources, None);
                    before.undo()?;
                    born?;
                }
                HostAction::WriteIdMaps { uids, gids } => {
                    if gets_devices {
                        let held = self.net_devices.hold(self.kernel, self.first_born()?.pid).map(drop);
                        self.unless_the_init_died(held)?;
                    }
                    let written = self.write_id_maps(uids, gids);
                    self.unless_the_init_died(written)?;
                }
                HostAction::MoveNetDevice(device) => {
                    let init = self.first_born()?.pid;
                    let moved = self.net_devices.take(self.kernel, device, init, &origin);
                    self.unless_the_init_died(moved)?;
                }
                HostAction::JoinResctrl(request) => {
                    let init = self.first_born()?.pid.as_raw_nonzero().get();
                    self.make_resctrl(request)?;
                    resctrl::join(&self.state, init)?;
                }
                HostAction::OomScoreAdj(score) => {
                    let written = self.write_proc("oom_score_adj", score.to_string().as_bytes());
                    self.unless_the_init_died(written)?;
                }
                HostAction::RaiseLimit(resource, hard) => {
                    let raised = self.raise_limit(*resource, *hard);
                    self.unless_the_init_died(raised)?;
                }
                HostAction::OpenHookOutputs(outputs) => {
                    self.hook_outputs = OpenOutputs::open(self.kernel, outputs)?;
                }
                HostAction::AwaitMounts => self.wait_for_mounts(&to_map)?,
                HostAction::Hook(hook) => {
                    let FirstBorn { pid, pidfd, .. } = self.first_born()?;
                    let init = (pid.as_raw_nonzero().get(), pidfd.as_fd());
                    hooks::run_at_creation(self.kernel, hook, init, &self.hook_outputs)?;
                }
                HostAction::LetInitGoOn => {
                    let told = ToInit::HooksRun.send(self.kernel, self.first_born()?.channel()?);
                    self.unless_the_init_died(told.doing("telling the init that the hooks have run"))?;
                }
                HostAction::AwaitInit => {
                    self.wait_until_ready(&to_map)?;
                    // Now the cgroup has somebody in it, who keeps it.
                    self.claim = None;
                }
                HostAction::DelegateCgroup(uid) => {
                    let given = self.cgroup.cgroup().delegate(*uid);
                    self.unless_it_took_the_cgroup_along(given.map_err(Into::into))?;
                }
                HostAction::LimitResources(resources) => {
                    self.memory_kills = limits::memory_kills(&self.cgroup, resources).into();
                    let limited = limits::apply(self.cgroup.cgroup(), resources, self.lenient);
                    self.unless_it_took_the_cgroup_along(limited)?;
                }
                HostAction::LimitDevices(rules) => {
                    let limited = device_rules::apply(self.cgroup.cgroup(), rules);
                    self.unless_it_took_the_cgroup_along(limited)?;
                }
            }
        }
        Ok(())
    }

    /// The state names the mount before anybody can see it: whoever deletes what a crash has left must know of it.
    fn hold_mounts(&mut self, path: &Path) -> Result<(), Error> {
        let prepared = host_mounts::prepare(self.kernel, path)?;
        self.state.host_mount = Some(prepared.mount.clone());
        self.container()?.save(&self.state)?;
        self.held_root = Some(prepared.attach(self.kernel)?);
        Ok(())
    }

    fn refuse_foreign_cgroup(&mut self) -> Result<(), Error> {
        let cgroup = self.cgroup.cgroup();
        if cgroup.exists() && !cgroup.processes()?.is_empty() {
            // What says it in words.
            return self.make_cgroup();
        }
        Ok(())
    }

    /// Makes the class of service; where that fails, what is there is not the container's.
    fn make_resctrl(&mut self, request: &Request) -> Result<(), Error> {
        let container = self.container.as_ref().ok_or(Error::NotRunning)?;
        resctrl::make(container, &mut self.state, request)
    }

    /// Where this fails the cgroup is not ours, and undoing must not touch what lives in it.
    fn make_cgroup(&mut self) -> Result<(), Error> {
        let made = self.cgroup.cgroup().create().and_then(|()| self.claim_cgroup());
        if made.is_err() {
            self.state.cgroup = Record::disabled();
        }
        made.map_err(|error| match error.errno() {
            Some(errno @ (Errno::ACCESS | Errno::PERM | Errno::ROFS)) => {
                Error::CgroupDenied { place: error.to_string(), errno }
            }
            _ => error.into(),
        })
    }

    /// Keeps the cgroup, which has been made, from others. If it is nobody's, and cannot be had all the same, it is taken back.
    fn claim_cgroup(&mut self) -> Result<(), cloison_cgroup::Error> {
        use cloison_cgroup::Error::{Frozen, InUse, NotEmpty};
        let cgroup = self.cgroup.cgroup();
        match cgroup.claim() {
            Ok(claim) => {
                self.claim = Some(claim);
                Ok(())
            }
            Err(taken @ (InUse(..) | NotEmpty { .. } | Frozen(..))) => Err(taken),
            Err(error) => {
                if let Err(error) = cgroup.remove() {
                    log::debug!("the cgroup is not taken back: {error}");
                }
                Err(error)
            }
        }
    }

    pub(super) fn first_born(&self) -> Result<&FirstBorn, Error> {
        self.init.as_ref().ok_or(Error::NotRunning)
    }

    fn write_proc(&self, file: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = format!("/proc/{}/{file}", self.first_born()?.pid);
        let opened = self.kernel.open(Path::new(&path), OFlags::WRONLY, Mode::empty());
        opened.and_then(|fd| self.kernel.write(fd.as_fd(), bytes)).doing(format!("writing {path}"))
    }

    fn write_id_maps(&self, uids: &[IdMapping], gids: &[IdMapping]) -> Result<(), Error> {
        id_maps::write(self.kernel, self.first_born()?.pid, uids, gids)?;
        ToInit::Mapped
            .send(self.kernel, self.first_born()?.channel()?)
            .doing("telling the init of its id maps")
    }

    fn raise_limit(&self, resource: Resource, hard: u64) -> Result<(), Error> {
        let current = rustix::process::getrlimit(resource).current;
        let maximum = (hard != u64::MAX).then_some(hard);
        let limit = Rlimit { current, maximum };
        let raised = self.kernel.prlimit(Some(self.first_born()?.pid), resource, limit);
        raised
            .doing(format!("error setting rlimits for ready process: raising the hard limit of {resource:?}"))
    }

    /// Makes the birth known: the state with the init in it, the pid file. From here on the container is there, whatever happens to us.
    pub(super) fn commit(&mut self, pid_file: Option<&Path>) -> Result<(), Error> {
        let pid = self.first_born()?.pid;
        let start_time = process::start_time(pid).doing("reading the init's start time")?;
        self.state.init = Some(Init { pid, start_time });
        self.container()?.save(&self.state)?;
        if let Some(path) = pid_file {
            super::pid_file::write(path, pid)?;
            self.pid_file = Some(path.to_owned());
        }
        if let Some(channel) = &self.first_born()?.channel {
            let told = ToInit::Committed.send(self.kernel, channel.as_fd());
            self.unless_the_init_died(told.doing("telling the init to go on"))?;
        }
        self.committed = true;
        Ok(())
    }

    /// After [`commit`](Self::commit) of a birth that begins at once: waits until the program runs.
    pub(super) fn wait_until_running(&mut self) -> Result<(), Error> {
        if self.first_born()?.channel.is_none() {
            return Ok(());
        }
        self.hand_over_listener()?;
        if self.waits {
            self.committed = false;
            start::let_begin(self.container()?, &self.state)?;
            self.committed = true;
            return Ok(());
        }
        match FromInit::receive(self.kernel, self.first_born()?.channel()?) {
            Ok(FromInit::End) => Ok(()),
            other => {
                self.committed = false;
                Err(self.unexpected(other))
            }
        }
    }

    /// After [`commit`](Self::commit): waits for the listener of the filter and hands it on, if the filter tells of calls.
    pub(super) fn hand_over_listener(&mut self) -> Result<(), Error> {
        let Some(to) = self.plan.program.seccomp.as_ref().and_then(|filter| filter.listener.as_ref()) else {
            return Ok(());
        };
        let init = self.first_born()?;
        let handed = match FromInit::receive(self.kernel, init.channel()?) {
            Ok(FromInit::Listener(number)) => {
                let from = Filtered {
                    pid: init.pid,
                    pidfd: init.pidfd.as_fd(),
                    channel: init.channel()?,
                    state: &self.state,
                    status: Status::Creating,
                    init: init.pid,
                };
                let recorder = self.recorder.as_ref().map(AsFd::as_fd);
                listener::hand_over(self.kernel, to, recorder, &from, number)
            }
            other => Err(self.unexpected(other)),
        };
        self.committed = handed.is_ok();
        handed
    }

    /// Lets other commands at the container; gives its init and its state.
    pub(super) fn release(mut self) -> Result<(FirstBorn, State), Error> {
        self.container = None;
        resctrl::keep(&mut self.state);
        Ok((self.init.take().ok_or(Error::NotRunning)?, self.state.clone()))
    }

    /// Takes the container away again: kills and reaps the init, removes the pid file, the cgroup and the state directory.
    fn undo(&mut self) -> Result<(), Error> {
        self.committed = true;
        // Where there was no first process yet, no hook has run that others would have to undo.
        self.state.hooks.poststop &= self.init.is_some();
        if let Some(path) = self.pid_file.take() {
            super::pid_file::remove(&path);
        }
        if let Some(init) = self.init.take() {
            match self.kernel.pidfd_send_signal(init.pidfd.as_fd(), Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(errno).doing("killing the init"),
            }
            // In a frozen cgroup of v1 nobody dies.
            if !ends_within(init.pidfd.as_fd(), PATIENCE).doing("waiting for the init's end")? {
                let pid = init.pid.as_raw_nonzero().get();
                return Err(Error::InitStillRunning { pid, seconds: PATIENCE.as_secs() });
            }
            match self.kernel.wait_pidfd(init.pidfd.as_fd()) {
                // Reaped before.
                Ok(_) | Err(Errno::CHILD) => {}
                Err(errno) => return Err(errno).doing("waiting for the init's end"),
            }
        }
        self.net_devices.bring_back(self.kernel);
        self.container.take().map_or(Ok(()), |container| destroy(container, &self.state))
    }
}

impl Drop for Birth<'_> {
    fn drop(&mut self) {
        if !self.committed
            && let Err(error) = self.undo()
        {
            log::warn!("after the failure something was left behind, `delete --force` removes it: {error}");
        }
    }
}
