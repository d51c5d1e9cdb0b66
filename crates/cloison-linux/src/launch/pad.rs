//! The sealed file that the machine code lies in.

use std::os::fd::OwnedFd;

use crate::Result;

/// Whether this kernel and this architecture can turn `/proc/self/exe` to another file. Not whether the
/// caller may.
pub fn exe_switch_supported() -> bool {
    cfg!(target_arch = "x86_64")
        && rustix::process::virtual_memory_map_config_struct_size()
            .is_ok_and(|size| size == super::tape::MEMORY_MAP_SIZE)
}

/// Makes the pad: a sealed memfd with the machine code, open for reading alone, since an executable must not
/// be open for writing.
///
/// Needs `/proc`. `ENOSYS` on other architectures than x86-64.
pub fn prepare_pad() -> Result<OwnedFd> {
    #[cfg(target_arch = "x86_64")]
    return crate::sealed::sealed_file(c"cloison-launch", super::x86_64::machine_code());
    #[cfg(not(target_arch = "x86_64"))]
    Err(rustix::io::Errno::NOSYS)
}
