//! The machine code that walks a tape, for x86-64.
//!
//! It lies among the read-only data of the runtime, where it is never run from, and is copied to the pad. It
//! refers to nothing but its registers: `rbx` is the entry at hand, `r12` the descriptor for the report,
//! `r13` and `r14` the errno and the tag that the candidates have given so far. There is no stack, but for the
//! one that the kernel needs to deliver a signal.

use std::arch::{asm, global_asm};
use std::convert::Infallible;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use rustix::mm::{MapFlags, ProtFlags};

use super::Launch;
use super::tape::{
    Entry, POLICY_CANDIDATE, POLICY_DESCRIPTOR, POLICY_END, POLICY_HEAR, POLICY_JUMP, POLICY_STORE, Tape,
};
use crate::Result;
use crate::raw::page_size;

global_asm!(
    ".pushsection .rodata.cloison_launch, \"a\", @progbits",
    "cloison_launch_start:",
    "    mov rbx, rdi",
    "    mov r12, rsi",
    "    xor r13d, r13d",
    "    xor r14d, r14d",
    "2:  cmp dword ptr [rbx + {policy}], {end}",
    "    je 5f",
    "    mov eax, dword ptr [rbx + {number}]",
    "    mov rdi, qword ptr [rbx + {arguments}]",
    "    mov rsi, qword ptr [rbx + {arguments} + 8]",
    "    mov rdx, qword ptr [rbx + {arguments} + 16]",
    "    mov r10, qword ptr [rbx + {arguments} + 24]",
    "    mov r8, qword ptr [rbx + {arguments} + 32]",
    "    mov r9, qword ptr [rbx + {arguments} + 40]",
    "    syscall",
    "    mov ecx, dword ptr [rbx + {policy}]",
    "    cmp ecx, {hear}",
    "    ja 32f",
    "    je 31f",
    "    cmp rax, -4095",
    "    jae 4f",
    "    cmp ecx, {store}",
    "    je 33f",
    "    cmp ecx, {descriptor}",
    "    jne 3f",
    "    mov qword ptr [rbx + {size} + {arguments}], rax",
    "    mov qword ptr [rbx + 2 * {size} + {arguments}], rax",
    "3:  add rbx, {size}",
    "    jmp 2b",
    // One byte, and the right one?
    "31: cmp rax, 1",
    "    jne 3b",
    "    cmp byte ptr [rsi], r10b",
    "    jne 3b",
    "32: movsxd rax, dword ptr [rbx + {errno_or_jump}]",
    "    imul rax, rax, {size}",
    "    add rbx, rax",
    "    jmp 2b",
    "33: mov dword ptr [r10], eax",
    "    jmp 3b",
    // A call has failed.
    "4:  cmp ecx, {descriptor}",
    "    je 32b",
    "    neg eax",
    "    cmp ecx, {candidate}",
    "    jne 7f",
    "    cmp eax, {eacces}",
    "    je 42f",
    "    cmp eax, {enoent}",
    "    je 41f",
    "    cmp eax, {enotdir}",
    "    jne 7f",
    // Not there: remembered if it is the first of all.
    "41: test r13d, r13d",
    "    jnz 3b",
    "    jmp 43f",
    // Not allowed: remembered if it is the first of its kind.
    "42: cmp r13d, {eacces}",
    "    je 3b",
    "43: mov r13d, eax",
    "    mov r14d, dword ptr [rbx + {tag}]",
    "    jmp 3b",
    // No candidate was executed.
    "5:  mov eax, r13d",
    "    mov dword ptr [rbx + {tag}], r14d",
    // The report: the tag and, right behind it, the errno.
    "7:  mov dword ptr [rbx + {errno_or_jump}], eax",
    "    mov rdi, r12",
    "    lea rsi, [rbx + {tag}]",
    "    mov edx, 8",
    "    mov eax, {write}",
    "    syscall",
    "    mov edi, 127",
    "    mov eax, {exit_group}",
    "    syscall",
    "    ud2",
    // A signal that ends a process that waits: its number is the first argument of the handler.
    "cloison_launch_killed:",
    "    add edi, 128",
    "    mov eax, {exit_group}",
    "    syscall",
    "    ud2",
    "cloison_launch_end:",
    ".popsection",
    number = const std::mem::offset_of!(Entry, number),
    policy = const std::mem::offset_of!(Entry, policy),
    arguments = const std::mem::offset_of!(Entry, arguments),
    tag = const std::mem::offset_of!(Entry, tag),
    errno_or_jump = const std::mem::offset_of!(Entry, errno_or_jump),
    size = const size_of::<Entry>(),
    end = const POLICY_END,
    candidate = const POLICY_CANDIDATE,
    descriptor = const POLICY_DESCRIPTOR,
    store = const POLICY_STORE,
    hear = const POLICY_HEAR,
    eacces = const libc::EACCES,
    enoent = const libc::ENOENT,
    enotdir = const libc::ENOTDIR,
    write = const libc::SYS_write,
    exit_group = const libc::SYS_exit_group,
);

