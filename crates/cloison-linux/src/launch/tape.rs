//! A [`Launch`] as a list of raw system calls with all the memory that they refer to.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::ptr;
#[cfg(target_arch = "x86_64")]
use std::{ops::Range, os::fd::OwnedFd};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::{Resource, Rlimit};

use super::wait::EXIT_STATUS;
use super::{Handover, Launch, LaunchStep, SockFilter, TAG_PROGRAM};
#[cfg(target_arch = "x86_64")]
use super::{TAG_SWITCH, TAG_UNMAP};
use crate::Result;
use crate::capability::CapabilitySet;
use crate::raw::page_size;
use crate::signals::{LAST_SIGNAL, SET_SIZE};

/// One system call. The machine code knows this layout.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The number of the call.
    pub(super) number: u32,
    /// What a failure means, `POLICY_*`.
    pub(super) policy: u32,
    /// The arguments.
    pub(super) arguments: [u64; 6],
    /// What is told of a failure, and, right behind it, why: together the bytes of the report.
    pub(super) tag: u32,
    /// Why. In an entry that jumps, and so is never reported: how many entries further it goes on.
    pub(super) errno_or_jump: i32,
}

/// A failure is reported and ends the process.
pub(super) const POLICY_FAIL: u32 = 0;
/// A failure leads to the next candidate, see [`super::LaunchProgram`].
pub(super) const POLICY_CANDIDATE: u32 = 1;
/// No call: the end of the tape, where what the candidates gave is reported.
pub(super) const POLICY_END: u32 = 2;
/// The result, a descriptor, becomes the first argument of the next two calls. A failure jumps.
pub(super) const POLICY_DESCRIPTOR: u32 = 3;
/// The result, a descriptor, goes to where the fourth argument points, in four bytes.
pub(super) const POLICY_STORE: u32 = 4;
/// Goes on with a jump if one byte was read to where the second argument points, and it is the fourth
/// argument; otherwise with the next entry.
pub(super) const POLICY_HEAR: u32 = 5;
/// Jumps, whatever the result.
pub(super) const POLICY_JUMP: u32 = 6;

/// `struct prctl_mm_map` of linux/prctl.h.
#[repr(C)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Bytes of what the kernel takes with `PR_SET_MM_MAP`.
pub(super) const MEMORY_MAP_SIZE: usize = size_of::<MemoryMap>();

/// The system calls and their memory, before it has an address.
#[derive(Default)]
pub(super) struct Tape {
    entries: Vec<Entry>,
    /// Which arguments are places in `data`: entry, argument.
    relocated_arguments: Vec<(usize, usize)>,
    /// Which arguments are the addresses of first arguments: entry, argument, the other entry.
    relocated_entries: Vec<(usize, usize, usize)>,
    data: Vec<u8>,
    /// Which eight bytes in `data` are places in `data`.
    relocated_data: Vec<usize>,
    /// The code that ends the process when a signal has killed it.
    pub(super) killed: Option<usize>,
    /// Which eight bytes in `data` are the address of memory for a signal's frame, and how many bytes it takes.
    pub(super) signal_stack: Option<(usize, usize)>,
    /// The entries that unmap memory, and what they must spare besides the tape, below which address.
    #[cfg(target_arch = "x86_64")]
    unmapping: Vec<usize>,
    #[cfg(target_arch = "x86_64")]
    kept: Vec<Range<usize>>,
    #[cfg(target_arch = "x86_64")]
    top: usize,
}

/// An argument of a call.
#[derive(Clone, Copy)]
pub(super) enum Argument {
    Value(u64),
    Data(Place),
    /// The address of the first argument of the entry at this place.
    FirstOf(usize),
}

/// Where something lies in the data.
#[derive(Clone, Copy)]
pub(super) struct Place(pub(super) usize);

use Argument::{Data, FirstOf, Value};

#[cfg(target_arch = "x86_64")]
impl Tape {
    /// Unmaps all memory below `top` but the tape and `kept`, and turns `/proc/self/exe` to `pad`.
    pub(super) fn leave_executable(&mut self, kept: Vec<Range<usize>>, top: usize, pad: &OwnedFd) {
        // What lies between the tape and so many others are at most two pieces more, which get their places
        // with the tape.
        for _ in 0..kept.len() + 2 {
            self.unmapping.push(self.entries.len());
            self.call(TAG_UNMAP, libc::SYS_munmap, &[]);
        }
        (self.kept, self.top) = (kept, top);
        self.switch_executable(pad);
    }

