//! The host's side of a container's birth: what `create` and `run` have in common.
//!
//! Everything that a birth leaves on the machine (a state directory, a cgroup, a process) is held by a [`Birth`]; dropped before it is
//! [committed](Birth::commit), it takes all of it away again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cloison_cgroup::{CgroupPath, Claim, Entry, Layout, Record, Resources, Systemd, Unit};
use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::process::{self, CloneRequest, Fork};
use cloison_linux::{Errno, Kernel, Mode, OFlags, Pid, Resource, Rlimit, Signal, launch, sealed, signals};

use super::delete::destroy;
use super::device_rules::is_root_of_the_machine;
use super::error::Doing as _;
use super::listener::{self, Filtered};
use super::{
    CgroupDriver, CreateOptions, Error, Runtime, device_rules, hooks, id_maps, preserved, rootless, sources,
    start,
};
use crate::hook::OpenOutputs;
use crate::init::channel::{FromInit, ToInit};
use crate::init::create::{Inheritance, Start, birth};
use crate::monitor::Ends;
use crate::notify;
use crate::plan::action::{Action, BindSource, HostAction, IdMapping};
use crate::plan::hooks::Hook;
use crate::plan::labels::Modules;
use crate::plan::limits::limits;
use crate::plan::seccomp::Filter;
use crate::plan::{CgroupView, HostFacts, Options, Origin, Plan};
use crate::spec::{self, Spec};
use crate::state::{Container, Init, LAYOUT, LaterHooks, NOTIFY, State, Status, Store, Timestamp};

/// A container that is about to be: read, checked, planned. Nothing has been touched.
#[derive(Debug)]
pub(super) struct Conception {
    pub(super) plan: Plan,
    config: Vec<u8>,
    cgroup: Record,
    pub(super) state: State,
    /// Who takes the filter's listener, instead of the one that the plan names.
    recorder: Option<OwnedFd>,
    /// What the container's standard streams are, if they are not ours.
    pub(super) streams: Option<Ends>,
    /// The container gets a socket for what it tells a service manager.
    notifies: bool,
}

impl Conception {
    /// Loads a filter that tells of all calls, and not the configuration's; the listener goes to this socket.
    pub(super) fn record(&mut self, filter: Filter, recorder: OwnedFd) {
        self.plan.program.seccomp = Some(filter);
        self.recorder = Some(recorder);
    }

