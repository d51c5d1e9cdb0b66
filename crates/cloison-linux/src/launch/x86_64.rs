//! The machine code that walks a tape, for x86-64.
//!
//! It lies among the read-only data of the runtime, where it is never run from, and is copied to the pad. It
//! refers to nothing but its registers: `rbx` is the entry at hand, `r12` the descriptor for the report,
//! `r13` and `r14` the errno and the tag that the candidates have given so far. The stack is not used.

use std::arch::{asm, global_asm};
use std::convert::Infallible;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use super::Launch;
use super::tape::{Entry, POLICY_CANDIDATE, POLICY_END, Tape};
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
    "    cmp rax, -4095",
    "    jae 4f",
    "3:  add rbx, {size}",
    "    jmp 2b",
    // A call has failed.
    "4:  neg eax",
    "    cmp dword ptr [rbx + {policy}], {candidate}",
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
    "7:  mov dword ptr [rbx + {tag} + 4], eax",
    "    mov rdi, r12",
    "    lea rsi, [rbx + {tag}]",
    "    mov edx, 8",
    "    mov eax, {write}",
    "    syscall",
    "    mov edi, 127",
    "    mov eax, {exit_group}",
    "    syscall",
    "    ud2",
    "cloison_launch_end:",
    ".popsection",
    number = const std::mem::offset_of!(Entry, number),
    policy = const std::mem::offset_of!(Entry, policy),
    arguments = const std::mem::offset_of!(Entry, arguments),
    tag = const std::mem::offset_of!(Entry, tag),
    size = const size_of::<Entry>(),
    end = const POLICY_END,
    candidate = const POLICY_CANDIDATE,
    eacces = const libc::EACCES,
    enoent = const libc::ENOENT,
    enotdir = const libc::ENOTDIR,
    write = const libc::SYS_write,
    exit_group = const libc::SYS_exit_group,
);

unsafe extern "C" {
    static cloison_launch_start: u8;
    static cloison_launch_end: u8;
}

/// What is written to the pad.
pub(super) fn machine_code() -> &'static [u8] {
    let (start, end) = (&raw const cloison_launch_start, &raw const cloison_launch_end);
    // SAFETY: the two labels enclose the code above, which is constant.
    unsafe { std::slice::from_raw_parts(start, end.addr() - start.addr()) }
}

/// Leaves the runtime's executable and does the steps of a launch. Comes back only with an error from before
/// the first of them.
pub(super) fn run(launch: &Launch, pad: &OwnedFd) -> Result<Infallible> {
    let mut tape = Tape::default();
    tape.leave_executable(&executable_ranges()?, pad);
    tape.launch(launch)?;
    let report = launch.report.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    // SAFETY: asks for a new mapping at a place of the kernel's choice, which cannot change under it since
    // the file is sealed.
    let code = unsafe {
        let rights = ProtFlags::READ | ProtFlags::EXEC;
        rustix::mm::mmap(ptr::null_mut(), machine_code().len(), rights, MapFlags::PRIVATE, pad, 0)
    }?;
    let entry = tape.map()?;
    // SAFETY: the pad holds the code above. It takes the tape in rdi and the descriptor in rsi, needs nothing
    // of the executable that it unmaps, uses no stack, and never comes back.
    unsafe { asm!("jmp {}", in(reg) code, in("rdi") entry, in("rsi") i64::from(report), options(noreturn)) }
}

/// Where the executable of this process lies in memory, from its program headers, which the kernel tells in
/// the auxiliary vector.
fn executable_ranges() -> Result<Vec<Range<usize>>> {
    let page = page_size();
    let headers = program_headers()?;
    // The segment with the file's begin holds the headers, in its first page. A static executable has no
    // PT_PHDR to tell.
    let first = headers.iter().find(|header| header.p_type == libc::PT_LOAD && header.p_offset == 0);
    let first = first.ok_or(Errno::NOEXEC)?;
    let bias = (headers.as_ptr().addr() / page * page).wrapping_sub(first.p_vaddr as usize);
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for segment in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_memsz > 0) {
        let start = bias.wrapping_add(segment.p_vaddr as usize);
        let end = (start + segment.p_memsz as usize).next_multiple_of(page);
        let start = start / page * page;
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    Ok(ranges)
}

fn program_headers() -> Result<&'static [libc::Elf64_Phdr]> {
    // SAFETY: reads the auxiliary vector.
    let (start, count) = unsafe { (libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHNUM)) };
    if start == 0 {
        return Err(Errno::NOEXEC);
    }
    // SAFETY: the kernel says that so many program headers lie there, in a segment of the executable, which
    // is never changed.
    Ok(unsafe { std::slice::from_raw_parts(start as *const libc::Elf64_Phdr, count as usize) })
}
