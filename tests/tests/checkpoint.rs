//! Checkpoint and restore by CRIU. What needs CRIU to work on this kernel is skipped elsewhere; `cargo xtask` cannot bring it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cloison_tests::{Bundle, Output, Sandbox, host, json, only_for, receiver, skip_unless};

/// Prints numbers, one after another.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done";

/// How often a container goes there and back: 3 times, or as often as `CLOISON_CHECKPOINT_ROUNDS` says.
fn rounds() -> usize {
    std::env::var("CLOISON_CHECKPOINT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3)
}

macro_rules! needs_criu {
    () => {
        if let Some(reason) = host::why_no_criu() {
            return cloison_tests::skip::report(reason);
        }
    };
}

/// A container whose streams are pipes of the test's.
struct Piped<'s> {
    sandbox: &'s Sandbox,
    bundle: &'s Bundle<'s>,
    id: String,
    numbers: Vec<u64>,
    reader: Option<BufReader<Box<dyn Read>>>,
}

impl<'s> Piped<'s> {
    fn run(sandbox: &'s Sandbox, bundle: &'s Bundle<'s>) -> Self {
        bundle.write();
        let id = sandbox.new_id();
        let mut piped = Self { sandbox, bundle, id: id.clone(), numbers: Vec::new(), reader: None };
        piped.begin(bundle.run_command_as(&id, &["--detach"]));
        piped
    }

    /// The command must succeed; whoever reads its output reads the container's afterwards.
    fn begin(&mut self, mut command: Command) {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child: Child = command.spawn().unwrap();
        let status = child.wait().unwrap();
        let stdout = child.stdout.take().unwrap();
        if !status.success() {
            let mut error = String::new();
            drop(stdout);
            child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
            panic!("{status}: {error}");
        }
        self.reader = Some(BufReader::new(Box::new(stdout)));
    }

    fn restore(&mut self, images: &Path, flags: &[&str]) {
        let mut command = self.sandbox.command(["restore", "--detach", "--bundle"]);
        command.arg(self.bundle.dir()).arg("--image-path").arg(images).args(flags).arg(&self.id);
        self.begin(command);
    }

    fn checkpoint(&self, images: &Path, flags: &[&str]) -> Output {
        let mut command = self.sandbox.command(["checkpoint", "--image-path"]);
        command.arg(images).args(flags).arg(&self.id);
        self.sandbox.finish(command)
    }

    /// Reads so many numbers, or to the end; each must follow the one before.
    fn count(&mut self, how_many: usize) {
        let reader = self.reader.as_mut().unwrap();
        for _ in 0..how_many {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap() == 0 {
                assert_eq!(how_many, usize::MAX, "it ended after {:?}", self.numbers.last());
                break;
            }
            let number: u64 = line.trim().parse().unwrap_or_else(|_| panic!("{line:?}"));
            assert_eq!(number, self.numbers.last().copied().unwrap_or(0) + 1, "a number is missing");
            self.numbers.push(number);
        }
    }

    /// Whoever reads goes last: a container without its reader ends by itself.
    fn end(self) {
        self.sandbox.container(&self.id).end();
    }
}

#[test]
fn a_counter_that_goes_to_disk_and_back_misses_no_number() {
    needs_criu!();
    let sandbox = Sandbox::new();
    let images = sandbox.dir().join("images");
    let bundle = sandbox.busybox(COUNT).dumpable().mount("tmpfs", "tmpfs", "/tmp", &[]);
    let bundle = bundle.mount("bind", sandbox.file("data", "bound"), "/etc/data", &["bind"]).writable();
    let mut piped = Piped::run(&sandbox, &bundle);
    for round in 0..rounds() {
        piped.count(10);
        piped.checkpoint(&images, &["--file-locks", "--manage-cgroups-mode", "soft"]).ok();
        assert!(!sandbox.root().join(&piped.id).exists(), "nothing is left of the container");
        // What it had written before it was frozen.
        piped.count(usize::MAX);
        let images_of_round = sandbox.dir().join(format!("images{round}"));
        fs::rename(&images, &images_of_round).unwrap();
        piped.restore(&images_of_round, &["--file-locks"]);
        let container = sandbox.container(&piped.id);
        assert_eq!(container.status(), "running");
        let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
        assert!(cgroup.contains(&piped.id), "it is in its cgroup: {cgroup}");
        assert!(!sandbox.root().join(&piped.id).join("criu-root").exists());
    }
    piped.count(10);
    piped.end();
}

