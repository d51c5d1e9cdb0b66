//! `exec`: what the process is, by a document, by flags, and by the container's configuration.

use std::fs;

use cloison_tests::{
    Rootfs, Sandbox, Value, append_command, caller, host, json, only_for, runc_lacks, skip_unless,
};

/// A file with a `process` section: a busybox script, and what is changed.
fn document(sandbox: &Sandbox, script: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut process = json!({
        "user": {"uid": 0, "gid": 0},
        "args": ["sh", "-c", script],
        "env": ["PATH=/bin:/usr/bin"],
        "cwd": "/",
    });
    change(&mut process);
    sandbox.file("process.json", process.to_string()).to_str().unwrap().to_owned()
}

#[test]
fn a_document_says_what_the_process_is() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().env("OF=config").start();
    let file = document(
        &sandbox,
        "env; pwd; id -u; id -g; grep -E '^(CapPrm|NoNew)' /proc/self/status; exit 4",
        |process| {
            process["env"] = json!(["PATH=/bin", "A=1"]);
            process["cwd"] = "/etc".into();
            process["user"] = json!({"uid": 0, "gid": 7});
            process["capabilities"] =
                json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]});
        },
    );
    let output = container.exec_with::<&str>(&["--process", &file], []);
    assert_eq!(output.code(), 4, "{}", output.describe());
    for line in ["A=1", "HOME=/root", "/etc", "0", "7", "CapPrm:\t0000000000000020", "NoNewPrivs:\t0"] {
        assert!(output.stdout.lines().any(|other| other == line), "{line:?} in {}", output.stdout);
    }
    assert!(!output.stdout.contains("OF=config"));
    container.end();
}

#[test]
fn what_a_document_leaves_out_of_rights_and_limits_is_the_containers() {
    let sandbox = Sandbox::new();
    let container = sandbox
        .sleeper()
        .set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 500, "hard": 600}]))
        .set("/process/user/umask", 0o027)
        .start();
    let file = document(&sandbox, "umask; ulimit -n; grep CapBnd /proc/self/status", |_| {});
    let bounding = container.exec(["grep", "CapBnd", "/proc/1/status"]).ok().to_owned();
    let output = container.exec_with::<&str>(&["--process", &file], []);
    assert_eq!(output.ok(), format!("0027\n500\n{bounding}"));
    container.end();
}

#[test]
fn a_document_may_come_through_a_pipe() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let file = document(&sandbox, "echo piped", |_| {});
    let mut mkfifo = sandbox.bare_command("mkfifo");
    mkfifo.arg("pipe");
    sandbox.finish(mkfifo).ok();
    let pipe = sandbox.dir().join("pipe");
    caller::give(&pipe);
    let mut writer = sandbox.bare_command("sh");
    writer.args(["-c", "cat \"$0\" > pipe", &file]);
    let writer = sandbox.spawn(writer);
    assert_eq!(container.exec_with::<&str>(&["--process", pipe.to_str().unwrap()], []).line(), "piped");
    writer.wait().ok();
    container.end();
}

#[test]
fn a_bad_document_is_refused_with_its_place() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let none = sandbox.dir().join("none");
    container.exec_with::<&str>(&["--process", none.to_str().unwrap()], []).exec_refused_saying(&["none"]);
    let relative = document(&sandbox, "true", |process| process["cwd"] = "etc".into());
    container
        .exec_with::<&str>(&["--process", &relative], [])
        .exec_refused_saying(&["Cwd must be an absolute path"]);
    let without = document(&sandbox, "true", |process| process["args"] = json!([]));
    container
        .exec_with::<&str>(&["--process", &without], [])
        .exec_refused_saying(&["args must not be empty"]);
    sandbox.file("process.json", "{");
    container.exec_with::<&str>(&["--process", &without], []).exec_refused_saying(&[]);
    container.end();
}

#[test]
fn flags_change_what_the_document_says() {
    only_for!(Cloison, "runc passes them over");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let file = document(&sandbox, "pwd; id -u; echo $A", |_| {});
    let flags = ["--process", &file, "--cwd", "/etc", "-u", "5", "-e", "A=1"];
    assert_eq!(container.exec_with::<&str>(&flags, []).ok(), "/etc\n5\n1\n");
    container.exec_with(&flags, ["true"]).exec_refused_saying(&["--process"]);
    container.end();
}

