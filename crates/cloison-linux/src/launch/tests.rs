//! Launches real programs from forked children.

mod listening;
mod waiting;

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Pid;
use tempfile::TempDir;

use super::*;
use crate::capability::Capability;
use crate::file;
use crate::namespace::NamespaceFlags;
use crate::process::{CloneRequest, Ending, Fork, clone3, send_signal, wait_pidfd};

/// A child that launches something.
struct Launched {
    pid: Pid,
    pidfd: OwnedFd,
    output: OwnedFd,
    report: OwnedFd,
}

impl Launched {
    /// What it printed, what it reported, how it ended.
    fn finish(self) -> (String, Option<Failure>, Ending) {
        let output = file::read_to_end(self.output.as_fd(), 1 << 20).unwrap();
        let report = file::read_to_end(self.report.as_fd(), 1 << 20).unwrap();
        let ending = wait_pidfd(self.pidfd.as_fd()).unwrap();
        (String::from_utf8(output).unwrap(), Failure::from_bytes(&report), ending)
    }

    fn path(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.pid.as_raw_pid())
    }

    /// Waits until the child is at its pause, which it reaches only from the pad.
    fn wait_for_pause(&self) {
        let number = format!("{} ", libc::SYS_ppoll);
        while !fs::read_to_string(self.path("syscall")).unwrap().starts_with(&number) {
            std::thread::yield_now();
        }
    }
}

/// Whether the tests may switch the executable; says why not.
fn can_switch() -> bool {
    let capabilities = crate::process::identity().unwrap().capabilities;
    let may =
        capabilities.contains(Capability::SYS_ADMIN) || capabilities.contains(Capability::CHECKPOINT_RESTORE);
    if !exe_switch_supported() || !may {
        eprintln!("skipped: needs a kernel with CONFIG_CHECKPOINT_RESTORE and CAP_SYS_ADMIN");
    }
    exe_switch_supported() && may
}

fn strings(strings: &[&str]) -> Vec<CString> {
    strings.iter().map(|string| CString::new(*string).unwrap()).collect()
}

