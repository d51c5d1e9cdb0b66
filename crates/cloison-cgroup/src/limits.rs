//! Setting limits: values written to a cgroup's files, in an order that the kernel takes, and taken back if one is refused.
//!
//! A driver works out [`Setting`]s, in groups of those that depend on each other (a memory limit may not be above the limit of
//! memory and swap together, so which of the two goes first depends on the values that are there). Within a group, what the
//! kernel finds invalid is tried again after the others, as long as that leads anywhere: so no order has to be worked
//! out, and no value be read to do so.

mod error;
mod journal;
mod setting;
#[cfg(test)]
mod tests;

use std::path::Path;

use rustix::io::Errno;

pub use error::LimitError;
pub(crate) use journal::Journal;
pub(crate) use setting::{Absent, Check, Setting, Unset};

use crate::error::{Error, Result};
use crate::files::{read_value, write_value};

/// How limits are applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// A limit that cannot be set for want of rights, or because its controller was not handed to us, is no error: what
    /// [`apply`](crate::Cgroup::apply) gives then names it. For runtimes that are not the machine's root.
    pub lenient: bool,
    /// When a limit is refused, those that have been set get the values back that they had. Costs a read for each, and is
    /// not needed for a cgroup that is removed in that case.
    pub undo: bool,
}

/// Where a driver has its controllers.
pub(crate) trait Place {
    /// The directory where `controller` acts, or why there is none.
    fn directory(&self, controller: &str) -> std::result::Result<&Path, &'static str>;

    /// Why a file of `controller` may be missing from its directory, if it is for want of the controller.
    fn lacks(&self, controller: &str) -> Option<&'static str>;
}

/// Writes all settings, group by group. What could not be set although nobody is to blame, as `terms` have it.
pub(crate) fn set(place: &dyn Place, groups: Vec<Vec<Setting>>, terms: Terms) -> Result<Vec<Error>> {
    let mut unheld = Vec::new();
    let mut journal = terms.undo.then(Journal::default);
    for group in groups {
        if let Err(error) = set_group(place, group, terms, journal.as_mut(), &mut unheld) {
            return Err(match journal {
                Some(journal) => journal.undo(error),
                None => error,
            });
        }
    }
    Ok(unheld)
}

fn set_group(
    place: &dyn Place,
    mut group: Vec<Setting>,
    terms: Terms,
    mut journal: Option<&mut Journal>,
    unheld: &mut Vec<Error>,
) -> Result<()> {
    loop {
        let tried = group.len();
        let mut invalid = Vec::new();
        let mut first = None;
        for setting in group {
            match set_one(place, &setting, journal.as_deref_mut()) {
                Ok(()) => {}
                Err(error) if error.errno() == Some(Errno::INVAL) => {
                    first.get_or_insert(error);
                    invalid.push(setting);
                }
                Err(error) if terms.lenient && is_want_of_rights(&error) => unheld.push(error),
                Err(error) => return Err(error),
            }
        }
        match first {
            None => return Ok(()),
            Some(error) if invalid.len() == tried => return Err(error),
            Some(_) => group = invalid,
        }
    }
}

fn is_want_of_rights(error: &Error) -> bool {
    error.is_permission()
        || matches!(error, Error::Limit(error) if matches!(**error, LimitError::NoController { .. }))
}

fn set_one(place: &dyn Place, setting: &Setting, mut journal: Option<&mut Journal>) -> Result<()> {
    let directory = match place.directory(&setting.controller) {
        Ok(directory) => directory,
        Err(why) if setting.absent == Absent::Ignored => {
            log::debug!("{}: {why}; nothing is lost", setting.field);
            return Ok(());
        }
        Err(why) => {
            return Err(LimitError::NoController {
                field: setting.field.to_string(),
                controller: setting.controller.to_string(),
                file: setting.choices[0].0.to_string(),
                why,
            }
            .into());
        }
    };
    for (file, value) in &setting.choices {
        let path = directory.join(&**file);
        let before = match journal {
            Some(_) => read_before(&path, setting)?,
            None => None,
        };
        let written = value.lines().try_for_each(|line| write_value(&path, line));
        match written {
            Ok(()) => {
                if let (Some(journal), Some(before)) = (journal.as_deref_mut(), before) {
                    journal.note(path.clone(), before, setting.unset.clone());
                }
                return setting.check(&path, value);
            }
            // The next file may be there.
            Err(Errno::NOENT) => {}
            Err(source) => {
                // A value of several lines may have been written in part.
                if let (Some(journal), Some(before)) = (journal.as_deref_mut(), before) {
                    journal.note(path.clone(), before, setting.unset.clone());
                }
                return Err(refused(directory, setting, &path, value, source));
            }
        }
    }
    missing(place, directory, setting)
}

/// None of a file that is not there or cannot be read, which writing to it will tell.
fn read_before(path: &Path, setting: &Setting) -> Result<Option<String>> {
    match crate::files::read_whole(path) {
        Ok(text) => Ok(Some(text)),
        Err(Errno::NOENT | Errno::ACCESS | Errno::PERM) => Ok(None),
        Err(source) => {
            log::debug!("{}: {} cannot be read", setting.field, path.display());
            Err(Error::Read { path: path.to_owned(), source })
        }
    }
}

fn refused(directory: &Path, setting: &Setting, path: &Path, value: &str, source: Errno) -> Error {
    if source == Errno::BUSY && setting.check == Check::MemoryInUse {
        let number = |name: &str| {
            read_value(&directory.join(name))
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
                .unwrap_or_default()
        };
        return LimitError::MemoryInUse {
            field: setting.field.to_string(),
            limit: value.to_owned(),
            usage: number("memory.usage_in_bytes"),
            peak: number("memory.max_usage_in_bytes"),
        }
        .into();
    }
    if source == Errno::NODEV && !directory.exists() {
        return Error::Gone { path: directory.to_owned() };
    }
    LimitError::Refused {
        field: setting.field.to_string(),
        controller: setting.controller.to_string(),
        path: path.to_owned(),
        value: value.to_owned(),
        source,
    }
    .into()
}

/// None of the files is there.
fn missing(place: &dyn Place, directory: &Path, setting: &Setting) -> Result<()> {
    let files: Vec<&str> = setting.choices.iter().map(|(file, _)| &**file).collect();
    let file = files.join(" or ");
    if !directory.exists() {
        return Err(Error::Gone { path: directory.to_owned() });
    }
    let field = setting.field.to_string();
    match place.lacks(&setting.controller) {
        _ if setting.absent == Absent::Ignored => {
            log::debug!("{field}: there is no {file} in {}; nothing is lost", directory.display());
            Ok(())
        }
        Some(why) => {
            Err(LimitError::NoController { field, controller: setting.controller.to_string(), file, why }
                .into())
        }
        None => Err(LimitError::NoFile {
            field,
            controller: setting.controller.to_string(),
            file,
            path: directory.to_owned(),
        }
        .into()),
    }
}
