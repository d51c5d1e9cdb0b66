//! One value for one file.

use std::borrow::Cow;
use std::path::Path;

use super::LimitError;
use crate::error::{Error, Result};
use crate::files::read_value;

/// One value for one file of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Which field asks for it, below `linux.resources`: `memory/limit`.
    pub(crate) field: Cow<'static, str>,
    /// The controller whose file it is.
    pub(crate) controller: Cow<'static, str>,
    /// Files, of which the first that is there gets its value. A value of several lines is written line by line.
    pub(crate) choices: Vec<(Cow<'static, str>, String)>,
    /// What it means that none of them is there.
    pub(crate) absent: Absent,
    /// What is looked at after it was written, or when it was refused.
    pub(crate) check: Check,
    /// How to take the value back.
    pub(crate) unset: Unset,
}

/// What a missing file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The limit cannot hold.
    Refused,
    /// Without that file there is nothing to limit.
    Ignored,
}

/// What is special about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Nothing.
    None,
    /// The kernel takes any number and keeps the nearest that it has (`cpu.shares`).
    ReadBack,
    /// EBUSY says that more is used already (`memory.limit_in_bytes`).
    MemoryInUse,
}

/// How a value is taken back by what the file said before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unset {
    /// Each line that was there is written again.
    Lines,
    /// The line that begins with this key is written again, or else this one.
    Key {
        /// `8:0`, `default`, a name.
        key: String,
        /// What the kernel takes for "nothing was set".
        otherwise: String,
    },
    /// The number after this word is written (`memory.oom_control`).
    After(&'static str),
}

#[expect(clippy::needless_pass_by_value, reason = "a number is handed over as it is")]
impl Setting {
    pub(crate) fn new(
        field: impl Into<Cow<'static, str>>,
        controller: impl Into<Cow<'static, str>>,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) -> Self {
        Self {
            field: field.into(),
            controller: controller.into(),
            choices: vec![(file.into(), value.to_string())],
            absent: Absent::Refused,
            check: Check::None,
            unset: Unset::Lines,
        }
    }

    /// Where the file has another name.
    pub(crate) fn or(mut self, file: impl Into<Cow<'static, str>>, value: impl ToString) -> Self {
        self.choices.push((file.into(), value.to_string()));
        self
    }

    pub(crate) fn if_there(self) -> Self {
        Self { absent: Absent::Ignored, ..self }
    }

    pub(crate) fn checked(self, check: Check) -> Self {
        Self { check, ..self }
    }

    pub(crate) fn keyed(self, key: impl ToString, otherwise: impl ToString) -> Self {
        let unset = Unset::Key { key: key.to_string(), otherwise: otherwise.to_string() };
        Self { unset, ..self }
    }

    pub(crate) fn unset_after(self, word: &'static str) -> Self {
        Self { unset: Unset::After(word), ..self }
    }

    /// Looks whether the kernel has kept `value`.
    pub(crate) fn check(&self, path: &Path, value: &str) -> Result<()> {
        if self.check != Check::ReadBack {
            return Ok(());
        }
        let kept = read_value(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        if kept == value {
            return Ok(());
        }
        Err(LimitError::NotKept {
            field: self.field.to_string(),
            path: path.to_owned(),
            value: value.to_owned(),
            kept,
        }
        .into())
    }
}

impl Unset {
    /// The lines to write, given what the file said before.
    pub(crate) fn lines(&self, before: &str) -> Vec<String> {
        match self {
            Self::Lines if before.trim_ascii().is_empty() => vec!["\n".to_owned()],
            Self::Lines => before.lines().map(str::to_owned).collect(),
            Self::Key { key, otherwise } => {
                let mut lines = before.lines();
                let line = lines.find(|line| line.split_whitespace().next() == Some(key.as_str()));
                vec![line.map_or_else(|| format!("{key} {otherwise}"), str::to_owned)]
            }
            Self::After(word) => {
                let mut words = before.split_whitespace();
                words.find(|other| other == word);
                words.next().map(str::to_owned).into_iter().collect()
            }
        }
    }
}
