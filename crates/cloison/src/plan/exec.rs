//! What an `exec` will do, as data: how another process gets into a container that is there.
//!
//! [`ExecPlan::new`] is a pure function of the container's configuration, the process that is [`asked`] for, and what the machine is
//! like. As with a birth, there is one list for the host's side and one for the side of the new process, which begins outside of the
//! container and ends as the program.

use std::ffi::CString;
use std::fmt;
use std::path::{Path, PathBuf};

use cloison_linux::namespace::NamespaceFlags;
use cloison_linux::{Resource, Rlimit};

use super::action::{Action, Origin, Step};
use super::container_side::{session_keyring_name, terminal, umask};
use super::hooks::{Environment, Hook};
use super::namespaces::Namespaces;
use super::{Options, Program, Steps, labels, landlock, process};
use crate::id::ContainerId;
use crate::spec::{CpuAffinity, Problem, Process, Spec};

pub mod asked;

pub use asked::{Asked, ProcessFlags, Refusal};

/// What the machine and the container are like, as far as an `exec` asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecFacts {
    /// The absolute path of the root file system, as the container was made of it.
    pub rootfs: PathBuf,
    /// The runtime may enter namespaces with the rights that it has outside (`CAP_SYS_ADMIN`), and not only those that it owns.
    pub privileged: bool,
    /// The container's processes may not leave or join groups.
    pub groups_denied: bool,
    /// The container's cgroup is one that a process has to write itself into (v1).
    pub joins_cgroup: bool,
    /// The container's class of service in the resctrl file system.
    pub resctrl: Option<PathBuf>,
    /// The container's first process has no session keyring of its own.
    pub no_new_keyring: bool,
    /// The container has been restored with clocks of its own.
    pub restored_clocks: bool,
    /// How many descriptors of a service manager the process gets.
    pub activation: u32,
    /// The security modules.
    pub modules: labels::Modules,
    /// The runtime's own limits.
    pub limits: Vec<(Resource, Rlimit)>,
}

/// Everything that will be done for one process.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecPlan {
    /// The host's side, in order.
    pub host: Vec<Step<ExecAction>>,
    /// The new process's side, in order, up to the program.
    pub newcomer: Vec<Step<Action>>,
    /// The program, who it runs as and with what rights.
    pub program: Program,
    /// The process gets a terminal.
    pub terminal: bool,
}

/// What the runtime does on the host's side of an `exec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecAction {
    /// Writes `/proc/self/oom_score_adj` (proc(5)) until the process is born, which inherits it. The process itself could not: the files
    /// in `/proc` of who is not dumpable are root's.
    OomScoreAdj(i32),
    /// Makes the runtime not dumpable, so that its child is so from its birth: in the container's PID namespace, a process that still
    /// holds descriptors of the host must not be looked into (CVE-2016-9962).
    Hide,
    /// The CPUs that the runtime and its child may use until the child is in the container's cgroup.
    Affinity(Vec<u32>),
    /// Puts children into the container's PID namespace.
    EnterForChildren(NamespaceFlags),
    /// Starts the process in the container's cgroup.
    Clone {
        /// The child enters the namespaces first, and then gives birth to the process as another child of the runtime's.
        by_go_between: bool,
    },
    /// Puts the process into the container's class of service.
    JoinResctrl(PathBuf),
    /// Waits until the process needs nothing more to be done before its program.
    Await,
}

impl fmt::Display for ExecAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OomScoreAdj(score) => write!(f, "oom_score_adj {score}, for the process"),
            Self::Hide => f.write_str("hide the runtime from other processes"),
            Self::Affinity(cpus) => write!(f, "use the CPUs {cpus:?}"),
            Self::EnterForChildren(kinds) => write!(f, "put children into the container's {kinds} namespace"),
            Self::Clone { by_go_between: false } => {
                f.write_str("start the process in the container's cgroup")
            }
            Self::Clone { by_go_between: true } => {
                f.write_str("start the process in the container's cgroup, by a go-between")
            }
            Self::JoinResctrl(class) => write!(f, "join the resctrl class {}", class.display()),
            Self::Await => f.write_str("wait until the process is ready"),
        }
    }
}

/// A step of the new process's way into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joining {
    /// Raises a hard limit while that is allowed; the exact values come at the end.
    RaiseLimit(Resource, Rlimit),
    /// Enters all these namespaces of the container's first process by one `setns(2)` of its pidfd (Linux 5.8), and becomes root in its
    /// user namespace if that is one of them.
    Namespaces(NamespaceFlags),
    /// Gives birth to another child of the runtime's, which goes on in the PID namespace that was entered, and ends.
    HandOn,
    /// Joins the container's session keyring.
    SessionKeyring(CString),
    /// `sched_setaffinity(2)`: these CPUs, now that it is in the container's cgroup.
    Affinity(Vec<u32>),
    /// Tells the program its own number, as the one that sockets of a service manager are for (`sd_listen_fds(3)`).
    ListenPid,
    /// Takes the container's root for its own, where that did not come with a mount namespace.
    Root,
}