fn spawn(pad: Option<OwnedFd>, steps: Vec<LaunchStep>, candidates: &[&str], args: &[&str]) -> Launched {
    let (output, stdout) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (report, report_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let what = Launch {
        early: Vec::new(),
        steps,
        program: LaunchProgram { candidates: strings(candidates) },
        args: strings(args),
        env: strings(&["ANSWER=42"]),
        report: Some(report_end),
        handshake: None,
        wait: None,
        pad,
    };
    let (pid, pidfd) = fork(&what, stdout);
    Launched { pid, pidfd, output, report }
}

/// Forks a child that does all of `what`, with its output going to `stdout`.
fn fork(what: &Launch, stdout: OwnedFd) -> (Pid, OwnedFd) {
    let request = CloneRequest { namespaces: NamespaceFlags::empty(), cgroup: None, as_sibling: false };
    match clone3(&request).unwrap() {
        Fork::Child => {
            let done = file::dup_onto(stdout.as_fd(), 1).and_then(|()| file::dup_onto(stdout.as_fd(), 2));
            let errno = done.err().unwrap_or_else(|| launch(what));
            // SAFETY: ends the child.
            unsafe { libc::_exit(errno.raw_os_error()) }
        }
        Fork::Parent { pid, pidfd } => {
            drop(stdout);
            (pid, pidfd)
        }
    }
}

/// No pad, and one where there is one.
fn pads() -> Vec<Option<OwnedFd>> {
    let mut pads = vec![None];
    if can_switch() {
        pads.push(Some(prepare_pad().unwrap()));
    }
    pads
}

/// Runs both ways: from the pad, and from the executable itself.
fn both_ways(
    steps: &[LaunchStep],
    candidates: &[&str],
    args: &[&str],
) -> Vec<(String, Option<Failure>, Ending)> {
    pads().into_iter().map(|pad| spawn(pad, steps.to_vec(), candidates, args).finish()).collect()
}

#[allow(clippy::unnecessary_wraps)] // what a report is compared with
fn failure(at: FailedAt, errno: Errno) -> Option<Failure> {
    Some(Failure { at, errno })
}

const SHELL: &str = "/bin/sh";

#[test]
fn program_gets_arguments_and_environment_and_gives_its_status() {
    for done in both_ways(&[], &[SHELL], &["sh", "-c", "echo $0 $1 $ANSWER; exit 7", "name", "first"]) {
        assert_eq!(done, ("name first 42\n".to_owned(), None, Ending::Exited(7)));
    }
}

#[test]
fn missing_program_is_reported() {
    for (_, report, ending) in both_ways(&[], &["/no/such/program", "/etc/passwd/x"], &["x"]) {
        assert_eq!(report, failure(FailedAt::Program(0), Errno::NOENT));
        assert_eq!(ending, Ending::Exited(127));
    }
}

#[test]
fn forbidden_candidate_is_told_before_missing_ones() {
    let candidates = ["/no/such/program", "/etc/passwd", "/etc", "/no/other"];
    for (_, report, _) in both_ways(&[], &candidates, &["x"]) {
        assert_eq!(report, failure(FailedAt::Program(1), Errno::ACCESS));
    }
}

#[test]
fn candidate_after_missing_and_forbidden_ones_is_executed() {
    for done in both_ways(&[], &["/no/such/program", "/etc/passwd", SHELL], &["sh", "-c", "exit 3"]) {
        assert_eq!(done, (String::new(), None, Ending::Exited(3)));
    }
}

#[test]
fn broken_program_ends_the_search() {
    let scratch = TempDir::new().unwrap();
    let broken = scratch.path().join("broken");
    fs::write(&broken, "neither a script nor a program").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    for (_, report, _) in both_ways(&[], &[broken.to_str().unwrap(), SHELL], &["x"]) {
        assert_eq!(report, failure(FailedAt::Program(0), Errno::NOEXEC));
    }
}

#[test]
fn no_candidate_is_an_error_before_anything_is_done() {
    for (_, report, ending) in both_ways(&[], &[], &["x"]) {
        assert_eq!(report, None);
        assert_eq!(ending, Ending::Exited(Errno::INVAL.raw_os_error()));
    }
}

#[test]
fn failed_step_is_reported_by_its_place() {
    if !can_switch() {
        return;
    }
    let steps = [
        LaunchStep::Umask(0o27),
        LaunchStep::SetCapabilities {
            effective: CapabilitySet::EMPTY,
            permitted: CapabilitySet::EMPTY,
            inheritable: CapabilitySet::EMPTY,
        },
        LaunchStep::SetUid(4242),
    ];
    for (_, report, ending) in both_ways(&steps, &[SHELL], &["sh"]) {
        assert_eq!(report, failure(FailedAt::Step(2), Errno::PERM));
        assert_eq!(ending, Ending::Exited(127));
    }
}

#[test]
fn program_has_the_credentials_of_the_steps() {
    if !can_switch() {
        return;
    }
    let bind = Capability::from_name("CAP_NET_BIND_SERVICE").unwrap();
    let set: CapabilitySet = [bind, Capability::from_name("CAP_KILL").unwrap()].into_iter().collect();
    let steps = [
        LaunchStep::Umask(0o27),
        LaunchStep::LimitBounding(set),
        LaunchStep::KeepCapabilities(true),
        LaunchStep::SetGroups(vec![5, 70_000]),
        LaunchStep::SetGid(3),
        LaunchStep::SetUid(2),
        LaunchStep::SetCapabilities { effective: set, permitted: set, inheritable: set },
        LaunchStep::ClearAmbient,
        LaunchStep::RaiseAmbient([bind].into_iter().collect()),
        LaunchStep::NoNewPrivileges,
        LaunchStep::Seccomp {
            filter: vec![SockFilter { code: 6, k: 0x7fff_0000, ..SockFilter::default() }],
            flags: 0,
            listener: None,
        },
    ];
    for (status, report, _) in both_ways(&steps, &["/bin/cat"], &["cat", "/proc/self/status"]) {
        assert_eq!(report, None);
        for line in [
            "Umask:\t0027",
            "Uid:\t2\t2\t2\t2",
            "Gid:\t3\t3\t3\t3",
            "Groups:\t5 70000 ",
            "CapInh:\t0000000000000420",
            "CapPrm:\t0000000000000400",
            "CapEff:\t0000000000000400",
            "CapBnd:\t0000000000000420",
            "CapAmb:\t0000000000000400",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ] {
            assert!(status.lines().any(|found| found == line), "{line} is not in\n{status}");
        }
    }
}

#[test]
fn no_signal_is_ignored_or_blocked_after_a_reset() {
    let clean = ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "SigCgt:\t0000000000000000"];
    let steps = [LaunchStep::ResetSignals, LaunchStep::SetSignalMask(SignalSet::NONE)];
    let show = ["cat", "/proc/self/status"];
    for (status, ..) in both_ways(&steps, &["/bin/cat"], &show) {
        for line in clean {
            assert!(status.lines().any(|found| found == line), "{line} is not in\n{status}");
        }
    }
    for (status, ..) in both_ways(&[], &["/bin/cat"], &show) {
        assert!(!status.lines().any(|found| found == clean[1]), "SIGPIPE is ignored by every Rust program");
    }
}

