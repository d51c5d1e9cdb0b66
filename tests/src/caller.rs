//! Who calls the runtime: root, or an ordinary user.
//!
//! With `CLOISON_TEST_USER` the tests are the same, and are root themselves, as an engine's tests are: they plant files, make networks, and
//! look at everything afterwards. But each command of the runtime is an ordinary user's, who has ranges of ids (`/etc/subuid`), and each bundle
//! has a user namespace with those. What an ordinary user cannot have is skipped, with the reason.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

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
pub(crate) fn words() -> Vec<String> {
    ordinary().map_or_else(Vec::new, |id| {
        ["/usr/bin/setpriv", "--reuid", &id.to_string(), "--regid", &id.to_string(), "--clear-groups", "--"]
            .map(str::to_owned)
            .into()
    })
}

/// Where the caller's systemd and bus are found; none where root calls, or where the user has none.
pub(crate) fn runtime_directory() -> Option<PathBuf> {
    let directory = PathBuf::from(format!("/run/user/{}", ordinary()?));
    directory.join("systemd/private").exists().then_some(directory)
}

/// Gives the caller a file or directory of the test's.
pub fn give(path: &Path) {
    if let Some(id) = ordinary() {
        chown(path, Some(id), Some(id)).unwrap_or_else(|error| panic!("chown {}: {error}", path.display()));
    }
}

/// Whom root and the others of a container are, outside: the user, and the first of the user's range, which is of so many ids.
pub(crate) fn ids() -> Option<(u32, u32, u32)> {
    let id = ordinary()?;
    let passwd = fs::read_to_string("/etc/passwd").expect("the machine knows its users");
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next()?, fields.nth(1)?);
        (uid == id.to_string()).then(|| name.to_owned())
    });
    let name = name.unwrap_or_else(|| panic!("there is no user with the id {id}"));
    let ranges = fs::read_to_string("/etc/subuid").expect("the user has ranges of ids");
    let range = ranges.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix(':')?.split_once(':'));
    let (first, count) = range.unwrap_or_else(|| panic!("{name} has no range in /etc/subuid"));
    Some((id, first.parse().expect("a number"), count.parse().expect("a number")))
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
