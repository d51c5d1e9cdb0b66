//! What to do about an error, where that is known.

use cloison::lifecycle::advice_on_user_namespaces as advice;
use cloison::{checkpoint, lifecycle, state};
use rustix::io::Errno;

use crate::commands::TryError;
use crate::error::Error;

/// One sentence that helps, by the kind of the error, never by its text.
pub(crate) fn hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::Root(_) => Some("name a directory that holds nothing else, such as /run/cloison"),
        Error::RuntimeDirectory { .. } => {
            Some("unset XDG_RUNTIME_DIR, or choose another directory with --root")
        }
        Error::Exec(error) | Error::Wait(error) => hint(error),
        Error::Try(TryError::Namespace(errno)) => advice(*errno),
        Error::Try(TryError::Mount { fs_type: "overlay", error: Errno::PERM, .. }) => {
            Some("before Linux 5.11, root alone may mount overlays")
        }
        Error::Lifecycle(error) => hint_of_lifecycle(error),
        _ => None,
    }
}

fn hint_of_lifecycle(error: &lifecycle::Error) -> Option<&'static str> {
    match error {
        lifecycle::Error::State(state::Error::NoRoot { .. }) => {
            Some("--root names the directory that was used for `create`")
        }
        lifecycle::Error::State(state::Error::NotExist { .. }) => {
            Some("`cloison list` shows the containers below a root, and --root chooses another one")
        }
        lifecycle::Error::State(state::Error::Exist { .. }) => {
            Some("choose another name, or remove that container with `cloison delete`")
        }
        lifecycle::Error::Checkpoint(checkpoint::Error::NotInstalled) => {
            Some("install CRIU, https://criu.org: `apt-get install criu` where there is a package")
        }
        // CRIU has no number for it.
        lifecycle::Error::Checkpoint(checkpoint::Error::Failed { reasons, .. })
            if reasons.iter().any(|reason| reason.contains("get_rseq_conf")) =>
        {
            Some(
                "before Linux 5.13, CRIU cannot ask for the restartable sequences that glibc (2.35) registers: start the container with \
                 GLIBC_TUNABLES=glibc.pthread.rseq=0 in process.env",
            )
        }
        lifecycle::Error::CgroupDenied { .. } => Some(
            "without a linux.cgroupsPath, --rootless=true lets the container go without its cgroup; or call from a cgroup that is yours (v2): \
             systemd-run --user --scope --property=Delegate=yes cloison ...; in a container, mount /sys/fs/cgroup writable",
        ),
        lifecycle::Error::CgroupOutOfReach { .. } => Some(
            "call from below a cgroup that is yours and has that one, too; where systemd has given it to you: systemd-run --user --scope \
             --property=Delegate=yes cloison ...",
        ),
        lifecycle::Error::NoCgroupForLimits { .. } => Some(
            "call from a cgroup that is yours (v2): systemd-run --user --scope --property=Delegate=yes cloison ...; or let the container go \
             without limits: --rootless=true",
        ),
        lifecycle::Error::IdMapProgram { .. } => Some(
            "root gives a user ranges of ids: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER; one's own id alone \
             needs none (`cloison spec --rootless`)",
        ),
        lifecycle::Error::Init(failure) | lifecycle::Error::Newcomer(failure) => {
            failure.errno.and_then(|errno| advice(Errno::from_raw_os_error(errno)))
        }
        lifecycle::Error::Call { errno, .. } => advice(*errno),
        lifecycle::Error::NoConsoleSocket => Some(
            "--console-socket gives the terminal to who listens there, such as `cloison console`; `run --detach --monitor` keeps it for \
             `cloison attach`",
        ),
        lifecycle::Error::NotStopped { .. } => Some("stop it with `cloison kill`, or delete it with --force"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn what_criu_cannot_ask_an_old_kernel_for_has_a_hint() {
        let failed = |reason: &str| {
            let reasons = vec![reason.to_owned()];
            let error =
                checkpoint::Error::Failed { request: "DUMP", errno: 0, reasons, log: "/i/dump.log".into() };
            hint(&Error::Lifecycle(lifecycle::Error::Checkpoint(error)))
        };
        let reason = "2020 has rseq but kernel lacks get_rseq_conf feature";
        assert!(failed(reason).is_some_and(|hint| hint.contains("GLIBC_TUNABLES")));
        assert_eq!(failed("tty: Found dangling tty"), None);
    }

    #[test]
    fn an_overlay_that_only_root_may_mount_has_a_hint() {
        let mount = |error| TryError::Mount { fs_type: "overlay", log: String::new(), error };
        assert!(hint(&Error::Try(mount(Errno::PERM))).is_some_and(|hint| hint.contains("5.11")));
        assert_eq!(hint(&Error::Try(mount(Errno::INVAL))), None);
    }

    #[test]
    fn absent_container_has_a_hint_and_a_closed_output_has_none() {
        let absent = state::Error::NotExist { path: PathBuf::from("/run/cloison/c1") };
        assert!(hint(&Error::Lifecycle(absent.into())).is_some_and(|hint| hint.contains("list")));
        assert_eq!(hint(&Error::Output(std::io::Error::from_raw_os_error(5))), None);
    }
}