#[test]
fn a_container_of_systemd_wakes_in_a_unit_of_its_own() {
    needs_criu!();
    skip_unless!(host::has_systemd(), "systemd does not run here");
    let sandbox = Sandbox::new().with_systemd();
    let images = sandbox.dir().join("images");
    let bundle = sandbox.busybox(COUNT).dumpable().writable();
    let mut piped = Piped::run(&sandbox, &bundle);
    piped.count(2);
    piped.checkpoint(&images, &[]).ok();
    piped.count(usize::MAX);
    piped.restore(&images, &[]);
    let cgroup = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let container = sandbox.container(&piped.id);
    let scope = format!("{}.scope", piped.id);
    assert!(cgroup(container.pid()).contains(&scope), "{}", cgroup(container.pid()));
    container.exec(["true"]).ok();
    piped.count(2);
    piped.end();
}

#[test]
fn what_exec_has_left_in_a_restored_container_goes_to_disk_with_it() {
    needs_criu!();
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox(COUNT).dumpable().writable();
    let mut piped = Piped::run(&sandbox, &bundle);
    let mut left: Option<String> = None;
    for round in 0..2 {
        piped.count(2);
        let images = sandbox.dir().join(format!("images{round}"));
        piped.checkpoint(&images, &[]).ok();
        piped.count(usize::MAX);
        piped.restore(&images, &[]);
        let container = sandbox.container(&piped.id);
        if let Some(pid) = &left {
            container.exec_script(&[], &format!("grep -q sleep /proc/{pid}/comm")).ok();
        }
        let said = container.exec_script(&[], "sleep 100000 </dev/null >/dev/null 2>&1 & echo $!");
        left = Some(said.ok().trim().to_owned());
    }
    piped.count(2);
    piped.end();
}

#[test]
fn bind_mounts_with_dots_links_and_mounts_in_them_are_there_again() {
    needs_criu!();
    let sandbox = Sandbox::new();
    let images = sandbox.dir().join("images");
    let bundle = sandbox.busybox(COUNT).dumpable().mount("bind", ".", "/bundle", &["bind"]);
    let bundle = bundle.mount("bind", "./outer", "/data", &["bind"]);
    let bundle = bundle.mount("bind", "./inner", "/data/more/inner", &["bind"]).writable();
    for name in ["outer", "inner"] {
        fs::create_dir(bundle.dir().join(name)).unwrap();
    }
    fs::create_dir_all(bundle.rootfs().join("real")).unwrap();
    std::os::unix::fs::symlink("/real", bundle.rootfs().join("bundle")).unwrap();
    let mut piped = Piped::run(&sandbox, &bundle);
    piped.count(2);
    piped.checkpoint(&images, &[]).ok();
    piped.count(usize::MAX);
    // What was made to mount on is made again.
    fs::remove_dir_all(bundle.dir().join("outer/more")).unwrap();
    piped.restore(&images, &[]);
    let container = sandbox.container(&piped.id);
    container.exec_script(&[], "test -e /real/config.json && test -d /data/more/inner").ok();
    piped.end();
}

