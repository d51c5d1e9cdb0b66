//! What must not be there afterwards.
//!
//! Everything of a sandbox bears its name: directories and mounts below it, container ids and so cgroups and state
//! directories, and each process by an environment variable. So the search sees its own sandbox only, however many run at
//! the same time. A namespace lives on only by a process, a mount or a descriptor, which is what is searched for.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::UnmountFlags;
use rustix::process::Signal;

use crate::host;
use crate::patience::{patient, pause};
use crate::sandbox::{MARKER, Sandbox, to_pid};

/// How long the kernel may take to end processes that were killed.
const GRACE: Duration = Duration::from_secs(2);

/// One thing left on the machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leak {
    /// A process, with its state letter and its command line.
    Process(u32, String),
    /// A line of `/proc/self/mountinfo`.
    Mount(String),
    /// A directory in a cgroup hierarchy.
    Cgroup(PathBuf),
    /// A file or directory.
    File(PathBuf),
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid, what) => write!(f, "process {pid}: {what}"),
            Self::Mount(line) => write!(f, "mount: {line}"),
            Self::Cgroup(path) => write!(f, "cgroup: {}", path.display()),
            Self::File(path) => write!(f, "file: {}", path.display()),
        }
    }
}

/// The leaks, one a line.
pub fn describe(leaks: &[Leak]) -> String {
    leaks.iter().map(|leak| format!("  {leak}")).collect::<Vec<_>>().join("\n")
}

/// Looks for leaks until there are none, or until the kernel has had two seconds.
pub(crate) fn settle(sandbox: &Sandbox) -> Vec<Leak> {
    let begun = Instant::now();
    loop {
        sandbox.reap();
        let left = survey(sandbox);
        let waited = begun.elapsed();
        if left.is_empty() || waited > patient(GRACE) {
            return left;
        }
        std::thread::sleep(pause(waited));
    }
}

/// Ends the processes of the sandbox and takes its mounts and cgroups away, so that other tests are not disturbed.
pub(crate) fn clean_up(sandbox: &Sandbox) {
    // What a test has left that failed may be busy, and the machine, too: nobody comes after this.
    let deadline = Instant::now() + patient(GRACE) * 6;
    while Instant::now() < deadline {
        let left = survey(sandbox);
        if left.is_empty() {
            return;
        }
        for leak in left {
            match leak {
                // What does not work now is tried again, and told in the end.
                Leak::Process(pid, _) => {
                    let _ = rustix::process::kill_process(to_pid(pid), Signal::KILL);
                }
                Leak::Mount(line) => {
                    let _ = rustix::mount::unmount(mount_point(&line), UnmountFlags::DETACH);
                }
                Leak::Cgroup(path) => remove_cgroup(&path),
                Leak::File(path) if path.is_dir() => {
                    let _ = fs::remove_dir_all(path);
                }
                Leak::File(path) => {
                    let _ = fs::remove_file(path);
                }
            }
        }
        sandbox.reap();
        std::thread::sleep(Duration::from_millis(10));
    }
    eprintln!("could not clean up:\n{}", describe(&survey(sandbox)));
}

/// Removes the sandbox's directory, unless something is still mounted in it: that could be the host's own files.
pub(crate) fn remove_directory(dir: &Path) {
    let mounted = mounts(dir.to_str().expect("test paths are UTF-8"));
    if !mounted.is_empty() {
        eprintln!("{} is kept, there are mounts in it:\n{}", dir.display(), describe(&mounted));
    } else if let Err(error) = fs::remove_dir_all(dir) {
        eprintln!("could not remove {}: {error}", dir.display());
    }
}