    /// Gives the calls that unmap what is not kept their arguments.
    fn unmap_all_but(&mut self, tape: Range<usize>) {
        self.kept.push(tape);
        self.kept.sort_by_key(|range| range.start);
        let mut pieces = Vec::new();
        let mut end = 0;
        for kept in self.kept.iter().chain([&(self.top..self.top)]) {
            if end < kept.start {
                pieces.push(end..kept.start);
            }
            end = end.max(kept.end);
        }
        // Where there are fewer pieces than calls, some are unmapped twice, which is no error.
        for (entry, piece) in self.unmapping.iter().zip(pieces.iter().cycle()) {
            self.entries[*entry].arguments[..2].copy_from_slice(&[piece.start as u64, piece.len() as u64]);
        }
    }

    /// The kernel wants all bounds of the address space with the descriptor. They are what `/proc/PID/stat`
    /// shows until `execve` sets them anew, and nothing else, so that they may as well all lie in the tape's
    /// own data.
    fn switch_executable(&mut self, pad: &OwnedFd) {
        let place = self.reserve(MEMORY_MAP_SIZE);
        let Place(start) = place;
        // Addresses that are in order, as the kernel checks: code and heap have a length, the heap lies
        // behind the data.
        let bounds = [0_u64, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0];
        for (field, offset) in bounds.iter().enumerate() {
            let field = start + 8 * field;
            self.set(field, &(start as u64 + offset).to_le_bytes());
            self.relocated_data.push(field);
        }
        self.set(start + std::mem::offset_of!(MemoryMap, exe_fd), &pad.as_raw_fd().to_le_bytes());
        let size = MEMORY_MAP_SIZE as u64;
        let arguments = [
            Value(libc::PR_SET_MM as u64),
            Value(libc::PR_SET_MM_MAP as u64),
            Data(place),
            Value(size),
            Value(0),
        ];
        self.call(TAG_SWITCH, libc::SYS_prctl, &arguments);
    }
}

impl Tape {
    /// Writes down the steps and the program. `EINVAL` where there is no candidate or a filter is too long.
    pub(super) fn launch(&mut self, launch: &Launch) -> Result<()> {
        let report = launch.report.as_ref().map(|report| report.as_raw_fd().unsigned_abs());
        self.prepare(launch)?;
        for (place, step) in launch.early.iter().enumerate() {
            self.step(place as u32, step, report)?;
        }
        self.wait_for_start(launch)?;
        for (place, step) in launch.steps.iter().enumerate() {
            self.step((launch.early.len() + place) as u32, step, report)?;
        }
        if launch.program.candidates.is_empty() {
            return Err(Errno::INVAL);
        }
        let (args, env) = (self.strings(&launch.args), self.strings(&launch.env));
        for (place, candidate) in launch.program.candidates.iter().enumerate() {
            let path = self.bytes(candidate.as_bytes_with_nul());
            self.call(TAG_PROGRAM + place as u32, libc::SYS_execve, &[Data(path), Data(args), Data(env)]);
            self.last_policy(POLICY_CANDIDATE);
        }
        self.call(TAG_PROGRAM, libc::SYS_exit_group, &[]);
        self.last_policy(POLICY_END);
        Ok(())
    }

    fn step(&mut self, tag: u32, step: &LaunchStep, report: Option<u32>) -> Result<()> {
        match step {
            LaunchStep::SetGroups(groups) => {
                let list: Vec<u8> = groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
                let list = self.bytes(&list);
                self.call(tag, libc::SYS_setgroups, &[Value(groups.len() as u64), Data(list)]);
            }
            LaunchStep::SetGid(gid) => self.call(tag, libc::SYS_setresgid, &[Value((*gid).into()); 3]),
            LaunchStep::SetUid(uid) => self.call(tag, libc::SYS_setresuid, &[Value((*uid).into()); 3]),
            LaunchStep::KeepCapabilities(keep) => self.prctl(tag, libc::PR_SET_KEEPCAPS, (*keep).into(), 0),
            LaunchStep::LimitBounding(keep) => {
                for capability in CapabilitySet::all_supported().difference(*keep).iter() {
                    self.prctl(tag, libc::PR_CAPBSET_DROP, capability.number().into(), 0);
                }
            }
            LaunchStep::SetCapabilities { effective, permitted, inheritable } => {
                self.set_capabilities(tag, [*effective, *permitted, *inheritable]);
            }
            LaunchStep::ClearAmbient => {
                self.prctl(tag, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0);
            }
            LaunchStep::RaiseAmbient(set) => {
                for capability in set.iter() {
                    let raise = libc::PR_CAP_AMBIENT_RAISE as u64;
                    self.prctl(tag, libc::PR_CAP_AMBIENT, raise, capability.number().into());
                }
            }
            LaunchStep::NoNewPrivileges => self.prctl(tag, libc::PR_SET_NO_NEW_PRIVS, 1, 0),
            LaunchStep::Seccomp { filter, flags, listener } => {
                if listener.is_some_and(|handover| handover.be_seen) {
                    self.prctl(tag, libc::PR_SET_DUMPABLE, 1, 0);
                }
                self.seccomp(tag, filter, *flags)?;
                if let Some(Handover { hear, .. }) = listener {
                    self.hand_over(tag, *hear, report.ok_or(Errno::INVAL)?);
                }
            }
            LaunchStep::ResetSignals => self.reset_signals(tag),
            LaunchStep::SetSignalMask(set) => {
                let set = self.bytes(&set.bits().to_ne_bytes());
                let arguments =
                    [Value(libc::SIG_SETMASK as u64), Data(set), Value(0), Value(SET_SIZE as u64)];
                self.call(tag, libc::SYS_rt_sigprocmask, &arguments);
            }
            LaunchStep::ParentDeathSignal(signal) => {
                let number = signal.map_or(0, |signal| u64::from(signal.as_raw().unsigned_abs()));
                self.prctl(tag, libc::PR_SET_PDEATHSIG, number, 0);
            }
            LaunchStep::Limit(resource, limit) => self.limit(tag, *resource, *limit),
            LaunchStep::CloseFrom(first) => self.close_from(tag, *first, report.as_slice()),
            LaunchStep::Umask(mask) => self.call(tag, libc::SYS_umask, &[Value((*mask).into())]),
            #[cfg(test)]
            LaunchStep::Pause => self.call(tag, libc::SYS_ppoll, &[Value(0); 5]),
        }
        Ok(())
    }

