//! Device rules on cgroup v1: `devices.allow`, `devices.deny` and `devices.list`
//! ([devices.rst](https://docs.kernel.org/admin-guide/cgroup-v1/devices.html)).
//!
//! The kernel keeps what happens in general, allow or deny all, and a list of exceptions to it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use rustix::io::write;

use super::policy::{Policy, Range, Side};
use super::{DeviceAccess, DeviceKind, DeviceRule};
use crate::error::{Error, Result};
use crate::files::{open_to_write, read_whole};

/// Makes the v1 cgroup at `directory` allow what `policy` does, and nothing else.
pub(crate) fn apply(directory: &Path, policy: &Policy) -> Result<()> {
    let wanted = Table::of(policy)?;
    let list = directory.join("devices.list");
    let now = read_whole(&list).map_err(|source| Error::Read { path: list, source })?;
    let now = Table::parse(&now);
    let done = carry_out(directory, &now.transition(&wanted));
    match done {
        Err(error) if error.is_permission() && now.allow && policy.allows_everything() => {
            log::debug!("{}: {error}; but it allows everything already", directory.display());
            Ok(())
        }
        done => done,
    }
}

fn carry_out(directory: &Path, changes: &[Change]) -> Result<()> {
    // Consecutive changes mostly go to the same file.
    for run in changes.chunk_by(|one, next| one.allow == next.allow) {
        let path = directory.join(if run[0].allow { "devices.allow" } else { "devices.deny" });
        let file = open_to_write(&path).map_err(|source| Error::Open { path: path.clone(), source })?;
        for change in run {
            let value = change.to_string();
            write(&file, value.as_bytes()).map_err(|source| Error::Write {
                path: path.clone(),
                value,
                source,
            })?;
        }
    }
    Ok(())
}

/// What the kernel keeps of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Table {
    /// Whether that is allowed which is no exception.
    allow: bool,
    /// The exceptions; not known of a cgroup that allows in general.
    exceptions: BTreeMap<Entry, DeviceAccess>,
}

/// The devices of an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    block: bool,
    range: Range,
}

/// One line that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    allow: bool,
    /// None for everything, which also forgets the exceptions.
    entry: Option<Entry>,
    access: DeviceAccess,
}

impl Table {
    fn of(policy: &Policy) -> Result<Self> {
        let all = || policy.char.exceptions.iter().chain(&policy.block.exceptions);
        // What is one exception to another has no place in a list of exceptions.
        let allow = match (all().any(|one| one.allow), all().any(|one| !one.allow)) {
            (true, true) => return Err(Error::DeviceRulesTooFine(first_denial(policy))),
            (true, false) => false,
            (false, true) => true,
            (false, false) => policy.allows_everything(),
        };
        let mut exceptions = BTreeMap::new();
        for (side, block) in [(&policy.char, false), (&policy.block, true)] {
            exceptions.extend(entries(side, allow).map(|(range, access)| (Entry { block, range }, access)));
        }
        let mut table = Self { allow, exceptions };
        if !allow {
            table.make_each_exception_suffice();
        }
        Ok(table)
    }

    /// What `devices.list` says.
    fn parse(list: &str) -> Self {
        let mut table = Self { allow: false, exceptions: BTreeMap::new() };
        for line in list.lines() {
            match Entry::parse(line) {
                Some((entry, access)) => {
                    *table.exceptions.entry(entry).or_insert(DeviceAccess::empty()) |= access;
                }
                // `a *:* rwm` is all that is shown of a cgroup that allows in general.
                None => table.allow |= line.starts_with("a "),
            }
        }
        table
    }

