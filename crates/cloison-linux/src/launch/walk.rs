//! Walks a tape from within the runtime's own executable, where there is no pad.

use std::convert::Infallible;
use std::os::fd::AsRawFd;

use rustix::io::Errno;

use super::Launch;
use super::tape::{Entry, POLICY_CANDIDATE, POLICY_END, Tape};
use crate::Result;
use crate::raw::syscall;

/// Does the steps of a launch. Comes back only with an error from before the first of them.
pub(super) fn run(launch: &Launch) -> Result<Infallible> {
    let mut tape = Tape::default();
    tape.launch(launch)?;
    let report = launch.report.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    let entry = tape.map()?;
    // SAFETY: the tape ends with an end mark, and its arguments are as the calls expect them.
    unsafe { walk(entry, report) }
}

/// # Safety
///
/// `entry` must be the first of a tape in memory, with an end mark.
unsafe fn walk(mut entry: *mut Entry, report: libc::c_int) -> ! {
    let mut remembered: Option<(u32, Errno)> = None;
    loop {
        // SAFETY: not yet at the end mark, so that this is an entry.
        let call = unsafe { &mut *entry };
        if call.policy == POLICY_END {
            let (tag, errno) = remembered.unwrap_or((call.tag, Errno::NOENT));
            fail(call, report, tag, errno);
        }
        let arguments = call.arguments.map(|argument| argument as usize);
        // SAFETY: the arguments are as the call expects them.
        if let Err(errno) = unsafe { syscall(call.number.into(), arguments) } {
            let (tag, policy) = (call.tag, call.policy);
            match errno {
                _ if policy != POLICY_CANDIDATE => fail(call, report, tag, errno),
                Errno::NOENT | Errno::NOTDIR => {
                    remembered.get_or_insert((tag, errno));
                }
                Errno::ACCESS if remembered.is_some_and(|(_, old)| old == Errno::ACCESS) => {}
                Errno::ACCESS => remembered = Some((tag, errno)),
                _ => fail(call, report, tag, errno),
            }
        }
        // SAFETY: there is one more entry, since this one was not the end mark.
        entry = unsafe { entry.add(1) };
    }
}

fn fail(entry: &mut Entry, report: libc::c_int, tag: u32, errno: Errno) -> ! {
    entry.tag = tag.to_le();
    entry.errno = errno.raw_os_error().unsigned_abs().to_le();
    // SAFETY: the tag and the errno are neighbours, eight bytes together. There is nobody left to tell of a
    // failure of this.
    unsafe {
        let _ = syscall(libc::SYS_write, [report as usize, (&raw const entry.tag) as usize, 8]);
        libc::_exit(127)
    }
}