#[test]
fn what_has_changed_since_a_dump_of_the_memory_is_added_to_it() {
    needs_criu!();
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox(COUNT).dumpable().writable();
    let mut piped = Piped::run(&sandbox, &bundle);
    for round in 0..rounds() {
        let [parent, images] = ["parent", "images"].map(|name| sandbox.dir().join(format!("{name}{round}")));
        piped.count(3);
        let dumped = piped.checkpoint(&parent, &["--pre-dump"]);
        // The first dump says whether this kernel can tell which pages are written to.
        skip_if_missing(&dumped, "MemTrack");
        if !dumped.status.success() {
            piped.end();
            return;
        }
        piped.count(3);
        let parent = format!("../parent{round}");
        piped.checkpoint(&images, &["--parent-path", &parent]).ok();
        piped.count(usize::MAX);
        piped.restore(&images, &[]);
    }
    piped.count(3);
    piped.end();
}

#[test]
fn a_container_goes_on_after_a_dump_that_leaves_it_running() {
    needs_criu!();
    let sandbox = Sandbox::new();
    let images = sandbox.dir().join("images");
    let bundle = sandbox.busybox(COUNT).dumpable().writable();
    let mut piped = Piped::run(&sandbox, &bundle);
    piped.count(3);
    piped.checkpoint(&images, &["--leave-running"]).ok();
    piped.count(3);
    assert_eq!(sandbox.container(&piped.id).status(), "running");
    let wrong = piped.checkpoint(&images, &["--parent-path", "/parent"]);
    wrong.refused_saying(&["--parent-path", "relative"]);
    piped.end();
}

#[test]
fn a_container_runs_before_its_memory_has_come() {
    needs_criu!();
    let sandbox = Sandbox::new();
    let bundle = sandbox.busybox(COUNT).dumpable().writable();
    let mut piped = Piped::run(&sandbox, &bundle);
    for round in 0..rounds() {
        piped.count(3);
        let images = sandbox.dir().join(format!("images{round}"));
        let port = free_port();
        // Goes on until the last page is with the other side.
        let (mut ready, told) = std::io::pipe().unwrap();
        let mut command = sandbox.command(["checkpoint", "--lazy-pages", "--image-path"]);
        let server = format!("127.0.0.1:{port}");
        command.arg(&images).args(["--page-server", &server, "--status-fd", "0", &piped.id]);
        command.stdin(told).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut dump = command.spawn().unwrap();
        drop(command);
        let mut byte = [1];
        if ready.read_exact(&mut byte).is_err() {
            let mut error = String::new();
            dump.stderr.take().unwrap().read_to_string(&mut error).unwrap();
            dump.wait().unwrap();
            let missing = error.contains("missing features") && error.contains("LazyPages");
            assert!(missing, "{error}");
            cloison_tests::skip::report("CRIU has no LazyPages on this kernel");
            piped.end();
            return;
        }
        assert_eq!(byte, [0]);
        let mut pages = Command::new("criu");
        pages.args(["lazy-pages", "--page-server", "--address", "127.0.0.1", "--port"]);
        pages.arg(port.to_string()).arg("--images-dir").arg(&images).arg("--work-dir").arg(&images);
        let mut pages =
            pages.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        cloison_tests::until("the server of pages listens", || images.join("lazy-pages.socket").exists());
        // Another one: the first is there until its memory has gone.
        let before = piped.reader.take();
        piped.id = sandbox.new_id();
        piped.restore(&images, &["--lazy-pages"]);
        assert!(dump.wait().unwrap().success());
        assert!(pages.wait().unwrap().success());
        let after = std::mem::replace(&mut piped.reader, before);
        piped.count(usize::MAX);
        piped.reader = after;
    }
    piped.count(3);
    piped.end();
}

/// A port of loopback that nobody listens at.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Says that a test ends early because CRIU lacks something on this kernel.
fn skip_if_missing(output: &Output, feature: &str) {
    if output.stderr.contains("missing features") && output.stderr.contains(feature) {
        cloison_tests::skip::report(&format!("CRIU has no {feature} on this kernel"));
    } else {
        output.ok();
    }
}