impl fmt::Display for Joining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RaiseLimit(resource, limit) => {
                let hard = limit.maximum.map_or("unlimited".to_owned(), |hard| hard.to_string());
                write!(f, "raise the hard limit of {resource:?} to {hard}")
            }
            Self::Namespaces(kinds) => write!(f, "join the container's namespaces: {kinds}"),
            Self::HandOn => f.write_str("hand on to a process in the PID namespace"),
            Self::SessionKeyring(name) => write!(f, "join the session keyring {}", name.to_string_lossy()),
            Self::Affinity(cpus) => write!(f, "use the CPUs {cpus:?}"),
            Self::ListenPid => f.write_str("set LISTEN_PID"),
            Self::Root => f.write_str("enter the container's root"),
        }
    }
}

/// A list of steps, and how to refuse.
type Result<T> = std::result::Result<T, Refusal>;

impl ExecPlan {
    /// Works out what to do. `spec` is the container's own configuration.
    ///
    /// # Errors
    /// What is asked for and makes no sense, or cannot be had.
    pub fn new(
        mut spec: Spec,
        mut asked: Asked,
        id: &ContainerId,
        preserve_fds: u32,
        facts: &ExecFacts,
    ) -> Result<Self> {
        let args = asked.flags.args.clone();
        if facts.activation > 0 {
            asked.flags.env.push(format!("LISTEN_FDS={}", facts.activation));
        }
        spec.process = asked.process(&spec.process)?;
        let refused = labels::refused(&spec, facts.modules);
        let refused: Vec<_> =
            refused.into_iter().filter(|problem| problem.pointer.starts_with("/process")).collect();
        if !refused.is_empty() {
            return Err(Refusal::Problems(refused));
        }
        let options = Options {
            id: id.clone(),
            bundle: "/".into(),
            no_pivot: false,
            no_new_keyring: facts.no_new_keyring,
            preserve_fds: preserve_fds.saturating_add(facts.activation),
            takes_streams: false,
        };
        let mut program = Program::of(&spec, &options).map_err(|problem| Refusal::Problems(vec![problem]))?;
        program.seen_listening = !facts.privileged;
        if facts.groups_denied
            && let Some(problem) = program.keep_groups("")
        {
            return Err(Refusal::Problems(vec![problem]));
        }
        if !args.is_empty() {
            program.args = asked::raw(&args)?;
        }
        let landlock = landlock::ruleset(&spec, facts.modules);
        let landlock = landlock.map_err(|problem| Refusal::Problems(vec![problem]))?;
        let namespaces = Namespaces::of(&spec);
        let by_go_between = namespaces.has(NamespaceFlags::USER) && !facts.privileged;
        let mut newcomer = newcomer_side(&spec, id, facts, &namespaces, by_go_between);
        landlock::restrict(landlock, &mut newcomer);
        Ok(Self {
            host: host_side(&spec.process, &namespaces, by_go_between, facts.resctrl.as_deref()),
            newcomer: newcomer.0,
            program,
            terminal: spec.process.terminal,
        })
    }
}

impl ExecPlan {
    /// Works out how a hook gets into the container, with the rights and limits of its program. What it says may be caught by the
    /// runtime, or go to files of the host.
    ///
    /// # Errors
    /// A filter that cannot be.
    pub fn of_hook(
        mut spec: Spec,
        hook: &Hook,
        is_caught: bool,
        facts: &ExecFacts,
    ) -> std::result::Result<Self, Problem> {
        let facts = ExecFacts { activation: 0, ..facts.clone() };
        spec.process.terminal = false;
        spec.process.exec_cpu_affinity = CpuAffinity::default();
        let id = &hook.told.id;
        let options = Options {
            id: id.clone(),
            bundle: "/".into(),
            no_pivot: false,
            no_new_keyring: facts.no_new_keyring,
            preserve_fds: 0,
            takes_streams: false,
        };
        let mut program = Program::of(&spec, &options)?;
        program.seen_listening = !facts.privileged;
        if facts.groups_denied
            && let Some(problem) = program.keep_groups("/process")
        {
            return Err(problem);
        }
        (program.path, program.args) = (Some(hook.path.clone()), hook.args.clone());
        let namespaces = Namespaces::of(&spec);
        let by_go_between = namespaces.has(NamespaceFlags::USER) && !facts.privileged;
        let mut newcomer = newcomer_side(&spec, id, &facts, &namespaces, by_go_between);
        landlock::restrict(landlock::ruleset(&spec, facts.modules)?, &mut newcomer);
        let mut newcomer = newcomer.0;
        if let Environment::Given(env) = &hook.env {
            program.env.clone_from(env);
            // As it is given.
            newcomer.retain(|step| !matches!(step.action, Action::Home(_)));
        }
        if !is_caught {
            newcomer.retain(|step| !matches!(step.action, Action::OwnStreams(_)));
        }
        let host = host_side(&spec.process, &namespaces, by_go_between, facts.resctrl.as_deref());
        Ok(Self { host, newcomer, program, terminal: false })
    }
}

impl fmt::Display for ExecPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "host")?;
        self.host.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        writeln!(f, "process")?;
        self.newcomer.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        writeln!(f, "program")?;
        write!(f, "{}", self.program)
    }
}

