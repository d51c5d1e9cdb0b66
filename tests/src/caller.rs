//! Who calls the runtime: root, or an ordinary user.
//!
//! With `CLOISON_TEST_USER` the tests are the same, and are root themselves, as an engine's tests are: they plant files, make networks, and
//! look at everything afterwards. But each command of the runtime is an ordinary user's, who has ranges of ids (`/etc/subuid`), and each bundle
//! has a user namespace with those. What an ordinary user cannot have is skipped, with the reason.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Gid, Uid};
use serde_json::{Value, json};

use crate::host;
use crate::leaks;
use crate::sandbox::Sandbox;
use crate::skip;

/// The environment variable with the user's id, who has a group of the same number.
pub const VARIABLE: &str = "CLOISON_TEST_USER";

/// The user's id; none where root calls the runtime.
pub fn ordinary() -> Option<u32> {
    let text = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{VARIABLE}={text:?}: no user's id")))
}

/// The words in front of a program that make it the caller's.
pub fn words() -> Vec<String> {
    ordinary().map_or_else(Vec::new, |id| {
        ["/usr/bin/setpriv", "--reuid", &id.to_string(), "--regid", &id.to_string(), "--clear-groups", "--"]
            .map(str::to_owned)
            .into()
    })
}

/// The words of a command of the runtime without those that make it the caller's, as a shell reads them, for one that already is.
pub fn line_of(command: &Command) -> String {
    let line: Vec<_> = [command.get_program()].into_iter().chain(command.get_args()).collect();
    let own = line[words().len()..].iter().map(|word| word.to_str().expect("test paths are UTF-8"));
    own.collect::<Vec<_>>().join(" ")
}

/// A command of any program's, as the caller.
pub fn command(sandbox: &Sandbox, program: &str) -> Command {
    let mut words = words().into_iter().chain([program.to_owned()]);
    let mut command = sandbox.bare_command(words.next().expect("there is at least the program"));
    command.args(words);
    command
}

/// Where the caller's systemd and bus are found; none where root calls, or where the user has none.
pub fn runtime_directory() -> Option<PathBuf> {
    let directory = PathBuf::from(format!("/run/user/{}", ordinary()?));
    directory.join("systemd/private").exists().then_some(directory)
}

/// Gives the caller a file or directory of the test's.
pub fn give(path: &Path) {
    if let Some(id) = ordinary() {
        chown(path, Some(id), Some(id)).unwrap_or_else(|error| panic!("chown {}: {error}", path.display()));
    }
}

/// The caller's name.
pub fn name() -> String {
    ordinary().map_or_else(|| "root".to_owned(), name_of)
}

fn name_of(id: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").expect("the machine knows its users");
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next()?, fields.nth(1)?);
        (uid == id.to_string()).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| panic!("there is no user with the id {id}"))
}

/// Gives the caller what is open.
pub fn give_open(file: impl AsFd) {
    if let Some(id) = ordinary() {
        let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
        rustix::fs::fchown(file, Some(uid), Some(gid)).expect("the tests run as root");
    }
}

/// Whom root and the others of a container are, outside: the user, and the first of the user's range, which is of so many ids.
pub(crate) fn ids() -> Option<(u32, u32, u32)> {
    let id = ordinary()?;
    let name = name_of(id);
    let ranges = fs::read_to_string("/etc/subuid").expect("the user has ranges of ids");
    let range = ranges.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix(':')?.split_once(':'));
    let (first, count) = range.unwrap_or_else(|| panic!("{name} has no range in /etc/subuid"));
    Some((id, first.parse().expect("a number"), count.parse().expect("a number")))
}

/// Whether a file system may be mounted with mandatory locks: they were root's, and since Linux 5.15 the option says nothing any more
/// (`may_mandlock` of fs/namespace.c).
pub fn may_have_mandatory_locks() -> bool {
    ordinary().is_none() || host::kernel() >= (5, 15)
}

/// Who an id of a container is, outside: the same, where root calls and the bundle has no user namespace.
pub fn outside(id: u32) -> u32 {
    match ids() {
        Some((root, _, _)) if id == 0 => root,
        Some((_, first, _)) => first + id - 1,
        None => id,
    }
}

/// The specification with what an ordinary user's container has: a user namespace.
pub(crate) fn adapt(spec: &mut Value) {
    let Some((root, first, count)) = ids() else { return };
    let maps = json!([
        {"containerID": 0, "hostID": root, "size": 1},
        {"containerID": 1, "hostID": first, "size": count - 1},
    ]);
    spec["linux"]["namespaces"].as_array_mut().expect("a list").push(json!({"type": "user"}));
    spec["linux"]["uidMappings"] = maps.clone();
    spec["linux"]["gidMappings"] = maps;
}

/// Ends a test that an ordinary user cannot pass, as a skipped one.
///
/// The sandbox is cleared away here, since the test does not come to its end: it has its process for itself.
pub(crate) fn skip_for_ordinary(sandbox: &Sandbox, reason: &str) {
    if ordinary().is_none() {
        return;
    }
    assert!(std::env::var_os("NEXTEST").is_some(), "{VARIABLE} wants a process for each test");
    skip::report(reason);
    sandbox.unmount_own();
    leaks::clean_up(sandbox);
    leaks::remove_directory(sandbox.dir());
    std::process::exit(0);
}

/// Ends the test, unless root calls the runtime.
#[macro_export]
macro_rules! only_root {
    ($what:literal) => {
        $crate::skip_unless!($crate::caller::ordinary().is_none(), "an ordinary user has no {}", $what);
    };
}
