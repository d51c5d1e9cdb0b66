//! Writes the text of `--version`, with the commit where there is one to name.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// The newest runtime-spec whose every field the runtime knows.
const SPEC_VERSION: &str = "1.3.0";

fn main() {
    println!("cargo::rerun-if-env-changed=CLOISON_COMMIT");
    let version = env::var("CARGO_PKG_VERSION").expect("cargo sets the package's version");
    // Engines look for the line, so it is there even if there is nothing to say.
    let commit = env::var("CLOISON_COMMIT").ok().or_else(commit_of_work_tree);
    let commit = commit.as_deref().unwrap_or("unknown");
    // clap puts the program's name and a blank before it.
    let out = env::var_os("OUT_DIR").expect("cargo sets the output directory");
    for (file, build) in [("version.txt", ""), ("version-as-runc.txt", "+cloison")] {
        let text = format!("version {version}{build}\ncommit: {commit}\nspec: {SPEC_VERSION}");
        fs::write(Path::new(&out).join(file), text).expect("the output directory is writable");
    }
}

/// The commit that is checked out, or nothing when the sources do not come from git (a package's archive).
fn commit_of_work_tree() -> Option<String> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    // A directory, or in a further work tree a file. Without it, what git finds above is somebody else's.
    if !root.join(".git").exists() {
        return None;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    // The log of HEAD changes with each commit and each checkout; HEAD itself only with the latter.
    let log = root.join(git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    if !log.exists() {
        return None;
    }
    println!("cargo::rerun-if-changed={}", log.display());
    git(&["rev-parse", "HEAD"])
}