fn host_side(
    process: &Process,
    namespaces: &Namespaces,
    by_go_between: bool,
    resctrl: Option<&Path>,
) -> Vec<Step<ExecAction>> {
    let mut steps = Steps(Vec::with_capacity(6));
    if let Some(score) = process.oom_score_adj {
        steps.push(ExecAction::OomScoreAdj(score), "/process/oomScoreAdj");
    }
    steps.push(ExecAction::Hide, "runtime");
    if let Some(cpus) = &process.exec_cpu_affinity.initial {
        steps.push(ExecAction::Affinity(cpus.ids().collect()), "/process/execCPUAffinity/initial");
    }
    if namespaces.has(NamespaceFlags::PID) && !by_go_between {
        let origin = namespaces.origin_of(NamespaceFlags::PID);
        steps.push(ExecAction::EnterForChildren(NamespaceFlags::PID), origin);
    }
    steps.push(ExecAction::Clone { by_go_between }, "exec");
    if let Some(class) = resctrl {
        steps.push(ExecAction::JoinResctrl(class.to_owned()), "/linux/intelRdt");
    }
    steps.push(ExecAction::Await, "exec");
    steps.0
}

/// The story of a process that joins a container, from `clone3` to the program.
fn newcomer_side(
    spec: &Spec,
    id: &ContainerId,
    facts: &ExecFacts,
    namespaces: &Namespaces,
    by_go_between: bool,
) -> Steps<Action> {
    let mut steps = Steps(Vec::with_capacity(24));
    labels::prepare(spec, facts.modules, &mut steps);
    outside(spec, facts, &mut steps);
    join(facts, namespaces, by_go_between, &mut steps);
    steps.push(Action::NewSession, "exec");
    if !facts.no_new_keyring {
        // The container's may not be found, and then it is a new one.
        labels::key(spec, &mut steps);
        steps.push(Action::Join(Joining::SessionKeyring(session_keyring_name(id))), "exec");
    }
    if facts.activation > 0 {
        steps.push(Action::Join(Joining::ListenPid), "exec");
    }
    steps.push(Action::Join(Joining::Root), "exec");
    if !super::mounts::binds_dev(spec, &facts.rootfs) {
        steps.push(Action::ReopenDevNull, "exec");
    }
    if spec.process.terminal {
        steps.push(terminal(&spec.process, false), "/process/terminal");
    }
    umask(&spec.process, &mut steps);
    affinity(&spec.process, &mut steps);
    process::prepare(spec, &mut steps);
    labels::exec(spec, facts.modules, &mut steps);
    steps
}

/// What takes rights that the process has only outside.
fn outside(spec: &Spec, facts: &ExecFacts, steps: &mut Steps<Action>) {
    for (index, (resource, limit)) in process::limits(spec).into_iter().enumerate() {
        let is_higher =
            |hard: Option<u64>| hard.is_some_and(|hard| limit.maximum.is_none_or(|wanted| wanted > hard));
        if let Some((_, now)) =
            facts.limits.iter().find(|(known, now)| *known == resource && is_higher(now.maximum))
        {
            let raised = Rlimit { current: now.current, maximum: limit.maximum };
            steps.push(
                Action::Join(Joining::RaiseLimit(resource, raised)),
                Origin::index("/process/rlimits", index),
            );
        }
    }
    if facts.joins_cgroup {
        steps.push(Action::JoinCgroup, "exec");
    }
}

/// The way in: all namespaces by one call.
fn join(facts: &ExecFacts, namespaces: &Namespaces, by_go_between: bool, steps: &mut Steps<Action>) {
    let mut kinds = namespaces.all();
    if facts.restored_clocks {
        // Or the container could not be checkpointed again: CRIU knows no process with other clocks than the first one's.
        kinds |= NamespaceFlags::TIME;
    }
    if !by_go_between {
        // The process was born in it; who enters it is not in it, but its children are (setns(2)).
        kinds -= NamespaceFlags::PID;
    }
    if !kinds.is_empty() {
        steps.push(Action::Join(Joining::Namespaces(kinds)), "/linux/namespaces");
    }
    if by_go_between {
        steps.push(Action::Join(Joining::HandOn), "/linux/namespaces");
    }
    if kinds.contains(NamespaceFlags::USER) {
        // A change of ids may undo it.
        steps.push(Action::HideInit, "exec");
    }
    debug_assert!(facts.privileged || by_go_between || !kinds.contains(NamespaceFlags::USER));
}

/// A process that joins late is not to stay on the CPUs that the runtime was bound to, nor on those of the way in.
fn affinity(process: &Process, steps: &mut Steps<Action>) {
    let cpus = &process.exec_cpu_affinity;
    match (&cpus.initial, &cpus.after_joining) {
        (_, Some(cpus)) => {
            steps.push(
                Action::Join(Joining::Affinity(cpus.ids().collect())),
                "/process/execCPUAffinity/final",
            );
        }
        (Some(_), None) => {}
        (None, None) => steps.push(Action::ResetAffinity, "exec"),
    }
}
