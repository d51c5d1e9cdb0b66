//! Signals as something to read: blocked, and fetched from a descriptor, signalfd(2).

use std::fmt;
use std::mem::MaybeUninit;
use std::num::NonZeroI32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, Signal};

use crate::Result;
use crate::raw::{own, syscall};

/// The highest signal number, `SIGRTMAX` as the kernel counts.
pub const LAST_SIGNAL: i32 = 64;

/// Bytes of the kernel's signal sets, which have one bit a signal.
pub(crate) const SET_SIZE: usize = 8;

/// The signal with a number of 1 to 64, real-time signals included, signal(7).
pub fn from_number(number: i32) -> Option<Signal> {
    let number = NonZeroI32::new(number).filter(|number| (1..=LAST_SIGNAL).contains(&number.get()))?;
    // SAFETY: the number is a signal's. The two that the C library keeps are for the threads of its own
    // process; sending them to another process, as kill(1) can, harms nothing of ours.
    Some(unsafe { Signal::from_raw_nonzero_unchecked(number) })
}

/// A set of signals, as the kernel keeps it: bit `n - 1` is signal `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const NONE: Self = Self(0);
    /// Every signal. Those that cannot be blocked or read are left out by the kernel.
    pub const ALL: Self = Self(u64::MAX);

    /// The set with one signal more.
    #[must_use]
    pub fn with(self, signal: Signal) -> Self {
        Self(self.0 | bit(signal))
    }

    /// The set with one signal less.
    #[must_use]
    pub fn without(self, signal: Signal) -> Self {
        Self(self.0 & !bit(signal))
    }

    /// The kernel's own form.
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// Whether a signal is in the set.
    pub fn contains(self, signal: Signal) -> bool {
        self.0 & bit(signal) != 0
    }
}

impl fmt::Display for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = (1..=LAST_SIGNAL)
            .filter(|number| self.0 & 1 << (number - 1) != 0)
            .map(|number| number.to_string())
            .collect();
        f.write_str(&numbers.join(","))
    }
}

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

/// Blocks every signal that can be blocked, so that a [`SignalFd`] gets them; gives the mask from before.
///
/// Faults of the caller itself (`SIGSEGV`, `SIGBUS`, `SIGFPE`, `SIGILL`, `SIGTRAP`, `SIGSYS`) stay open: a
/// blocked fault would kill without its handler's message.
pub fn block_all() -> Result<SignalSet> {
    let faults = [Signal::SEGV, Signal::BUS, Signal::FPE, Signal::ILL, Signal::TRAP, Signal::SYS];
    set_mask(faults.into_iter().fold(SignalSet::ALL, SignalSet::without))
}

/// Sets the mask of blocked signals back to what [`block_all`] gave.
pub fn restore(mask: SignalSet) -> Result<()> {
    set_mask(mask).map(drop)
}

/// Lets `SIGCHLD` be as it is by default. Where the caller's own caller ignored it, which `execve(2)` hands on, no child
/// would tell its end, and none could be waited for (`ECHILD`, wait(2)).
pub fn hear_of_children() -> Result<()> {
    // SAFETY: no handler is given, and none of ours is there for this signal.
    if unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) } == libc::SIG_ERR {
        return Err(crate::raw::last_errno());
    }
    Ok(())
}

/// `rt_sigprocmask(2)`: sets the mask of blocked signals, gives the one from before.
pub fn set_mask(mask: SignalSet) -> Result<SignalSet> {
    let mut old = 0_u64;
    let (new_place, old_place) = ((&raw const mask.0) as usize, (&raw mut old) as usize);
    // SAFETY: both sets outlive the call and have the size that is said. Not the C library's function: that
    // one protects two signals of its own, which must be open in the program that is launched.
    unsafe {
        syscall(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, new_place, old_place, SET_SIZE])
    }?;
    Ok(SignalSet(old))
}

/// Lets a signal do nothing to this process, until an `execve(2)` of a [`Launch`](crate::launch::Launch) that resets signals.
///
/// # Errors
/// `EINVAL` for `SIGKILL` and `SIGSTOP`.
pub fn ignore(signal: Signal) -> Result<()> {
    // SAFETY: no handler is given that would run.
    match unsafe { libc::signal(signal.as_raw(), libc::SIG_IGN) } {
        libc::SIG_ERR => Err(Errno::INVAL),
        _ => Ok(()),
    }
}

