//! Device rules on cgroup v2: a program that is attached to the cgroup and ends with it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cloison_linux::bpf::{
    attach_device_program, detach_device_program, device_programs, load_device_program, program_by_id,
    program_name,
};
use rustix::io::Errno;

use super::policy::Policy;
use super::program::assemble;
use crate::error::{Error, Result};
use crate::files::open_directory;

/// By this name we find our program again; at most 15 bytes.
const NAME: &CStr = c"cloison_devices";
/// Any will do: the program calls none of the kernel's functions.
const LICENSE: &CStr = c"Apache-2.0";

/// Makes the v2 cgroup at `directory` allow what `policy` does, and nothing else. Programs of others that are
/// attached to it stay: they cannot allow what ours denies.
pub(crate) fn apply(directory: &Path, policy: &Policy, rules: usize) -> Result<()> {
    let cgroup =
        open_directory(directory).map_err(|source| Error::Open { path: directory.to_owned(), source })?;
    let place = Place { cgroup: cgroup.as_fd(), path: directory };
    if policy.allows_everything() {
        return place.remove_ours();
    }
    let instructions = assemble(policy).ok_or(Error::TooManyDeviceRules(rules))?;
    let program = load_device_program(NAME, LICENSE, &instructions).map_err(|error| Error::LoadProgram {
        path: directory.to_owned(),
        log: error.log,
        source: error.errno,
    })?;
    let ours = place.ours()?;
    attach_device_program(place.cgroup, program.as_fd(), ours.first().map(AsFd::as_fd))
        .map_err(|errno| place.error("attach the device program", errno))?;
    ours.iter().skip(1).try_for_each(|surplus| place.detach(surplus))
}

/// A cgroup to attach programs to.
struct Place<'a> {
    cgroup: BorrowedFd<'a>,
    path: &'a Path,
}

impl Place<'_> {
    fn remove_ours(&self) -> Result<()> {
        match self.ours() {
            // Whoever may not look at programs has not attached one either.
            Err(error) if error.is_permission() => {
                log::debug!("{error}; but everything is to be allowed");
                Ok(())
            }
            ours => ours?.iter().try_for_each(|program| self.detach(program)),
        }
    }

    /// The programs that were attached by us before.
    fn ours(&self) -> Result<Vec<OwnedFd>> {
        let ids =
            device_programs(self.cgroup).map_err(|errno| self.error("list the device programs", errno))?;
        let programs = ids.into_iter().map(|id| match program_by_id(id) {
            Ok(program) => {
                let name = program_name(program.as_fd())
                    .map_err(|errno| self.error("look at a device program", errno))?;
                Ok((name.as_bytes() == NAME.to_bytes()).then_some(program))
            }
            Err(Errno::NOENT) => Ok(None),
            // A security module may hide what is not ours.
            Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
                log::debug!("device program {id} of {}: {errno}; it stays", self.path.display());
                Ok(None)
            }
            Err(errno) => Err(self.error("open a device program", errno)),
        });
        programs.filter_map(Result::transpose).collect()
    }

    fn detach(&self, program: &OwnedFd) -> Result<()> {
        match detach_device_program(self.cgroup, program.as_fd()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.error("detach an old device program", errno)),
        }
    }

    fn error(&self, doing: &'static str, source: Errno) -> Error {
        Error::Program { path: self.path.to_owned(), doing, source }
    }
}
