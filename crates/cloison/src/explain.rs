//! What a seccomp profile says of the system calls: which rule decides, and under which conditions.
//!
//! A profile is read from a `config.json`, or from a file that has only what would stand at `linux.seccomp`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use cloison_linux::Errno;
use cloison_seccomp::{Architecture, Arg, Explanation, Operator, Otherwise, Profile, Syscall, explain};
use serde_json::Value;

use crate::errno::Text;
use crate::plan::seccomp::profile;
use crate::spec::{self, Seccomp, SeccompAction, Spec, SpecError};

/// Why a profile cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read, or its configuration is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The file is no JSON, or no profile.
    #[error("{}: not a seccomp profile", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// The file is what an engine makes profiles of.
    #[error(
        "{}: this is an engine's own form (archMap, includes, excludes): which of its rules a container gets depends on its capabilities; explain the config.json that the engine writes",
        path.display()
    )]
    EngineForm {
        /// The file.
        path: PathBuf,
    },
    /// There is no such call.
    #[error("no architecture has a system call {0:?} in Linux {kernel}", kernel = cloison_seccomp::KERNEL)]
    UnknownCall(String),
    /// The profile can be no filter.
    #[error("{}", path.display())]
    Profile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: cloison_seccomp::Error,
    },
    /// No filter can tell this machine's calls.
    #[error("seccomp filters are not there for this machine's architecture")]
    Machine,
}

/// Says what the profile in a file means for one call, or for all, as text for people.
///
/// # Errors
/// The file has no profile, the profile can be no filter, or there is no such call.
pub fn explain_file(path: &Path, call: Option<&str>) -> Result<String, Error> {
    let native = Architecture::NATIVE.ok_or(Error::Machine)?;
    let (seccomp, pointer) = read(path)?;
    let Some(default) = seccomp.as_ref().and_then(|seccomp| seccomp.default_action) else {
        return Ok("no filter: all calls are made\n".to_owned());
    };
    let seccomp = seccomp.unwrap_or_default();
    let profile = profile(&seccomp, default);
    let told = Told { seccomp: &seccomp, profile: &profile, pointer, native };
    let text = match call {
        Some(name) => told.call(Syscall::named(name).ok_or_else(|| Error::UnknownCall(name.to_owned()))?),
        None => told.all(),
    };
    text.map_err(|source| Error::Profile { path: path.to_owned(), source })
}

/// The profile, and the JSON pointer to it.
fn read(path: &Path) -> Result<(Option<Seccomp>, &'static str), Error> {
    let bytes = spec::read_file(path)?;
    let bad = |source| Error::Json { path: path.to_owned(), source };
    let json: Value = serde_json::from_slice(&bytes).map_err(bad)?;
    if json.get("ociVersion").is_some() || json.get("linux").is_some() {
        return Ok((Spec::parse(&bytes, path)?.linux.seccomp, "/linux/seccomp"));
    }
    let of_engine = |rule: &Value| rule.get("includes").or_else(|| rule.get("excludes")).is_some();
    let rules = json["syscalls"].as_array();
    if json.get("archMap").is_some() || rules.is_some_and(|rules| rules.iter().any(of_engine)) {
        return Err(Error::EngineForm { path: path.to_owned() });
    }
    Ok((Some(serde_json::from_value(json).map_err(bad)?), ""))
}

struct Told<'a> {
    seccomp: &'a Seccomp,
    profile: &'a Profile<'a>,
    /// Where the profile stands.
    pointer: &'static str,
    native: Architecture,
}

