//! The program: what runs, as whom, with what rights and limits.

use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;

use cloison_linux::capability::{Capability, CapabilitySet};
use cloison_linux::launch::{self, LaunchProgram, LaunchStep};
use cloison_linux::schedule::{MemoryPolicy, SchedAttr};
use cloison_linux::signals::SignalSet;
use cloison_linux::{Resource, Rlimit};

use super::action::{Action, Origin};
use super::seccomp::Filter;
use super::{Options, Steps};
use crate::errno::Text;
use crate::spec::{self, Problem, Process, Spec};

/// What is executed at the end of a container's birth.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// What is executed, if `argv` does not say it.
    pub path: Option<CString>,
    /// `argv`; the first says what is executed, if nothing else does.
    pub args: Vec<CString>,
    /// The environment; each name once.
    pub env: Vec<CString>,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups; none where the kernel does not let them be changed.
    pub groups: Option<Vec<u32>>,
    /// The five sets of capabilities.
    pub capabilities: Capabilities,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// Which system calls it may make.
    pub seccomp: Option<Filter>,
    /// Limits, set last so that they bind the program and not us.
    pub limits: Vec<(Resource, Rlimit)>,
    /// How many descriptors it gets beside the standard streams.
    pub preserve_fds: u32,
    /// While it waits for `start`, the commands of the ordinary user whose container it is may join it: the kernel asks for rights over
    /// what a process that is not dumpable was made from, and only root has those. Not where processes of other containers could look
    /// into it, too, before it has lost any rights: there the commands wait for the program.
    pub seen_waiting: bool,
    /// While its filter's listener is taken, the ordinary user whose process it is may look into it, likewise. By then the runtime is not in its memory
    /// any more, and it has no descriptors but those of its program and the connection to the runtime; who could look into a process that joins has all
    /// its rights already.
    pub seen_listening: bool,
}

/// The five sets of capabilities(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// What `execve` can ever give.
    pub bounding: CapabilitySet,
    /// What is in force.
    pub effective: CapabilitySet,
    /// What may be put in force.
    pub permitted: CapabilitySet,
    /// What file capabilities may add to.
    pub inheritable: CapabilitySet,
    /// What a program without file capabilities keeps.
    pub ambient: CapabilitySet,
}

impl Program {
    /// What the launch does before `execve(2)`, in this order.
    ///
    /// Capabilities go last among the ids, since changing those needs them; the limits come first, since the kernel checks them against
    /// privileges that are gone later. The filter comes last, so that it need not allow what is done here; but without `no_new_privs`
    /// loading it takes a capability (seccomp(2)), and it comes before those go.
    pub fn launch_steps(&self) -> Vec<LaunchStep> {
        let mut steps = self.surroundings();
        let mask = steps.pop();
        let (early, late) = self.filters();
        steps.extend(early);
        steps.extend(self.rights());
        steps.extend(mask);
        steps.extend(late);
        steps
    }

    /// The same for a program that waits for `start`: what is done before the wait, and after it.
    ///
    /// All is done after it, so that the waiting process can be told by nothing from the runtime. But who listens to a filter is found
    /// by `create`, and so the filter is loaded then, and with it all that must come before it.
    pub fn launch_steps_around_wait(&self) -> (Vec<LaunchStep>, Vec<LaunchStep>) {
        if self.seccomp.as_ref().is_none_or(|filter| filter.listener.is_none()) {
            return (Vec::new(), self.launch_steps());
        }
        let (early, late) = self.filters();
        let before = early.into_iter().chain(self.rights()).chain(late).collect();
        (before, self.surroundings())
    }

    /// The step that loads the filter, before the rights are taken away or after.
    fn filters(&self) -> (Option<LaunchStep>, Option<LaunchStep>) {
        let step = self.seccomp.as_ref().map(|filter| filter.step(self.seen_listening));
        if self.no_new_privileges { (None, step) } else { (step, None) }
    }

    /// Descriptors, signals and limits; unblocking signals comes last.
    fn surroundings(&self) -> Vec<LaunchStep> {
        let mut steps = Vec::with_capacity(16);
        steps.push(LaunchStep::CloseFrom(self.first_closed()));
        steps.push(LaunchStep::ResetSignals);
        steps.extend(self.limits.iter().map(|(resource, limit)| LaunchStep::Limit(*resource, *limit)));
        steps.push(LaunchStep::SetSignalMask(SignalSet::NONE));
        steps
    }

