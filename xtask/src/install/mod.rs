//! Installing the runtime, telling the engines of this machine about it, and taking both back.
//!
//! All that is changed is written into a record first, so that what an interrupted installation has done can be taken back, too.

mod config;
mod record;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use record::{Record, StandIn};

use crate::{Result, build, command};

pub(crate) const USAGE: &str = "\
usage: cargo xtask install [--prefix DIRECTORY] [--as-runc] [--no-engines] [--root DIRECTORY] [--binary FILE]
       cargo xtask uninstall [--prefix DIRECTORY] [--root DIRECTORY]

Builds the release binary, installs it as PREFIX/bin/cloison, and adds a runtime `cloison` to the configuration of those of
Docker, containerd, Podman and CRI-O that are on this machine. `uninstall` brings back what was there, byte for byte.

  --prefix DIRECTORY   (/usr/local)
  --as-runc            every `runc` where engines look for one becomes a link to it; the old one stays beside it, as runc.distrib
  --no-engines         only the binary
  --root DIRECTORY     works below this directory in place of /, for those who make packages
  --binary FILE        installs this one, and builds nothing
";

/// Where engines look for `runc` (Podman's list; the others search `PATH`).
const PLACES: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// What is to be installed, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Options {
    prefix: PathBuf,
    root: PathBuf,
    as_runc: bool,
    engines: bool,
    binary: Option<PathBuf>,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self {
            prefix: "/usr/local".into(),
            root: "/".into(),
            as_runc: false,
            engines: true,
            binary: None,
        };
        let mut words = words;
        loop {
            words = match words {
                [] => break,
                ["--as-runc", rest @ ..] => {
                    options.as_runc = true;
                    rest
                }
                ["--no-engines", rest @ ..] => {
                    options.engines = false;
                    rest
                }
                ["--prefix", directory, rest @ ..] => {
                    options.prefix = directory.into();
                    rest
                }
                ["--root", directory, rest @ ..] => {
                    options.root =
                        fs::canonicalize(directory).map_err(|error| format!("{directory}: {error}"))?;
                    rest
                }
                ["--binary", file, rest @ ..] => {
                    options.binary = Some(file.into());
                    rest
                }
                [word, ..] => return Err(format!("what is {word}?\n{USAGE}").into()),
            };
        }
        if options.prefix.is_absolute() {
            Ok(options)
        } else {
            Err(format!("--prefix is an absolute path, not {}", options.prefix.display()).into())
        }
    }

    /// The binary's path as those know it who call it.
    fn program(&self) -> PathBuf {
        self.prefix.join("bin/cloison")
    }

    /// A path of the installed system, as we reach it.
    fn below_root(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn record(&self) -> PathBuf {
        self.below_root(&self.prefix.join("lib/cloison/installed.json"))
    }

    /// Whether packages and their diversions are those of this machine.
    fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }
}

/// `cargo xtask install`.
///
/// # Errors
/// When the build fails, a file cannot be written, or an engine's configuration is not understood; then nothing has been changed.
pub(crate) fn install(words: &[&str]) -> Result<()> {
    let options = Options::parse(words)?;
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => build::runtime("release")?,
    };
    if as_root("install", words, Some(&binary), &options)? { Ok(()) } else { put(&options, &binary) }
}

/// `cargo xtask uninstall`.
///
/// # Errors
/// When nothing has been installed there, and when something cannot be put back.
pub(crate) fn uninstall(words: &[&str]) -> Result<()> {
    let options = Options::parse(words)?;
    if as_root("uninstall", words, None, &options)? { Ok(()) } else { take_back(&options) }
}

/// Has root do it, if we may not write there; gives whether that was needed.
fn as_root(verb: &str, words: &[&str], binary: Option<&Path>, options: &Options) -> Result<bool> {
    let root = command::as_root();
    if !options.is_this_machine() || root.as_ref().is_ok_and(Vec::is_empty) {
        return Ok(false);
    }
    let mut again = command::words(root?);
    again.arg(std::env::current_exe()?).arg(verb).args(words);
    if let Some(binary) = binary {
        again.arg("--binary").arg(binary);
    }
    command::run(&mut again).map(|()| true)
}

