//! Programs that decide which devices a cgroup may use, `bpf(2)`.
//!
//! Only what `BPF_PROG_TYPE_CGROUP_DEVICE` needs: loading, attaching to a v2 cgroup, and finding what is attached
//! there. Nothing is pinned, so that a program ends with the last cgroup and descriptor that hold it.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Result;
use crate::raw::{own, syscall};

const BPF_PROG_LOAD: usize = 5;
const BPF_PROG_ATTACH: usize = 8;
const BPF_PROG_DETACH: usize = 9;
const BPF_PROG_GET_FD_BY_ID: usize = 13;
const BPF_OBJ_GET_INFO_BY_FD: usize = 15;
const BPF_PROG_QUERY: usize = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

/// `BPF_CGROUP_MAX_PROGS`: no cgroup has more programs of one kind.
const MOST_PROGRAMS: usize = 64;
/// How often a load that a signal has interrupted is tried again.
const MOST_LOADS: usize = 5;
const LOG_BYTES: usize = 64 * 1024;

/// `struct bpf_insn`: one instruction.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The operation.
    pub code: u8,
    /// The destination register in the lower four bits, the source register in the upper ones.
    pub registers: u8,
    /// How far to jump from the next instruction, or where in memory to load from.
    pub offset: i16,
    /// A number.
    pub immediate: i32,
}

/// Why a program was not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// What the kernel answered.
    pub errno: Errno,
    /// What its verifier said, if it came to look at the program.
    pub log: String,
}

/// `BPF_PROG_LOAD` of a `BPF_PROG_TYPE_CGROUP_DEVICE` program (Linux 4.15).
///
/// The name is at most 15 letters, digits, `_` or `.`. Before Linux 5.11 programs are charged to `RLIMIT_MEMLOCK`,
/// which is lifted for the time of the call where it is too low and may be lifted.
pub fn load_device_program(
    name: &CStr,
    license: &CStr,
    instructions: &[Instruction],
) -> std::result::Result<OwnedFd, LoadError> {
    match load_patiently(name, license, instructions, &mut []) {
        Err(Errno::PERM) => with_locked_memory(|| load_patiently(name, license, instructions, &mut []))
            .map_err(|errno| LoadError { errno, log: String::new() }),
        // Only now, because a log makes the verifier slower.
        Err(Errno::ACCESS | Errno::INVAL) => {
            let mut log = vec![0; LOG_BYTES];
            load_patiently(name, license, instructions, &mut log)
                .map_err(|errno| LoadError { errno, log: text(&log) })
        }
        loaded => loaded.map_err(|errno| LoadError { errno, log: String::new() }),
    }
}

/// `BPF_PROG_ATTACH` to a v2 cgroup beside the programs that are there, all of which must allow; or in the place of
/// one of them, with no moment between (`BPF_F_REPLACE`, Linux 5.6).
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let mut attributes = AttachAttributes {
        target_fd: descriptor(cgroup),
        attach_bpf_fd: descriptor(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | replaced.map_or(0, |_| BPF_F_REPLACE),
        replace_bpf_fd: replaced.map_or(0, descriptor),
    };
    // SAFETY: the structure is what the command takes, and outlives the call.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attributes) }.map(drop)
}

/// `BPF_PROG_DETACH` of one program from a v2 cgroup; `ENOENT` when it is not attached there.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let mut attributes = AttachAttributes {
        target_fd: descriptor(cgroup),
        attach_bpf_fd: descriptor(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    // SAFETY: the structure is what the command takes, and outlives the call.
    unsafe { bpf(BPF_PROG_DETACH, &mut attributes) }.map(drop)
}

/// `BPF_PROG_QUERY`: the ids of the device programs that are attached to a v2 cgroup itself, in their order.
pub fn device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut attributes = QueryAttributes {
        target_fd: descriptor(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MOST_PROGRAMS as u32,
        ..QueryAttributes::default()
    };
    // SAFETY: the structure is what the command takes, says how many ids there is room for, and has room for whatever
    // else kernels write back (up to `revision`); both outlive the call.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }?;
    let count = attributes.prog_cnt as usize;
    ids.get(..count).map(<[u32]>::to_vec).ok_or(Errno::NOSPC)
}

/// `BPF_PROG_GET_FD_BY_ID`: a descriptor of a loaded program; `ENOENT` when it has ended.
pub fn program_by_id(id: u32) -> Result<OwnedFd> {
    let mut attributes = IdAttributes { id, next_id: 0, open_flags: 0 };
    // SAFETY: the structure is what the command takes, and outlives the call.
    let number = unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut attributes) }?;
    // SAFETY: the kernel has just made the descriptor, close-on-exec.
    Ok(unsafe { own(number) })
}