#[test]
fn a_terminal_goes_to_the_console_socket_again() {
    needs_criu!();
    let sandbox = Sandbox::new();
    let images = sandbox.dir().join("images");
    let bundle = sandbox.busybox(COUNT).dumpable().writable().set("/process/terminal", true);
    bundle.write();
    let id = sandbox.new_id();
    let with_console = |mut command: Command, name: &str| {
        let path = sandbox.dir().join(name);
        let listener = receiver::listen(&path);
        command.arg("--console-socket").arg(&path).arg(&id);
        let output = sandbox.finish(command);
        output.ok();
        receiver::receive(&listener).1
    };
    let mut command = sandbox.command(["run", "--detach", "--bundle"]);
    command.arg(bundle.dir());
    let mut terminal = BufReader::new(fs::File::from(with_console(command, "first")));
    let mut last = 0;
    let mut count = |terminal: &mut BufReader<fs::File>, how_many: usize| {
        for _ in 0..how_many {
            let mut line = String::new();
            // A terminal whose other side has gone says EIO.
            if terminal.read_line(&mut line).unwrap_or(0) == 0 {
                break;
            }
            let number: u64 = line.trim().parse().unwrap_or_else(|_| panic!("{line:?}"));
            assert_eq!(number, last + 1, "a number is missing");
            last = number;
        }
    };
    for round in 0..rounds() {
        count(&mut terminal, 5);
        let images = images.with_extension(round.to_string());
        let mut command = sandbox.command(["checkpoint", "--image-path"]);
        command.arg(&images).arg(&id);
        sandbox.finish(command).ok();
        count(&mut terminal, usize::MAX);
        let mut command = sandbox.command(["restore", "--detach", "--bundle"]);
        command.arg(bundle.dir()).arg("--image-path").arg(&images);
        let master = with_console(command, &format!("socket{round}"));
        terminal = BufReader::new(fs::File::from(master));
    }
    count(&mut terminal, 5);
    sandbox.container(&id).end();
}

#[test]
fn a_connection_on_loopback_stays_open() {
    needs_criu!();
    let sandbox = Sandbox::new();
    let images = sandbox.dir().join("images");
    // Both go when their standard input ends. The client sends numbers through the connection; the server prints what it gets.
    let script =
        format!("sleep 100000 | nc -l -p 7777 & until ({COUNT}) | nc 127.0.0.1 7777; do sleep 1; done");
    let bundle = sandbox.busybox(&script).dumpable().writable();
    let mut piped = Piped::run(&sandbox, &bundle);
    for round in 0..rounds() {
        piped.count(5);
        let images = images.with_extension(round.to_string());
        piped.checkpoint(&images, &["--tcp-established"]).ok();
        piped.count(usize::MAX);
        piped.restore(&images, &["--tcp-established"]);
    }
    piped.count(5);
    piped.end();
}

#[test]
fn a_dump_that_fails_leaves_the_container_running() {
    needs_criu!();
    let sandbox = Sandbox::new();
    // A file of the host as standard output: the container could not have it again.
    let container = sandbox.sleeper().start();
    let images = sandbox.dir().join("images");
    let mut command = sandbox.command(["checkpoint", "--image-path"]);
    command.arg(&images).arg(container.id());
    let output = sandbox.finish(command);
    output.refused_saying(&["criu failed", "dump.log"]);
    assert_eq!(container.status(), "running");
    container.end();
}

#[test]
fn a_restore_that_fails_leaves_nothing() {
    needs_criu!();
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper();
    bundle.write();
    let images = sandbox.directory("images");
    fs::write(images.join("descriptors.json"), "[]").unwrap();
    let mut command = sandbox.command(["restore", "--bundle"]);
    command.arg(bundle.dir()).arg("--image-path").arg(&images).arg(sandbox.new_id());
    sandbox.finish(command).refused_saying(&["criu failed", "restore.log"]);
    sandbox.assert_nothing_left();
}