#[test]
fn nothing_of_the_process_leads_to_the_runtime() {
    if !can_switch() {
        return;
    }
    let runtime = fs::read_link("/proc/self/exe").unwrap();
    let child = spawn(Some(prepare_pad().unwrap()), vec![LaunchStep::Pause], &[SHELL], &["sh"]);
    child.wait_for_pause();

    let exe = child.path("exe");
    assert_eq!(fs::read_link(&exe).unwrap(), Path::new("/memfd:cloison-launch (deleted)"));
    let maps = fs::read_to_string(child.path("maps")).unwrap();
    assert!(!maps.contains(runtime.to_str().unwrap()), "{maps}");
    assert!(fs::read_to_string("/proc/self/maps").unwrap().contains(runtime.to_str().unwrap()));

    match fs::OpenOptions::new().write(true).open(&exe) {
        Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ETXTBSY)),
        // Before Linux 5.15 the kernel denies it for what was executed, and not for what prctl(2) has put in its place. It is sealed.
        Ok(mut file) => {
            let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
            let version: Vec<u32> =
                release.split(|c: char| !c.is_ascii_digit()).take(2).flat_map(str::parse).collect();
            assert!(version < vec![5, 15], "{release}");
            assert_eq!(file.write(b"evil").unwrap_err().raw_os_error(), Some(libc::EPERM));
        }
    }
    let kept = fs::File::open(&exe).unwrap();
    send_signal(child.pidfd.as_fd(), Signal::KILL).unwrap();
    child.finish();
    // Once the process is gone, the file can be opened for writing, and is still sealed.
    let mut again = fs::OpenOptions::new().write(true).open(file::proc_path(kept.as_fd())).unwrap();
    assert_eq!(again.write(b"evil").unwrap_err().raw_os_error(), Some(libc::EPERM));
}

#[test]
fn script_that_asks_for_the_runtime_gets_the_pad() {
    if !can_switch() {
        return;
    }
    let scratch = TempDir::new().unwrap();
    let script = scratch.path().join("script");
    fs::write(&script, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let path = script.to_str().unwrap();

    let (output, report, ending) = spawn(Some(prepare_pad().unwrap()), vec![], &[path], &[path]).finish();
    assert_eq!((output.as_str(), ending), ("", Ending::Exited(127)));
    assert_eq!(report, failure(FailedAt::Program(0), Errno::NOEXEC));

    // Without the pad, the same script does run the executable of its parent, here these tests with a filter
    // that fits none.
    let (output, report, ending) = spawn(None, vec![], &[path], &[path]).finish();
    assert_eq!((report, ending), (None, Ending::Exited(0)));
    assert!(output.contains("0 passed"), "{output}");
}

#[test]
fn link_to_the_runtime_as_program_gets_the_pad() {
    if !can_switch() {
        return;
    }
    let exe = "/proc/self/exe";
    let (output, report, _) = spawn(Some(prepare_pad().unwrap()), vec![], &[exe], &[exe]).finish();
    assert_eq!(output, "");
    assert_eq!(report, failure(FailedAt::Program(0), Errno::NOEXEC));
}

#[test]
fn nothing_is_executed_without_the_right_to_switch() {
    if !can_switch() {
        return;
    }
    let pad = prepare_pad().unwrap();
    std::thread::spawn(|| {
        let none = rustix::thread::CapabilitySets {
            effective: rustix::thread::CapabilitySet::empty(),
            permitted: rustix::thread::CapabilitySet::empty(),
            inheritable: rustix::thread::CapabilitySet::empty(),
        };
        rustix::thread::set_capabilities(None, none).unwrap();
        let (output, report, _) = spawn(Some(pad), vec![], &[SHELL], &["sh", "-c", "echo run"]).finish();
        assert_eq!(output, "");
        assert_eq!(report, failure(FailedAt::SwitchExecutable, Errno::PERM));
    })
    .join()
    .unwrap();
}

#[test]
fn pad_is_sealed_and_close_on_exec() {
    if !exe_switch_supported() {
        eprintln!("skipped: no pad on this kernel or architecture");
        return;
    }
    let pad = prepare_pad().unwrap();
    let seals = rustix::fs::fcntl_get_seals(&pad).unwrap();
    assert!(seals.contains(rustix::fs::SealFlags::WRITE | rustix::fs::SealFlags::SEAL));
    assert_eq!(rustix::io::fcntl_getfd(&pad).unwrap(), rustix::io::FdFlags::CLOEXEC);
    assert_eq!(rustix::io::write(&pad, b"x"), Err(Errno::BADF));
    let size = rustix::fs::fstat(&pad).unwrap().st_size;
    assert!((64..512).contains(&size), "{size} bytes of machine code");
}

#[test]
fn report_is_read_back_and_rubbish_is_not() {
    let report = [2, 0, 0, 0, 1, 0, 0, 0];
    assert_eq!(Failure::from_bytes(&report), failure(FailedAt::Step(2), Errno::PERM));
    let report = [0xff, 0xff, 0xff, 0xff, 16, 0, 0, 0];
    assert_eq!(Failure::from_bytes(&report), failure(FailedAt::Unmap, Errno::BUSY));
    assert_eq!(Failure::from_bytes(&[0; 8]), None);
    assert_eq!(Failure::from_bytes(&report[1..]), None);
}

#[test]
fn failure_is_told_in_words() {
    let steps = [LaunchStep::SetGroups(vec![1, 2]), LaunchStep::Umask(0o22)];
    let program = LaunchProgram { candidates: strings(&["/bin/a", "/usr/bin/a"]) };
    let tell = |at: FailedAt| at.describe(&steps, &program);
    assert_eq!(tell(FailedAt::Step(0)), "take the supplementary groups 1,2");
    assert_eq!(tell(FailedAt::Step(1)), "set the umask to 0022");
    assert_eq!(tell(FailedAt::Program(1)), "execute /usr/bin/a");
    assert_eq!(program.to_string(), "execute /bin/a or /usr/bin/a");
}
