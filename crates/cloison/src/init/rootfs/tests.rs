//! Paths of an image, on the real kernel; mounts and devices, on a fake one.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use cloison_linux::Linux;

use super::*;
use crate::state::testing::TempDir;

mod copying;
mod devices;
mod hiding;
mod mounting;
mod resolving;

/// A root file system in a directory of the machine's.
fn image() -> (TempDir, Root<'static>) {
    let directory = TempDir::new();
    let root = Root::new(&Linux, fs::File::open(directory.path()).unwrap().into());
    (directory, root)
}

/// Where a descriptor leads, below the image.
fn shown(image: &TempDir, fd: &OwnedFd) -> String {
    use std::os::fd::AsRawFd as _;

    let path = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    path.strip_prefix(image.path()).expect("it is in the image").to_str().unwrap().to_owned()
}
