//! The packages that the tests need.

use std::path::Path;

use crate::{Result, command};

/// A package, and what it brings: nothing is installed where that is there already.
const PACKAGES: [(&str, &str); 11] = [
    // The root file system of most tests, in a single file.
    ("busybox-static", "/bin/busybox"),
    // Makes the Debian root file system of the others; the keys let it check what it downloads, on Ubuntu too.
    ("debootstrap", "/usr/sbin/debootstrap"),
    ("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    ("gpgv", "/usr/bin/gpgv"),
    // The terminal of a test that sits at one.
    ("tmux", "/usr/bin/tmux"),
    // What our containers show is compared with what its containers show.
    ("runc", "/usr/sbin/runc"),
    // Makes the network devices that are moved into containers.
    ("iproute2", "/usr/sbin/ip"),
    // What `cloison ps` calls.
    ("procps", "/usr/bin/ps"),
    // Maps ranges of ids for containers of ordinary users.
    ("uidmap", "/usr/bin/newuidmap"),
    // Our filters are compared with its.
    ("libseccomp-dev", "/usr/include/seccomp.h"),
    // The fuzz targets' engine is C++.
    ("g++", "/usr/bin/g++"),
];

/// Installs what the tests need and is missing.
///
/// # Errors
/// As of [`install`].
pub(crate) fn setup() -> Result<()> {
    install(&PACKAGES)
}

/// Installs those packages that bring a file which is missing, with `apt-get`.
///
/// # Errors
/// When something is missing and this is neither Debian nor Ubuntu, or the installation fails.
pub(crate) fn install(packages: &[(&str, &str)]) -> Result<()> {
    let is_there = |file: &str| {
        let name = Path::new(file).file_name().and_then(|name| name.to_str());
        // Whoever installed runc from elsewhere keeps it; the tests want busybox in /bin and no other.
        Path::new(file).exists()
            || name.is_some_and(|name| name != "busybox" && command::find(name).is_some())
    };
    let missing: Vec<&str> =
        packages.iter().filter(|(_, file)| !is_there(file)).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if command::find("apt-get").is_none() {
        return Err(format!("there is no apt-get here; please install: {}", missing.join(" ")).into());
    }
    println!("installing {}", missing.join(" "));
    let root = command::as_root()?;
    let apt = |arguments: &[&str]| {
        let words = root.iter().map(String::as_str);
        let quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"];
        command::run(&mut command::words(words.chain(quiet).chain(arguments.iter().copied())))
    };
    apt(&["update"])?;
    apt(&[&["install", "--yes", "--no-install-recommends"], missing.as_slice()].concat())
}