unsafe extern "C" {
    static cloison_launch_start: u8;
    static cloison_launch_killed: u8;
    static cloison_launch_end: u8;
}

/// Where in the pad a process ends that a signal has killed.
fn killed() -> usize {
    (&raw const cloison_launch_killed).addr() - (&raw const cloison_launch_start).addr()
}

/// What is written to the pad.
pub(super) fn machine_code() -> &'static [u8] {
    let (start, end) = (&raw const cloison_launch_start, &raw const cloison_launch_end);
    // SAFETY: the two labels enclose the code above, which is constant.
    unsafe { std::slice::from_raw_parts(start, end.addr() - start.addr()) }
}

// All above, which has no comparison of its own in the code.
const _: () =
    assert!(POLICY_JUMP > POLICY_HEAR && POLICY_HEAR > POLICY_STORE && POLICY_STORE > POLICY_DESCRIPTOR);

/// Above the last address that a process has unless it asks for higher ones: the kernel's documentation,
/// `arch/x86/x86_64/5level-paging.rst`.
const TOP: usize = (1 << 47) - 4096;

/// Leaves the runtime's executable and memory, and does the steps of a launch. Comes back only with an error
/// from before the first of them.
pub(super) fn run(launch: &Launch, pad: &OwnedFd) -> Result<Infallible> {
    // SAFETY: asks for a new mapping at a place of the kernel's choice, which cannot change under it since
    // the file is sealed.
    let code = unsafe {
        let rights = ProtFlags::READ | ProtFlags::EXEC;
        rustix::mm::mmap(ptr::null_mut(), machine_code().len(), rights, MapFlags::PRIVATE, pad, 0)
    }?;
    let mut tape = Tape::default();
    tape.killed = Some(code.addr() + killed());
    let kept = [pages(code.addr(), machine_code().len())].into_iter().chain(rseq_area()).collect();
    tape.leave_executable(kept, TOP, pad);
    tape.launch(launch)?;
    let report = launch.report.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    let entry = tape.map()?;
    // SAFETY: the pad holds the code above. It takes the tape in rdi and the descriptor in rsi, needs no memory
    // but those two, uses no stack, and never comes back.
    unsafe { asm!("jmp {}", in(reg) code, in("rdi") entry, in("rsi") i64::from(report), options(noreturn)) }
}

/// The pages that `length` bytes from `start` on lie in.
fn pages(start: usize, length: usize) -> Range<usize> {
    let page = page_size();
    start / page * page..(start + length).next_multiple_of(page)
}

// Part of the C library since glibc 2.35. Weak, so that another one will do.
global_asm!(".weak __rseq_offset", ".weak __rseq_size");

/// The memory of this thread that the C library has given to the kernel, rseq(2): the kernel writes to it
/// whenever the thread moves to another CPU, and kills a process that has unmapped it.
fn rseq_area() -> Option<Range<usize>> {
    let (offset, size, thread): (*const isize, *const u32, usize);
    // SAFETY: takes the addresses of two constants, null where the library does not have them, and the thread
    // pointer, which lies where it points to itself (System V ABI, thread-local storage).
    unsafe {
        asm!(
            "mov {}, qword ptr [rip + __rseq_offset@GOTPCREL]",
            "mov {}, qword ptr [rip + __rseq_size@GOTPCREL]",
            "mov {}, qword ptr fs:[0]",
            out(reg) offset, out(reg) size, out(reg) thread,
            options(readonly, nostack, preserves_flags),
        );
    }
    // SAFETY: null, or the library's constants.
    let (offset, size) = unsafe { (*offset.as_ref()?, *size.as_ref()?) };
    // At least as much is given to the kernel as the first version of the structure had.
    (size > 0).then(|| pages(thread.wrapping_add_signed(offset), (size as usize).max(32)))
}
