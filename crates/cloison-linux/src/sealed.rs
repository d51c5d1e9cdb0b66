//! Files that nobody can change any more, and running from one.
//!
//! The runtime runs from a sealed copy of itself only where a [launch](crate::launch) cannot switch the
//! executable: on kernels without `CONFIG_CHECKPOINT_RESTORE`, and on architectures that have no machine code
//! for it.

use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::ptr;

use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::Result;
use crate::file::reopen;
use crate::raw::syscall;

/// All that can be forbidden of a memfd's content, and that it is ever allowed again.
const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Goes on from a sealed copy of the caller's executable, with the same arguments and environment; comes back
/// at once where it is one already.
///
/// Costs a copy of the binary and an `execve(2)`. To be called first of all, while nothing is open or changed
/// yet. `EACCES` where memfds are not executable (`vm.memfd_noexec`).
pub fn ensure_sealed_copy() -> Result<()> {
    let own =
        File::open("/proc/self/exe").map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    if is_sealed(own.as_fd()) {
        return Ok(());
    }
    let copy = writable_file(c"cloison")?;
    while retry_on_intr(|| rustix::fs::sendfile(&copy, &own, None, 0x7fff_f000))? > 0 {}
    let sealed = seal(&copy)?;
    drop(copy);
    Err(execute(sealed.as_fd()))
}

/// Whether a file is a memfd whose content can never be changed.
fn is_sealed(file: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SEALS))
}

/// A sealed, executable memfd with these bytes, open for reading alone (Linux 3.17). Needs `/proc`.
pub fn sealed_file(name: &CStr, bytes: &[u8]) -> Result<OwnedFd> {
    let file = writable_file(name)?;
    crate::file::write(file.as_fd(), bytes)?;
    seal(&file)
}

fn writable_file(name: &CStr) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        // Before 6.3 there is no such flag, and every memfd is executable.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        done => done,
    }
}

/// Seals a memfd, and opens it anew for reading: until `file` is closed, which can write, the kernel does not
/// execute the file.
fn seal(file: &OwnedFd) -> Result<OwnedFd> {
    rustix::fs::fcntl_add_seals(file, SEALS)?;
    reopen(file.as_fd(), OFlags::RDONLY)
}

/// `execveat(2)` of a descriptor with the caller's arguments and environment.
fn execute(file: BorrowedFd<'_>) -> Errno {
    let args: Vec<CString> = std::env::args_os().filter_map(c_string).collect();
    let env: Vec<CString> = std::env::vars_os()
        .filter_map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            c_string(variable)
        })
        .collect();
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    };
    let (args, env) = (pointers(&args), pointers(&env));
    let call = [
        file.as_raw_fd() as usize,
        c"".as_ptr() as usize,
        args.as_ptr() as usize,
        env.as_ptr() as usize,
        libc::AT_EMPTY_PATH as usize,
    ];
    // SAFETY: both arrays end with a null pointer, and they and their strings outlive the call.
    match unsafe { syscall(libc::SYS_execveat, call) } {
        Ok(_) => Errno::IO,
        Err(errno) => errno,
    }
}

/// What came from the kernel as a C string is one.
fn c_string(string: OsString) -> Option<CString> {
    CString::new(string.into_vec()).ok()
}
