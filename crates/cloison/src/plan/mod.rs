//! What will be done, as data.
//!
//! [`Plan::new`] is a pure function of the configuration, the options of the command line and what the machine can do. It gives
//! two lists of small steps, one for the host's side and one for the container's, with every string, flag and number already
//! worked out and the place in `config.json` that each step comes from. Being data, a plan is compared in unit tests, printed by
//! `cloison plan`, and run by [`crate::lifecycle`] and [`crate::init`]: what is printed is what is run.
//!
//! | module | what it works out |
//! |---|---|
//! | [`action`] | the steps themselves, and how they print |
//! | [`namespaces`] | which namespaces are new, which are joined, id maps, time offsets |
//! | [`mounts`], [`mount_options`] | every mount, its options split |
//! | [`devices`] | device nodes and links in `/dev` |
//! | `device_rules`, `limits` | which devices may be used, and how much of everything else |
//! | [`exec`] | the same for a process that joins a container |
//! | [`hooks`] | programs of the host's that run at points of the container's life |
//! | [`labels`] | what security modules confine the program by, and mark its mounts with |
//! | [`landlock`] | what an annotation lets the program do to files and ports |
//! | [`seccomp`] | the filter of system calls |
//! | [`process`] | limits, credentials, capabilities and the program |
//! | [`unsupported`] | what is refused by name, because this machine cannot do it |

use std::ffi::CString;
use std::fmt;
use std::path::{Path, PathBuf};

use cloison_cgroup::{Property, Unit};
use cloison_linux::namespace::NamespaceFlags;

use crate::id::ContainerId;
use crate::resctrl;
use crate::spec::{NamespaceType, Problem, Process, Spec};

pub mod action;
pub(crate) mod device_rules;
pub mod devices;
pub mod exec;
pub mod hooks;
pub mod labels;
pub mod landlock;
pub(crate) mod limits;
pub mod mount_options;
pub mod mounts;
pub mod namespaces;
pub mod process;
pub mod seccomp;
pub mod unsupported;

use action::Masks;
pub use action::{Action, HostAction, Origin, StartUnit, Step};
use hooks::{Hook, Point};
pub use process::Program;

/// What the command line adds to the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The container's name.
    pub id: ContainerId,
    /// The bundle's absolute path.
    pub bundle: PathBuf,
    /// Move the root instead of `pivot_root`.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 on go to the program.
    pub preserve_fds: u32,
    /// The standard streams come from whoever keeps the container, and are not the runtime's own.
    pub takes_streams: bool,
}

/// What the machine is like, as far as this configuration asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFacts {
    /// The cgroup hierarchies as a cgroup mount shows them.
    pub cgroups: CgroupView,
    /// The container gets a cgroup of its own in them, and does not stay in the runtime's.
    pub own_cgroup: bool,
    /// systemd makes that cgroup: which unit it is.
    pub unit: Option<Unit>,
    /// The runtime is root, and can open what the container cannot.
    pub privileged: bool,
    /// The runtime's own rights are those in a user namespace, be it root there or not.
    pub in_user_namespace: bool,
    /// The kernel lets the runtime make no device nodes (`mknod(2)`), so that the host's are bound.
    pub binds_devices: bool,
    /// The security modules.
    pub modules: labels::Modules,
    /// The container's processes may not leave or join groups (`/proc/PID/setgroups`).
    pub groups_denied: bool,
    /// What the resctrl file system shares out, if it is mounted; not looked for unless the configuration asks.
    pub resctrl: Option<ResctrlFacts>,
    /// `/proc/kcore` exists (`CONFIG_PROC_KCORE`).
    pub kcore: bool,
    /// The runtime's own hard limits, by resource, as far as the configuration sets limits.
    pub hard_limits: Vec<(rustix::process::Resource, u64)>,
}

/// What the resctrl file system shares out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResctrlFacts {
    /// The level 3 cache (`info/L3`).
    pub cache: bool,
    /// Memory bandwidth (`info/MB`).
    pub bandwidth: bool,
}

/// The cgroup hierarchies of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CgroupView {
    /// None.
    #[default]
    None,
    /// cgroup v2: where the hierarchy is mounted on the host.
    Unified(PathBuf),
    /// cgroup v1, maybe with a v2 hierarchy beside: for each hierarchy its name (`cpu,cpuacct`, `name=systemd`) and the container's
    /// own directory on the host.
    Legacy(Vec<(String, PathBuf)>),
}