    /// The kernel opens a device for reading and writing only if one exception alone allows both, so each one has to say
    /// what others say of its devices too.
    fn make_each_exception_suffice(&mut self) {
        let all: Vec<(Entry, DeviceAccess)> =
            self.exceptions.iter().map(|(entry, access)| (*entry, *access)).collect();
        for (one, _) in all.iter().filter(|(one, _)| one.range.minor.is_none()) {
            for (other, _) in all.iter().filter(|(other, _)| other.range.major.is_none()) {
                if one.block == other.block {
                    let range = Range { major: one.range.major, minor: other.range.minor };
                    self.exceptions.entry(Entry { block: one.block, range }).or_insert(DeviceAccess::empty());
                }
            }
        }
        for (entry, access) in &mut self.exceptions {
            for (other, more) in &all {
                if other.block == entry.block && other.range.covers(entry.range) {
                    *access |= *more;
                }
            }
        }
    }

    /// The fewest changes that lead from here to `target`, in an order in which nothing is denied meanwhile that both
    /// allow, as far as the kernel lets us: what a cgroup that allows in general makes an exception of cannot be read,
    /// so its exceptions have to be forgotten first.
    fn transition(&self, target: &Self) -> Vec<Change> {
        let afresh = self.allow || target.allow;
        let reset = Change { allow: target.allow, entry: None, access: DeviceAccess::all() };
        let none = BTreeMap::new();
        let known = if afresh { &none } else { &self.exceptions };
        let missing = |from: &BTreeMap<Entry, DeviceAccess>, entry: &Entry, access: DeviceAccess| {
            access - from.get(entry).copied().unwrap_or(DeviceAccess::empty())
        };
        let change = |allow: bool, entry: &Entry, access: DeviceAccess| {
            (!access.is_empty()).then_some(Change { allow, entry: Some(*entry), access })
        };
        let gained = target
            .exceptions
            .iter()
            .filter_map(|(entry, access)| change(!target.allow, entry, missing(known, entry, *access)));
        let lost = known.iter().filter_map(|(entry, access)| {
            change(target.allow, entry, missing(&target.exceptions, entry, *access))
        });
        afresh.then_some(reset).into_iter().chain(gained).chain(lost).collect()
    }
}

/// What one kind of devices needs as exceptions.
fn entries(side: &Side, allow: bool) -> impl Iterator<Item = (Range, DeviceAccess)> {
    let general = if allow { !side.base } else { side.base };
    let general = (!general.is_empty()).then_some((Range::ALL, general));
    general.into_iter().chain(side.exceptions.iter().map(|exception| (exception.range, exception.access)))
}

/// A rule that is to be blamed.
fn first_denial(policy: &Policy) -> DeviceRule {
    let sides = [(DeviceKind::Char, &policy.char), (DeviceKind::Block, &policy.block)];
    let mut rules = sides.iter().flat_map(|(kind, side)| {
        side.exceptions.iter().map(|exception| DeviceRule {
            allow: exception.allow,
            kind: *kind,
            major: exception.range.major,
            minor: exception.range.minor,
            access: exception.access,
        })
    });
    rules.find(|rule| !rule.allow).unwrap_or(DeviceRule {
        allow: false,
        kind: DeviceKind::Any,
        major: None,
        minor: None,
        access: DeviceAccess::all(),
    })
}

impl Entry {
    /// A line like `c 1:* rwm`.
    fn parse(line: &str) -> Option<(Self, DeviceAccess)> {
        let mut fields = line.split([' ', ':']);
        let block = match fields.next()? {
            "c" => false,
            "b" => true,
            _ => return None,
        };
        let mut number = || match fields.next()? {
            "*" => Some(None),
            digits => digits.parse().ok().map(Some),
        };
        let range = Range { major: number()?, minor: number()? };
        let access = fields.next()?;
        let access = DeviceAccess::all().iter().filter(|bit| access.contains(&bit.to_string())).collect();
        Some((Self { block, range }, access))
    }
}

impl fmt::Display for Change {
    /// The line without the name of its file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Entry { block, range }) = self.entry else { return f.write_str("a *:* rwm") };
        let kind = if block { 'b' } else { 'c' };
        let [major, minor] = [range.major, range.minor].map(super::Number);
        write!(f, "{kind} {major}:{minor} {}", self.access)
    }
}

#[cfg(test)]
mod tests;
