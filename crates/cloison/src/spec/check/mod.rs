//! The rules that types alone do not carry: those between fields, and of texts that the kernel reads.
//!
//! A problem is what the runtime-spec forbids or the kernel is bound to refuse, and what has no single
//! meaning. What works, but is ignored or outdated, is a warning instead.

mod hooks;
mod linux;
mod mappings;
mod mounts;
mod namespaces;
mod nul;
mod process;
mod resources;
mod seccomp;
mod sysctl;

use serde::Serialize;

use super::error::Problem;
use super::{Process, Resources, Root, Spec};

pub use sysctl::sysctl_path;

/// The longest name that sethostname(2) and setdomainname(2) take, in bytes.
const LONGEST_HOST_NAME: usize = 64;

/// A document that has rules.
pub(super) trait Rules {
    /// Finds all problems.
    fn check(&self, check: &mut Check<'_>);
}

/// The problems of a document. `is_hole` tells whether a value at, in or around a place could not be read, so
/// that nothing follows from its absence.
pub(super) fn problems<T: Rules + Serialize>(
    document: &T,
    may_hold_nul: bool,
    is_hole: &dyn Fn(&str) -> bool,
) -> Vec<Problem> {
    let mut check = Check { problems: Vec::new(), is_hole };
    document.check(&mut check);
    if may_hold_nul {
        nul::check(document, &mut check);
    }
    check.problems
}

/// A JSON pointer's part for a key (RFC 6901).
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// What has been found so far.
pub(super) struct Check<'a> {
    problems: Vec<Problem>,
    is_hole: &'a dyn Fn(&str) -> bool,
}

impl Check<'_> {
    fn problem(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem { pointer: pointer.into(), message: message.into() });
    }

    /// Whether a value at, in or around a place could not be read, so that its absence means nothing.
    fn is_hole(&self, pointer: &str) -> bool {
        (self.is_hole)(pointer)
    }
}

impl Spec {
    /// Finds all problems of a spec that was not read but put together. None are left in one that was read.
    pub fn check(&self) -> Vec<Problem> {
        problems(self, true, &|_| false)
    }
}

impl Process {
    /// Finds all problems of a process that was not read but put together.
    pub fn check(&self) -> Vec<Problem> {
        problems(self, true, &|_| false)
    }
}

impl Rules for Spec {
    fn check(&self, check: &mut Check<'_>) {
        version(&self.oci_version, check);
        root(&self.root, check);
        if self.process != Process::default() {
            process::check(&self.process, "/process", check);
        } else if !check.is_hole("/process") {
            check.problem(
                "/process",
                "process property must not be empty: it says what runs in the container",
            );
        }
        host_names(self, check);
        mounts::check(self, check);
        hooks::check(&self.hooks, check);
        namespaces::check(self, check);
        linux::check(&self.linux, check);
        sysctl::check(&self.linux, check);
        resources::check(&self.linux.resources, "/linux/resources", check);
        if let Some(filter) = &self.linux.seccomp {
            seccomp::check(filter, self, check);
        }
    }
}

impl Rules for Process {
    fn check(&self, check: &mut Check<'_>) {
        process::check(self, "", check);
    }
}

impl Rules for Resources {
    fn check(&self, check: &mut Check<'_>) {
        resources::check(self, "", check);
    }
}

/// Versions are compatible within a major one, so a later minor one is only warned about.
fn version(version: &str, check: &mut Check<'_>) {
    if check.is_hole("/ociVersion") {
        return;
    }
    if version.is_empty() {
        check.problem("/ociVersion", "missing, expected a version from 1.0.0 to 1.3.x");
    } else if parse_version(version).is_none_or(|(major, _)| major != 1) {
        check.problem("/ociVersion", format!("found {version:?}, expected a version from 1.0.0 to 1.3.x"));
    }
}

/// The major and minor number of a version by the grammar of semantic versioning 2.0.0.
pub(super) fn parse_version(version: &str) -> Option<(u32, u32)> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = |text: &str| is_digits(text) && (text == "0" || !text.starts_with('0'));
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    // A numeric identifier of a pre-release has no leading zero; one of a build may have some.
    let is_prerelease = |text: &str| is_word(text) && (is_number(text) || !is_digits(text));
    let (rest, build) = version.split_once('+').map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (core, prerelease) = rest.split_once('-').map_or((rest, None), |(core, words)| (core, Some(words)));
    let fits =
        |words: Option<&str>, is: &dyn Fn(&str) -> bool| words.is_none_or(|words| words.split('.').all(is));
    if !fits(build, &is_word) || !fits(prerelease, &is_prerelease) {
        return None;
    }
    // However large: all that counts of it is that it is not 1, or not known yet.
    let mut numbers =
        core.split('.').map(|part| is_number(part).then(|| part.parse::<u32>().unwrap_or(u32::MAX)));
    let (major, minor, _patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some((major, minor))
}

fn root(root: &Root, check: &mut Check<'_>) {
    if !root.path.is_empty() || check.is_hole("/root/path") {
    } else if *root == Root::default() {
        check.problem("/root", "root must be specified, with the path of the container's root file system");
    } else {
        check.problem("/root/path", "missing, expected the path of the container's root file system");
    }
}

fn host_names(spec: &Spec, check: &mut Check<'_>) {
    use super::NamespaceType::Uts;

    for (pointer, title, name) in
        [("/hostname", "hostname", &spec.hostname), ("/domainname", "domainname", &spec.domainname)]
    {
        let Some(name) = name else { continue };
        if !namespaces::may_have(&spec.linux, Uts, check) {
            check.problem(
                pointer,
                format!("unable to set {title} without a private UTS namespace, add {{\"type\": \"uts\"}}"),
            );
        }
        if name.len() > LONGEST_HOST_NAME {
            check.problem(
                pointer,
                format!("{} bytes long, at most {LONGEST_HOST_NAME} are allowed", name.len()),
            );
        }
    }
}

#[cfg(test)]
mod tests;
