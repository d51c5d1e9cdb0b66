//! The process that an `exec` asks for: a document, or the container's own process with what the command line changes.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use cloison_linux::capability::Capability;

use crate::spec::{Capabilities, Problem, Process};

/// The process that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// A `process` section and where it came from, to start from instead of the container's own.
    pub document: Option<(PathBuf, Process)>,
    /// What the command line changes.
    pub flags: ProcessFlags,
}

/// What the command line of `exec` says of the process, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProcessFlags {
    /// The program and its arguments; any bytes.
    pub args: Vec<OsString>,
    /// A terminal.
    pub tty: bool,
    /// The working directory; empty stands for none given.
    pub cwd: Option<String>,
    /// `NAME=value`, added.
    pub env: Vec<String>,
    /// `uid[:gid]`.
    pub user: Option<String>,
    /// Groups, added.
    pub additional_gids: Vec<String>,
    /// Names of capabilities, added.
    pub capabilities: Vec<String>,
    /// The `AppArmor` profile; empty stands for none given.
    pub apparmor_profile: Option<String>,
    /// The `SELinux` label; empty stands for none given.
    pub selinux_label: Option<String>,
    /// `noNewPrivileges`.
    pub no_new_privileges: Option<bool>,
}

/// Why a process cannot be had as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither a document nor a program.
    #[error("exec args cannot be empty")]
    NoProgram,
    /// A document and a program, of which only one can run.
    #[error("--process has args already, and cannot be given together with a command")]
    TwoPrograms,
    /// A user that is none.
    #[error("bad {what} {text:?} in --user {user:?}: expected uid[:gid], each a number from 0 to 4294967294")]
    User {
        /// `uid` or `gid`.
        what: &'static str,
        /// What stands in its place.
        text: String,
        /// The whole value.
        user: String,
    },
    /// A group that is none.
    #[error("bad gid {0:?} in --additional-gids: expected a number from 0 to 4294967294")]
    Group(String),
    /// A capability that nobody knows.
    #[error("unknown capability {0:?} in --cap: expected a name like CAP_KILL")]
    Capability(String),
    /// An argument that cannot be one.
    #[error("an argument holds a NUL byte: {0:?}")]
    Nul(OsString),
    /// Rules that the whole breaks.
    #[error("{}", list(.0))]
    Problems(Vec<Problem>),
}

fn list(problems: &[Problem]) -> String {
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

impl Asked {
    /// The process: of the document, or the `container`'s own without its terminal; then what the command line changes.
    ///
    /// # Errors
    /// What makes no sense in it.
    pub(super) fn process(self, container: &Process) -> Result<Process, Refusal> {
        let Self { document, flags } = self;
        let mut process = match document {
            Some(_) if !flags.args.is_empty() => return Err(Refusal::TwoPrograms),
            Some((_, document)) => filled_up(document, container),
            None if flags.args.is_empty() => return Err(Refusal::NoProgram),
            None => Process { terminal: false, ..container.clone() },
        };
        flags.apply_to(&mut process)?;
        let problems = process.check();
        if problems.is_empty() { Ok(process) } else { Err(Refusal::Problems(problems)) }
    }
}

/// What a document leaves out and is a right or a limit of the container's processes, and not a choice of one of them.
fn filled_up(mut document: Process, container: &Process) -> Process {
    let fill = |own: &mut Option<String>, of_container: &Option<String>| {
        if own.is_none() {
            own.clone_from(of_container);
        }
    };
    fill(&mut document.apparmor_profile, &container.apparmor_profile);
    fill(&mut document.selinux_label, &container.selinux_label);
    document.capabilities = document.capabilities.or_else(|| container.capabilities.clone());
    document.scheduler = document.scheduler.or_else(|| container.scheduler.clone());
    document.io_priority = document.io_priority.or(container.io_priority);
    document.oom_score_adj = document.oom_score_adj.or(container.oom_score_adj);
    document.user.umask = document.user.umask.or(container.user.umask);
    if document.rlimits.is_empty() {
        document.rlimits.clone_from(&container.rlimits);
    }
    if document.exec_cpu_affinity == crate::spec::CpuAffinity::default() {
        document.exec_cpu_affinity = container.exec_cpu_affinity.clone();
    }
    document
}

impl ProcessFlags {
    fn apply_to(self, process: &mut Process) -> Result<(), Refusal> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        if !self.args.is_empty() {
            process.args = self.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        }
        process.terminal |= self.tty;
        if let Some(cwd) = given(self.cwd) {
            process.cwd = cwd;
        }
        process.env.extend(self.env);
        if let Some(user) = self.user {
            let (uid, gid) = user_ids(&user)?;
            process.user.uid = uid;
            process.user.gid = gid.unwrap_or(process.user.gid);
        }
        for group in self.additional_gids {
            process.user.additional_gids.push(id(&group).ok_or(Refusal::Group(group))?);
        }
        for name in self.capabilities {
            add_capability(process.capabilities.get_or_insert_default(), name)?;
        }
        if let Some(profile) = given(self.apparmor_profile) {
            process.apparmor_profile = Some(profile);
        }
        if let Some(label) = given(self.selinux_label) {
            process.selinux_label = Some(label);
        }
        if let Some(refuse) = self.no_new_privileges {
            process.no_new_privileges = refuse;
        }
        Ok(())
    }
}

/// Never inheritable: a file with the same inheritable capability would give it to whoever executes it (CVE-2022-29162). Ambient only
/// where the container has inheritable ones anyway, since without being inheritable none can be ambient.
fn add_capability(sets: &mut Capabilities, name: String) -> Result<(), Refusal> {
    if Capability::from_name(&name).is_none() {
        return Err(Refusal::Capability(name));
    }
    if !sets.inheritable.is_empty() {
        sets.ambient.push(name.clone());
    }
    sets.bounding.push(name.clone());
    sets.effective.push(name.clone());
    sets.permitted.push(name);
    Ok(())
}

/// `uid[:gid]`: numbers alone, however a user may be called in the image (CVE-2016-3697), and both whole, so that no part is taken for
/// 0 (CVE-2026-30892).
fn user_ids(user: &str) -> Result<(u32, Option<u32>), Refusal> {
    let (uid, gid) = user.split_once(':').map_or((user, None), |(uid, gid)| (uid, Some(gid)));
    let number = |what, text: &str| {
        id(text).ok_or_else(|| Refusal::User { what, text: text.to_owned(), user: user.to_owned() })
    };
    Ok((number("uid", uid)?, gid.map(|gid| number("gid", gid)).transpose()?))
}

/// Digits that make an id; the highest number stands for none (setresuid(2)).
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

/// Arguments as they will be executed: not only text.
pub(super) fn raw(args: &[OsString]) -> Result<Vec<CString>, Refusal> {
    let one = |arg: &OsString| CString::new(arg.as_bytes()).map_err(|_| Refusal::Nul(arg.clone()));
    args.iter().map(one).collect()
}