    /// Ids and capabilities.
    fn rights(&self) -> Vec<LaunchStep> {
        let Capabilities { bounding, effective, permitted, inheritable, ambient } = self.capabilities;
        let mut steps = Vec::with_capacity(16);
        steps.push(LaunchStep::LimitBounding(bounding));
        steps.extend(self.groups.clone().map(LaunchStep::SetGroups));
        steps.push(LaunchStep::SetGid(self.gid));
        if self.uid == 0 {
            steps.push(LaunchStep::SetUid(0));
        } else {
            steps.push(LaunchStep::KeepCapabilities(true));
            steps.push(LaunchStep::SetUid(self.uid));
            steps.push(LaunchStep::KeepCapabilities(false));
        }
        steps.push(LaunchStep::SetCapabilities { effective, permitted, inheritable });
        steps.push(LaunchStep::ClearAmbient);
        if !ambient.is_empty() {
            steps.push(LaunchStep::RaiseAmbient(ambient));
        }
        if self.no_new_privileges {
            steps.push(LaunchStep::NoNewPrivileges);
        }
        steps
    }

    /// Leaves the groups as they are, since the kernel does not let them be changed; a problem if others are asked for. `at` is the
    /// process's place in the configuration.
    pub(super) fn keep_groups(&mut self, at: &str) -> Option<Problem> {
        let asked = self.groups.take().unwrap_or_default();
        (!asked.is_empty()).then(|| Problem {
            pointer: format!("{at}/user/additionalGids"),
            message: "the kernel denies groups to a user namespace in which an ordinary user has mapped one group; map more by \
                      /etc/subgid and newgidmap"
                .to_owned(),
        })
    }

    /// The number of the first descriptor that the program does not inherit.
    pub fn first_closed(&self) -> u32 {
        3_u32.saturating_add(self.preserve_fds)
    }

    /// A failed launch in the words that engines look for; whether it had a wait for `start`.
    pub fn describe(&self, failure: launch::Failure, waits: bool) -> String {
        match failure.at {
            launch::FailedAt::Program(_) => {
                // Without quotation marks, as `runc` tells what `execve` itself refuses.
                let name = self
                    .path
                    .as_ref()
                    .or(self.args.first())
                    .map(|name| name.to_string_lossy())
                    .unwrap_or_default();
                format!("exec {name}: {}", Text(failure.errno))
            }
            at => {
                let steps = if waits {
                    let (before, after) = self.launch_steps_around_wait();
                    [before, after].concat()
                } else {
                    self.launch_steps()
                };
                format!("{}: {}", at.describe(&steps, &LaunchProgram::default()), Text(failure.errno))
            }
        }
    }

    /// Reads `/process`, and `/linux/seccomp`.
    ///
    /// # Errors
    /// A filter that cannot be.
    pub(crate) fn of(spec: &Spec, options: &Options) -> Result<Self, Problem> {
        let process = &spec.process;
        Ok(Self {
            path: None,
            args: process.args.iter().map(|arg| c_string(arg)).collect(),
            env: environment(&process.env),
            uid: process.user.uid,
            gid: process.user.gid,
            groups: Some(process.user.additional_gids.clone()),
            capabilities: capabilities(process),
            no_new_privileges: process.no_new_privileges,
            limits: limits(spec),
            seccomp: Filter::of(spec)?,
            preserve_fds: options.preserve_fds,
            seen_waiting: false,
            seen_listening: false,
        })
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args: Vec<_> = self.args.iter().map(|arg| format!("{:?}", arg.to_string_lossy())).collect();
        writeln!(f, "  execute {}  [/process/args]", args.join(" "))?;
        writeln!(
            f,
            "  with {} descriptors beside the standard streams  [--preserve-fds]",
            self.preserve_fds
        )?;
        match &self.groups {
            Some(groups) => {
                writeln!(f, "  as uid {} gid {} groups {groups:?}  [/process/user]", self.uid, self.gid)?;
            }
            None => {
                writeln!(
                    f,
                    "  as uid {} gid {} in the caller's groups  [/process/user]",
                    self.uid, self.gid
                )?;
            }
        }
        if self.seen_waiting {
            writeln!(
                f,
                "  to be joined by the caller's commands while it waits for start, and its filter's listener taken  [runtime]"
            )?;
        }
        for (resource, limit) in &self.limits {
            let [soft, hard] = [limit.current, limit.maximum]
                .map(|value| value.map_or("unlimited".to_owned(), |n| n.to_string()));
            writeln!(f, "  limit {resource:?} soft {soft} hard {hard}  [/process/rlimits]")?;
        }
        let Capabilities { bounding, effective, permitted, inheritable, ambient } = self.capabilities;
        let sets = [
            ("bounding", bounding),
            ("effective", effective),
            ("permitted", permitted),
            ("inheritable", inheritable),
            ("ambient", ambient),
        ];
        for (name, set) in sets {
            writeln!(f, "  {name} capabilities {set}  [/process/capabilities/{name}]")?;
        }
        if self.no_new_privileges {
            writeln!(f, "  no new privileges  [/process/noNewPrivileges]")?;
        }
        if let Some(filter) = &self.seccomp {
            writeln!(f, "  {filter}  [/linux/seccomp]")?;
            if let Some(listener) = &filter.listener {
                writeln!(f, "  {listener}  [/linux/seccomp/listenerPath]")?;
            }
        }
        Ok(())
    }
}

