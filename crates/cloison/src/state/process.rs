//! Whether a container's first process is still there.

use cloison_linux::process::{start_time, state_and_start_time};
use rustix::io::Errno;
use rustix::process::Pid;

use super::error::{Error, io};
use super::record::Init;

impl Init {
    /// Names the process that has this id now.
    ///
    /// # Errors
    /// `ESRCH` if there is none.
    pub fn of(pid: Pid) -> Result<Self, Error> {
        let start_time = start_time(pid).map_err(io("read", stat_path(pid)))?;
        Ok(Self { pid, start_time })
    }

    /// The process is there and has not ended. One that has ended, and that its parent has not waited for yet, is not alive.
    pub fn is_alive(&self) -> Result<bool, Error> {
        match state_and_start_time(self.pid) {
            Ok((state, start_time)) => Ok(start_time == self.start_time && !matches!(state, 'Z' | 'X' | 'x')),
            Err(Errno::SRCH) => Ok(false),
            Err(errno) => Err(io("read", stat_path(self.pid))(errno)),
        }
    }
}

fn stat_path(pid: Pid) -> String {
    format!("/proc/{}/stat", pid.as_raw_nonzero())
}

#[cfg(test)]
mod tests {
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;
    use crate::state::testing::Sleeper;

    #[test]
    fn we_are_alive() {
        assert!(Init::of(rustix::process::getpid()).unwrap().is_alive().unwrap());
    }

    #[test]
    fn process_with_our_id_and_another_start_is_another_process() {
        let init = Init::of(rustix::process::getpid()).unwrap();
        assert!(!Init { start_time: init.start_time + 1, ..init }.is_alive().unwrap());
    }

    #[test]
    fn ended_process_is_not_alive_before_nor_after_it_is_waited_for() {
        let mut process = Sleeper::new();
        let init = process.init();
        assert!(init.is_alive().unwrap());
        process.kill();
        waitid(WaitId::Pid(init.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        assert!(!init.is_alive().unwrap(), "a zombie");
        assert_eq!(process.wait_for_signal(), Some(9));
        assert!(!init.is_alive().unwrap(), "gone");
        assert!(Init::of(init.pid).is_err());
    }
}