fn put(options: &Options, binary: &Path) -> Result<()> {
    let program = options.program();
    let mut record = Record::read(&options.record())?.unwrap_or_default();
    // All is worked out before the first change.
    let mut edits = Vec::new();
    if options.engines {
        for engine in config::ENGINES {
            let path = options.below_root(engine.file.as_ref());
            let there = options.below_root(engine.directory.as_ref()).is_dir()
                || (options.is_this_machine() && command::find(engine.program).is_some());
            if !there {
                continue;
            }
            let text = read(&path)?;
            match (engine.add)(text.as_deref(), &program) {
                Ok(Some(edit)) => edits.push((engine, path, text, edit)),
                Ok(None) => println!("{}: knows a runtime `cloison` already", path.display()),
                Err(error) => return Err(format!("{}: {error}", path.display()).into()),
            }
        }
    }
    let stand_ins = if options.as_runc { stand_ins(options, &record)? } else { Vec::new() };
    record.binary = options.program();
    for (_, path, text, edit) in &edits {
        record.edit(path, text.is_none(), &edit.snippet);
    }
    record.stand_ins.extend(stand_ins.iter().cloned());
    record.write(&options.record())?;

    let target = options.below_root(&program);
    record::replace(
        &target,
        &fs::read(binary).map_err(|error| format!("{}: {error}", binary.display()))?,
        0o755,
    )?;
    println!("{}", target.display());
    for (engine, path, _, edit) in edits {
        record::replace(&path, edit.text.as_bytes(), 0o644)?;
        println!("{}: a runtime `cloison`{}", path.display(), engine.then);
    }
    for stand_in in &stand_ins {
        stand_in.take(&options.root, &program)?;
        println!("{}: is cloison now{}", stand_in.path.display(), stand_in.old_name());
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

/// Every `runc` that an engine may find, or one that is made for them; but for those that are ours.
fn stand_ins(options: &Options, record: &Record) -> Result<Vec<StandIn>> {
    let mut found: Vec<StandIn> = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    for place in PLACES {
        // /bin may be /usr/bin.
        let Ok(directory) = fs::canonicalize(options.below_root(place.as_ref())) else { continue };
        if seen.contains(&directory) {
            continue;
        }
        let path = directory.join("runc");
        seen.push(directory);
        let ours = fs::read_link(&path).is_ok_and(|target| target == options.program());
        if fs::symlink_metadata(&path).is_ok() && !ours {
            let path = Path::new("/").join(path.strip_prefix(&options.root)?);
            let packaged = options.is_this_machine() && StandIn::is_packaged(&path);
            found.push(StandIn { path, replaces: true, packaged });
        }
    }
    if found.is_empty() && record.stand_ins.is_empty() {
        let path = options.prefix.join("bin/runc");
        found.push(StandIn { path, replaces: false, packaged: false });
    }
    Ok(found)
}

fn take_back(options: &Options) -> Result<()> {
    let path = options.record();
    let Some(record) = Record::read(&path)? else {
        return Err(format!("nothing is installed there: there is no {}", path.display()).into());
    };
    let mut left = Vec::new();
    let mut done = |what: &Path, result: Result<()>| match result {
        Ok(()) => println!("{}: as it was", what.display()),
        Err(error) => left.push(format!("{}: {error}", what.display())),
    };
    for stand_in in &record.stand_ins {
        done(&stand_in.path, stand_in.give_back(&options.root, &record.binary));
    }
    for edit in &record.edits {
        done(&edit.path, edit.undo());
    }
    done(&record.binary, record::remove(&options.below_root(&record.binary)));
    if !left.is_empty() {
        // The record stays: once the reason is gone, the rest can be done.
        return Err(left.join("\n").into());
    }
    record::remove(&path)?;
    // Not empty, if another program's files are in it.
    match path.parent().map(fs::remove_dir) {
        Some(Err(error)) if error.kind() != ErrorKind::DirectoryNotEmpty => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
