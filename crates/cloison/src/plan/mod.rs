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
//! | `host_side`, `container_side` | which steps there are, and their order |
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

use std::fmt;
use std::path::PathBuf;

use cloison_cgroup::{Property, Unit};

use crate::id::ContainerId;
use crate::spec::{NamespaceType, Problem, Spec};

pub mod action;
mod container_side;
pub(crate) mod device_rules;
pub mod devices;
pub mod exec;
pub mod hooks;
mod host_side;
pub mod labels;
pub mod landlock;
pub(crate) mod limits;
pub mod mount_options;
pub mod mounts;
pub mod namespaces;
pub mod process;
pub mod seccomp;
pub mod unsupported;

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
        let mut container = container_side::container_side(spec, options, facts, &namespaces, &rootfs);
        landlock::restrict(landlock, &mut container);
        Ok(Self {
            host: host_side::host_side(spec, options, &container.0, &namespaces, facts, properties, &rootfs),
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

#[cfg(test)]
mod tests;
