//! The files that a machine is booted from, made once.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use crate::{Result, build, command, setup};

/// What `xtask/vm/build` calls, with the Debian packages that they come in.
const PACKAGES: [(&str, &str); 10] = [
    ("busybox-static", "/bin/busybox"),
    ("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    ("gpgv", "/usr/bin/gpgv"),
    ("perl", "/usr/bin/perl"),
    ("e2fsprogs", "/usr/sbin/mke2fs"),
    ("kmod", "/usr/sbin/depmod"),
    ("cpio", "/usr/bin/cpio"),
    ("lz4", "/usr/bin/lz4"),
    ("xz-utils", "/usr/bin/xz"),
    ("zstd", "/usr/bin/zstd"),
];

/// The directory with these parts in it; those that are missing, or were made by other scripts
/// than today's, are made first.
pub(super) fn ready(parts: &[&str]) -> Result<PathBuf> {
    let directory = directory()?;
    let missing = || -> Result<Vec<&str>> {
        let mut missing = Vec::new();
        for part in parts {
            if !directory.join(stamp(part)?).exists() {
                missing.push(*part);
            }
        }
        Ok(missing)
    };
    if missing()?.is_empty() {
        return Ok(directory);
    }
    setup::install(&PACKAGES)?;
    let _lock = lock(&directory)?;
    // Somebody else may have made them meanwhile.
    let missing = missing()?;
    if missing.is_empty() { Ok(directory) } else { build_locked(&missing) }
}

/// Keeps others who would make parts out, for as long as the file is open.
fn lock(directory: &Path) -> Result<File> {
    std::fs::create_dir_all(directory)?;
    let file = File::create(directory.join("lock"))?;
    file.lock()?;
    Ok(file)
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
        for entry in std::fs::read_dir(&directory)?.flatten() {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| is_stamp(name, part)) {
                std::fs::remove_file(entry.path())?;
            }
        }
        File::create(directory.join(stamp(part)?))?;
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

/// The name of the file that says that a part was made by today's scripts.
fn stamp(part: &str) -> Result<String> {
    fn add(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
        if path.is_dir() {
            let mut entries: Vec<_> = std::fs::read_dir(path)?.collect::<std::io::Result<_>>()?;
            entries.sort_by_key(std::fs::DirEntry::file_name);
            for entry in entries {
                entry.file_name().hash(hasher);
                add(&entry.path(), hasher)?;
            }
        } else {
            std::fs::read(path)?.hash(hasher);
        }
        Ok(())
    }
    let sources: &[&str] = match part {
        "root" => &["build", "parts/root.sh", "root"],
        "uml" => &["build", "parts/uml.sh"],
        _ => &["build", "parts/kernel.sh", "initrd"],
    };
    let mut hasher = DefaultHasher::new();
    for source in sources {
        add(&scripts().join(source), &mut hasher)?;
    }
    Ok(format!("{part}{MADE}{:016x}", hasher.finish()))
}

/// What stands between the part and the scripts in the name of a stamp.
const MADE: &str = ".made-by-";

fn is_stamp(name: &str, part: &str) -> bool {
    name.strip_prefix(part).is_some_and(|rest| rest.starts_with(MADE) || rest == ".made-by")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_names_its_part_and_no_other() {
        let root = stamp("root").unwrap();
        assert!(is_stamp(&root, "root") && is_stamp("root.made-by", "root"), "{root}");
        assert!(!is_stamp(&root, "uml") && !is_stamp("root.ext4", "root"), "{root}");
        assert_ne!(stamp("6.1").unwrap(), stamp("6.12").unwrap());
        assert!(!is_stamp(&stamp("6.12").unwrap(), "6.1"));
    }
}
