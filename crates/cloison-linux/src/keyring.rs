//! The session keyring, session-keyring(7).

use std::ffi::CStr;

use rustix::io::Errno;

use crate::Result;
use crate::raw::syscall;

const KEYCTL_JOIN_SESSION_KEYRING: usize = 1;
const KEYCTL_SETPERM: usize = 5;
const KEYCTL_DESCRIBE: usize = 6;

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING)`: a new session keyring with this name; gives its serial number.
///
/// The kernel looks for one of this name first. Where that is the caller's own, as in a container around this one that has the same name, it
/// gives 0 and changes nothing; a keyring without a name is made then, so that keys are kept apart all the same.
///
/// `ENOSYS` where the kernel has no keys, `EDQUOT` where the user's quota is full.
pub fn join_session_keyring(name: &CStr) -> Result<i32> {
    let join = |name: usize| {
        // SAFETY: the name outlives the call; without one, the kernel reads nothing.
        unsafe { syscall(libc::SYS_keyctl, [KEYCTL_JOIN_SESSION_KEYRING, name]) }
    };
    let serial = match join(name.as_ptr() as usize)? {
        0 => join(0)?,
        serial => serial,
    };
    i32::try_from(serial).map_err(|_| Errno::OVERFLOW)
}

/// Changes the permissions of a keyring to `(old & and) | or`, `keyctl_setperm(3)`.
pub fn keyring_permissions(serial: i32, and: u32, or: u32) -> Result<()> {
    let wanted = (permissions(serial)? & and) | or;
    // SAFETY: the call takes numbers alone.
    unsafe { syscall(libc::SYS_keyctl, [KEYCTL_SETPERM, serial as usize, wanted as usize]) }?;
    Ok(())
}

/// The permissions of a key, from its description (`type;uid;gid;permissions;name`).
fn permissions(serial: i32) -> Result<u32> {
    let mut buffer = [0_u8; 1024];
    let place = buffer.as_mut_ptr() as usize;
    // SAFETY: the kernel writes at most the length it is told.
    let length =
        unsafe { syscall(libc::SYS_keyctl, [KEYCTL_DESCRIBE, serial as usize, place, buffer.len()]) }?;
    let text = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
    let field = text.split(|byte| *byte == b';').nth(3).ok_or(Errno::INVAL)?;
    let field = str::from_utf8(field).map_err(|_| Errno::INVAL)?;
    u32::from_str_radix(field, 16).map_err(|_| Errno::INVAL)
}
