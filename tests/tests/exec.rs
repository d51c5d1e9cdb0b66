//! `exec`: another process in a container that is there.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};

use cloison_tests::{Rootfs, Sandbox, append_command, json, only_for, race};

/// The namespaces of a process by its number on the host, as a container's shell would list its own.
fn namespaces_of(pid: u32) -> String {
    let link = |kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string() + "\n";
    NAMESPACES.map(link).concat()
}

const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts", "pid_for_children"];

fn show_namespaces() -> String {
    NAMESPACES.map(|kind| format!("readlink /proc/self/ns/{kind};")).concat()
}

#[test]
fn a_process_joins_every_namespace_of_the_container() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().namespace("cgroup", None).start();
    assert_eq!(container.exec_script(&[], &show_namespaces()).ok(), namespaces_of(container.pid()));
    assert_eq!(
        container.exec_script(&[], "readlink /proc/self/root; readlink /proc/self/cwd").ok(),
        "/\n/\n"
    );
    container.end();
}

#[test]
fn a_process_is_in_every_cgroup_of_the_container() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let cgroups = container.exec(["cat", "/proc/1/cgroup"]);
    assert_eq!(container.exec(["cat", "/proc/self/cgroup"]).ok(), cgroups.ok());
    container.end();
}

#[test]
fn the_exit_code_is_that_of_the_process() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    for (script, code) in
        [("true", 0), ("exit 1", 1), ("exit 42", 42), ("kill -9 $$", 137), ("kill -15 $$", 143)]
    {
        assert_eq!(container.exec_script(&[], script).code(), code, "{script}");
    }
    container.end();
}

#[test]
fn streams_go_through_as_they_are() {
    use std::io::Write;
    use std::process::Stdio;

    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let mut command = container.exec_command(&[], ["sh", "-c", "cat; echo error >&2"]);
    command.stdin(Stdio::piped());
    let mut running = sandbox.spawn(command);
    running.child().stdin.take().unwrap().write_all(b"through").unwrap();
    let output = running.wait();
    assert_eq!((output.ok(), output.stderr.as_str()), ("through", "error\n"));
    container.end();
}

#[test]
fn a_process_that_cannot_be_executed_is_told_by_its_errno_with_255() {
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::busybox().with(|root| {
        let write = |name: &str, bytes: &[u8], mode| {
            fs::write(root.join(name), bytes).unwrap();
            fs::set_permissions(root.join(name), PermissionsExt::from_mode(mode)).unwrap();
        };
        write("data", b"x", 0o644);
        write("no-interpreter", b"#!/nowhere/at/all\n", 0o755);
        // A header of ELF for a machine that this is not.
        write(
            "foreign",
            &[b"\x7fELF\x02\x01\x01".as_slice(), &[0; 9], &[2, 0, 0xff, 0xfe], &[0; 44]].concat(),
            0o755,
        );
    });
    let container = sandbox.bundle(rootfs).args(["sleep", "1000"]).start();
    for (program, words) in [
        ("nothing", "executable file not found in $PATH"),
        ("/nothing", "no such file or directory"),
        ("/data", "permission denied"),
        ("/etc", ""),
        ("/no-interpreter", "no such file or directory"),
        ("/foreign", "exec format error"),
    ] {
        container.exec([program]).exec_refused_saying(&[words]);
    }
    container.exec(["/etc"]).exec_refused_saying(&["exec failed: unable to start container process: "]);
    assert_eq!(container.status(), "running");
    container.end();
}

#[test]
fn a_container_that_is_not_there_or_has_stopped_is_told() {
    let sandbox = Sandbox::new();
    sandbox.container("none").exec(["true"]).exec_refused_saying(&["exec failed: container does not exist"]);
    let container = sandbox.busybox("true").start();
    container.until("stopped");
    container.exec(["true"]).exec_refused_saying(&["cannot exec in a stopped container"]);
    container.delete().ok();
}

#[test]
fn a_created_container_is_joined_before_it_starts() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().create();
    assert_eq!(container.exec(["echo", "here"]).line(), "here");
    assert_eq!(container.status(), "created");
    container.start().ok();
    container.end();
}