#[test]
fn capabilities_are_added_but_never_inheritable() {
    // CVE-2022-29162.
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().capabilities(&["CAP_KILL"]).start();
    let show = "grep ^Cap /proc/self/status";
    let sets = |user, cap: &[&str]| {
        let flags = [&["--user", user], cap].concat();
        let output = container.exec_script(&flags, show);
        output.ok().lines().map(|line| u64::from_str_radix(&line[8..], 16).unwrap()).collect::<Vec<_>>()
    };
    let (kill, net_raw) = (1 << 5, 1 << 13);
    assert_eq!(sets("0", &[]), [0, kill, kill, kill, 0]);
    assert_eq!(sets("0", &["--cap", "CAP_NET_RAW"]), [0, kill | net_raw, kill | net_raw, kill | net_raw, 0]);
    assert_eq!(
        sets("1000", &["-c", "CAP_NET_RAW"]),
        [0, 0, 0, kill | net_raw, 0],
        "for whom nothing is ambient"
    );
    container.end();
}

#[test]
fn added_capabilities_are_ambient_where_the_container_has_inheritable_ones() {
    let sandbox = Sandbox::new();
    let all = json!(["CAP_KILL", "CAP_NET_RAW"]);
    let sets = json!({"bounding": all, "permitted": all, "effective": all, "inheritable": all, "ambient": ["CAP_KILL"]});
    let container = sandbox.sleeper().set("/process/capabilities", sets).start();
    let output =
        container.exec_script(&["-u", "1000", "--cap", "CAP_NET_RAW"], "grep CapAmb /proc/self/status");
    assert_eq!(output.line(), "CapAmb:\t0000000000002020");
    container.end();
}

#[test]
fn a_capability_that_nobody_knows_is_refused() {
    only_for!(Cloison, "runc warns");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    for name in ["CAP_NONE", "KILL", "cap_kill", ""] {
        container.exec_with(&["--cap", name], ["true"]).exec_refused_saying(&["unknown capability"]);
    }
    container.end();
}

#[test]
fn new_privileges_are_refused_as_the_flag_says() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().set("/process/noNewPrivileges", false).start();
    let show = "grep NoNew /proc/self/status";
    assert_eq!(container.exec_script(&[], show).line(), "NoNewPrivs:\t0");
    assert_eq!(container.exec_script(&["--no-new-privs"], show).line(), "NoNewPrivs:\t1");
    container.end();
    let container = sandbox.sleeper().start();
    assert_eq!(container.exec_script(&[], show).line(), "NoNewPrivs:\t1");
    assert_eq!(container.exec_script(&["--no-new-privs=false"], show).line(), "NoNewPrivs:\t0");
    container.end();
}

#[test]
fn the_filter_of_the_container_holds_for_the_process() {
    let sandbox = Sandbox::new();
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 123}],
    });
    for no_new_privileges in [true, false] {
        let container = sandbox
            .sleeper()
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/linux/seccomp", profile.clone())
            .start();
        let output = container.exec_script(&[], "grep ^Seccomp: /proc/self/status; mkdir /dev/shm/a");
        assert_eq!(output.stdout, "Seccomp:\t2\n");
        assert!(output.stderr.contains("No medium found"), "{}", output.describe());
        container.end();
    }
}

