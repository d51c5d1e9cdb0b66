//! The filter of system calls: `linux.seccomp` as a program that the kernel takes.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use cloison_linux::launch::{Handover, LaunchStep, SockFilter};
use cloison_linux::seccomp;
use cloison_seccomp::{Action, Architecture, Arg, Error, Flag, Operator, Profile, Rule};

use crate::spec::{
    LISTENER_ANNOTATION, Problem, Seccomp, SeccompAction, SeccompFlag, SeccompOperator, Spec, Syscall,
    SyscallArg,
};

/// What the runtime tells the init when the filter's listener is with the one who answers.
pub const LISTENING: u8 = b'l';

/// A filter that is ready to be loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// The instructions.
    pub program: Vec<SockFilter>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
    /// Names in the profile that are no system call of any architecture; nothing comes of them.
    pub unknown: Vec<String>,
    /// Who is told of calls and answers them; there if a rule has `SCMP_ACT_NOTIFY`.
    pub listener: Option<Listener>,
    /// What happens to calls that no rule is about.
    default_action: SeccompAction,
    /// How many rules the profile has.
    rules: usize,
    /// The architectures, the native one first.
    architectures: Vec<Architecture>,
}

/// Who answers calls with `SCMP_ACT_NOTIFY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The socket on which it takes descriptors; one that begins with `@` is abstract.
    pub path: PathBuf,
    /// What it is told besides.
    pub metadata: String,
}

impl Filter {
    /// Compiles `linux.seccomp`; none where it asks for nothing.
    ///
    /// # Errors
    /// What `runc` refuses as well, with its place; and machines of an architecture that no filter can tell.
    pub fn of(spec: &Spec) -> Result<Option<Self>, Problem> {
        let Some(seccomp) = spec.linux.seccomp.as_ref().filter(|seccomp| !seccomp.is_empty()) else {
            return Ok(None);
        };
        let Some(default_action) = seccomp.default_action else {
            return Err(problem("/linux/seccomp/defaultAction", "missing, expected a seccomp action"));
        };
        let Some(native) = Architecture::NATIVE else {
            return Err(problem(
                "/linux/seccomp",
                "seccomp filters are not there for this machine's architecture",
            ));
        };
        refuse_useless_flags(seccomp)?;
        let profile = profile(seccomp, default_action);
        let compiled = cloison_seccomp::compile(&profile, native).map_err(|error| refusal(error, seccomp))?;
        let mut architectures = vec![native];
        for architecture in profile.architectures {
            if !architectures.contains(&architecture) {
                architectures.push(architecture);
            }
        }
        Ok(Some(Self {
            program: compiled.filter.into_iter().map(instruction).collect(),
            flags: compiled.flags,
            unknown: compiled.unknown,
            listener: seccomp.notifies().then(|| listener(seccomp, spec)),
            default_action,
            rules: profile.rules.len(),
            architectures,
        }))
    }

    /// A filter that tells of all calls; whoever has the listener writes them down. None on machines of an architecture that no filter
    /// can tell.
    pub fn recording() -> Option<Self> {
        let native = Architecture::NATIVE?;
        let program = cloison_seccomp::recording(native);
        // A call that is looked at should not be interrupted by a signal that the program would not have seen.
        let killable = seccomp::NEW_LISTENER | seccomp::WAIT_KILLABLE_RECV;
        let more = if seccomp::flags_supported(killable) { killable } else { 0 };
        Some(Self {
            program: program.filter.into_iter().map(instruction).collect(),
            flags: program.flags | more,
            unknown: Vec::new(),
            listener: Some(Listener { path: PathBuf::from("the recorder"), metadata: String::new() }),
            default_action: SeccompAction::Notify,
            rules: 0,
            architectures: vec![native],
        })
    }

    /// The step that loads it, and whether the process may be looked into by its user's commands while its listener is taken.
    pub(super) fn step(&self, be_seen: bool) -> LaunchStep {
        let listener = self.listener.as_ref().map(|_| Handover { hear: LISTENING, be_seen });
        LaunchStep::Seccomp { filter: self.program.clone(), flags: self.flags, listener }
    }
}

fn instruction(one: cloison_seccomp::SockFilter) -> SockFilter {
    SockFilter { code: one.code, jt: one.jt, jf: one.jf, k: one.k }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, flags, default_action, rules, architectures, .. } = self;
        let architectures: Vec<_> = architectures.iter().map(|architecture| architecture.name()).collect();
        write!(f, "filter system calls: default {default_action}, {rules} rules, ")?;
        write!(f, "{}, {} instructions, flags {flags:#x}", architectures.join(","), program.len())
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hand the filter's listener to {}", self.path.display())
    }
}

