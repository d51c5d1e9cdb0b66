//! Looking on at the system calls of tasks that run already, ptrace(2).
//!
//! A task (a thread) is seized without being stopped, and each task that it makes is seized with it. When the tracer ends, however it ends,
//! the kernel lets all of them go, and they run on.

use std::mem::offset_of;

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, WaitOptions};

use crate::Result;
use crate::raw::syscall;

const GET_SYSCALL_INFO: u32 = 0x420e;
const EVENT_STOP: i32 = 128;
const INFO_ENTRY: u8 = 1;

/// The beginning of `struct ptrace_syscall_info` of linux/ptrace.h, up to the number of a call.
#[repr(C)]
#[derive(Default)]
struct Info {
    op: u8,
    reserved: u8,
    flags: u16,
    architecture: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    number: u64,
}

const _: () = assert!(size_of::<Info>() == 32 && offset_of!(Info, number) == 24);

/// A system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// `AUDIT_ARCH_*`.
    pub architecture: u32,
    /// Its number there.
    pub number: u32,
}

/// Why a task has stopped, or that it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is about to make a call, or has made one.
    Call,
    /// It is about to get this signal.
    Signal(i32),
    /// It has made another task, which is traced too, and [interrupted](Self::Interrupted) as its first stop.
    Made,
    /// It has executed a program, and before that had this number; its own if it was killed meanwhile.
    Executed(Pid),
    /// It was stopped by [`interrupt`], or has just begun.
    Interrupted,
    /// Its process was stopped by a signal (SIGSTOP and the like), and goes on by SIGCONT.
    Group,
    /// It has ended.
    Gone,
}

/// `PTRACE_SEIZE` (Linux 3.4): the task, and what it makes, is traced from now on.
///
/// `EPERM` where the caller may not trace it, or where somebody does; `ESRCH` where it has gone.
pub fn seize(task: Pid) -> Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACEEXEC;
    ptrace(libc::PTRACE_SEIZE, task, 0, options as usize)
}

/// `PTRACE_INTERRUPT`: the task stops. A call that it waits in is made again afterwards, as with SIGSTOP and SIGCONT (signal(7)).
pub fn interrupt(task: Pid) -> Result<()> {
    ptrace(libc::PTRACE_INTERRUPT, task, 0, 0)
}

/// `PTRACE_SYSCALL`: a stopped task goes on to its next call, or the end of this one; with the signal that it was about to get, or 0.
pub fn go_on(task: Pid, signal: i32) -> Result<()> {
    ptrace(libc::PTRACE_SYSCALL, task, 0, signal as usize)
}

/// `PTRACE_LISTEN`: a task stays in the stop of its process, and tells when that ends.
pub fn stay(task: Pid) -> Result<()> {
    ptrace(libc::PTRACE_LISTEN, task, 0, 0)
}

/// `PTRACE_DETACH`: a stopped task is not traced any more, and goes on.
pub fn let_go(task: Pid, signal: i32) -> Result<()> {
    ptrace(libc::PTRACE_DETACH, task, 0, signal as usize)
}

/// The next task of those that are traced which has stopped or ended; none if all run.
///
/// `ECHILD` where none is left. The caller must have no other children whose ends it wants to hear of.
pub fn next_stop() -> Result<Option<(Pid, Stop)>> {
    let options = WaitOptions::NOHANG | WaitOptions::from_bits_retain(libc::__WALL as u32);
    let Some((task, status)) = retry_on_intr(|| rustix::process::wait(options))? else { return Ok(None) };
    let (Some(signal), event) = (status.stopping_signal(), status.as_raw() >> 16) else {
        return Ok(Some((task, Stop::Gone)));
    };
    let stop = match (signal, event) {
        (libc::SIGTRAP, libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK) => {
            Stop::Made
        }
        (libc::SIGTRAP, libc::PTRACE_EVENT_EXEC) => Stop::Executed(event_message(task).unwrap_or(task)),
        (libc::SIGTRAP, EVENT_STOP) => Stop::Interrupted,
        (_, EVENT_STOP) => Stop::Group,
        (signal, _) if signal == libc::SIGTRAP | 0x80 => Stop::Call,
        (signal, _) => Stop::Signal(signal),
    };
    Ok(Some((task, stop)))
}

/// The architecture of a stopped task, and the call that it is about to make; none if it has made it, or stopped elsewhere
/// (`PTRACE_GET_SYSCALL_INFO`, Linux 5.3).
pub fn call_of(task: Pid) -> Result<(u32, Option<Call>)> {
    let mut info = Info::default();
    let size = size_of::<Info>();
    let arguments = [GET_SYSCALL_INFO as usize, raw(task), size, (&raw mut info).addr()];
    // SAFETY: the kernel writes at most so many bytes of a structure that begins like ours.
    unsafe { syscall(libc::SYS_ptrace, arguments) }?;
    let call = || Call { architecture: info.architecture, number: info.number as u32 };
    Ok((info.architecture, (info.op == INFO_ENTRY).then(call)))
}

/// The number of the task that an event is about.
fn event_message(task: Pid) -> Result<Pid> {
    let mut message: libc::c_ulong = 0;
    ptrace(libc::PTRACE_GETEVENTMSG, task, 0, (&raw mut message).addr())?;
    i32::try_from(message).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)
}

/// A request whose data, if it is an address, the caller vouches for: it is private to this module, and each use is above.
fn ptrace(request: libc::c_uint, task: Pid, address: usize, data: usize) -> Result<()> {
    // SAFETY: the data is a number but for PTRACE_GETEVENTMSG, where it is the address of a word.
    unsafe { syscall(libc::SYS_ptrace, [request as usize, raw(task), address, data]) }.map(drop)
}

fn raw(task: Pid) -> usize {
    task.as_raw_nonzero().get() as usize
}
