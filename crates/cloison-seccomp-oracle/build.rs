//! Finds libseccomp's static library. All programs here are linked statically, but the crate `libseccomp` asks for the
//! shared library, and the linker takes that wherever both lie in one directory. So the static one is put into a
//! directory of its own, which is searched first.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let library = find()?;
    let directory = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let link = directory.join("libseccomp.a");
    if link.symlink_metadata().is_ok() {
        std::fs::remove_file(&link)?;
    }
    std::os::unix::fs::symlink(&library, &link)?;
    println!("cargo::rustc-link-search=native={}", directory.display());
    Ok(())
}

/// Asks the C compiler, which gives back the bare name of what it does not find.
fn find() -> Result<PathBuf, Box<dyn Error>> {
    let output = Command::new("cc").arg("-print-file-name=libseccomp.a").output()?;
    let path = String::from_utf8(output.stdout)?.trim().to_owned();
    if Path::new(&path).is_absolute() {
        Ok(PathBuf::from(path))
    } else {
        Err("there is no libseccomp.a, which the tests need: apt-get install libseccomp-dev".into())
    }
}