/// The children of a process, of all its threads.
pub fn children_of(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

fn survey(sandbox: &Sandbox) -> Vec<Leak> {
    let mut left = processes(sandbox);
    left.extend(own_mounts_excepted(sandbox));
    left.extend(cgroups(sandbox.name()));
    left.extend(files(sandbox));
    left
}

fn own_mounts_excepted(sandbox: &Sandbox) -> Vec<Leak> {
    let own = sandbox.own_mounts();
    let mut left = mounts(sandbox.name());
    left.retain(|leak| !matches!(leak, Leak::Mount(line) if own.contains(&mount_point(line))));
    left
}

fn mounts(name: &str) -> Vec<Leak> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    // The newest first: that is the order to unmount in.
    table
        .lines()
        .rev()
        .filter(|line| contains(line.as_bytes(), name.as_bytes()))
        .map(|line| Leak::Mount(line.to_owned()))
        .collect()
}

fn mount_point(line: &str) -> PathBuf {
    PathBuf::from(line.split(' ').nth(4).unwrap_or_default().replace("\\040", " "))
}

/// Processes with the sandbox's marker or in its cgroups, and whatever was given to us by a parent that ended.
fn processes(sandbox: &Sandbox) -> Vec<Leak> {
    let marker = format!("{MARKER}={}", sandbox.name());
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").expect("/proc is mounted").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let has_it = read("environ").split(|&byte| byte == 0).any(|variable| variable == marker.as_bytes());
        let grouped = contains(&read("cgroup"), sandbox.name().as_bytes());
        if has_it || grouped {
            found.insert(pid);
        }
    }
    // One process a test: then every child that nobody waits for came from a container.
    if std::env::var_os("NEXTEST").is_some() {
        found.extend(children_of(std::process::id()));
    }
    found.retain(|&pid| !sandbox.is_waited_for(pid) && pid != std::process::id());
    found.into_iter().map(|pid| Leak::Process(pid, command_line(pid))).collect()
}

fn command_line(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:\t")).unwrap_or("gone");
    let name = status.lines().find_map(|line| line.strip_prefix("Name:\t")).unwrap_or_default();
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    format!("{state} {name} {line}")
}

fn cgroups(name: &str) -> Vec<Leak> {
    let mut found = Vec::new();
    for hierarchy in host::cgroup_mounts() {
        find_directories(&hierarchy, name.as_bytes(), &mut found);
    }
    found.into_iter().map(Leak::Cgroup).collect()
}

fn find_directories(dir: &Path, name: &[u8], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if contains(entry.file_name().as_bytes(), name) {
            found.push(entry.path());
        } else {
            find_directories(&entry.path(), name, found);
        }
    }
}

fn remove_cgroup(path: &Path) {
    // On v1 the frozen do not die; other cgroups have no such file.
    if path.join("freezer.state").exists() {
        let _ = fs::write(path.join("freezer.state"), "THAWED");
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    // What is still in use is tried again.
    let _ = fs::remove_dir(path);
}

/// What is left in the state directory and in the directory for temporary files, and what bears our name elsewhere.
fn files(sandbox: &Sandbox) -> Vec<Leak> {
    let mut found: Vec<PathBuf> = entries(&sandbox.root()).collect();
    found.extend(entries(&sandbox.dir().join("tmp")));
    for place in
        ["/run", "/run/runc", "/run/cloison", "/run/crun", "/run/netns", "/dev/shm", "/var/lib", "/var/tmp"]
    {
        found.extend(entries(Path::new(place)).filter(|path| bears(path, sandbox.name())));
    }
    found.extend(
        entries(&std::env::temp_dir()).filter(|path| bears(path, sandbox.name()) && path != sandbox.dir()),
    );
    found.into_iter().map(Leak::File).collect()
}

fn bears(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|file: &OsStr| contains(file.as_bytes(), name.as_bytes()))
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Whether the name stands there as a whole: `…-12-3` does not stand in `…-12-34`.
fn contains(text: &[u8], name: &[u8]) -> bool {
    text.windows(name.len())
        .enumerate()
        .any(|(at, window)| window == name && !text.get(at + name.len()).is_some_and(u8::is_ascii_digit))
}
