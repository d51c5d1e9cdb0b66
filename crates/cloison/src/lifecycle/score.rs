//! How readily the kernel ends a process when memory is short.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use cloison_linux::{Kernel, Mode, OFlags};

use crate::lifecycle::Error;
use crate::lifecycle::error::Doing as _;

const PATH: &str = "/proc/self/oom_score_adj";

/// The runtime's own adjustment (`proc_pid_oom_score_adj(5)`), while it has another one for the sake of a child, which inherits it. Where the
/// child does not come, it is taken back all the same.
pub(super) struct Score<'k> {
    kernel: &'k dyn Kernel,
    file: OwnedFd,
    /// As it was read; empty once the runtime has it again.
    own: Vec<u8>,
}

impl<'k> Score<'k> {
    /// Takes another one. Only while the runtime is dumpable: afterwards the file is root's.
    pub(super) fn lend(kernel: &'k dyn Kernel, score: i32) -> Result<Self, Error> {
        let doing = || format!("writing {score} to {PATH}");
        let file = kernel.open(Path::new(PATH), OFlags::RDWR, Mode::empty()).doing(doing())?;
        let own = kernel.read_to_end(file.as_fd(), 16).doing(format!("reading {PATH}"))?;
        kernel.write(file.as_fd(), score.to_string().as_bytes()).doing(doing())?;
        Ok(Self { kernel, file, own })
    }

    /// Takes the runtime's own again. The open file still is the runtime's.
    pub(super) fn take_back(mut self) -> Result<(), Error> {
        let own = std::mem::take(&mut self.own);
        self.kernel.write(self.file.as_fd(), &own).doing(format!("writing the runtime's own score to {PATH}"))
    }
}

impl Drop for Score<'_> {
    fn drop(&mut self) {
        if !self.own.is_empty()
            && let Err(errno) = self.kernel.write(self.file.as_fd(), &self.own)
        {
            log::warn!("writing the runtime's own score to {PATH}: {errno}");
        }
    }
}

#[cfg(test)]
mod tests {
    use cloison_linux::Errno;
    use cloison_linux::fake::Fake;

    use super::*;

    #[test]
    fn it_is_written_for_the_child_and_then_as_it_was() {
        let kernel = Fake::new();
        kernel.set_content("/proc/self/oom_score_adj", "-5\n");
        Score::lend(&kernel, 555).unwrap().take_back().unwrap();
        assert_eq!(
            kernel.calls()[2..],
            [r#"write(/proc/self/oom_score_adj, "555")"#, r#"write(/proc/self/oom_score_adj, "-5\n")"#]
        );
        drop(Score::lend(&kernel, 555).unwrap());
        assert_eq!(
            kernel.calls().last().unwrap(),
            r#"write(/proc/self/oom_score_adj, "-5\n")"#,
            "without a child, too"
        );
        kernel.fail_on("open(", Errno::ACCESS);
        assert!(Score::lend(&kernel, 555).is_err());
    }
}