    pub(super) fn new(runtime: &Runtime, options: &CreateOptions) -> Result<Self, Error> {
        let bundle = std::path::absolute(&options.bundle)
            .and_then(|bundle| bundle.canonicalize())
            .map_err(|source| Error::Bundle { path: options.bundle.clone(), source })?;
        let path = options.config.clone().unwrap_or_else(|| bundle.join("config.json"));
        let config = spec::read_file(&path)?;
        let mut spec = Spec::parse(&config, &path)?;
        let activation = preserved::socket_activation();
        if activation > 0 {
            spec.process.env.extend([format!("LISTEN_FDS={activation}"), "LISTEN_PID=1".to_owned()]);
        }
        let id = &options.id;
        rootless::adapt(&mut spec);
        let notifies = notify::manager().is_some();
        if notifies {
            let root = std::path::absolute(&runtime.root)
                .map_err(|source| Error::Bundle { path: runtime.root.clone(), source })?;
            notify::prepare(&mut spec, &root.join(id.as_str()).join(NOTIFY));
        }
        let (layout, cgroup) = match runtime.cgroup {
            CgroupDriver::Cgroupfs if rootless::stays_in_our_cgroup(&spec) => {
                (layout_to_show(&spec), Record::disabled())
            }
            CgroupDriver::Disabled => (layout_to_show(&spec), Record::disabled()),
            driver @ (CgroupDriver::Systemd | CgroupDriver::UserSystemd) => {
                let user = driver == CgroupDriver::UserSystemd;
                let unit = Unit::new(spec.linux.cgroups_path.as_deref(), id.as_str(), user)?;
                let layout = Layout::detect()?;
                let record = Record::Systemd(Systemd::place(unit, &layout)?);
                (layout, record)
            }
            CgroupDriver::Cgroupfs => {
                let place = CgroupPath::new(spec.linux.cgroups_path.as_deref(), id.as_str())?;
                let layout = Layout::detect_for(&place)?;
                let record = layout.place(&place)?;
                if spec.linux.cgroups_path.is_none() && !is_root_of_the_machine() && !record.may_be_made() {
                    log::debug!(
                        "the caller may not make a cgroup; the container stays in that of the caller"
                    );
                    (layout_to_show(&spec), Record::disabled())
                } else {
                    (layout, record)
                }
            }
        };
        let plan_options = Options {
            id: id.clone(),
            bundle,
            no_pivot: options.no_pivot,
            no_new_keyring: options.no_new_keyring,
            preserve_fds: options.preserve_fds.saturating_add(activation),
            takes_streams: options.takes_streams,
        };
        let plan = Plan::new(&spec, &plan_options, &facts(&spec, &layout, &cgroup))
            .map_err(|problems| Error::Refused { path, problems })?;
        let state = State {
            version: LAYOUT,
            oci_version: spec.oci_version.clone(),
            id: id.clone(),
            bundle: plan_options.bundle.to_string_lossy().into_owned(),
            rootfs: plan.rootfs.to_string_lossy().into_owned(),
            created: Timestamp::now(),
            annotations: spec.annotations.clone(),
            init: None,
            resources: if matches!(cgroup, Record::Disabled(_)) {
                Resources::default()
            } else {
                limits(&spec.linux.resources)
            },
            device_rules: None,
            cgroup: cgroup.clone(),
            own_pid_namespace: spec.linux.makes_namespace(spec::NamespaceType::Pid),
            no_new_keyring: options.no_new_keyring,
            hooks: LaterHooks {
                start_container: !spec.hooks.start_container.is_empty(),
                poststart: !spec.hooks.poststart.is_empty(),
                poststop: !spec.hooks.poststop.is_empty(),
            },
            streams: crate::checkpoint::external::stream_names(),
            monitor: None,
        };
        Ok(Self { plan, config, cgroup, state, recorder: None, streams: None, notifies })
    }
}

/// What the machine is like, as far as this configuration needs to know.
pub(super) fn facts(spec: &Spec, layout: &Layout, cgroup: &Record) -> HostFacts {
    let limits = crate::plan::process::limits(spec);
    let mut facts = HostFacts {
        own_cgroup: !matches!(cgroup, Record::Disabled(_)),
        unit: match cgroup {
            Record::Systemd(systemd) => Some(systemd.unit.clone()),
            _ => None,
        },
        cgroups: view(layout, &cgroup.directories()),
        modules: Modules::of_the_machine(spec),
        kcore: Path::new("/proc/kcore").exists(),
        privileged: rustix::process::geteuid().is_root(),
        groups_denied: false,
        hard_limits: limits.iter().map(|(resource, _)| (*resource, hard_limit(*resource))).collect(),
    };
    rootless::note_groups(spec, &mut facts);
    facts
}

/// What a container sees of the hierarchies: its own cgroups, or the runtime's if it stays in those.
fn view(layout: &Layout, cgroup: &Record) -> CgroupView {
    match (layout, cgroup) {
        (Layout::Absent, _) => CgroupView::None,
        (Layout::Unified { mount, .. }, _) => CgroupView::Unified(mount.clone()),
        (_, Record::Legacy(legacy)) => {
            let all = legacy.directories.iter();
            CgroupView::Legacy(all.map(|one| (one.controllers.join(","), one.path.clone())).collect())
        }
        (Layout::Legacy { hierarchies, .. }, _) => {
            let all = hierarchies.iter();
            CgroupView::Legacy(all.map(|one| (one.controllers.join(","), one.mount.join(&one.own))).collect())
        }
    }
}

/// The hierarchies of a machine where the container gets no cgroup of its own: only looked for if the container mounts them.
fn layout_to_show(spec: &Spec) -> Layout {
    if !spec.mounts.iter().any(|mount| mount.kind.as_deref() == Some("cgroup")) {
        return Layout::Absent;
    }
    Layout::detect().unwrap_or_else(|error| {
        log::debug!("no cgroups to show: {error}");
        Layout::Absent
    })
}

