//! Where containers are kept, and who makes their cgroups: from the global options to a [`Runtime`].

use std::env;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cloison::lifecycle::{CgroupDriver, Runtime};

use crate::args::{CgroupManager, GlobalOptions, Rootless, absolute};
use crate::error::Error;

/// The directory for a caller with privilege.
const DEFAULT_ROOT: &str = "/run/cloison";

/// Mode of the directory below `$XDG_RUNTIME_DIR`: the sticky bit keeps those away who clean up there (XDG Base Directory
/// Specification).
const RUNTIME_DIRECTORY_MODE: u32 = 0o1700;

/// What the global options say.
pub(crate) fn runtime(options: &GlobalOptions) -> Result<Runtime, Error> {
    let root = match &options.root {
        Some(root) => given_root(root)?,
        None => default_root()?,
    };
    Ok(Runtime { root, cgroup: cgroup_driver(options) })
}

fn cgroup_driver(options: &GlobalOptions) -> CgroupDriver {
    match options.cgroup_manager {
        Some(CgroupManager::Systemd) => systemd(options.rootless),
        Some(CgroupManager::Disabled) => CgroupDriver::Disabled,
        None if options.systemd_cgroup => systemd(options.rootless),
        Some(CgroupManager::Cgroupfs) | None => match options.rootless {
            Rootless::Auto => CgroupDriver::Cgroupfs,
            Rootless::Said(true) => CgroupDriver::CgroupfsIfPermitted,
            Rootless::Said(false) => CgroupDriver::CgroupfsAlways,
        },
    }
}

/// Whose systemd: the machine's takes orders from the machine's root only.
fn systemd(rootless: Rootless) -> CgroupDriver {
    let user = match rootless {
        Rootless::Said(rootless) => rootless,
        Rootless::Auto => !rustix::process::geteuid().is_root() || in_user_namespace(),
    };
    if user { CgroupDriver::UserSystemd } else { CgroupDriver::Systemd }
}

/// The root of `--root`, absolute. Neither empty nor the whole file system, whose directories all look like names of containers.
fn given_root(given: &Path) -> Result<PathBuf, Error> {
    if given.as_os_str().is_empty() {
        return Err(Error::Root(given.to_owned()));
    }
    let root = absolute(given.to_owned())?;
    if root == Path::new("/") { Err(Error::Root(given.to_owned())) } else { Ok(root) }
}

fn default_root() -> Result<PathBuf, Error> {
    let runtime_directory = env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
    match runtime_directory {
        Some(directory) if !is_root_of_the_host() => {
            let root = Path::new(&directory).join("cloison");
            make_runtime_directory(&root)
                .map_err(|error| Error::RuntimeDirectory { path: root.clone(), error })?;
            Ok(root)
        }
        _ => Ok(PathBuf::from(DEFAULT_ROOT)),
    }
}

fn make_runtime_directory(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(RUNTIME_DIRECTORY_MODE))
}

/// True for a caller who is root, and not just in a user namespace of somebody else.
fn is_root_of_the_host() -> bool {
    rustix::process::geteuid().is_root()
        && (!in_user_namespace() || env::var_os("USER").is_some_and(|user| user == "root"))
}

/// True if ids are mapped. The initial namespace maps all ids to themselves; where the map cannot be read, there are no user
/// namespaces.
fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && !map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::CommandLine;

    fn options(line: &str) -> GlobalOptions {
        CommandLine::try_parse_from(line.split(' ')).expect("the test's command line is right").global
    }

    #[test]
    fn root_of_the_file_system_is_no_root_of_ours() {
        for root in ["", "/", "//", "/."] {
            assert!(given_root(Path::new(root)).is_err(), "{root:?}");
        }
    }

    #[test]
    fn relative_root_becomes_absolute() {
        let here = env::current_dir().expect("there is a working directory");
        assert_eq!(given_root(Path::new("r")).ok(), Some(here.join("r")));
    }

    #[test]
    fn named_manager_wins_over_the_switch() {
        let table = [
            ("cloison list", CgroupDriver::Cgroupfs),
            ("cloison --rootless=false --systemd-cgroup list", CgroupDriver::Systemd),
            ("cloison --rootless=false --cgroup-manager systemd list", CgroupDriver::Systemd),
            ("cloison --rootless=true --cgroup-manager systemd list", CgroupDriver::UserSystemd),
            ("cloison --rootless=true --systemd-cgroup list", CgroupDriver::UserSystemd),
            ("cloison --rootless=true list", CgroupDriver::CgroupfsIfPermitted),
            ("cloison --rootless=false list", CgroupDriver::CgroupfsAlways),
            ("cloison --systemd-cgroup --cgroup-manager disabled list", CgroupDriver::Disabled),
            ("cloison --systemd-cgroup --cgroup-manager cgroupfs list", CgroupDriver::Cgroupfs),
        ];
        for (line, expected) in table {
            assert_eq!(cgroup_driver(&options(line)), expected, "{line}");
        }
    }
}