fn listener(seccomp: &Seccomp, spec: &Spec) -> Listener {
    // One of them is there, as has been checked.
    let path = seccomp.listener_path.as_ref().or_else(|| spec.annotations.get(LISTENER_ANNOTATION));
    Listener {
        path: path.map(PathBuf::from).unwrap_or_default(),
        metadata: seccomp.listener_metadata.clone().unwrap_or_default(),
    }
}

/// The content of `linux.seccomp` for the compiler.
pub fn profile(seccomp: &Seccomp, default_action: SeccompAction) -> Profile<'_> {
    // Absent is not the same as none: what runc does then, and what every kernel that we run on can.
    let flags = seccomp.flags.as_deref().unwrap_or(&[SeccompFlag::SpecAllow]);
    Profile {
        default_action: action(default_action),
        default_errno: seccomp.default_errno_ret,
        architectures: seccomp
            .architectures
            .iter()
            .filter_map(|architecture| Architecture::named(architecture.as_str()))
            .collect(),
        flags: flags.iter().map(|flag| self::flag(*flag)).collect(),
        rules: seccomp.syscalls.iter().map(rule).collect(),
    }
}

fn rule(rule: &Syscall) -> Rule<'_> {
    Rule {
        names: Cow::Borrowed(&rule.names),
        action: action(rule.action),
        errno: rule.errno_ret,
        args: rule.args.iter().map(arg).collect(),
    }
}

fn arg(arg: &SyscallArg) -> Arg {
    let op = match arg.op {
        SeccompOperator::NotEqual => Operator::NotEqual,
        SeccompOperator::Less => Operator::Less,
        SeccompOperator::LessOrEqual => Operator::LessOrEqual,
        SeccompOperator::Equal => Operator::Equal,
        SeccompOperator::GreaterOrEqual => Operator::GreaterOrEqual,
        SeccompOperator::Greater => Operator::Greater,
        SeccompOperator::MaskedEqual => Operator::MaskedEqual,
    };
    Arg { index: arg.index, value: arg.value, value_two: arg.value_two, op }
}

fn action(action: SeccompAction) -> Action {
    match action {
        SeccompAction::Kill | SeccompAction::KillThread => Action::KillThread,
        SeccompAction::KillProcess => Action::KillProcess,
        SeccompAction::Trap => Action::Trap,
        SeccompAction::Errno => Action::Errno,
        SeccompAction::Trace => Action::Trace,
        SeccompAction::Allow => Action::Allow,
        SeccompAction::Log => Action::Log,
        SeccompAction::Notify => Action::Notify,
    }
}

fn flag(flag: SeccompFlag) -> Flag {
    match flag {
        SeccompFlag::Tsync => Flag::Tsync,
        SeccompFlag::Log => Flag::Log,
        SeccompFlag::SpecAllow => Flag::SpecAllow,
        SeccompFlag::WaitKillableRecv => Flag::WaitKillableRecv,
    }
}

/// The kernel takes this flag only with a listener.
fn refuse_useless_flags(seccomp: &Seccomp) -> Result<(), Problem> {
    let flags = seccomp.flags.iter().flatten();
    let found = flags.enumerate().find(|(_, flag)| **flag == SeccompFlag::WaitKillableRecv);
    match found {
        Some((index, flag)) if !seccomp.notifies() => Err(problem(
            &format!("/linux/seccomp/flags/{index}"),
            &format!("{flag} needs a rule with SCMP_ACT_NOTIFY"),
        )),
        _ => Ok(()),
    }
}

/// What the compiler refuses, with its place.
fn refusal(error: Error, seccomp: &Seccomp) -> Problem {
    let pointer = match error {
        Error::NotifyByDefault => "/linux/seccomp/defaultAction".to_owned(),
        Error::NotifyOfWrite { rule } | Error::Contradiction { rule, .. } => {
            format!("/linux/seccomp/syscalls/{rule}")
        }
        Error::EmptyName { rule } => format!("/linux/seccomp/syscalls/{rule}/names"),
        Error::NoSuchArgument { rule, .. } => format!("/linux/seccomp/syscalls/{rule}/args"),
        Error::ByteOrder { architecture, .. } => {
            let mut names = seccomp.architectures.iter().map(|architecture| architecture.as_str());
            let index = names.position(|name| name == architecture.name()).unwrap_or_default();
            format!("/linux/seccomp/architectures/{index}")
        }
        _ => "/linux/seccomp".to_owned(),
    };
    problem(&pointer, &error.to_string())
}

fn problem(pointer: &str, message: &str) -> Problem {
    Problem { pointer: pointer.to_owned(), message: message.to_owned() }
}
