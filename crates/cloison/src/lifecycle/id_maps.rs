//! The maps of a user namespace: written by ourselves where the kernel lets us, else by the setuid programs `newuidmap` and
//! `newgidmap`, which know from `/etc/subuid` and `/etc/subgid` what a user may map.

use std::ffi::{CString, OsString};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloison_linux::command::{Command, Limits, Outcome};
use cloison_linux::process::Ending;
use cloison_linux::{Kernel, Mode, OFlags, Pid};

use super::Error;
use super::error::Doing as _;
use crate::plan::action::IdMapping;
use crate::plan::namespaces::maps_only;

/// How long one of the programs may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Where the programs are even if `PATH` does not say so.
const USUAL_PLACE: &str = "/usr/bin";

/// Writes the maps of the user namespace that process `pid` has made.
pub(super) fn write(
    kernel: &dyn Kernel,
    pid: Pid,
    uids: &[IdMapping],
    gids: &[IdMapping],
) -> Result<(), Error> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    if uid.is_root() || maps_only(uids, uid.as_raw()) {
        write_proc(kernel, pid, "uid_map", &id_map(uids))?;
    } else {
        run(kernel, "newuidmap", "/etc/subuid", pid, uids)?;
    }
    if uid.is_root() {
        return write_proc(kernel, pid, "gid_map", &id_map(gids));
    }
    if !maps_only(gids, gid.as_raw()) {
        return run(kernel, "newgidmap", "/etc/subgid", pid, gids);
    }
    // Nobody may leave a group by becoming root of a namespace: it could be one that is denied something (CVE-2014-8989).
    write_proc(kernel, pid, "setgroups", "deny")?;
    write_proc(kernel, pid, "gid_map", &id_map(gids))
}

/// Lines of `/proc/PID/uid_map`.
pub(super) fn id_map(maps: &[IdMapping]) -> String {
    let lines: Vec<_> =
        maps.iter().map(|map| format!("{} {} {}", map.container, map.host, map.size)).collect();
    lines.join("\n")
}

fn write_proc(kernel: &dyn Kernel, pid: Pid, file: &str, text: &str) -> Result<(), Error> {
    let path = format!("/proc/{pid}/{file}");
    let opened = kernel.open(Path::new(&path), OFlags::WRONLY, Mode::empty());
    opened.and_then(|fd| kernel.write(fd.as_fd(), text.as_bytes())).doing(format!("writing {path}"))
}

fn run(
    kernel: &dyn Kernel,
    program: &'static str,
    table: &'static str,
    pid: Pid,
    maps: &[IdMapping],
) -> Result<(), Error> {
    let path = find(program, std::env::var_os("PATH")).ok_or(Error::NoIdMapProgram { program })?;
    let numbers = maps.iter().flat_map(|map| [map.container, map.host, map.size]);
    let words =
        [program.to_owned(), pid.to_string()].into_iter().chain(numbers.map(|number| number.to_string()));
    let args: Vec<CString> = words.map(|word| CString::new(word).unwrap_or_default()).collect();
    let doing = || format!("running {}", path.display());
    let command = Command {
        path: &CString::new(path.as_os_str().as_bytes()).unwrap_or_default(),
        args: &args,
        env: &[],
        directory: None,
        umask: None,
        input: b"",
        outputs: [None, None],
        limits: Limits { timeout: Some(TIMEOUT), no_longer_than: None },
    };
    let finished = kernel.run_command(&command).doing(doing())?;
    if finished.outcome == Outcome::Ended(Ending::Exited(0)) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&finished.stderr).trim().to_owned();
    Err(Error::IdMapProgram { program, table, said })
}

/// The program in a directory of `PATH`, or where distributions have it.
fn find(program: &str, path: Option<OsString>) -> Option<PathBuf> {
    let path = path.unwrap_or_default();
    let mut directories = std::env::split_paths(&path).chain([PathBuf::from(USUAL_PLACE)]);
    directories.find_map(|directory| {
        let candidate = directory.join(program);
        (directory.is_absolute() && candidate.is_file()).then_some(candidate)
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_programs_are_found_in_path_by_absolute_directories_only() {
        let directory = TempDir::new().unwrap();
        let program = directory.path().join("newfoomap");
        std::fs::write(&program, "").unwrap();
        let path = |text: String| Some(OsString::from(text));
        let found = find("newfoomap", path(format!("/nowhere:.:{}", directory.path().display())));
        assert_eq!(found, Some(program));
        assert_eq!(find("newfoomap", path("/nowhere".to_owned())), None);
        assert_eq!(find("true", None), Some(PathBuf::from("/usr/bin/true")));
    }
}
