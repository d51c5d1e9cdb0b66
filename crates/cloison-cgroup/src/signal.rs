//! Signalling every process of a cgroup.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::{Error, Result};
use crate::processes;

/// How often the processes are listed, at most.
const PASSES: usize = 1000;
/// How many processes are held by a descriptor at a time.
const BATCH: usize = 256;

/// Sends `signal` to each process of the cgroup at `top` and below it, to those too that are forked meanwhile.
///
/// A process is opened as a pidfd first and signalled only if the cgroup lists its pid once more after that, so the
/// signal never reaches a stranger who was given the pid of one that ended.
pub(crate) fn send_to_all(top: &Path, signal: Signal) -> Result<()> {
    let mut opened: Vec<(i32, OwnedFd)> = Vec::new();
    let mut handled = BTreeSet::new();
    let mut refused = None;
    for _ in 0..PASSES {
        let listed = processes::pids(top)?;
        for (pid, pidfd) in opened.drain(..) {
            if listed.binary_search(&pid).is_err() {
                continue;
            }
            match pidfd_send_signal(&pidfd, signal) {
                // Whoever has the pid now is not who had it: to be opened anew.
                Err(Errno::SRCH) => _ = handled.remove(&pid),
                Err(source) => {
                    let signal = signal.as_raw();
                    refused.get_or_insert_with(|| Error::Signal {
                        path: top.to_owned(),
                        pid,
                        signal,
                        source,
                    });
                }
                Ok(()) => {}
            }
        }
        for pid in listed {
            if opened.len() < BATCH && !handled.contains(&pid) {
                open(pid, &mut opened);
                handled.insert(pid);
            }
        }
        if opened.is_empty() {
            return refused.map_or(Ok(()), Err);
        }
    }
    Err(Error::Forking(top.to_owned()))
}

fn open(pid: i32, opened: &mut Vec<(i32, OwnedFd)>) {
    let Some(process) = Pid::from_raw(pid) else { return };
    match pidfd_open(process, PidfdFlags::empty()) {
        Ok(pidfd) => opened.push((pid, pidfd)),
        // It has ended, or is a thread of a process that is signalled as a whole.
        Err(error) => log::debug!("pidfd_open {pid}: {error}; nothing to signal"),
    }
}