#[test]
fn the_command_is_not_looked_at_for_options() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let words = ["echo", "-e", "--user", "-la", "--", "-n=1", "--help"];
    assert_eq!(container.exec(words).line(), words[1..].join(" ").trim_start_matches("-e "));
    container.end();
}

#[test]
fn an_argument_may_be_any_bytes() {
    only_for!(Cloison, "runc hands arguments on as JSON");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let bytes = OsStr::from_bytes(b"\xe9\xff");
    let output = container.exec([
        OsStr::new("sh"),
        "-c".as_ref(),
        "echo -n $1 | wc -c".as_ref(),
        "sh".as_ref(),
        bytes,
    ]);
    assert_eq!(output.line(), "2");
    container.end();
}

#[test]
fn a_command_is_needed() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    container.exec::<&str>([]).exec_refused_saying(&["args cannot be empty"]);
    container.end();
}

#[test]
fn user_and_group_are_set_by_numbers() {
    let sandbox = Sandbox::new();
    // CVE-2016-3697: a user whose name is a number.
    let rootfs = Rootfs::hostile(|root| {
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n1000:x:0:0::/:/bin/sh\n").unwrap();
    });
    let user = json!({"uid": 5, "gid": 6, "additionalGids": [7]});
    let container = sandbox.bundle(rootfs).args(["sleep", "1000"]).set("/process/user", user).start();
    let ids = "grep -E '^(Uid|Gid|Groups)' /proc/self/status | tr -s '\\t ' ' ' | tr '\\n' ';'";
    for (flags, expected) in [
        (&[][..], "Uid: 5 5 5 5;Gid: 6 6 6 6;Groups: 7 ;"),
        (&["--user", "1000"], "Uid: 1000 1000 1000 1000;Gid: 6 6 6 6;Groups: 7 ;"),
        (&["-u", "1000:1001"], "Uid: 1000 1000 1000 1000;Gid: 1001 1001 1001 1001;Groups: 7 ;"),
        (&["-u", "0:0", "-g", "8", "--additional-gids", "9"], "Uid: 0 0 0 0;Gid: 0 0 0 0;Groups: 7 8 9 ;"),
    ] {
        assert_eq!(container.exec_script(flags, ids).line(), expected, "{flags:?}");
    }
    container.end();
}

#[test]
fn a_user_that_is_not_two_numbers_is_refused_and_never_taken_for_root() {
    // CVE-2026-30892.
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    for user in ["root", "0:", ":0", "1:x", "x:1", "-1", "1:-1", "1 ", "0x1", "4294967296", "1:1:1", "1e3"] {
        container.exec_with(&["--user", user], ["id"]).exec_refused_saying(&["bad"]);
    }
    container.end();
}

#[test]
fn ids_that_no_process_has_are_refused() {
    only_for!(Cloison, "runc takes an empty user for none given, and large and signed numbers for others");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    for user in ["", "+1", "4294967295", "1:4294967295", "99999999999999999999"] {
        container.exec_with(&["--user", user], ["id"]).exec_refused_saying(&["bad", "--user"]);
    }
    for group in ["", "-1", "wheel", "4294967295", "1,2"] {
        container.exec_with(&["--additional-gids", group], ["id"]).exec_refused_saying(&["bad gid"]);
    }
    container.end();
}

#[test]
fn the_working_directory_is_that_of_the_configuration_or_of_the_flag() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().set("/process/cwd", "/etc").start();
    assert_eq!(container.exec(["pwd"]).line(), "/etc");
    assert_eq!(container.exec_with(&["--cwd", "/bin"], ["pwd"]).line(), "/bin");
    container.exec_with(&["--cwd", "bin"], ["pwd"]).exec_refused_saying(&["Cwd must be an absolute path"]);
    container.exec_with(&["--cwd", "/none"], ["pwd"]).exec_refused_saying(&["chdir to cwd", "no such file"]);
    container
        .exec_with(&["--cwd", "/bin/sh"], ["pwd"])
        .exec_refused_saying(&["chdir to cwd", "not a directory"]);
    container.end();
}