    fn limit(&mut self, tag: u32, resource: Resource, limit: Rlimit) {
        let values = [limit.current, limit.maximum].map(|value| value.unwrap_or(u64::MAX));
        let place = self.bytes(&values.map(u64::to_ne_bytes).concat());
        self.call(tag, libc::SYS_prlimit64, &[Value(0), Value(resource as u64), Data(place), Value(0)]);
    }

    /// `close_range(2)` of all but `kept`, which are in order.
    pub(super) fn close_from(&mut self, tag: u32, first: u32, kept: &[u32]) {
        let mut from = first;
        for fd in kept.iter().filter(|fd| **fd >= first).copied().chain([u32::MAX]) {
            // Descriptors are positive numbers of 31 bits, so that the last one is no exception.
            if let Some(to) = fd.checked_sub(1).filter(|to| *to >= from) {
                self.call(tag, libc::SYS_close_range, &[Value(from.into()), Value(to.into()), Value(0)]);
            }
            from = fd.saturating_add(1);
        }
    }

    fn set_capabilities(&mut self, tag: u32, sets: [CapabilitySet; 3]) {
        const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;
        let header = self.bytes(&u64::from(LINUX_CAPABILITY_VERSION_3.to_le()).to_ne_bytes());
        // Two structures of effective, permitted and inheritable: the lower halves first.
        let halves = [0, 32].into_iter().flat_map(|shift| sets.map(|set| (set.0 >> shift) as u32));
        let sets: Vec<u8> = halves.flat_map(u32::to_ne_bytes).collect();
        let sets = self.bytes(&sets);
        self.call(tag, libc::SYS_capset, &[Data(header), Data(sets)]);
    }

    fn seccomp(&mut self, tag: u32, filter: &[SockFilter], flags: u32) -> Result<()> {
        let length = u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?;
        let mut program = Vec::with_capacity(size_of_val(filter));
        for SockFilter { code, jt, jf, k } in filter {
            program.extend(code.to_ne_bytes());
            program.extend([*jt, *jf]);
            program.extend(k.to_ne_bytes());
        }
        let Place(program) = self.bytes(&program);
        // struct sock_fprog: the length, and behind its padding the pointer.
        let header = self.reserve(16);
        self.set(header.0, &length.to_ne_bytes());
        self.set(header.0 + 8, &(program as u64).to_ne_bytes());
        self.relocated_data.push(header.0 + 8);
        let arguments = [Value(libc::SECCOMP_SET_MODE_FILTER.into()), Value(flags.into()), Data(header)];
        self.call(tag, libc::SYS_seccomp, &arguments);
        Ok(())
    }

    /// What follows the call that gives a listener: its number goes to the argument of the call that closes it
    /// in the end, and is sent from there.
    fn hand_over(&mut self, tag: u32, hear: u8, report: u32) {
        let report = Value(report.into());
        let loading = self.entries.len() - 1;
        let close = loading + 4;
        self.relocated_entries.push((loading, 3, close));
        self.last_policy(POLICY_STORE);
        self.call(tag, libc::SYS_write, &[report, FirstOf(close), Value(4)]);
        self.hear(tag, report, hear, 2);
        self.call(tag, libc::SYS_exit_group, &[Value(EXIT_STATUS)]);
        self.call(tag, libc::SYS_close, &[Value(0)]);
        // Where it may not be closed, `execve` does it.
        self.last_jump(POLICY_JUMP, 1);
    }