impl Told<'_> {
    fn call(&self, call: Syscall) -> Result<String, cloison_seccomp::Error> {
        let explanations = explain(self.profile, self.native, call)?;
        let mut text = String::new();
        if explanations.is_empty() {
            let _ = writeln!(text, "{} is no call of an architecture of this profile", call.name());
        }
        for one in &explanations {
            let _ = write!(text, "{} {} ({}", one.architecture.name(), call.name(), one.number);
            let _ = match one.through {
                Some((multiplexer, selector)) => writeln!(text, ", {} {selector})", multiplexer.name()),
                None => writeln!(text, ")"),
            };
            self.clauses(&mut text, one);
            for rule in &one.overruled {
                let _ = writeln!(text, "    (never decides: {} [{}])", self.action(*rule), self.place(*rule));
            }
        }
        Ok(text)
    }

    fn clauses(&self, text: &mut String, one: &Explanation) {
        for clause in &one.clauses {
            let conditions: Vec<_> = clause.conditions.iter().map(condition).collect();
            let (action, place) = (self.action(clause.rule), self.place(clause.rule));
            let _ = writeln!(text, "    {action} if {}  [{place}]", conditions.join(" and "));
        }
        let otherwise = if one.clauses.is_empty() { "" } else { "otherwise " };
        let _ = match one.otherwise {
            Otherwise::Rule(rule) => {
                writeln!(text, "    {otherwise}{}  [{}]", self.action(rule), self.place(rule))
            }
            Otherwise::Default => {
                writeln!(text, "    {otherwise}{}  [{}/defaultAction]", self.default(), self.pointer)
            }
            Otherwise::Newer { newest } => {
                let newest = Syscall::numbered(newest, one.architecture).map_or("", Syscall::name);
                writeln!(
                    text,
                    "    {otherwise}fails with ENOSYS, since it is newer than all that the profile names, of which {newest} is the newest"
                )
            }
        };
    }

    /// All calls of each architecture, those together that fare alike.
    fn all(&self) -> Result<String, cloison_seccomp::Error> {
        let mut groups: BTreeMap<Architecture, BTreeMap<String, Vec<&str>>> = BTreeMap::new();
        for call in Syscall::all() {
            for one in explain(self.profile, self.native, call)?.iter().filter(|one| one.through.is_none()) {
                let mut text = String::new();
                self.clauses(&mut text, one);
                groups.entry(one.architecture).or_default().entry(text).or_default().push(call.name());
            }
        }
        let mut text = String::new();
        for architecture in std::iter::once(self.native).chain(self.profile.architectures.iter().copied()) {
            // Each once.
            let Some(groups) = groups.remove(&architecture) else { continue };
            let _ = writeln!(text, "{}", architecture.name());
            let mut groups: Vec<_> = groups.into_iter().collect();
            groups.sort_by_key(|(_, calls)| std::cmp::Reverse(calls.len()));
            for (fate, calls) in groups {
                text.push_str(&fate);
                let _ = writeln!(text, "        {} calls: {}", calls.len(), calls.join(" "));
            }
        }
        Ok(text)
    }

    fn place(&self, rule: usize) -> String {
        format!("{}/syscalls/{rule}", self.pointer)
    }

    fn action(&self, rule: usize) -> String {
        let rule = &self.seccomp.syscalls[rule];
        action(rule.action, rule.errno_ret)
    }

    fn default(&self) -> String {
        let default = self.seccomp.default_action.unwrap_or(SeccompAction::Errno);
        action(default, self.seccomp.default_errno_ret)
    }
}

fn action(action: SeccompAction, errno: Option<u32>) -> String {
    let errno = errno.unwrap_or(1);
    match action {
        SeccompAction::Errno => {
            let text = i32::try_from(errno).map(|errno| Text(Errno::from_raw_os_error(errno)).to_string());
            format!("{action} {errno} ({})", text.unwrap_or_default())
        }
        SeccompAction::Trace => format!("{action} {errno}"),
        _ => action.to_string(),
    }
}

fn condition(arg: &Arg) -> String {
    let Arg { index, value, value_two, op } = arg;
    let sign = match op {
        Operator::NotEqual => "!=",
        Operator::Less => "<",
        Operator::LessOrEqual => "<=",
        Operator::Equal => "==",
        Operator::GreaterOrEqual => ">=",
        Operator::Greater => ">",
        Operator::MaskedEqual => return format!("arg{index} & {value:#x} == {value_two:#x}"),
    };
    format!("arg{index} {sign} {value:#x}")
}

#[cfg(test)]
mod tests;
