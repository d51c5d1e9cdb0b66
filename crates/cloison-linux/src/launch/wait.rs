//! What comes before the first step of a launch: the handshake with the runtime, and the wait for `start`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::tape::Argument::{Data, Value};
use super::tape::{Argument, POLICY_DESCRIPTOR, POLICY_HEAR, POLICY_JUMP, Tape};
use super::{Handshake, Launch, TAG_HANDSHAKE, TAG_WAIT, Wait};
use crate::Result;
use crate::signals::SET_SIZE;

/// How long the process rests before it waits again, after a connection that was none: whatever the reason,
/// waiting never keeps a CPU busy.
const REST_NANOSECONDS: u64 = 1_000_000;

/// What a process ends with that nobody has given the right answer.
pub(super) const EXIT_STATUS: u64 = 127;

/// Signals by which people and engines ask a process to end.
pub(super) const LETHAL: [libc::c_int; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

impl Tape {
    /// Writes down the handshake of a launch, and what comes before it. `EINVAL` where there is no descriptor.
    pub(super) fn prepare(&mut self, launch: &Launch) -> Result<()> {
        let report = launch.report.as_ref().map(AsFd::as_fd).ok_or(Errno::INVAL);
        if let Some(wait) = &launch.wait {
            self.close_all_but(wait, report?);
            if wait.be_seen {
                self.prctl(TAG_WAIT, libc::PR_SET_DUMPABLE, 1, 0);
            }
            self.die_of_signals();
        }
        if let Some(handshake) = launch.handshake {
            self.handshake(handshake, report?);
        }
        Ok(())
    }

    /// Writes down the wait of a launch. `EINVAL` where there is no descriptor.
    pub(super) fn wait_for_start(&mut self, launch: &Launch) -> Result<()> {
        let report = launch.report.as_ref().map(AsFd::as_fd).ok_or(Errno::INVAL);
        if let Some(wait) = &launch.wait {
            self.wait(wait, report?);
        }
        Ok(())
    }

    fn close_all_but(&mut self, wait: &Wait, report: BorrowedFd<'_>) {
        let kept = wait.keep.iter().map(AsFd::as_fd).chain([wait.listener.as_fd(), report]);
        let mut kept: Vec<u32> = kept.map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
        kept.sort_unstable();
        self.close_from(TAG_WAIT, wait.close_from, &kept);
    }

    /// Lets signals end a process that waits, as they would end any other: the kernel spares the first process of a PID namespace from
    /// all that it has no handler for (`pid_namespaces(7)`). The program gets them as they are by default.
    fn die_of_signals(&mut self) {
        /// Beside what the kernel says: room for the handler, which needs none.
        const MARGIN: usize = 4096;
        /// `SA_RESTORER` of asm/signal.h, without which x86-64 delivers no signal. Nothing is restored.
        const SA_RESTORER: u64 = 0x0400_0000;
        let Some(killed) = self.killed.map(|address| address as u64) else { return };
        // SAFETY: asks for a number.
        let least = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
        let length = least.max(libc::MINSIGSTKSZ) + MARGIN;
        // stack_t: the address, flags, and the length.
        let stack = self.reserve(24);
        self.set(stack.0 + 16, &(length as u64).to_ne_bytes());
        self.signal_stack = Some((stack.0, length));
        self.call(TAG_WAIT, libc::SYS_sigaltstack, &[Data(stack), Value(0)]);
        let flags = libc::SA_ONSTACK as u64 | SA_RESTORER;
        let action = Data(self.bytes(&[killed, flags, killed, 0].map(u64::to_ne_bytes).concat()));
        for signal in LETHAL {
            let arguments = [Value(signal as u64), action, Value(0), Value(SET_SIZE as u64)];
            self.call(TAG_WAIT, libc::SYS_rt_sigaction, &arguments);
        }
    }

    fn handshake(&mut self, Handshake { say, hear }: Handshake, report: BorrowedFd<'_>) {
        let report = Value(report.as_raw_fd() as u64);
        let byte = Data(self.bytes(&[say]));
        // Not write(2), which would raise SIGPIPE where the runtime has gone.
        let arguments = [report, byte, Value(1), Value(libc::MSG_NOSIGNAL as u64), Value(0), Value(0)];
        self.call(TAG_HANDSHAKE, libc::SYS_sendto, &arguments);
        self.hear(TAG_HANDSHAKE, report, hear, 2);
        self.call(TAG_HANDSHAKE, libc::SYS_exit_group, &[Value(EXIT_STATUS)]);
    }

    /// A loop of six calls. The connection is put to the number of the report, which is the listener's in the
    /// meantime: so the number is known to what comes later, is never given to another descriptor, and a
    /// connection that says nothing is closed by the next turn.
    fn wait(&mut self, wait: &Wait, report: BorrowedFd<'_>) {
        let [listener, report] = [wait.listener.as_fd(), report].map(|fd| Value(fd.as_raw_fd() as u64));
        let close_on_exec = Value(libc::O_CLOEXEC as u64);
        let accepted = Value(u64::MAX); // until accept4(2) has put it there
        let rest = [0, REST_NANOSECONDS].map(u64::to_ne_bytes).concat();
        let rest = Data(self.bytes(&rest));

        self.call(TAG_WAIT, libc::SYS_dup3, &[listener, report, close_on_exec]);
        self.call(TAG_WAIT, libc::SYS_accept4, &[listener, Value(0), Value(0), close_on_exec]);
        self.last_jump(POLICY_DESCRIPTOR, 4);
        self.call(TAG_WAIT, libc::SYS_dup3, &[accepted, report, close_on_exec]);
        self.call(TAG_WAIT, libc::SYS_close, &[accepted]);
        self.hear(TAG_WAIT, report, wait.hear, 2);
        self.call(TAG_WAIT, libc::SYS_ppoll, &[Value(0), Value(0), rest, Value(0), Value(0)]);
        self.last_jump(POLICY_JUMP, -5);
    }

    /// Reads one byte, and goes on `further` entries from here if it is the right one.
    pub(super) fn hear(&mut self, tag: u32, socket: Argument, right: u8, further: i32) {
        let byte = Data(self.bytes(&[0]));
        self.call(tag, libc::SYS_read, &[socket, byte, Value(1), Value(right.into())]);
        self.last_jump(POLICY_HEAR, further);
    }
}