#[test]
fn the_environment_is_that_of_the_configuration_with_what_is_added() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().env("A=configured").start();
    let flags = ["-e", "A=flag", "--env", "B=1,C=2", "--env=D=a=b", "-e", "EMPTY="];
    let mut command = container.exec_command(&flags, ["env"]);
    command.env("FROM_THE_HOST", "1");
    let output = sandbox.finish(command);
    let lines: Vec<&str> = output.ok().lines().collect();
    for expected in ["A=flag", "B=1,C=2", "D=a=b", "EMPTY=", "HOME=/root", "TERM=xterm"] {
        assert!(lines.contains(&expected), "{expected} in {lines:?}");
    }
    assert!(!lines.contains(&"A=configured") && !lines.contains(&"FROM_THE_HOST=1"), "{lines:?}");
    container.exec_with(&["-e", "NO_VALUE"], ["env"]).exec_refused_saying(&["invalid environment variable"]);
    container.end();
}

#[test]
fn home_is_that_of_the_user_in_the_containers_passwd() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    for (user, home) in [("0", "/root"), ("1000", "/home/user"), ("4321", "/")] {
        assert_eq!(container.exec_script(&["-u", user], "echo $HOME").line(), home, "{user}");
    }
    container.end();
}

#[test]
fn limits_mask_and_rights_are_those_of_the_container() {
    let sandbox = Sandbox::new();
    let limits = json!([
        {"type": "RLIMIT_NOFILE", "soft": 500, "hard": 600},
        {"type": "RLIMIT_CORE", "soft": 1024, "hard": 2048},
    ]);
    let container = sandbox
        .sleeper()
        .set("/process/rlimits", limits)
        .set("/process/user", json!({"uid": 0, "gid": 0, "umask": 0o027}))
        .start();
    let show = "grep -E '(core|open)' /proc/self/limits | tr -s ' '; umask; grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status";
    let ours = container.exec_script(&[], show);
    let mut of_first =
        String::from("Max core file size 1024 2048 bytes \nMax open files 500 600 files \n0027\n");
    of_first += container.exec(["grep", "-E", "^(Cap|NoNew|Seccomp:)", "/proc/1/status"]).ok();
    assert_eq!(ours.ok(), of_first);
    container.end();
}

#[test]
fn the_users_own_directory_can_be_the_working_directory() {
    let sandbox = Sandbox::new();
    let rootfs = Rootfs::busybox().with(|root| {
        fs::create_dir(root.join("mine")).unwrap();
        fs::set_permissions(root.join("mine"), PermissionsExt::from_mode(0o700)).unwrap();
        chown(root.join("mine"), Some(1000), Some(1000)).unwrap();
    });
    let container = sandbox.bundle(rootfs).args(["sleep", "1000"]).start();
    assert_eq!(container.exec_with(&["-u", "1000:1000", "--cwd", "/mine"], ["pwd"]).line(), "/mine");
    container.end();
}

#[test]
fn nothing_of_the_runtime_is_inherited() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let script = "ls /proc/self/fd | tr '\\n' ' '; readlink /proc/$$/exe";
    // The listing's own descriptor is the last one.
    assert_eq!(container.exec_script(&[], script).ok(), "0 1 2 3 /bin/busybox\n");
    for cwd in (3..20).map(|number| format!("/proc/self/fd/{number}")) {
        // CVE-2024-21626.
        container.exec_with(&["--cwd", &cwd], ["pwd"]).exec_refused_saying(&[]);
    }
    container.end();
}

#[test]
fn a_container_in_a_user_namespace_is_joined_as_its_root() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().user_namespace(100_000).start();
    assert_eq!(container.exec_script(&[], &show_namespaces()).ok(), namespaces_of(container.pid()));
    let show = "id -u; id -g; tr -s ' ' </proc/self/uid_map";
    assert_eq!(container.exec_script(&[], show).ok(), "0\n0\n 0 100000 65536\n");
    let ids = container.exec_script(&["-u", "1000:1001"], "id -u; id -g");
    assert_eq!(ids.ok(), "1000\n1001\n");
    container.end();
}