/// Whether a signal does nothing to this process, as `nohup(1)` and shells have it for what they start.
///
/// # Errors
/// `EINVAL` for a number that is no signal's.
pub fn is_ignored(signal: Signal) -> Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is changed, and what is told has the size of the structure.
    if unsafe { libc::sigaction(signal.as_raw(), std::ptr::null(), action.as_mut_ptr()) } != 0 {
        return Err(crate::raw::last_errno());
    }
    // SAFETY: all zeroes are a valid action, and the C library has filled it in.
    Ok(unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN)
}

/// What is known of a signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalInfo {
    /// Which signal.
    pub signal: Signal,
    /// Who sent it, or which child it tells of; none for a process outside of our pid namespace, and for the
    /// kernel itself.
    pub pid: Option<Pid>,
}

/// A descriptor that blocked signals are read from; it is non-blocking and can be polled.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// `signalfd4(2)` for a set of signals, which should be blocked.
    pub fn new(signals: SignalSet) -> Result<Self> {
        let flags = (libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) as usize;
        let set = (&raw const signals.0) as usize;
        // SAFETY: the set outlives the call and has the size that is said.
        let fd = unsafe { syscall(libc::SYS_signalfd4, [usize::MAX, set, SET_SIZE, flags]) }?;
        // SAFETY: the kernel has just given this descriptor.
        Ok(Self(unsafe { own(fd) }))
    }

    /// The next signal, or none where none is waiting.
    pub fn read(&self) -> Result<Option<SignalInfo>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        let arguments = [self.0.as_raw_fd() as usize, info.as_mut_ptr() as usize, size];
        // SAFETY: the kernel writes at most the size that is said.
        match retry_on_intr(|| unsafe { syscall(libc::SYS_read, arguments) }) {
            Ok(read) if read == size => {}
            Ok(_) => return Err(Errno::IO),
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error),
        }
        // SAFETY: the kernel has written all of it.
        let info = unsafe { info.assume_init() };
        let signal = i32::try_from(info.ssi_signo).ok().and_then(from_number).ok_or(Errno::IO)?;
        let pid = i32::try_from(info.ssi_pid).ok().and_then(Pid::from_raw);
        Ok(Some(SignalInfo { signal, pid }))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_of_the_signals_are_none() {
        assert_eq!(from_number(0), None);
        assert_eq!(from_number(-1), None);
        assert_eq!(from_number(65), None);
        assert_eq!(from_number(15), Some(Signal::TERM));
        assert_eq!(from_number(64).unwrap().as_raw(), 64);
    }

    #[test]
    fn blocked_signal_is_read_with_its_sender() {
        std::thread::spawn(|| {
            let old = block_all().unwrap();
            let fd = SignalFd::new(SignalSet::NONE.with(Signal::USR1)).unwrap();
            assert_eq!(fd.read().unwrap(), None);
            let me = rustix::process::getpid();
            let thread = rustix::thread::gettid();
            let arguments = [me.as_raw_pid() as usize, thread.as_raw_pid() as usize, libc::SIGUSR1 as usize];
            // SAFETY: the call takes numbers alone. To this thread, because the other threads of the test do
            // not block it.
            unsafe { syscall(libc::SYS_tgkill, arguments) }.unwrap();
            let info = fd.read().unwrap().unwrap();
            assert_eq!(info, SignalInfo { signal: Signal::USR1, pid: Some(me) });
            restore(old).unwrap();
            assert_eq!(set_mask(old).unwrap(), old);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn ignored_signal_does_nothing() {
        ignore(Signal::XFSZ).unwrap();
        assert!(is_ignored(Signal::XFSZ).unwrap() && !is_ignored(Signal::USR2).unwrap());
        rustix::process::kill_process(rustix::process::getpid(), Signal::XFSZ).unwrap();
        assert_eq!(ignore(Signal::KILL), Err(Errno::INVAL));
    }

    #[test]
    fn faults_are_never_blocked() {
        std::thread::spawn(|| {
            let old = block_all().unwrap();
            let blocked = set_mask(old).unwrap();
            assert!(!blocked.contains(Signal::SEGV));
            assert!(blocked.contains(Signal::TERM));
        })
        .join()
        .unwrap();
    }
}
