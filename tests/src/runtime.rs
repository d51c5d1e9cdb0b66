//! The binary under test, and what it is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The container runtimes whose behaviour the tests tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This project's binary.
    Cloison,
    /// Any release of `runc`.
    Runc,
    /// `crun`, `youki` or anything else that takes the same commands.
    Other,
}

struct Runtime {
    binary: PathBuf,
    kind: Kind,
    /// Major and minor, for `runc` only.
    version: Option<(u32, u32)>,
}

/// The path of the binary under test: `CLOISON_BIN`, or the workspace's own `cloison` of the same build profile.
pub fn binary() -> &'static Path {
    &runtime().binary
}

/// What the binary under test is.
pub fn kind() -> Kind {
    runtime().kind
}

/// Whether the binary has what `runc` has since a release, given as `"1.2: idmapped mounts"`.
///
/// Everything but `runc` is expected to have it.
pub fn has_what_runc_has_since(since: &str) -> bool {
    let wanted = major_minor(since).expect("runc_lacks takes \"major.minor: what\"");
    runtime().version.is_none_or(|version| version >= wanted)
}

/// The `runc` that outputs are compared with: `RUNC_BIN`, or the first `runc` in `PATH`.
pub fn reference_runc() -> Option<PathBuf> {
    if let Some(binary) = std::env::var_os("RUNC_BIN") {
        return Some(binary.into());
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join("runc")).find(|path| path.is_file())
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let binary = find_binary();
        let (kind, version) = identify(&binary);
        Runtime { binary, kind, version }
    })
}

fn find_binary() -> PathBuf {
    if let Some(named) = std::env::var_os("CLOISON_BIN") {
        let named = PathBuf::from(named);
        let binary = named.canonicalize().unwrap_or_else(|error| {
            panic!("CLOISON_BIN names {}, which cannot be run: {error}", named.display())
        });
        return binary;
    }
    // <target>/<triple>/<profile>/deps/<test>: the binary stands beside deps.
    let test = std::env::current_exe().expect("the test knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("the test lies in a target directory");
    let binary = profile.join("cloison");
    assert!(
        binary.is_file(),
        "no binary to test: {} is not built. Run `cargo build -p cloison-cli` first (with the same profile), \
         or name a runtime: CLOISON_BIN=/usr/sbin/runc",
        binary.display()
    );
    binary
}

fn identify(binary: &Path) -> (Kind, Option<(u32, u32)>) {
    let output = Command::new(binary)
        .arg("--version")
        .output()
        .unwrap_or_else(|error| panic!("{} --version: {error}", binary.display()));
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("cloison") || binary.file_name().is_some_and(|name| name == "cloison") {
        return (Kind::Cloison, None);
    }
    match text.strip_prefix("runc version ") {
        Some(rest) => (Kind::Runc, major_minor(rest)),
        None => (Kind::Other, None),
    }
}

fn major_minor(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