#[test]
fn a_process_that_joins_cannot_be_looked_into() {
    // CVE-2016-9962: root of the container's user namespace has all rights over a process that has entered it.
    let sandbox = Sandbox::new();
    let all: Vec<&str> = cloison_linux_capabilities();
    let container = sandbox.busybox(LOOK).user_namespace(100_000).capabilities(&all).start();
    container.until_prints("begun");
    for _ in 0..race::rounds() / 2 {
        container.exec(["true"]).ok();
    }
    assert!(!container.stdout().contains("LOOKED"), "{}", container.stdout());
    container.end();
}

/// Looks for processes of the runtime and into their descriptors. The name is read again afterwards: by then it may be the program, which
/// may be looked into.
const LOOK: &str = "echo begun; while :; do for p in /proc/[0-9]*; do \
    read name 2>/dev/null <$p/comm || continue; \
    case $name in cloison*|runc*) ;; *) continue;; esac; \
    set -- $p/fd/*; [ -e \"$1\" ] || continue; \
    read name 2>/dev/null <$p/comm || continue; \
    case $name in cloison*|runc*) echo LOOKED $p/fd $name;; esac; \
    done; done";

#[test]
fn a_first_process_that_joins_a_pid_namespace_cannot_be_looked_into() {
    // CVE-2016-9962, at a birth: a pod's containers share namespaces.
    only_for!(Cloison, "runc's init is looked for by another name");
    let sandbox = Sandbox::new();
    let all: Vec<&str> = cloison_linux_capabilities();
    let container = sandbox.busybox(LOOK).user_namespace(100_000).capabilities(&all).start();
    container.until_prints("begun");
    let namespace = |kind: &str| format!("/proc/{}/ns/{kind}", container.pid());
    let rootfs = Rootfs::busybox().owned_by(100_000, 100_000);
    let bundle = sandbox.bundle(rootfs).args(["true"]);
    let bundle = bundle.namespace("user", Some(&namespace("user"))).namespace("pid", Some(&namespace("pid")));
    for _ in 0..race::rounds() / 2 {
        bundle.run().ok();
    }
    assert!(!container.stdout().contains("LOOKED"), "{}", container.stdout());
    container.end();
}

/// All that a container can be given.
fn cloison_linux_capabilities() -> Vec<&'static str> {
    vec![
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_DAC_READ_SEARCH",
        "CAP_KILL",
        "CAP_SETUID",
        "CAP_SETGID",
        "CAP_SYS_PTRACE",
        "CAP_SYS_ADMIN",
    ]
}

#[test]
fn without_rights_outside_the_user_namespace_a_go_between_leads_in() {
    only_for!(Cloison, "runc always takes two processes more");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().user_namespace(100_000).start();
    let without_rights = |flags: &[&str], script: &str| {
        let exec = container.exec_command(flags, ["sh", "-c", script]);
        let mut command = sandbox.bare_command("setpriv");
        command.args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]);
        append_command(&mut command, &exec);
        sandbox.finish(command)
    };
    let shown = without_rights(&[], &show_namespaces());
    assert_eq!(shown.ok(), namespaces_of(container.pid()));
    assert_eq!(
        without_rights(&[], "cat /proc/self/cgroup").ok(),
        container.exec(["cat", "/proc/self/cgroup"]).ok()
    );
    assert_eq!(without_rights(&["-u", "5:6"], "id -u; id -g; exit 3").stdout, "5\n6\n");
    assert_eq!(without_rights(&[], "exit 3").code(), 3);
    without_rights(&["--cwd", "/none"], "true").exec_refused_saying(&["no such file or directory"]);
    let file = sandbox.dir().join("pid");
    without_rights(&["--detach", "--pid-file", file.to_str().unwrap()], "exit 4").ok();
    assert_eq!(sandbox.wait_for_orphan(fs::read_to_string(file).unwrap().parse().unwrap()), 4);
    container.end();
}
