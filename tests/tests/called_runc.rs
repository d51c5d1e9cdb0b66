//! In the place of `runc`, and called by its name: help, version and errors are told as those who look for `runc`'s expect them.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use cloison_tests::runtime::binary;
use cloison_tests::{Sandbox, only_for};

/// A file `runc` that is the runtime under test.
fn runc(sandbox: &Sandbox) -> PathBuf {
    let place = sandbox.directory("sbin").join("runc");
    symlink(binary(), &place).unwrap();
    place
}

fn command(sandbox: &Sandbox, runc: &Path, arguments: &[&str]) -> Command {
    let mut command = sandbox.bare_command(runc);
    command.arg("--root").arg(sandbox.root()).args(arguments);
    command
}

#[test]
fn version_and_help_begin_as_those_of_runc() {
    only_for!(Cloison, "it is the name of another runtime");
    let sandbox = Sandbox::new();
    let runc = runc(&sandbox);
    let tell = |argument: &str| {
        let mut command = sandbox.bare_command(&runc);
        command.arg(argument);
        sandbox.finish(command).ok().to_owned()
    };
    let version = tell("--version");
    let words: Vec<_> = version.lines().next().unwrap().split(' ').collect();
    assert_eq!(words[..2], ["runc", "version"]);
    assert!(words[2].ends_with("+cloison"), "{version}");
    assert!(tell("--help").starts_with("NAME:\n   runc - Open Container Initiative runtime (cloison "));
}

#[test]
fn an_error_is_a_line_of_the_log_that_begins_with_the_command() {
    only_for!(Cloison, "it is the name of another runtime");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").mount("tmpfs", "tmpfs", "/mnt", &["size=much"]);
    bundle.write();
    let (runc, log) = (runc(&sandbox), sandbox.dir().join("log"));
    let (dir, id) = (bundle.dir().to_str().unwrap(), sandbox.new_id());
    let output = sandbox.finish(command(&sandbox, &runc, &["run", "--bundle", dir, &id]));
    assert_eq!((output.code(), output.stderr.lines().count()), (1, 1), "{}", output.describe());
    assert!(output.stderr.starts_with("time=\""), "{}", output.describe());
    let why = "failed: unable to start container process: error during container init: error mounting";
    assert!(output.stderr.contains(&format!(" level=error msg=\"runc run {why} ")), "{}", output.describe());
    let with_log = ["--log", log.to_str().unwrap(), "create", "--bundle", dir, &id];
    let output = sandbox.finish(command(&sandbox, &runc, &with_log));
    assert!(output.stderr.starts_with(&format!("runc create {why} ")), "{}", output.describe());
    let logged = std::fs::read_to_string(&log).unwrap();
    assert!(logged.contains(&format!("level=error msg=\"runc create {why} ")), "{logged}");
}

#[test]
fn a_program_that_the_kernel_refuses_is_told_alone() {
    only_for!(Cloison, "it is the name of another runtime");
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox("true").args(["/run.sh"]);
    let script = bundle.rootfs().join("run.sh");
    std::fs::write(&script, "#!/not/there\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    bundle.write();
    let (dir, id) = (bundle.dir().to_str().unwrap(), sandbox.new_id());
    let output = sandbox.finish(command(&sandbox, &runc(&sandbox), &["run", "--bundle", dir, &id]));
    assert_eq!((output.code(), &*output.stderr), (1, "exec /run.sh: no such file or directory\n"));
}

#[test]
fn what_waits_for_start_has_no_descriptors_that_runc_would_not_have() {
    only_for!(Cloison, "runc has more of its own: it waits with its own binary");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().create();
    let fds = format!("/proc/{}/fd", container.pid());
    let mut targets = Vec::new();
    for entry in std::fs::read_dir(&fds).unwrap() {
        let target = std::fs::read_link(entry.unwrap().path()).unwrap();
        targets.push(target.to_str().unwrap().to_owned());
    }
    // Its streams are those of the test.
    let streams = ["/dev/null".to_owned(), format!("{}/", sandbox.dir().display())];
    let root = sandbox.root();
    let is_known = |target: &String| {
        let nameless = ["socket:[", "pipe:[", "anon_inode:["].iter().any(|kind| target.starts_with(kind));
        let of_the_state = target.starts_with(root.to_str().unwrap());
        let of_the_test = streams.iter().any(|stream| target.starts_with(stream)) && !of_the_state;
        nameless || of_the_test || target.ends_with("/exec.fifo") || ["/", "/proc"].contains(&&**target)
    };
    assert!(targets.iter().all(is_known), "{targets:?}");
    container.end();
}
