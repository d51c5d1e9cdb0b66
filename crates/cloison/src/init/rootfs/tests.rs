//! Paths of an image, on the real kernel; mounts and devices, on a fake one.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use cloison_linux::Linux;
use tempfile::TempDir;

use super::*;

mod copying;
mod devices;
mod hiding;
mod mounting;
mod moving;
mod resolving;

/// A root file system in a directory of the machine's.
fn image() -> (TempDir, Root<'static>) {
    let directory = TempDir::new().unwrap();
    let mut root = Root::new(&Linux, fs::File::open(directory.path()).unwrap().into());
    root.keep_descriptors().unwrap();
    (directory, root)
}

/// Where a descriptor leads, below the image.
fn shown(image: &TempDir, fd: &OwnedFd) -> String {
    use std::os::fd::AsRawFd as _;

    let path = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    path.strip_prefix(image.path()).expect("it is in the image").to_str().unwrap().to_owned()
}

/// A root on a fake kernel with a true `/proc`.
fn root_with_descriptors(kernel: &cloison_linux::fake::Fake) -> Root<'_> {
    kernel.set_file_system("/proc/self/fd", 0x9fa0);
    let mut root = Root::new(kernel, kernel.descriptor("root"));
    root.keep_descriptors().unwrap();
    root
}