/// A string that `spec` has checked to be without NUL bytes.
pub fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// The environment with each name once, in the order of first appearance; of several values the last wins.
fn environment(env: &[String]) -> Vec<CString> {
    let name = |entry: &str| entry.split_once('=').map_or(entry, |(name, _)| name).to_owned();
    let mut unique: Vec<(String, &str)> = Vec::with_capacity(env.len());
    for entry in env {
        let name = name(entry);
        match unique.iter_mut().find(|(known, _)| *known == name) {
            Some((_, value)) => *value = entry,
            None => unique.push((name, entry)),
        }
    }
    unique.iter().map(|(_, entry)| c_string(entry)).collect()
}

fn resource(kind: spec::RlimitType) -> Resource {
    use spec::RlimitType as Named;
    match kind {
        Named::Cpu => Resource::Cpu,
        Named::Fsize => Resource::Fsize,
        Named::Data => Resource::Data,
        Named::Stack => Resource::Stack,
        Named::Core => Resource::Core,
        Named::Rss => Resource::Rss,
        Named::Nproc => Resource::Nproc,
        Named::Nofile => Resource::Nofile,
        Named::Memlock => Resource::Memlock,
        Named::As => Resource::As,
        Named::Locks => Resource::Locks,
        Named::Sigpending => Resource::Sigpending,
        Named::Msgqueue => Resource::Msgqueue,
        Named::Nice => Resource::Nice,
        Named::Rtprio => Resource::Rtprio,
        Named::Rttime => Resource::Rttime,
    }
}

/// `/process/rlimits`.
pub fn limits(spec: &Spec) -> Vec<(Resource, Rlimit)> {
    let finite = |value: u64| (value != u64::MAX).then_some(value);
    let limit = |limit: &spec::Rlimit| {
        (resource(limit.kind), Rlimit { current: finite(limit.soft), maximum: finite(limit.hard) })
    };
    spec.process.rlimits.iter().map(limit).collect()
}

fn capabilities(process: &Process) -> Capabilities {
    let Some(wanted) = &process.capabilities else { return Capabilities::default() };
    let set = |names: &[String]| {
        names.iter().filter_map(|name| Capability::from_name(name)).collect::<CapabilitySet>()
    };
    let permitted = set(&wanted.permitted);
    let inheritable = set(&wanted.inheritable);
    let asked = set(&wanted.ambient);
    // prctl(2): a capability can be ambient only while it is both permitted and inheritable. Many configurations ask for more.
    let ambient = asked.intersection(permitted).intersection(inheritable);
    Capabilities {
        bounding: set(&wanted.bounding),
        effective: set(&wanted.effective),
        permitted,
        inheritable,
        ambient,
    }
}

/// The steps between the finished root file system and the program.
pub(crate) fn prepare(spec: &Spec, steps: &mut Steps<Action>) {
    let process = &spec.process;
    if let Some(scheduler) = &process.scheduler {
        steps.push(Action::Scheduler(sched_attr(scheduler)), "/process/scheduler");
    }
    if let Some(priority) = &process.io_priority {
        let class = priority.class.number() as u8;
        let level = u8::try_from(priority.priority.clamp(0, 7)).unwrap_or(7);
        steps.push(Action::IoPriority(class, level), "/process/ioPriority");
    }
    if let Some(personality) = &spec.linux.personality {
        steps.push(Action::Personality(personality.domain.number()), "/linux/personality");
    }
    if let Some(policy) = &spec.linux.memory_policy {
        steps.push(Action::MemoryPolicy(memory_policy(policy)), "/linux/memoryPolicy");
    }
    let user = &process.user;
    let path = PathBuf::from(&process.cwd);
    steps.push(Action::WorkingDirectory { path, uid: user.uid, gid: user.gid }, "/process/cwd");
    if user.uid != 0 {
        steps.push(Action::OwnStreams(user.uid), "/process/user/uid");
    }
    let home_is_set = process
        .env
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix("HOME="))
        .is_some_and(|home| !home.is_empty());
    if !home_is_set {
        let origin = Origin::of_optional(!process.env.is_empty(), "/process/env");
        steps.push(Action::Home(user.uid), origin);
    }
    steps.push(Action::FindProgram, "/process/args/0");
}

fn sched_attr(scheduler: &spec::Scheduler) -> SchedAttr {
    SchedAttr {
        policy: scheduler.policy.number(),
        flags: scheduler.flags.iter().fold(0, |all, flag| all | flag.bit()),
        nice: scheduler.nice,
        priority: u32::try_from(scheduler.priority).unwrap_or(0),
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
        ..SchedAttr::default()
    }
}

fn memory_policy(policy: &spec::MemoryPolicy) -> MemoryPolicy {
    let flags = policy.flags.iter().fold(0, |all, flag| all | flag.bit());
    MemoryPolicy {
        mode: (policy.mode.number() | flags).cast_unsigned(),
        nodes: policy.nodes.as_ref().map(|nodes| nodes.ids().collect()).unwrap_or_default(),
    }
}
