//! What an installation has changed, and how each change is taken back.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::{Result, command};

/// All that was changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The binary's path, without the root below which it was installed.
    pub(super) binary: PathBuf,
    pub(super) edits: Vec<Edit>,
    pub(super) stand_ins: Vec<StandIn>,
}

/// A piece of text that was put into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) path: PathBuf,
    /// Whether there was no such file.
    made: bool,
    snippet: String,
}

/// A `runc` that is a link to ours now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StandIn {
    pub(super) path: PathBuf,
    /// Whether there was one before, which is beside it now.
    pub(super) replaces: bool,
    /// Whether that one belongs to a package: then dpkg is told, and an upgrade of the package leaves ours alone.
    pub(super) packaged: bool,
}

impl Record {
    /// Reads a record; none if there is no such file.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", path.display()).into()),
        };
        let value: Value = serde_json::from_slice(&text)?;
        let record =
            Self::from_json(&value).ok_or_else(|| format!("{}: is no record of ours", path.display()))?;
        Ok(Some(record))
    }

    fn from_json(value: &Value) -> Option<Self> {
        let edits = value.get("edits")?.as_array()?.iter().map(|edit| {
            Some(Edit {
                path: edit.get("path")?.as_str()?.into(),
                made: edit.get("made")?.as_bool()?,
                snippet: edit.get("snippet")?.as_str()?.to_owned(),
            })
        });
        let stand_ins = value.get("runc")?.as_array()?.iter().map(|runc| {
            Some(StandIn {
                path: runc.get("path")?.as_str()?.into(),
                replaces: runc.get("replaces")?.as_bool()?,
                packaged: runc.get("packaged")?.as_bool()?,
            })
        });
        Some(Self {
            binary: value.get("binary")?.as_str()?.into(),
            edits: edits.collect::<Option<_>>()?,
            stand_ins: stand_ins.collect::<Option<_>>()?,
        })
    }

    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let edits: Vec<Value> = self
            .edits
            .iter()
            .map(|edit| json!({"path": edit.path, "made": edit.made, "snippet": edit.snippet}))
            .collect();
        let stand_ins: Vec<Value> = self
            .stand_ins
            .iter()
            .map(|runc| json!({"path": runc.path, "replaces": runc.replaces, "packaged": runc.packaged}))
            .collect();
        let value = json!({"binary": self.binary, "edits": edits, "runc": stand_ins});
        replace(path, format!("{value:#}\n").as_bytes(), 0o644)
    }

    /// Notes a change of a file; one that was made again takes the place of the first.
    pub(super) fn edit(&mut self, path: &Path, made: bool, snippet: &str) {
        self.edits.retain(|edit| edit.path != path);
        self.edits.push(Edit { path: path.to_owned(), made, snippet: snippet.to_owned() });
    }
}

impl Edit {
    /// Takes the text out again, and the file, if it was made for it and nothing else is in it.
    ///
    /// # Errors
    /// When somebody has changed the text.
    pub(super) fn undo(&self) -> Result<()> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match text.split_once(&self.snippet) {
            Some((before, after)) if self.made && before.is_empty() && after.is_empty() => remove(&self.path),
            Some((before, after)) => replace(&self.path, [before, after].concat().as_bytes(), 0o644),
            // An installation that was interrupted has not come so far, or somebody has taken it out.
            None if !text.contains("cloison") => Ok(()),
            None => Err("its part about `cloison` has been changed since: take it out by hand".into()),
        }
    }
}

impl StandIn {
    /// Whether dpkg knows the file.
    pub(super) fn is_packaged(path: &Path) -> bool {
        let mut dpkg = command::words(["dpkg-query", "--search"]);
        let quiet = dpkg.arg(path).stdout(Stdio::null()).stderr(Stdio::null()).status();
        quiet.is_ok_and(|status| status.success())
    }

    /// The name that the old one has meanwhile.
    fn aside(&self) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(".distrib");
        name.into()
    }

    /// For whoever reads what was done.
    pub(super) fn old_name(&self) -> String {
        if self.replaces { format!(", the old one is {}", self.aside().display()) } else { String::new() }
    }

    /// Puts the old one aside, and a link to the program in its place.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(super) fn take(&self, root: &Path, program: &Path) -> Result<()> {
        let [path, aside] = [&self.path, &self.aside()].map(|path| below(root, path));
        if self.packaged {
            divert(&["--add", "--rename", "--divert"], &aside, &path)?;
        } else if self.replaces {
            fs::rename(&path, &aside).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(symlink(program, &path).map_err(|error| format!("{}: {error}", path.display()))?)
    }

    /// Takes the link away, and puts the old one back. What was done only in part is taken back, too.
    ///
    /// # Errors
    /// When the file there is no more what was installed, or that cannot be done.
    pub(super) fn give_back(&self, root: &Path, program: &Path) -> Result<()> {
        let [path, aside] = [&self.path, &self.aside()].map(|path| below(root, path));
        if fs::read_link(&path).is_ok_and(|target| target == program) {
            remove(&path)?;
        } else if fs::symlink_metadata(&path).is_ok() && fs::symlink_metadata(&aside).is_ok() {
            return Err(format!("is not what was installed; the old one is {}", aside.display()).into());
        }
        if self.packaged {
            divert(&["--remove", "--rename", "--divert"], &aside, &path)
        } else if self.replaces && fs::symlink_metadata(&aside).is_ok() {
            Ok(fs::rename(&aside, &path)?)
        } else {
            Ok(())
        }
    }
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn divert(options: &[&str], aside: &Path, path: &Path) -> Result<()> {
    let mut dpkg = command::words(["dpkg-divert", "--local", "--quiet"]);
    command::run(dpkg.args(options).arg(aside).arg(path))
}

/// Writes a file anew beside the old one, and gives it that one's name, owner and mode: nobody sees a half of it.
///
/// # Errors
/// With the path, when that cannot be done.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let directory = path.parent().ok_or("a file lies in a directory")?;
    let name = path.file_name().ok_or("a file has a name")?;
    let partial = directory.join(format!(".{}.cloison", name.display()));
    let write = || {
        fs::create_dir_all(directory)?;
        // A link stays, and its target is changed.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut file = File::create(&partial)?;
        match fs::metadata(&target) {
            Ok(old) => {
                fchown(&file, Some(old.uid()), Some(old.gid()))?;
                file.set_permissions(old.permissions())?;
            }
            Err(_) => file.set_permissions(Permissions::from_mode(mode))?,
        }
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&partial, &target)
    };
    Ok(write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))?)
}

/// Removes a file; that there is none is as well.
///
/// # Errors
/// With the path, when it cannot be removed.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(format!("{}: {error}", path.display()).into())
        }
        _ => Ok(()),
    }
}