fn hard_limit(resource: Resource) -> u64 {
    rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX)
}

/// A container that is being made.
pub(super) struct Birth<'k> {
    kernel: &'k dyn Kernel,
    /// None once it is removed or committed.
    container: Option<Container>,
    pub(super) plan: Plan,
    cgroup: Record,
    /// Keeps the cgroup from others while it is empty.
    claim: Option<Claim>,
    state: State,
    init: Option<FirstBorn>,
    /// Where the output of hooks goes.
    hook_outputs: OpenOutputs,
    /// The host's hooks that are to come while CRIU restores.
    restore_hooks: Vec<Hook>,
    /// The container's standard streams, until the init has them.
    streams: Option<Ends>,
    /// The master of the container's terminal.
    pub(super) terminal: Option<OwnedFd>,
    /// The pid file, once it is written.
    pid_file: Option<PathBuf>,
    committed: bool,
    /// The init waits for `start`.
    waits: bool,
    recorder: Option<OwnedFd>,
}

/// The init, and the socket to it.
pub(super) struct FirstBorn {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    /// None for one that was restored, and that knows nothing of us.
    channel: Option<OwnedFd>,
}

impl FirstBorn {
    /// One that CRIU has restored.
    pub(super) fn restored(pid: Pid, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd, channel: None }
    }

    fn channel(&self) -> Result<BorrowedFd<'_>, Error> {
        self.channel.as_ref().map(AsFd::as_fd).ok_or(Error::Protocol)
    }
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
            claim: None,
            state,
            init: None,
            hook_outputs: OpenOutputs::default(),
            restore_hooks: Vec::new(),
            streams,
            terminal: None,
            pid_file: None,
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

    /// Makes the cgroup, and sets its limits: the part of the plan that a restored container's host side has. All else is CRIU's.
    pub(super) fn carry_out_for_criu(&mut self) -> Result<(), Error> {
        for step in std::mem::take(&mut self.plan.host) {
            match &step.action {
                HostAction::MakeCgroup => self.make_cgroup()?,
                HostAction::StartUnit(_) => {
                    return Err(Error::Unsupported("restoring into a unit of systemd is"));
                }
                HostAction::DelegateCgroup(uid) => self.cgroup.cgroup().delegate(*uid)?,
                HostAction::LimitResources(resources) => {
                    super::limits::apply(self.cgroup.cgroup(), resources)?;
                }
                HostAction::LimitDevices(rules) => device_rules::apply(self.cgroup.cgroup(), rules)?,
                HostAction::OpenHookOutputs(outputs) => {
                    self.hook_outputs = OpenOutputs::open(self.kernel, outputs)?;
                }
                HostAction::Hook(hook) => self.restore_hooks.push((**hook).clone()),
                _ => log::debug!("left to CRIU: {step}"),
            }
        }
        Ok(())
    }

    /// Runs the `prestart` and `createRuntime` hooks for a container of which CRIU has made the namespaces, with its process `pid`.
    pub(super) fn run_restore_hooks(&self, pid: Pid) -> Result<(), Error> {
        if self.restore_hooks.is_empty() {
            return Ok(());
        }
        let pidfd = process::pidfd_open(pid).doing("opening the process that is restored")?;
        let init = (pid.as_raw_nonzero().get(), pidfd.as_fd());
        let mut hooks = self.restore_hooks.iter();
        hooks.try_for_each(|hook| hooks::run_at_creation(self.kernel, hook, init, &self.hook_outputs))
    }

    /// Takes what CRIU has restored.
    pub(super) fn take(&mut self, init: FirstBorn, terminal: Option<OwnedFd>) {
        (self.init, self.terminal) = (Some(init), terminal);
        // The program goes on, and does not begin.
        (self.state.hooks.start_container, self.state.hooks.poststart) = (false, false);
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
        let mut before = Restore { kernel: self.kernel, namespaces: Vec::new() };
        let mut sources = Vec::new();
        let mut to_map = Vec::new();
        let steps = std::mem::take(&mut self.plan.host);
        let namespaces = usher::namespaces_of(&steps);
        for step in steps {
            let origin = step.origin.clone();
            match &step.action {
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
                HostAction::TimeOffsets(offsets) => before.time_offsets(offsets)?,
                HostAction::JoinNamespace(kind, path) => before.join(*kind, path)?,
                HostAction::CloneInit(_) if self.init.is_some() => self.have_it_born()?,
                HostAction::CloneInit(namespaces) => {
                    let born = self.clone_init(*namespaces, begin, seals, &sources, None);
                    before.undo()?;
                    born?;
                }
                HostAction::WriteIdMaps { uids, gids } => {
                    let written = self.write_id_maps(uids, gids);
                    self.unless_the_init_died(written)?;
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
                HostAction::DelegateCgroup(uid) => self.cgroup.cgroup().delegate(*uid)?,
                HostAction::LimitResources(resources) => {
                    super::limits::apply(self.cgroup.cgroup(), resources)?;
                }
                HostAction::LimitDevices(rules) => device_rules::apply(self.cgroup.cgroup(), rules)?,
            }
        }
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

    /// Where this fails the cgroup is not ours, and undoing must not touch what lives in it.
    fn make_cgroup(&mut self) -> Result<(), Error> {
        let made = self.cgroup.cgroup().create().and_then(|()| self.claim_cgroup());
        if made.is_err() {
            self.state.cgroup = Record::disabled();
        }
        Ok(made?)
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

    fn clone_init(
        &mut self,
        namespaces: NamespaceFlags,
        begin: Begin,
        seals: bool,
        sources: &[(usize, OwnedFd)],
        waits_in: Option<Systemd>,
    ) -> Result<(), Error> {
        let kernel = self.kernel;
        let (ours, theirs) = kernel.socketpair().doing("making a socket for the init")?;
        let pad = seals.then(launch::prepare_pad).transpose().doing("preparing the launch")?;
        let start = match begin {
            Begin::AtOnce => None,
            Begin::WhenStarted => {
                let container = self.container()?;
                Some((container.listen_start()?, container.mark_created()?))
            }
        };
        let entry = if waits_in.is_some() { Entry::default() } else { self.cgroup.cgroup().entry()? };
        let tasks: Vec<BorrowedFd<'_>> = entry.tasks().collect();
        let inherited = Inheritance {
            channel: theirs.as_fd(),
            cgroup: &tasks,
            sources,
            start: start
                .as_ref()
                .map(|(listener, mark)| Start { listener: listener.as_fd(), mark: mark.as_fd() }),
            pad: pad.as_ref().map(AsFd::as_fd),
            container: None,
            hook_outputs: self.hook_outputs.as_fds(),
            streams: self.streams.as_ref().map(Ends::as_fds),
        };
        let user = self.plan.container.iter().find_map(|step| match &step.action {
            Action::JoinNamespace(NamespaceFlags::USER, path) => Some(path.as_path()),
            _ => None,
        });
        // Who only starts the init stays in the runtime's.
        let ushered = waits_in.is_some();
        let between = user.is_some() || ushered;
        let namespaces_now = if between { NamespaceFlags::empty() } else { namespaces };
        let request =
            CloneRequest { namespaces: namespaces_now, cgroup: entry.directory(), as_sibling: false };
        match kernel.clone3(&request).doing("starting the init")? {
            Fork::Child => {
                // The runtime's end of the socket must not live on in the child, or it would never see that the runtime has gone.
                drop(ours);
                // Nor may the lock on the state, or an init whose runtime was killed would keep `start` waiting.
                if let Some(container) = self.container.take() {
                    container.leave_to_parent();
                }
                if let Some(unit) = waits_in {
                    usher::wait_in(kernel, &unit, inherited.channel);
                }
                if between {
                    go_between(kernel, user, namespaces, &self.plan, &inherited)
                } else {
                    be_born(kernel, &self.plan, &inherited)
                }
            }
            Fork::Parent { pid, pidfd } => {
                drop((theirs, start));
                self.streams = None;
                self.init = Some(FirstBorn { pid, pidfd, channel: Some(ours) });
                if user.is_some() && !ushered {
                    self.adopt()?;
                }
                Ok(())
            }
        }
    }

    /// The process that was started was only the init's go-between; takes the init itself, and waits for the other's end.
    fn adopt(&mut self) -> Result<(), Error> {
        let Some(between) = self.init.take() else { return Ok(()) };
        let answer = FromInit::receive(self.kernel, between.channel()?);
        let pidfd = match answer {
            Ok(FromInit::Process(pidfd)) => pidfd,
            other => {
                self.init = Some(between);
                return Err(self.unexpected(other));
            }
        };
        // Its parent may be in another pid namespace and know it by another number.
        let pid = self.kernel.pidfd_pid(pidfd.as_fd()).doing("reading the init's process id")?;
        self.init = Some(FirstBorn { pid, pidfd, channel: between.channel });
        self.kernel.wait_pidfd(between.pidfd.as_fd()).doing("waiting for the init's parent")?;
        Ok(())
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

    fn wait_for_mounts(&mut self, to_map: &[(BindSource, Origin)]) -> Result<(), Error> {
        match self.hear(to_map)? {
            Ok(FromInit::Mounted) => Ok(()),
            other => Err(self.unexpected(other)),
        }
    }

    fn wait_until_ready(&mut self, to_map: &[(BindSource, Origin)]) -> Result<(), Error> {
        loop {
            match self.hear(to_map)? {
                Ok(FromInit::Ready) => return Ok(()),
                Ok(FromInit::Terminal(master)) => self.terminal = Some(master),
                other => return Err(self.unexpected(other)),
            }
        }
    }

    /// What the init says next, after all sources of mounts whose ids it wants mapped.
    fn hear(&self, to_map: &[(BindSource, Origin)]) -> Result<Result<FromInit, Errno>, Error> {
        let channel = self.first_born()?.channel()?;
        loop {
            match FromInit::receive(self.kernel, channel) {
                Ok(FromInit::Source(number, tree)) => {
                    let known = to_map.iter().find(|(source, _)| source.mount == number);
                    let (source, origin) = known.ok_or(Error::Protocol)?;
                    sources::map(self.kernel, tree.as_fd(), source, origin)?;
                    let told = ToInit::Mapped.send(self.kernel, channel);
                    self.unless_the_init_died(told.doing("telling the init of mapped ids"))?;
                }
                other => return Ok(other),
            }
        }
    }

    /// A failure that only comes of the init's end is told as what ended it.
    fn unless_the_init_died(&self, result: Result<(), Error>) -> Result<(), Error> {
        match result {
            Err(Error::Call { errno: Errno::PIPE | Errno::SRCH | Errno::NOENT, .. }) => {
                Err(self.unexpected(FromInit::receive(self.kernel, self.first_born()?.channel()?)))
            }
            result => result,
        }
    }

    /// What it means when the init says something else than was waited for.
    fn unexpected(&self, message: Result<FromInit, Errno>) -> Error {
        match message {
            Ok(FromInit::Failed(failure)) => Error::Init(failure),
            Ok(FromInit::LaunchFailed(failure)) => {
                Error::Launch(self.plan.program.describe(failure, self.waits), failure.errno)
            }
            Ok(FromInit::End) if super::limits::killed_for_want_of_memory(self.cgroup.cgroup()) => {
                Error::OutOfMemory
            }
            Ok(FromInit::End) => Error::InitDied,
            Ok(_) => Error::Protocol,
            Err(errno) => Error::Call { doing: "waiting for the init".to_owned(), errno },
        }
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
            match self.kernel.wait_pidfd(init.pidfd.as_fd()) {
                // Reaped before.
                Ok(_) | Err(Errno::CHILD) => {}
                Err(errno) => return Err(errno).doing("waiting for the init's end"),
            }
        }
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

/// Becomes the container's first process. Comes to an end only by a failure.
fn be_born(kernel: &dyn Kernel, plan: &Plan, inherited: &Inheritance<'_>) -> ! {
    let failure = birth(kernel, plan, inherited);
    if let Err(errno) = FromInit::send_failure(kernel, inherited.channel, &failure) {
        log::debug!("nobody to tell that {failure}: {errno}");
    }
    std::process::exit(1)
}

/// Enters the user namespace that the init must be born in, if it is to be born in one, gives birth to it as a child of the runtime,
/// and goes.
fn go_between(
    kernel: &dyn Kernel,
    user: Option<&Path>,
    namespaces: NamespaceFlags,
    plan: &Plan,
    inherited: &Inheritance<'_>,
) -> ! {
    let born = || -> Result<(), Errno> {
        if let Some(user) = user {
            let user = kernel.open(user, OFlags::RDONLY, Mode::empty())?;
            // A process that joins a container is not to be looked into from there, before and after its ids mean something else.
            kernel.set_dumpable(false)?;
            kernel.setns(user.as_fd(), NamespaceFlags::USER)?;
            kernel.set_dumpable(false)?;
        }
        match kernel.clone3(&CloneRequest { namespaces, cgroup: None, as_sibling: true })? {
            Fork::Child => match FromInit::send_self(kernel, inherited.channel) {
                Ok(()) => be_born(kernel, plan, inherited),
                // The runtime hears no more, as it has gone.
                Err(_) => std::process::exit(1),
            },
            Fork::Parent { .. } => Ok(()),
        }
    };
    if let Err(errno) = born() {
        let causes = vec![
            match user {
                Some(user) => format!("joining the user namespace {}", user.display()),
                None => "starting the init".to_owned(),
            },
            crate::errno::Text(errno).to_string(),
        ];
        let failure = crate::init::channel::Failure { errno: Some(errno.raw_os_error()), causes };
        if let Err(errno) = FromInit::send_failure(kernel, inherited.channel, &failure) {
            log::debug!("nobody to tell that {failure}: {errno}");
        }
    }
    std::process::exit(0)
}

/// The namespaces for children that the runtime has taken for a moment, and gives back after the init is born: hooks and whatever else it
/// starts must not be in them.
struct Restore<'k> {
    kernel: &'k dyn Kernel,
    namespaces: Vec<(OwnedFd, NamespaceFlags)>,
}

impl Restore<'_> {
    fn time_offsets(&mut self, offsets: &[(&'static str, i64, u32)]) -> Result<(), Error> {
        self.remember(NamespaceFlags::TIME)?;
        self.kernel.unshare(NamespaceFlags::TIME).doing("making a time namespace")?;
        if offsets.is_empty() {
            return Ok(());
        }
        let doing = "writing /proc/self/timens_offsets";
        let path = Path::new("/proc/self/timens_offsets");
        let file = self.kernel.open(path, OFlags::WRONLY, Mode::empty()).doing(doing)?;
        let lines: Vec<_> =
            offsets.iter().map(|(clock, secs, nanos)| format!("{clock} {secs} {nanos}")).collect();
        self.kernel.write(file.as_fd(), lines.join("\n").as_bytes()).doing(doing)
    }

    fn join(&mut self, kind: NamespaceFlags, path: &Path) -> Result<(), Error> {
        self.remember(kind)?;
        let doing = format!("joining the {kind} namespace {}", path.display());
        let namespace = self.kernel.open(path, OFlags::RDONLY, Mode::empty()).doing(doing.as_str())?;
        self.kernel.setns(namespace.as_fd(), kind).doing(doing)
    }

    fn remember(&mut self, kind: NamespaceFlags) -> Result<(), Error> {
        let path = format!("/proc/self/ns/{}", kind.proc_name().unwrap_or_default());
        let own = self.kernel.open(Path::new(&path), OFlags::RDONLY, Mode::empty());
        let own = own.doing(format!("opening {path}"))?;
        self.namespaces.push((own, kind));
        Ok(())
    }

    fn undo(&mut self) -> Result<(), Error> {
        self.namespaces.drain(..).try_for_each(|(own, kind)| {
            self.kernel
                .setns(own.as_fd(), kind)
                .doing(format!("coming back to the runtime's {kind} namespace"))
        })
    }
}

mod usher;

#[cfg(test)]
mod tests;
