//! What this machine can do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How the cgroup hierarchies are mounted on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupLayout {
    /// Only `cgroup2` on `/sys/fs/cgroup`.
    V2,
    /// `cgroup` hierarchies, with or without a `cgroup2` beside them.
    V1,
}

/// The layout under `/sys/fs/cgroup`.
pub fn cgroup_layout() -> CgroupLayout {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { CgroupLayout::V2 } else { CgroupLayout::V1 }
}

/// The mount point of each cgroup hierarchy, `cgroup2` included.
pub fn cgroup_mounts() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (_source, target, kind) = (fields.next()?, fields.next()?, fields.next()?);
            matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(target))
        })
        .collect()
}

/// Whether systemd runs here as the machine's init, `sd_booted(3)`.
pub fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Whether an ordinary user gets a view of the host's programs: of a directory with mounts below it the kernel gives none in a user namespace.
pub fn users_see_usr() -> bool {
    !fs::read_to_string("/proc/self/mounts").expect("/proc is mounted").contains(" /usr/")
}

/// What a table of mounts says, but that a security module labels their files.
pub fn unlabelled(mounts: &str) -> String {
    mounts.replace("seclabel,", "")
}

/// Whether the kernel lets the root of a user's namespace set sysctls of its IPC namespace.
pub fn users_set_ipc() -> bool {
    let script = "echo 1234 > /proc/sys/kernel/shmmni";
    let words = ["unshare", "--user", "--map-root-user", "--ipc", "sh", "-c", script].map(str::to_owned);
    let words: Vec<_> = crate::caller::words().into_iter().chain(words).collect();
    let output = Command::new(&words[0]).args(&words[1..]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Whether we run as root, outside any user namespace that maps less than everything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root() && crate::caller::ordinary().is_none()
}

/// Whether who calls the runtime has a capability, by its number in `linux/capability.h`.
pub fn has_capability(number: u32) -> bool {
    if crate::caller::ordinary().is_some() {
        return false;
    }
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let effective =
        status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("the kernel tells CapEff");
    u64::from_str_radix(effective.trim(), 16).expect("CapEff is hexadecimal") & (1 << number) != 0
}

/// Whether the kernel knows a filesystem type.
pub fn knows_filesystem(name: &str) -> bool {
    fs::read_to_string("/proc/filesystems")
        .expect("/proc is mounted")
        .lines()
        .any(|line| line.split_whitespace().last() == Some(name))
}

/// Whether the kernel has namespaces of this kind, named as in `/proc/self/ns`.
pub fn has_namespace(name: &str) -> bool {
    Path::new("/proc/self/ns").join(name).exists()
}

/// Whether a system call works at all here, told by a file that only exists with it.
pub fn has_file(path: &str) -> bool {
    Path::new(path).exists()
}

/// Major and minor version of the running kernel.
pub fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).expect("a kernel release starts with two numbers");
    (next(), next())
}

/// The directory of a process's cgroup in the hierarchy of a controller, as the host sees it; none where the machine has no such
/// hierarchy. On a machine with v2 alone it is the one cgroup, whatever the controller.
pub fn cgroup_of(pid: u32, controller: &str) -> Option<PathBuf> {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process lives");
    let find = |wanted: &str| {
        let mut lines = table.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        lines.find(|(names, _)| names.split(',').any(|name| name == wanted)).map(|(_, path)| path)
    };
    let (mount, path) = match cgroup_layout() {
        CgroupLayout::V2 => (PathBuf::from("/sys/fs/cgroup"), find("")?),
        CgroupLayout::V1 => (Path::new("/sys/fs/cgroup").join(controller), find(controller)?),
    };
    Some(mount.join(path.trim_start_matches('/')))
}

/// Whether who calls the runtime can map the ids of a mount.
pub fn has_idmapped_mounts() -> bool {
    is_root() && kernel() >= (5, 12)
}

/// Whether a program of this name is where the tests look for programs.
pub fn has_program(name: &str) -> bool {
    crate::sandbox::PATH.split(':').any(|directory| Path::new(directory).join(name).is_file())
}

/// Why who calls the runtime cannot checkpoint; nothing where CRIU is there and knows this kernel.
pub fn why_no_criu() -> Option<&'static str> {
    if crate::caller::ordinary().is_some() {
        return Some("an ordinary user has no CAP_CHECKPOINT_RESTORE, which CRIU wants");
    }
    let mut check = Command::new("criu");
    check.arg("check").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match check.status() {
        Ok(status) if status.success() => None,
        Ok(_) => Some(
            "needs a kernel that `criu check` is content with (CONFIG_CHECKPOINT_RESTORE is the first of what it wants)",
        ),
        Err(_) => Some("needs CRIU"),
    }
}

/// Whether CRIU can do something on this kernel, by the name that `criu check --feature` has for it.
pub fn criu_can(feature: &str) -> bool {
    let check = Command::new("criu")
        .args(["check", "--feature", feature])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    check.is_ok_and(|status| status.success())
}