    fn reset_signals(&mut self, tag: u32) {
        // A whole structure of zeros is the default action, on every architecture.
        let action = self.reserve(64);
        for signal in (1..=LAST_SIGNAL).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
            let arguments = [Value(signal as u64), Data(action), Value(0), Value(SET_SIZE as u64)];
            self.call(tag, libc::SYS_rt_sigaction, &arguments);
        }
    }

    pub(super) fn prctl(&mut self, tag: u32, option: libc::c_int, second: u64, third: u64) {
        self.call(
            tag,
            libc::SYS_prctl,
            &[Value(option as u64), Value(second), Value(third), Value(0), Value(0)],
        );
    }

    pub(super) fn call(&mut self, tag: u32, number: libc::c_long, arguments: &[Argument]) {
        let mut values = [0; 6];
        for (place, argument) in arguments.iter().enumerate() {
            values[place] = match argument {
                Value(value) => *value,
                Data(Place(offset)) => {
                    self.relocated_arguments.push((self.entries.len(), place));
                    *offset as u64
                }
                FirstOf(entry) => {
                    self.relocated_entries.push((self.entries.len(), place, *entry));
                    0
                }
            };
        }
        let policy = POLICY_FAIL;
        self.entries.push(Entry { number: number as u32, policy, arguments: values, tag, errno_or_jump: 0 });
    }

    fn last_policy(&mut self, policy: u32) {
        self.last_jump(policy, 0);
    }

    /// Lets the last call jump so many entries further, or back.
    pub(super) fn last_jump(&mut self, policy: u32, entries: i32) {
        if let Some(entry) = self.entries.last_mut() {
            (entry.policy, entry.errno_or_jump) = (policy, entries);
        }
    }

    /// An array of pointers to strings, with a null pointer at its end.
    fn strings(&mut self, strings: &[CString]) -> Place {
        let places: Vec<Place> =
            strings.iter().map(|string| self.bytes(string.as_bytes_with_nul())).collect();
        let array = self.reserve(8 * (places.len() + 1));
        for (index, Place(string)) in places.into_iter().enumerate() {
            let pointer = array.0 + 8 * index;
            self.set(pointer, &(string as u64).to_ne_bytes());
            self.relocated_data.push(pointer);
        }
        array
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Place {
        let place = self.reserve(bytes.len());
        self.set(place.0, bytes);
        place
    }

    /// Zeros, aligned for anything that the kernel reads.
    pub(super) fn reserve(&mut self, length: usize) -> Place {
        let start = self.data.len().next_multiple_of(8);
        self.data.resize(start + length, 0);
        Place(start)
    }

    pub(super) fn set(&mut self, start: usize, bytes: &[u8]) {
        self.data[start..start + bytes.len()].copy_from_slice(bytes);
    }

    /// Lays the tape into memory of its own, outside of the heap and of anything that will be unmapped; gives
    /// its first entry. The memory is there until the process ends or executes.
    pub(super) fn map(mut self) -> Result<*mut Entry> {
        let entries_size = size_of_val(self.entries.as_slice());
        let mut size = entries_size + self.data.len();
        if let Some((place, length)) = self.signal_stack {
            // Behind all that is written, so that it costs no page before it is used.
            self.set(place, &(self.data.len() as u64).to_ne_bytes());
            self.relocated_data.push(place);
            size += length;
        }
        let size = size.next_multiple_of(page_size());
        // SAFETY: asks for new memory at a place of the kernel's choice.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                ptr::null_mut(),
                size,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        #[cfg(target_arch = "x86_64")]
        self.unmap_all_but(start as usize..start as usize + size);
        self.relocate(start as u64, (start as usize + entries_size) as u64);
        // SAFETY: the new memory is as long as both, is nobody else's, and is aligned to a page.
        unsafe {
            ptr::copy_nonoverlapping(self.entries.as_ptr(), start.cast(), self.entries.len());
            ptr::copy_nonoverlapping(
                self.data.as_ptr(),
                start.cast::<u8>().add(entries_size),
                self.data.len(),
            );
        }
        Ok(start.cast())
    }

    /// Turns places among the entries and in the data into addresses.
    fn relocate(&mut self, entries: u64, data: u64) {
        for (entry, argument, other) in &self.relocated_entries {
            let offset = other * size_of::<Entry>() + std::mem::offset_of!(Entry, arguments);
            self.entries[*entry].arguments[*argument] = entries + offset as u64;
        }
        for (entry, argument) in &self.relocated_arguments {
            self.entries[*entry].arguments[*argument] += data;
        }
        for place in &self.relocated_data {
            let Some(pointer) = self.data[*place..].first_chunk_mut::<8>() else { continue };
            *pointer = (u64::from_ne_bytes(*pointer) + data).to_ne_bytes();
        }
    }
}