/// The name that a program was loaded with, by `BPF_OBJ_GET_INFO_BY_FD`.
pub fn program_name(program: BorrowedFd<'_>) -> Result<String> {
    let mut info = ProgramInfo::default();
    let mut attributes = InfoAttributes {
        bpf_fd: descriptor(program),
        info_len: size_of::<ProgramInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the structure is what the command takes and says how long the one it points to is; both outlive the
    // call.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(text(&info.name))
}

fn load_patiently(
    name: &CStr,
    license: &CStr,
    instructions: &[Instruction],
    log: &mut [u8],
) -> Result<OwnedFd> {
    // The verifier gives up with EAGAIN when a signal is pending.
    for _ in 1..MOST_LOADS {
        match load(name, license, instructions, log) {
            Err(Errno::AGAIN) => {}
            loaded => return loaded,
        }
    }
    load(name, license, instructions, log)
}

fn load(name: &CStr, license: &CStr, instructions: &[Instruction], log: &mut [u8]) -> Result<OwnedFd> {
    let mut prog_name = [0; 16];
    let bytes = name.to_bytes();
    prog_name
        .get_mut(..bytes.len())
        .filter(|place| place.len() < 16)
        .ok_or(Errno::INVAL)?
        .copy_from_slice(bytes);
    let mut attributes = LoadAttributes {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).map_err(|_| Errno::TOOBIG)?,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kern_version: 0,
        prog_flags: 0,
        prog_name,
    };
    // SAFETY: the structure is what the command takes; what it points to is as long as it says and outlives the call.
    let number = unsafe { bpf(BPF_PROG_LOAD, &mut attributes) }?;
    // SAFETY: the kernel has just made the descriptor, close-on-exec.
    Ok(unsafe { own(number) })
}

/// Does something while no limit of locked memory holds, if it may be lifted.
fn with_locked_memory<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let limit = getrlimit(Resource::Memlock);
    if limit == (Rlimit { current: None, maximum: None }) {
        return Err(Errno::PERM);
    }
    setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })?;
    let done = work();
    setrlimit(Resource::Memlock, limit)?;
    done
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned()
}

fn descriptor(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd() as u32
}

/// # Safety
///
/// `attributes` must be what `command` takes; what it points to must be valid for what the command does with it.
unsafe fn bpf<A>(command: usize, attributes: &mut A) -> Result<usize> {
    // SAFETY: the caller vouches for what is in the structure; the length is its own.
    unsafe { syscall(libc::SYS_bpf, [command, (&raw mut *attributes) as usize, size_of::<A>()]) }
}

/// The part of `union bpf_attr` for `BPF_PROG_LOAD`, up to the name.
#[repr(C)]
struct LoadAttributes {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The part for `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
struct AttachAttributes {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// The part for `BPF_PROG_QUERY`; recent kernels write the last field whatever the length they were told.
#[repr(C)]
#[derive(Default)]
struct QueryAttributes {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    unused: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// The part for `BPF_PROG_GET_FD_BY_ID`.
#[repr(C)]
struct IdAttributes {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// The part for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoAttributes {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `struct bpf_prog_info` up to the name; every count and pointer is zero, so the kernel writes nothing elsewhere.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_prog_len: u32,
    xlated_prog_len: u32,
    jited_prog_insns: u64,
    xlated_prog_insns: u64,
    load_time: u64,
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; 16],
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r0 = 1; exit`.
    const ALLOW: [Instruction; 2] = [
        Instruction { code: 0xb7, registers: 0, offset: 0, immediate: 1 },
        Instruction { code: 0x95, registers: 0, offset: 0, immediate: 0 },
    ];

    fn may_load() -> bool {
        let loaded = load_device_program(c"probe", c"Apache", &ALLOW);
        if let Err(error) = &loaded {
            eprintln!("skipped: this process may not load programs: {}", error.errno);
        }
        loaded.is_ok()
    }

    #[test]
    fn a_program_is_found_by_the_name_it_was_loaded_with() {
        if may_load() {
            let program = load_device_program(c"fifteen_letters", c"Apache", &ALLOW).unwrap();
            assert_eq!(program_name(program.as_fd()).unwrap(), "fifteen_letters");
        }
    }

    #[test]
    fn a_name_that_the_kernel_has_no_room_for_is_refused() {
        let error = load_device_program(c"sixteen_letters_", c"Apache", &ALLOW).unwrap_err();
        assert_eq!(error.errno, Errno::INVAL);
    }

    #[test]
    fn the_verifier_says_what_is_wrong_with_a_program() {
        if may_load() {
            // The answer was never put into r0.
            let error = load_device_program(c"wrong", c"Apache", &ALLOW[1..]).unwrap_err();
            assert_eq!(error.errno, Errno::ACCESS);
            assert!(error.log.contains("R0 !read_ok"), "{}", error.log);
        }
    }

    #[test]
    fn text_ends_at_the_first_nul() {
        assert_eq!(text(b"sd_devices\0\0\0\0\0\0"), "sd_devices");
        assert_eq!(text(b"sixteen letters!"), "sixteen letters!");
    }
}