#[test]
fn scheduling_is_that_of_the_container() {
    runc_lacks!("1.2: scheduler, I/O priority and personality of exec");
    let sandbox = Sandbox::new();
    let container = sandbox
        .sleeper()
        .set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 7}))
        .set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}))
        .set("/process/oomScoreAdj", 555)
        .set("/linux/personality", json!({"domain": "LINUX32"}))
        .start();
    let show = "ionice -p $$; cut -d' ' -f19,41 /proc/self/stat; cat /proc/self/oom_score_adj";
    assert_eq!(container.exec_script(&[], show).ok(), "best-effort: prio 6\n7 3\n555\n");
    assert_eq!(container.exec(["cat", "/proc/self/personality"]).line(), "00000008");
    let file = document(&sandbox, show, |process| {
        process["scheduler"] = json!({"policy": "SCHED_OTHER", "nice": 3});
        process["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    });
    assert_eq!(container.exec_with::<&str>(&["--process", &file], []).ok(), "idle\n3 0\n555\n");
    container.end();
}

#[test]
fn cpus_are_those_of_the_affinity_for_exec() {
    runc_lacks!("1.3: execCPUAffinity");
    let sandbox = Sandbox::new();
    let allowed = fs::read_to_string("/proc/self/status").unwrap();
    let allowed =
        allowed.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t")).unwrap().to_owned();
    skip_unless!(allowed.starts_with("0-"), "needs the CPUs 0 and 1");
    let show = "grep Cpus_allowed_list /proc/self/status | cut -f2";
    let container =
        sandbox.sleeper().set("/process/execCPUAffinity", json!({"initial": "0", "final": "1"})).start();
    assert_eq!(container.exec_script(&[], show).line(), "1");
    for (affinity, expected) in [
        (json!({"initial": "1"}), "1"),
        (json!({"initial": "0", "final": "0-1"}), "0-1"),
        (json!({"final": "0"}), "0"),
    ] {
        let file = document(&sandbox, show, |process| process["execCPUAffinity"] = affinity.clone());
        let output = container.exec_with::<&str>(&["--process", &file], []);
        // Linux before 6.2 may forget it where the cgroup has a cpuset, for which there is `final`.
        let forgotten =
            host::kernel() < (6, 2) && affinity.get("final").is_none() && output.line() == allowed;
        assert!(forgotten || output.line() == expected, "{affinity}: {}", output.describe());
    }
    container.end();
    // What the runtime itself is bound to is not the container's affair.
    let container = sandbox.sleeper().start();
    let mut bound = sandbox.bare_command("taskset");
    let exec = container.exec_command(&[], ["sh", "-c", show]);
    bound.args(["-c", "0"]);
    append_command(&mut bound, &exec);
    assert_eq!(sandbox.finish(bound).line(), allowed);
    container.end();
}

#[test]
fn descriptors_are_preserved_that_are_asked_for() {
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let file = sandbox.file("preserved", "hello");
    let exec = container
        .exec_command(&["--preserve-fds", "2"], ["sh", "-c", "cat <&4; ls /proc/self/fd | tr '\n' ' '"]);
    let mut shell = sandbox.bare_command("/bin/bash");
    shell.args(["-c", "exec 3<\"$0\" 4<\"$0\" 5<\"$0\"; exec \"$@\""]).arg(file);
    append_command(&mut shell, &exec);
    assert_eq!(sandbox.finish(shell).ok(), "hello0 1 2 3 4 5 ", "the last one is of ls itself");
    container.exec_with(&["--preserve-fds", "1"], ["true"]).exec_refused_saying(&["preserved-fd"]);
    container.end();
}

#[test]
fn sockets_of_a_service_manager_are_for_the_process_by_its_own_number() {
    only_for!(Cloison, "runc says that they are for the process 1");
    let sandbox = Sandbox::new();
    let container = sandbox.sleeper().start();
    let file = sandbox.file("socket", "listening");
    let exec = container.exec_command(
        &[],
        ["sh", "-c", "cat <&3; echo; echo $LISTEN_FDS; [ $LISTEN_PID = $$ ] && echo mine"],
    );
    let mut shell = sandbox.bare_command("/bin/bash");
    shell.args(["-c", "exec 3<\"$0\"; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\""]).arg(file);
    append_command(&mut shell, &exec);
    assert_eq!(sandbox.finish(shell).ok(), "listening\n1\nmine\n");
    container.end();
}

#[test]
fn the_session_keyring_is_the_containers() {
    let sandbox = Sandbox::new();
    // A process sees the keys that it possesses; the number comes first, and the name of the keyring is that of the container.
    // Not those of containers of other tests: the same user owns them.
    let show = &format!("grep _ses.{} /proc/keys | cut -d' ' -f1", sandbox.name());
    let bundle = sandbox.busybox(&format!("{show}; exec sleep 1000")).set("/linux/maskedPaths", json!([]));
    let container = bundle.start();
    container.until_prints("\n");
    let key = container.stdout();
    assert_eq!(container.exec_script(&[], show).ok(), key);
    assert_eq!(container.exec_script(&["-u", "1000"], show).ok(), key);
    container.end();
}

#[test]
fn the_session_keyring_is_the_containers_in_a_user_namespace_too() {
    only_for!(Cloison, "with others the user of the keyring may not search it");
    let sandbox = Sandbox::new();
    let show = &format!("grep _ses.{} /proc/keys | cut -d' ' -f1", sandbox.name());
    let rootfs = Rootfs::busybox().owned_by(100_000, 100_000);
    let bundle = sandbox.bundle(rootfs).args(["sh", "-c", &format!("{show}; exec sleep 1000")]);
    let container = bundle.user_namespace(100_000).set("/linux/maskedPaths", json!([])).start();
    container.until_prints("\n");
    assert_eq!(container.exec_script(&[], show).ok(), container.stdout());
    container.end();
}

#[test]
fn labels_are_refused_by_name() {
    let sandbox = Sandbox::new();
    only_for!(Cloison, "runc sets them where the kernel has them");
    let container = sandbox.sleeper().start();
    container.exec_with(&["--apparmor", "profile"], ["true"]).exec_refused_saying(&["AppArmor"]);
    container.exec_with(&["--process-label", "label"], ["true"]).exec_refused_saying(&["SELinux"]);
    container.exec_with(&["--apparmor=", "--process-label="], ["true"]).ok();
    container.end();
}
