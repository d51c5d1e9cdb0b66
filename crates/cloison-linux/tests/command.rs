//! Programs of the host, really run.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cloison_linux::command::{Command, Finished, KEPT_OUTPUT, Limits, Outcome, run};
use cloison_linux::process::{Ending, pidfd_open};
use cloison_linux::{Errno, Pid};

fn text(words: &[&str]) -> Vec<CString> {
    words.iter().map(|word| CString::new(*word).unwrap()).collect()
}

/// What a script says and how it ends.
fn sh(script: &str, input: &[u8], limits: Limits<'_>) -> Finished {
    let (args, env) = (text(&["sh", "-c", script]), text(&["PATH=/usr/bin:/bin", "A=b"]));
    let command = Command {
        path: c"/bin/sh",
        args: &args,
        env: &env,
        directory: None,
        umask: None,
        input,
        outputs: [None, None],
        limits,
    };
    run(&command).unwrap()
}

/// Whether a process is there and not a zombie.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn a_program_gets_its_input_and_its_two_outputs_are_told_apart() {
    let finished = sh("cat; echo wrong >&2; exit 7", b"some input", Limits::default());
    assert_eq!(finished.outcome, Outcome::Ended(Ending::Exited(7)));
    assert_eq!((finished.stdout, finished.stderr), (b"some input".to_vec(), b"wrong\n".to_vec()));
}

#[test]
fn a_program_need_not_read_its_input() {
    let finished = sh("exec <&-; echo done", &vec![b'x'; 1 << 20], Limits::default());
    assert_eq!(finished.stdout, b"done\n");
}

#[test]
fn input_and_output_that_are_longer_than_a_pipe_go_through_and_the_last_bytes_are_kept() {
    let mut input = vec![b'x'; 1 << 20];
    input.extend(b"the end");
    let finished = sh("cat", &input, Limits::default());
    assert_eq!(finished.stdout.len(), KEPT_OUTPUT);
    assert!(finished.stdout.ends_with(b"xthe end"));
}

#[test]
fn a_program_has_the_streams_alone_a_group_of_its_own_and_no_signal_held_back() {
    // A descriptor without O_CLOEXEC, as a caller may have handed on.
    let open = File::open("/dev/null").unwrap();
    let kept = rustix::io::dup(&open).unwrap();
    let look = "cd /proc/$$; echo fd/*; read -r line < stat; echo $line; \
        while read -r name mask; do case $name in SigBlk:|SigIgn:) echo $name $mask;; esac; done < status";
    let finished = sh(look, b"", Limits::default());
    drop(kept);
    let said = String::from_utf8(finished.stdout).unwrap();
    let mut lines = said.lines();
    let fds: Vec<_> = lines.next().unwrap().split(' ').filter(|fd| *fd != "fd/3").collect();
    assert_eq!(fds, ["fd/0", "fd/1", "fd/2"], "3 is the directory that the shell reads");
    let stat: Vec<_> = lines.next().unwrap().split(' ').collect();
    assert_eq!(stat[0], stat[4], "its process group has its number: {stat:?}");
    for line in lines {
        let (name, mask) = line.split_once(' ').unwrap();
        // A shell may ignore SIGQUIT itself.
        assert_eq!(u64::from_str_radix(mask, 16).unwrap() & !4, 0, "{name}");
    }
}

#[test]
fn directory_umask_environment_and_outputs_are_those_that_are_given() {
    let directory = File::open("/usr").unwrap();
    let (mut read, write) = std::io::pipe().unwrap();
    let (args, env) = (text(&["sh", "-c", "pwd; umask; echo $A$B"]), text(&["A=b"]));
    let command = Command {
        path: c"/bin/sh",
        args: &args,
        env: &env,
        directory: Some(directory.as_fd()),
        umask: Some(0o27),
        input: b"",
        outputs: [Some(write.as_fd()), None],
        limits: Limits::default(),
    };
    let finished = run(&command).unwrap();
    drop(write);
    assert_eq!(finished.stdout, b"", "it was not caught");
    let mut said = String::new();
    read.read_to_string(&mut said).unwrap();
    assert_eq!(said, "/usr\n0027\nb\n");
}

#[test]
fn what_cannot_be_executed_is_the_errno_of_execve() {
    for (path, errno) in
        [(c"/no/such/program", Errno::NOENT), (c"/etc/passwd", Errno::ACCESS), (c"/etc", Errno::ACCESS)]
    {
        let args = [path.to_owned()];
        let command = Command {
            path,
            args: &args,
            env: &[],
            directory: None,
            umask: None,
            input: b"",
            outputs: [None, None],
            limits: Limits::default(),
        };
        assert_eq!(run(&command), Err(errno), "{}", OsStr::from_bytes(path.to_bytes()).display());
    }
}

#[test]
fn the_time_being_up_ends_the_whole_process_group() {
    let start = Instant::now();
    let limits = Limits { timeout: Some(Duration::from_millis(300)), no_longer_than: None };
    let finished = sh("sleep 1000 & echo $! $$; wait", b"", limits);
    assert_eq!(finished.outcome, Outcome::TimedOut);
    assert!(start.elapsed() >= Duration::from_millis(300));
    let pids = String::from_utf8(finished.stdout).unwrap();
    assert_eq!(pids.split_whitespace().count(), 2, "{pids}");
    for pid in pids.split_whitespace() {
        let deadline = Instant::now() + Duration::from_secs(20);
        while lives(pid) {
            assert!(Instant::now() < deadline, "process {pid} lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_program_does_not_outlive_the_process_that_it_is_for() {
    let mut other: Child =
        std::process::Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let pidfd = pidfd_open(Pid::from_child(&other)).unwrap();
    other.kill().unwrap();
    let limits = Limits { timeout: None, no_longer_than: Some(pidfd.as_fd()) };
    let finished = sh("sleep 1000", b"", limits);
    other.wait().unwrap();
    assert_eq!(finished.outcome, Outcome::Outlived);
}

#[test]
fn what_is_left_behind_is_not_waited_for() {
    let start = Instant::now();
    // It holds both outputs.
    let finished = sh("sleep 60 & echo $!", b"", Limits::default());
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(finished.outcome, Outcome::Ended(Ending::Exited(0)));
    let pid: i32 = String::from_utf8(finished.stdout).unwrap().trim().parse().unwrap();
    let left = pidfd_open(Pid::from_raw(pid).unwrap()).unwrap();
    rustix::process::pidfd_send_signal(&left, rustix::process::Signal::KILL).unwrap();
}