/// Everything that will be done for one container.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The host's side, in order.
    pub host: Vec<Step<HostAction>>,
    /// The container's side, in order, up to the program.
    pub container: Vec<Step<Action>>,
    /// The program, who it runs as and with what rights.
    pub program: Program,
    /// The hooks of `start`: those before the program begins, and those after.
    pub start: Vec<Step<Hook>>,
    /// The hooks of `delete`, when nothing of the container is left.
    pub delete: Vec<Step<Hook>>,
    /// The process gets a terminal.
    pub terminal: bool,
    /// The root file system's absolute path.
    pub rootfs: PathBuf,
    /// What is not done, so that nobody is surprised.
    pub warnings: Vec<Problem>,
}

impl Plan {
    /// Works out what to do.
    ///
    /// # Errors
    /// Everything in the configuration that is not built yet, each by its JSON pointer.
    pub fn new(spec: &Spec, options: &Options, facts: &HostFacts) -> Result<Self, Vec<Problem>> {
        let mut warnings = spec.warnings();
        let mut refused = unsupported::check(spec, facts);
        refused.extend(hooks::refused(spec));
        refused.extend(labels::refused(spec, facts.modules));
        let mut program = Program::of(spec, options);
        match &mut program {
            Ok(program) if facts.groups_denied => refused.extend(program.keep_groups("/process")),
            Ok(_) => {}
            Err(problem) => refused.push(problem.clone()),
        }
        let landlock = landlock::ruleset(spec, facts.modules).unwrap_or_else(|problem| {
            refused.push(problem);
            None
        });
        let properties = unit_properties(spec, facts, &mut refused);
        let (Ok(mut program), []) = (program, &refused[..]) else { return Err(refused) };
        // In a user namespace nobody makes device nodes, and those of the host open to whom they open outside.
        if !facts.own_cgroup && facts.privileged && !spec.linux.resources.devices.is_empty() {
            let pointer = "/linux/resources/devices".to_owned();
            let message = "ignored without a cgroup of the container's own: no device is denied".to_owned();
            warnings.push(Problem { pointer, message });
        }
        if !facts.own_cgroup {
            warnings.extend(unending(spec));
            warnings.extend(limits::unheld(&limits::limits(&spec.linux.resources)));
        }
        let namespaces = namespaces::Namespaces::of(spec);
        program.seen_waiting = !facts.privileged && namespaces.nobody_else_sees_the_init();
        program.seen_listening = program.seen_waiting;
        let rootfs = mounts::clean(options.bundle.join(&spec.root.path));
        warnings.extend(mounts::warnings(spec, &rootfs));
        warnings.extend(mounts::warn_of_host(spec, &namespaces, facts));
        let mut container = container_side(spec, options, facts, &namespaces, &rootfs);
        landlock::restrict(landlock, &mut container);
        Ok(Self {
            host: host_side(spec, options, &container.0, &namespaces, facts, properties, &rootfs),
            container: container.0,
            program,
            start: later(spec, options, &[Point::StartContainer, Point::Poststart]),
            delete: later(spec, options, &[Point::Poststop]),
            terminal: spec.process.terminal,
            rootfs,
            warnings,
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "host")?;
        self.host.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        writeln!(f, "container")?;
        self.container.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        writeln!(f, "program")?;
        write!(f, "{}", self.program)?;
        for (name, hooks) in [("start", &self.start), ("delete", &self.delete)] {
            if !hooks.is_empty() {
                writeln!(f, "{name}")?;
                hooks.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
            }
        }
        if !self.warnings.is_empty() {
            writeln!(f, "warnings")?;
            self.warnings.iter().try_for_each(|warning| writeln!(f, "  {warning}"))?;
        }
        Ok(())
    }
}

/// A list of steps being written.
pub(crate) struct Steps<A>(Vec<Step<A>>);

impl<A> Steps<A> {
    fn push(&mut self, action: A, origin: impl Into<Origin>) {
        self.0.push(Step { action, origin: origin.into() });
    }
}

/// What cannot be ended for certain. The words are those of `runc`.
fn unending(spec: &Spec) -> Option<Problem> {
    let has_end = spec.linux.makes_namespace(NamespaceType::Pid);
    (!has_end).then(|| Problem {
        pointer: "/linux/namespaces".to_owned(),
        message: "no cgroup and no private pid namespace. Such configuration is strongly discouraged (as it is impossible to properly kill \
                  all container's processes)"
            .to_owned(),
    })
}

/// The hooks of some points, which run in commands after this one.
fn later(spec: &Spec, options: &Options, points: &[Point]) -> Vec<Step<Hook>> {
    points.iter().flat_map(|point| hooks::hooks(spec, options, *point)).collect()
}

fn host_side(
    spec: &Spec,
    options: &Options,
    container: &[Step<Action>],
    namespaces: &namespaces::Namespaces,
    facts: &HostFacts,
    properties: Vec<Property>,
    rootfs: &Path,
) -> Vec<Step<HostAction>> {
    let mut steps = Steps(Vec::with_capacity(8));
    if mounts::held_by_host(spec, namespaces, facts) {
        steps.push(HostAction::HoldMounts(rootfs.to_owned()), "/root/path");
    }
    let (mut from_the_beginning, before_the_program) = limits::limits(&spec.linux.resources).split();
    let limit = |resources: cloison_cgroup::Resources, steps: &mut Steps<HostAction>| {
        if facts.own_cgroup && !resources.is_empty() {
            steps.push(HostAction::LimitResources(Box::new(resources)), "/linux/resources");
        }
    };
    if facts.own_cgroup && facts.unit.is_none() {
        steps.push(HostAction::MakeCgroup, cgroup_origin(spec));
        mounts::delegate_cgroup(spec, container, namespaces, facts, &mut steps);
        limit(std::mem::take(&mut from_the_beginning), &mut steps);
    }
    hooks::open_outputs(spec, &mut steps);
    // The cgroup's own directory may be one of them.
    mounts::sources(spec, container, true, &mut steps);
    namespaces.clocks_by_host(spec, facts, &mut steps);
    namespaces.join_for_init(facts, &mut steps);
    // After what its process inherits.
    if let Some(unit) = &facts.unit {
        let start = StartUnit { unit: unit.clone(), properties };
        steps.push(HostAction::StartUnit(Box::new(start)), cgroup_origin(spec));
        mounts::delegate_cgroup(spec, container, namespaces, facts, &mut steps);
        limit(from_the_beginning, &mut steps);
    }
    let origin = Origin::of_optional(!spec.linux.namespaces.is_empty(), "/linux/namespaces");
    steps.push(HostAction::CloneInit(namespaces.to_clone()), origin);
    if namespaces.new.contains(NamespaceFlags::USER) {
        let (uids, gids) = namespaces::id_maps(spec);
        steps.push(HostAction::WriteIdMaps { uids, gids }, "/linux/uidMappings");
    }
    namespaces.move_devices(spec, &mut steps);
    if let Some(settings) = &spec.linux.intel_rdt {
        let request = resctrl::Request::of(settings);
        steps.push(HostAction::JoinResctrl(Box::new(request)), "/linux/intelRdt");
    }
    if let Some(score) = spec.process.oom_score_adj {
        steps.push(HostAction::OomScoreAdj(score), "/process/oomScoreAdj");
    }
    for (index, (resource, limit)) in process::limits(spec).into_iter().enumerate() {
        let wanted = limit.maximum.unwrap_or(u64::MAX);
        if facts.hard_limits.iter().any(|(known, hard)| *known == resource && *hard < wanted) {
            steps.push(HostAction::RaiseLimit(resource, wanted), Origin::index("/process/rlimits", index));
        }
    }
    let limit_all = |steps: &mut Steps<HostAction>| {
        // systemd writes the limits that it knows into the files again when it is told of devices.
        let (first, last) = match facts.unit {
            None => (before_the_program, cloison_cgroup::Resources::default()),
            Some(_) => (cloison_cgroup::Resources::default(), before_the_program),
        };
        limit(first, steps);
        if facts.own_cgroup {
            let asked = !spec.linux.resources.devices.is_empty();
            let origin = if asked { "/linux/resources/devices" } else { "runtime" };
            steps.push(HostAction::LimitDevices(device_rules::device_rules(spec)), origin);
        }
        limit(last, steps);
    };
    mounts::sources(spec, container, false, &mut steps);
    if let Some(waits) = hooks::init_waits(spec) {
        hooks::host_side(spec, options, waits, &mut steps, limit_all);
        steps.push(HostAction::AwaitInit, "runtime");
    } else {
        steps.push(HostAction::AwaitInit, "runtime");
        // Now the init is as small as it gets, and the program has not begun.
        limit_all(&mut steps);
    }
    steps.0
}

/// The story of a container's birth, from `clone3` to the program.
fn container_side(
    spec: &Spec,
    options: &Options,
    facts: &HostFacts,
    namespaces: &namespaces::Namespaces,
    rootfs: &Path,
) -> Steps<Action> {
    let mut steps = Steps(Vec::with_capacity(64));
    labels::prepare(spec, facts.modules, &mut steps);
    // A PID namespace that is not new may be another user namespace's, or the runtime may be in one.
    let is_kept = steps.0.iter().any(|step| matches!(step.action, Action::KeepAttributes));
    if !spec.linux.sysctl.is_empty() && !namespaces.new.contains(NamespaceFlags::PID) && !is_kept {
        steps.push(Action::KeepProcfs, "/linux/sysctl");
    }
    enter_namespaces(spec, options, facts, namespaces, &mut steps);
    if options.takes_streams && !spec.process.terminal {
        steps.push(Action::TakeStreams, "runtime");
    }
    build_root(spec, options, facts, namespaces, rootfs, &mut steps);
    mounts::reach_sources(namespaces, &mut steps);
    close_root(spec, facts, namespaces, &mut steps);
    steps.push(Action::ResetAffinity, "runtime");
    process::prepare(spec, &mut steps);
    labels::exec(spec, facts.modules, &mut steps);
    labels::mounts(spec, &mut steps);
    steps
}

/// The properties that annotations give the unit; where there is no unit they mean nothing.
fn unit_properties(spec: &Spec, facts: &HostFacts, refused: &mut Vec<Problem>) -> Vec<Property> {
    if facts.unit.is_none() {
        return Vec::new();
    }
    let mut properties = Vec::new();
    for (key, value) in &spec.annotations {
        match Property::of_annotation(key, value) {
            None => {}
            Some(Ok(property)) => properties.push(property),
            Some(Err(message)) => {
                refused.push(Problem { pointer: Origin::key("/annotations", key).to_string(), message });
            }
        }
    }
    properties
}

fn cgroup_origin(spec: &Spec) -> Origin {
    Origin::of_optional(spec.linux.cgroups_path.is_some(), "/linux/cgroupsPath")
}

fn enter_namespaces(
    spec: &Spec,
    options: &Options,
    facts: &HostFacts,
    namespaces: &namespaces::Namespaces,
    steps: &mut Steps<Action>,
) {
    namespaces.join(facts, steps);
    namespaces.clocks_by_init(spec, facts, steps);
    if namespaces.new.contains(NamespaceFlags::USER) {
        steps.push(Action::BecomeRoot, "/linux/uidMappings");
    }
    let later = namespaces.after_becoming_root();
    if !later.is_empty() {
        steps.push(Action::NewNamespace(later), namespaces.origin_of(later));
    }
    // Who is born in a unit is born in its v1 cgroups too.
    if facts.own_cgroup && facts.unit.is_none() && matches!(facts.cgroups, CgroupView::Legacy(_)) {
        steps.push(Action::JoinCgroup, cgroup_origin(spec));
    }
    // After the cgroup is joined: the root of a new cgroup namespace is the cgroup that its maker is in.
    if namespaces.new.contains(NamespaceFlags::CGROUP) {
        steps
            .push(Action::NewNamespace(NamespaceFlags::CGROUP), namespaces.origin_of(NamespaceFlags::CGROUP));
    }
    // After the last change of ids, which may undo it.
    steps.push(Action::HideInit, "runtime");
    steps.push(Action::NewSession, "runtime");
    if !options.no_new_keyring {
        labels::key(spec, steps);
        steps.push(session_keyring(&options.id, namespaces), "runtime");
    }
    if namespaces.new.contains(NamespaceFlags::NETWORK) {
        steps.push(Action::LoopbackUp, namespaces.origin_of(NamespaceFlags::NETWORK));
    }
}

/// From the host's tree to the container's: mounts, devices, and the change of root.
fn build_root(
    spec: &Spec,
    options: &Options,
    facts: &HostFacts,
    namespaces: &namespaces::Namespaces,
    rootfs: &Path,
    steps: &mut Steps<Action>,
) {
    let own_mounts = namespaces.has(NamespaceFlags::MOUNT);
    let propagation = spec.linux.rootfs_propagation;
    if own_mounts {
        let (host, parent) = mounts::host_propagation(propagation);
        let origin = Origin::of_optional(propagation.is_some(), "/linux/rootfsPropagation");
        steps.push(Action::HostPropagation(host), origin);
        steps.push(Action::BindRootfs { path: rootfs.to_owned(), parent }, "/root/path");
    } else {
        steps.push(Action::OpenRootfs(rootfs.to_owned()), "/root/path");
    }
    mounts::mounts(spec, &options.bundle, rootfs, facts, namespaces, steps);
    let own_dev = !mounts::binds_dev(spec);
    if own_dev {
        devices::devices(spec, facts, namespaces, steps);
    }
    hooks::container_side(spec, options, steps);
    // Everything above needs paths of the host; nothing below may reach them.
    let change = match (own_mounts, options.no_pivot) {
        (false, _) => Action::Chroot,
        (true, true) => Action::MoveRoot,
        (true, false) => Action::PivotRoot { host_may_be_shared: mounts::may_be_shared(propagation) },
    };
    steps.push(change, "/root/path");
    if let Some(flags) = mounts::root_propagation(propagation) {
        steps.push(Action::RootPropagation(flags), "/linux/rootfsPropagation");
    }
    if own_dev {
        steps.push(Action::ReopenDevNull, "runtime");
    }
    steps.push(Action::MakeWorkingDirectory(PathBuf::from(&spec.process.cwd)), "/process/cwd");
}

/// The terminal, then what may be done to the new root only once everything is in it.
fn close_root(
    spec: &Spec,
    facts: &HostFacts,
    namespaces: &namespaces::Namespaces,
    steps: &mut Steps<Action>,
) {
    let process = &spec.process;
    if process.terminal {
        steps.push(terminal(process, true), "/process/terminal");
    }
    if namespaces.has(NamespaceFlags::MOUNT) || mounts::held_by_host(spec, namespaces, facts) {
        if mounts::any_late_read_only(&steps.0) {
            steps.push(Action::LateReadOnly, "/mounts");
        }
        if spec.root.readonly {
            steps.push(Action::ReadOnlyRoot, "/root/readonly");
        }
    }
    umask(process, steps);
    if let Some(name) = &spec.hostname {
        steps.push(Action::Hostname(name.clone()), "/hostname");
    }
    if let Some(name) = &spec.domainname {
        steps.push(Action::Domainname(name.clone()), "/domainname");
    }
    let linux = &spec.linux;
    for (key, value) in &linux.sysctl {
        steps.push(Action::Sysctl(key.clone(), value.clone()), Origin::key("/linux/sysctl", key));
    }
    for (index, path) in linux.readonly_paths.iter().enumerate() {
        steps.push(Action::ReadOnlyPath(PathBuf::from(path)), Origin::index("/linux/readonlyPaths", index));
    }
    if !linux.masked_paths.is_empty() {
        steps.push(
            Action::MaskPaths(Masks {
                paths: linux.masked_paths.iter().map(PathBuf::from).collect(),
                label: linux.mount_label.clone(),
            }),
            "/linux/maskedPaths",
        );
    }
}

fn terminal(process: &Process, console_device: bool) -> Action {
    let size = process.console_size.as_ref().map(|size| (size.width as u16, size.height as u16));
    let size = size.filter(|(columns, rows)| *columns > 0 && *rows > 0);
    Action::Terminal { size, uid: process.user.uid, console_device }
}

fn umask(process: &Process, steps: &mut Steps<Action>) {
    let umask = process.user.umask;
    let origin = Origin::of_optional(umask.is_some(), "/process/user/umask");
    steps.push(Action::Umask(umask.unwrap_or(0o022)), origin);
}

/// The keyring is named after the container so that `exec` can join it. Whoever holds its key may search it, which with a user
/// namespace means others than its owner (keyctl(2)).
fn session_keyring(id: &ContainerId, namespaces: &namespaces::Namespaces) -> Action {
    const KEY_OTH_SEARCH: u32 = 0x8;
    const KEY_USR_SEARCH: u32 = 0x8_0000;
    let others = if namespaces.has(NamespaceFlags::USER) { KEY_OTH_SEARCH } else { 0 };
    Action::SessionKeyring(session_keyring_name(id), KEY_USR_SEARCH | others)
}

fn session_keyring_name(id: &ContainerId) -> CString {
    process::c_string(&format!("_ses.{}", id.as_str()))
}

#[cfg(test)]
mod tests;