#[test]
fn the_hooks_of_the_runtime_run_again_at_a_restore() {
    needs_criu!();
    let sandbox = Sandbox::new();
    let images = sandbox.dir().join("images");
    let told = sandbox.dir().join("told");
    let script = format!("cat >> {0}; readlink /proc/self/ns/mnt >> {0}", told.display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let bundle = sandbox.busybox(COUNT).dumpable().writable().set("/hooks/createRuntime", hook);
    let mut piped = Piped::run(&sandbox, &bundle);
    piped.count(2);
    piped.checkpoint(&images, &[]).ok();
    piped.count(usize::MAX);
    fs::remove_file(&told).unwrap();
    piped.restore(&images, &[]);
    let told = fs::read_to_string(&told).unwrap().replace(' ', "");
    let pid = sandbox.container(&piped.id).pid();
    assert!(told.contains(&format!("\"pid\":{pid},")), "{told}");
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    assert!(told.contains(own.to_str().unwrap()), "in the mount namespace of the host: {told}");
    piped.end();
}

#[test]
fn a_foreground_restore_ends_with_the_exit_code_of_the_program() {
    needs_criu!();
    let sandbox = Sandbox::new();
    let images = sandbox.dir().join("images");
    let bundle = sandbox.busybox("while ! [ -e /go ]; do sleep 0.05; done; exit 7").dumpable().writable();
    let piped = Piped::run(&sandbox, &bundle);
    piped.checkpoint(&images, &[]).ok();
    fs::write(bundle.rootfs().join("go"), "").unwrap();
    let mut command = sandbox.command(["restore", "--bundle"]);
    command.arg(bundle.dir()).arg("--image-path").arg(&images).arg(&piped.id);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    sandbox.assert_nothing_left();
}

#[test]
fn only_what_runs_is_checkpointed() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().create();
    let images = sandbox.dir().join("images");
    let checkpoint = || {
        let mut command = sandbox.command(["checkpoint", "--image-path"]);
        command.arg(&images).arg(container.id());
        sandbox.finish(command)
    };
    checkpoint().refused_saying(&["cannot be checkpointed in created state"]);
    container.start().ok();
    container.kill(&["KILL"]).ok();
    container.until("stopped");
    checkpoint().refused_saying(&["cannot be checkpointed in stopped state"]);
    assert!(!images.exists());
    container.delete().ok();
}

#[test]
fn without_criu_the_error_says_what_to_install() {
    only_for!(Cloison, "runc has no hint");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let mut command = sandbox.command(["checkpoint", "--image-path"]);
    command.arg(sandbox.dir().join("images")).arg(container.id()).env("PATH", "/nonexistent");
    sandbox.finish(command).refused_saying(&["criu", "not found in $PATH", "apt-get install criu"]);
    assert_eq!(container.status(), "running");
    container.end();
}

#[test]
fn options_that_make_no_sense_are_refused() {
    only_for!(Cloison, "runc has other words");
    let sandbox = Sandbox::new();
    for (options, word) in [
        (&["--manage-cgroups-mode", "hard"][..], "--manage-cgroups-mode"),
        (&["--page-server", "somewhere"], "--page-server"),
        (&["--empty-ns", "pid"], "--empty-ns"),
        (&["--status-fd", "-1"], "--status-fd"),
    ] {
        let arguments = [&["checkpoint"], options, &["c1"]].concat();
        sandbox.cloison(arguments).refused_saying(&[word]);
    }
    // podman asks in this way whether the option is known.
    sandbox.cloison(["restore", "--lsm-mount-context"]).refused_saying(&["flag needs an argument"]);
    sandbox.cloison(["checkpoint", "--help"]).ok();
}

#[test]
fn what_criu_cannot_ask_of_an_old_kernel_is_told_with_what_helps() {
    needs_criu!();
    skip_unless!(!host::criu_can("get_rseq_conf"), "CRIU can ask this kernel for restartable sequences");
    let sandbox = Sandbox::new();
    let images = sandbox.dir().join("images");
    let bundle = sandbox.busybox(COUNT).writable();
    let mut piped = Piped::run(&sandbox, &bundle);
    piped.count(2);
    piped.checkpoint(&images, &[]).refused_saying(&["get_rseq_conf", "GLIBC_TUNABLES=glibc.pthread.rseq=0"]);
    piped.count(2);
    piped.end();
}
