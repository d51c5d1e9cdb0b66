//! Where and when a process runs: CPUs, scheduling policy, I/O priority, memory nodes.

use rustix::io::Errno;

use crate::Result;
use crate::raw::syscall;

/// `struct sched_attr` without its size, `sched_setattr(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// `SCHED_OTHER` 0, `SCHED_FIFO` 1, `SCHED_RR` 2, `SCHED_BATCH` 3, `SCHED_ISO` 4, `SCHED_IDLE` 5,
    /// `SCHED_DEADLINE` 6.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// -20 to 19, for `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// 1 to 99, for `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// Nanoseconds of work a period, for `SCHED_DEADLINE`.
    pub runtime: u64,
    /// Nanoseconds from the begin of a period within which the work is done.
    pub deadline: u64,
    /// Nanoseconds of a period.
    pub period: u64,
    /// Lowest utilisation to assume, 0 to 1024 (Linux 5.3).
    pub util_min: u32,
    /// Highest utilisation to assume, 0 to 1024 (Linux 5.3).
    pub util_max: u32,
}

/// `struct sched_attr` of linux/sched/types.h, in its second version.
#[repr(C)]
struct RawSchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// What `set_mempolicy(2)` sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `MPOL_*`, with `MPOL_F_*` bits.
    pub mode: u32,
    /// Numbers of NUMA nodes; none for the modes that take none.
    pub nodes: Vec<u32>,
}

/// `sched_setattr(2)` of the caller.
pub fn sched_setattr(attr: &SchedAttr) -> Result<()> {
    let SchedAttr { policy, flags, nice, priority, runtime, deadline, period, util_min, util_max } = *attr;
    let size = size_of::<RawSchedAttr>() as u32;
    let raw =
        RawSchedAttr { size, policy, flags, nice, priority, runtime, deadline, period, util_min, util_max };
    // SAFETY: the structure outlives the call and says its own size.
    unsafe { syscall(libc::SYS_sched_setattr, [0, (&raw const raw) as usize, 0]) }?;
    Ok(())
}

/// `sched_setaffinity(2)` of the caller; `EINVAL` for an empty list or CPUs that do not exist.
pub fn sched_setaffinity(cpus: &[u32]) -> Result<()> {
    let mask = bits(cpus)?;
    // SAFETY: the mask outlives the call and is as long as said.
    unsafe { syscall(libc::SYS_sched_setaffinity, [0, size_of_val(&*mask), mask.as_ptr() as usize]) }?;
    Ok(())
}

/// `sched_setaffinity(2)` of the caller to every CPU that there can be; the kernel takes those that its
/// cpuset allows.
pub fn reset_affinity() -> Result<()> {
    // As many as CONFIG_NR_CPUS allows on any architecture.
    let mask = [u8::MAX; 8192 / 8];
    // SAFETY: the mask outlives the call and is as long as said.
    unsafe { syscall(libc::SYS_sched_setaffinity, [0, size_of_val(&mask), mask.as_ptr() as usize]) }?;
    Ok(())
}

/// `ioprio_set(2)` of the caller's process group.
///
/// `class` is 1 (realtime), 2 (best effort) or 3 (idle), `level` 0 (first) to 7.
pub fn ioprio_set(class: u8, level: u8) -> Result<()> {
    const IOPRIO_WHO_PGRP: usize = 2;
    const IOPRIO_CLASS_SHIFT: usize = 13;
    let priority = usize::from(class) << IOPRIO_CLASS_SHIFT | usize::from(level);
    // SAFETY: the call takes numbers alone.
    unsafe { syscall(libc::SYS_ioprio_set, [IOPRIO_WHO_PGRP, 0, priority]) }?;
    Ok(())
}

/// `set_mempolicy(2)`.
pub fn set_mempolicy(policy: &MemoryPolicy) -> Result<()> {
    let mask = bits(&policy.nodes)?;
    // The kernel takes the number of bits plus one.
    let (place, bits) = if mask.is_empty() {
        (0, 0)
    } else {
        (mask.as_ptr() as usize, mask.len() * usize::BITS as usize + 1)
    };
    // SAFETY: the mask outlives the call and has as many bits as said.
    unsafe { syscall(libc::SYS_set_mempolicy, [policy.mode as usize, place, bits]) }?;
    Ok(())
}

/// A bit mask of machine words, no longer than needed. `EINVAL` for a number that no machine has.
fn bits(numbers: &[u32]) -> Result<Vec<usize>> {
    const MOST: usize = 1 << 16;
    let mut mask = Vec::new();
    for number in numbers.iter().map(|number| *number as usize) {
        if number >= MOST {
            return Err(Errno::INVAL);
        }
        let (word, bit) = (number / usize::BITS as usize, number % usize::BITS as usize);
        if mask.len() <= word {
            mask.resize(word + 1, 0);
        }
        mask[word] |= 1 << bit;
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_grows_with_its_highest_number() {
        assert_eq!(bits(&[0, 2]).unwrap(), [0b101]);
        assert_eq!(bits(&[64, 1]).unwrap(), [0b10, 1]);
        assert!(bits(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_cpu_beyond_reason_is_refused() {
        assert_eq!(bits(&[u32::MAX]), Err(Errno::INVAL));
    }

    #[test]
    fn cpu_beyond_1024_is_not_an_error_of_the_mask() {
        // The kernel drops CPUs that it does not have, as long as one is left.
        let old = rustix::thread::sched_getaffinity(None).unwrap();
        let first = (0..1024).find(|cpu| old.is_set(*cpu)).unwrap();
        sched_setaffinity(&[u32::try_from(first).unwrap(), 2000]).unwrap();
        let new = rustix::thread::sched_getaffinity(None).unwrap();
        rustix::thread::sched_setaffinity(None, &old).unwrap();
        assert_eq!(new.count(), 1);
        assert!(new.is_set(first));
    }

    #[test]
    fn batch_policy_is_taken_over() {
        std::thread::spawn(|| {
            sched_setattr(&SchedAttr { policy: 3, nice: 5, ..SchedAttr::default() }).unwrap();
            // SAFETY: the call takes a number alone.
            assert_eq!(unsafe { libc::sched_getscheduler(0) }, 3);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn local_memory_policy_takes_no_nodes() {
        const MPOL_LOCAL: u32 = 4;
        std::thread::spawn(|| match set_mempolicy(&MemoryPolicy { mode: MPOL_LOCAL, nodes: vec![] }) {
            Ok(()) => {}
            Err(Errno::NOSYS) => eprintln!("skipped: this kernel has no NUMA"),
            Err(error) => panic!("{error}"),
        })
        .join()
        .unwrap();
    }
}
