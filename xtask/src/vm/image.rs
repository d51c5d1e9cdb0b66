//! The files that a machine is booted from, made once.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use crate::{Result, build, command, setup};

/// What `xtask/vm/build` calls, with the Debian packages that they come in.
const PACKAGES: [(&str, &str); 9] = [
    ("busybox-static", "/bin/busybox"),
    ("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    ("gpgv", "/usr/bin/gpgv"),
    ("perl", "/usr/bin/perl"),
    ("e2fsprogs", "/usr/sbin/mke2fs"),
    ("kmod", "/usr/sbin/depmod"),
    ("cpio", "/usr/bin/cpio"),
    ("lz4", "/usr/bin/lz4"),
    ("xz-utils", "/usr/bin/xz"),
];

/// The directory with these parts in it; those that are missing, or were made by other scripts than today's, are made first.
pub(super) fn ready(parts: &[&str]) -> Result<PathBuf> {
    let directory = directory()?;
    let stamp = stamp()?;
    let missing = || -> Vec<&str> {
        parts.iter().copied().filter(|part| !is_ready(&directory, part, &stamp)).collect()
    };
    if missing().is_empty() {
        return Ok(directory);
    }
    setup::install(&PACKAGES)?;
    let _lock = lock(&directory)?;
    // Somebody else may have made them meanwhile.
    let missing = missing();
    if missing.is_empty() { Ok(directory) } else { build_locked(&missing) }
}

/// Keeps others who would make parts out, for as long as the file is open.
fn lock(directory: &Path) -> Result<File> {
    std::fs::create_dir_all(directory)?;
    let file = File::create(directory.join("lock"))?;
    file.lock()?;
    Ok(file)
}

fn is_ready(directory: &Path, part: &str, stamp: &str) -> bool {
    std::fs::read_to_string(stamp_of(directory, part)).is_ok_and(|made_by| made_by == stamp)
}

fn stamp_of(directory: &Path, part: &str) -> PathBuf {
    directory.join(format!("{part}.made-by"))
}

/// Makes these parts anew.
pub(super) fn build(parts: &[&str]) -> Result<PathBuf> {
    setup::install(&PACKAGES)?;
    let _lock = lock(&directory()?)?;
    build_locked(parts)
}

fn build_locked(parts: &[&str]) -> Result<PathBuf> {
    let directory = directory()?;
    let root = command::as_root()?;
    let script = scripts().join("build");
    let mut build = command::words(root.iter().map(AsRef::as_ref).chain([script.as_os_str()]));
    // What it tells is for whoever waits, and not what a command in the machine prints.
    command::run(build.arg(&directory).args(parts).stdout(std::io::stderr()))?;
    for part in parts {
        std::fs::write(stamp_of(&directory, part), stamp()?)?;
    }
    Ok(directory)
}

/// `$XDG_CACHE_HOME/cloison-vm`, or below `~/.cache`.
fn directory() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.or_else(home).ok_or("there is neither $XDG_CACHE_HOME nor $HOME")?;
    Ok(cache.join("cloison-vm"))
}

fn scripts() -> PathBuf {
    build::root().join("xtask/vm")
}

/// What the scripts are, in short.
fn stamp() -> Result<String> {
    fn add(directory: &Path, hasher: &mut DefaultHasher) -> Result<()> {
        let mut entries: Vec<_> = std::fs::read_dir(directory)?.collect::<std::io::Result<_>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            entry.file_name().hash(hasher);
            if entry.file_type()?.is_dir() {
                add(&entry.path(), hasher)?;
            } else {
                std::fs::read(entry.path())?.hash(hasher);
            }
        }
        Ok(())
    }
    let mut hasher = DefaultHasher::new();
    add(&scripts(), &mut hasher)?;
    Ok(format!("{:016x}\n", hasher.finish()))
}
