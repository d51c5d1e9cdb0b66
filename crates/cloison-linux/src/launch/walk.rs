//! Walks a tape from within the runtime's own executable, where there is no pad.

use std::convert::Infallible;
use std::os::fd::AsRawFd;

use rustix::io::Errno;

use super::Launch;
use super::tape::{
    Entry, POLICY_CANDIDATE, POLICY_DESCRIPTOR, POLICY_END, POLICY_HEAR, POLICY_JUMP, POLICY_STORE, Tape,
};
use super::wait::LETHAL;
use crate::Result;
use crate::raw::syscall;

/// Does the steps of a launch. Comes back only with an error from before the first of them.
pub(super) fn run(launch: &Launch) -> Result<Infallible> {
    if launch.wait.is_some() {
        die_of_signals()?;
    }
    let mut tape = Tape::default();
    tape.launch(launch)?;
    let report = launch.report.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    let entry = tape.map()?;
    // SAFETY: the tape ends with an end mark, and its arguments are as the calls expect them.
    unsafe { walk(entry, report) }
}

/// As the pad does it: see [`Tape::prepare`].
fn die_of_signals() -> Result<()> {
    extern "C" fn killed(signal: libc::c_int) {
        // SAFETY: ends the process, and may be called from a handler.
        unsafe { libc::_exit(128 + signal) }
    }
    for signal in LETHAL {
        // SAFETY: the handler does nothing but end the process.
        if unsafe { libc::signal(signal, killed as *const () as libc::sighandler_t) } == libc::SIG_ERR {
            return Err(crate::raw::last_errno());
        }
    }
    Ok(())
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
        let result = unsafe { syscall(call.number.into(), arguments) };
        let (tag, jump) = (call.tag, call.errno_or_jump as isize);
        let further = match (call.policy, result) {
            (POLICY_JUMP, _) | (POLICY_DESCRIPTOR, Err(_)) => jump,
            (POLICY_DESCRIPTOR, Ok(descriptor)) => {
                for next in 1..=2 {
                    // SAFETY: two calls follow this one.
                    unsafe { (*entry.add(next)).arguments[0] = descriptor as u64 };
                }
                1
            }
            (POLICY_STORE, Ok(descriptor)) => {
                // SAFETY: points to the first argument of another entry.
                unsafe { *(arguments[3] as *mut u64) = descriptor as u64 };
                1
            }
            // SAFETY: one byte was read to there.
            (POLICY_HEAR, Ok(1)) if unsafe { *(arguments[1] as *const u8) } == arguments[3] as u8 => jump,
            (POLICY_HEAR, _) | (_, Ok(_)) => 1,
            (POLICY_CANDIDATE, Err(errno @ (Errno::NOENT | Errno::NOTDIR))) => {
                remembered.get_or_insert((tag, errno));
                1
            }
            (POLICY_CANDIDATE, Err(Errno::ACCESS)) => {
                remembered =
                    remembered.filter(|(_, old)| *old == Errno::ACCESS).or(Some((tag, Errno::ACCESS)));
                1
            }
            (_, Err(errno)) => fail(call, report, tag, errno),
        };
        // SAFETY: the next entry, since this one was not the end mark, or one of the tape that is jumped to.
        entry = unsafe { entry.offset(further) };
    }
}

fn fail(entry: &mut Entry, report: libc::c_int, tag: u32, errno: Errno) -> ! {
    entry.tag = tag.to_le();
    entry.errno_or_jump = errno.raw_os_error().to_le();
    // SAFETY: the tag and the errno are neighbours, eight bytes together. There is nobody left to tell of a
    // failure of this.
    unsafe {
        let _ = syscall(libc::SYS_write, [report as usize, (&raw const entry.tag) as usize, 8]);
        libc::_exit(127)
    }
}
