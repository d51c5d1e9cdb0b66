//! Filters that tell an agent of calls (`SCMP_ACT_NOTIFY`).

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;

use cloison_linux::Errno;
use cloison_linux::seccomp::{Answer, Notification};
use cloison_tests::user::User;
use cloison_tests::{Agent, Bundle, Sandbox, Value, json, skip_unless};

/// A profile that tells of some calls.
fn profile(names: &[&str], path: &str) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "listenerMetadata": "note",
        "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_X86_64"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}],
    })
}

fn no_medium(_: &Notification) -> Answer {
    Answer::Error(Errno::NOMEDIUM)
}

fn go_on(_: &Notification) -> Answer {
    Answer::Continue
}

/// A bundle that tells of `names`, with and without `no_new_privs`, and an agent for it.
fn both<'s>(
    sandbox: &'s Sandbox,
    script: &str,
    names: &[&str],
    answer: fn(&Notification) -> Answer,
) -> [(Bundle<'s>, Agent); 2] {
    [true, false].map(|no_new_privileges| {
        let path = sandbox.dir().join(format!("agent-{no_new_privileges}.sock"));
        let agent = Agent::new(&path, 1, answer);
        let bundle = sandbox
            .busybox(script)
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/linux/seccomp", profile(names, agent.path()));
        (bundle, agent)
    })
}

/// A bundle of a user's that tells of `mkdir`, with and without `no_new_privs`, and an agent for so many listeners.
fn both_of_user<'s>(user: &User<'s>, script: &str, listeners: usize) -> [(Bundle<'s>, Agent); 2] {
    [true, false].map(|no_new_privileges| {
        let path = user.directory().join(format!("agent-{no_new_privileges}.sock"));
        let agent = Agent::new(&path, listeners, no_medium);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let bundle = user
            .root_only(script)
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/linux/seccomp", profile(&["mkdir", "mkdirat"], agent.path()));
        (bundle, agent)
    })
}

#[test]
fn the_agent_answers_for_the_kernel() {
    let sandbox = Sandbox::new();
    for (bundle, agent) in both(&sandbox, "mkdir /dev/shm/a", &["mkdir", "mkdirat"], no_medium) {
        let output = bundle.run();
        assert_eq!(output.code(), 1);
        assert!(output.stderr.contains("No medium found"), "{}", output.describe());
        agent.finish();
    }
}

#[test]
fn the_agent_answers_for_the_kernel_in_a_users_container() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    for (bundle, agent) in both_of_user(&user, "mkdir /dev/shm/a", 1) {
        let output = user.run(&bundle);
        assert_eq!(output.code(), 1, "{}", output.describe());
        assert!(output.stderr.contains("No medium found"), "{}", output.describe());
        agent.finish();
    }
}

#[test]
fn the_agent_answers_for_another_process_and_a_hook_of_a_users_container() {
    let sandbox = Sandbox::new();
    let user = User::new(&sandbox);
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", "! mkdir /dev/shm/a"]}]);
    // The first process, the hook, and the other one.
    for (bundle, agent) in both_of_user(&user, "sleep 1000", 3) {
        let bundle = bundle.set("/hooks/startContainer", hook.clone());
        let container = user.start(&bundle);
        let output = user.does(&["exec", &container.id, "/bin/mkdir", "/dev/shm/a"]);
        assert_eq!(output.code(), 1, "{}", output.describe());
        assert!(output.stderr.contains("No medium found"), "{}", output.describe());
        container.end();
        agent.finish();
    }
}

#[test]
fn the_agent_is_told_of_the_container_before_its_program_runs() {
    let sandbox = Sandbox::new();
    for (bundle, agent) in both(&sandbox, "mkdir /dev/shm/a && echo made", &["mkdir"], go_on) {
        let bundle = bundle.set("/annotations", json!({"org.example": "value"}));
        let container = bundle.create();
        let pid = container.pid();
        let expected = json!({
            "ociVersion": "",
            "fds": ["seccompFd"],
            "pid": pid,
            "metadata": "note",
            "state": {
                "ociVersion": "1.0.2",
                "id": container.id(),
                "status": "creating",
                "pid": pid,
                "bundle": bundle.dir(),
                "annotations": {"org.example": "value"},
            },
        });
        let mut told = agent.told();
        // The version of the runtime, and with runc in the state as well.
        told["ociVersion"] = "".into();
        told["state"]["ociVersion"] = expected["state"]["ociVersion"].clone();
        assert_eq!(told, expected);
        container.start().ok();
        assert_eq!(sandbox.wait_for_orphan(pid), 0);
        assert_eq!(container.stdout(), "made\n");
        container.delete().ok();
        agent.finish();
    }
}

#[test]
fn the_program_does_not_get_the_listener() {
    let sandbox = Sandbox::new();
    let look = "cd /proc/self/fd && echo *";
    for (bundle, agent) in both(&sandbox, look, &["mkdir"], no_medium) {
        // The last one is the directory that the shell reads.
        assert_eq!(bundle.run().ok(), "0 1 2 3\n");
        agent.finish();
    }
    let sandbox = Sandbox::new();
    for (bundle, agent) in both(&sandbox, look, &["mkdir"], no_medium) {
        let container = bundle.create();
        let pid = container.pid();
        container.start().ok();
        assert_eq!(sandbox.wait_for_orphan(pid), 0);
        assert_eq!(container.stdout(), "0 1 2 3\n");
        container.delete().ok();
        agent.finish();
    }
}

#[test]
fn calls_that_the_runtime_makes_itself_can_be_told_of() {
    let sandbox = Sandbox::new();
    let names = ["execve", "openat", "open", "read", "close", "fcntl", "setresuid", "capset", "prctl"];
    for (bundle, agent) in both(&sandbox, "echo run", &names, go_on) {
        assert_eq!(bundle.run().ok(), "run\n");
        agent.finish();
    }
    let sandbox = Sandbox::new();
    for (bundle, agent) in both(&sandbox, "echo run", &names, go_on) {
        let container = bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})).create();
        let pid = container.pid();
        container.start().ok();
        assert_eq!(sandbox.wait_for_orphan(pid), 0);
        assert_eq!(container.stdout(), "run\n");
        container.delete().ok();
        agent.finish();
    }
}

#[test]
fn a_filter_tells_from_a_user_namespace_too() {
    let sandbox = Sandbox::new();
    for (bundle, agent) in both(&sandbox, "mkdir /dev/shm/a", &["mkdir"], no_medium) {
        let output = bundle.user_namespace(100_000).run();
        assert!(output.stderr.contains("No medium found"), "{}", output.describe());
        agent.finish();
    }
}

#[test]
fn calls_fail_when_the_agent_has_gone() {
    let sandbox = Sandbox::new();
    let path = sandbox.dir().join("agent.sock");
    let agent = Agent::new(&path, 0, go_on);
    agent.finish();
    fs::remove_file(&path).unwrap();
    // It takes the listener and goes.
    let server = cloison_tests::receiver::listen(&path);
    let taking = std::thread::spawn(move || {
        let (stream, _) = server.accept().expect("a connection");
        drop(cloison_linux::socket::receive(stream.as_fd()).expect("a listener"));
    });
    let script = "for n in 1 2 3 4 5 6 7 8 9; do mkdir /dev/shm/$n; sleep 0.1; done";
    let bundle = sandbox.busybox(script);
    let output = bundle.set("/linux/seccomp", profile(&["mkdir"], path.to_str().unwrap())).run();
    assert!(output.stderr.contains("Function not implemented"), "{}", output.describe());
    taking.join().unwrap();
}

#[test]
fn without_an_agent_nothing_runs() {
    let sandbox = Sandbox::new();
    let with = |path: &str| sandbox.busybox("echo run >&2").set("/linux/seccomp", profile(&["mkdir"], path));
    let file = sandbox.file("file", "");
    for path in ["/no/such/agent.sock", "@no-such-agent", file.to_str().unwrap()] {
        let output = with(path).run();
        output.refused_saying(&["failed to connect with seccomp agent"]);
        assert!(!output.stderr.contains("run\n"), "{}", output.describe());
        let id = sandbox.new_id();
        with(path).try_create(&id, &[]).refused_saying(&["failed to connect with seccomp agent"]);
        assert!(!sandbox.container(&id).try_state().status.success());
    }
}

#[test]
fn what_cannot_be_told_of_is_refused() {
    let sandbox = Sandbox::new();
    let with = |profile: Value| sandbox.busybox("echo run").set("/linux/seccomp", profile).run();
    with(profile(&["write"], "/l")).refused_saying(&["SCMP_ACT_NOTIFY cannot be used for the write syscall"]);
    let mut by_default = profile(&["read"], "/l");
    by_default["defaultAction"] = "SCMP_ACT_NOTIFY".into();
    with(by_default).refused_saying(&["SCMP_ACT_NOTIFY cannot be used as default action"]);
    assert_eq!(with(profile(&["mkdir"], "")).code(), 1);
}

#[test]
fn a_listener_path_without_a_rule_for_it_is_not_used() {
    let sandbox = Sandbox::new();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/such/agent.sock"});
    assert_eq!(sandbox.busybox("echo run").set("/linux/seccomp", profile).run().ok(), "run\n");
}

#[test]
fn the_wait_for_the_agent_can_be_killable_only() {
    let sandbox = Sandbox::new();
    let features = sandbox.cloison(["features"]).json();
    let flags = features.pointer("/linux/seccomp/supportedFlags").and_then(Value::as_array);
    let flag = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
    skip_unless!(flags.is_some_and(|flags| flags.iter().any(|one| one == flag)), "needs {flag}");
    let path = sandbox.dir().join("agent.sock");
    let agent = Agent::new(&path, 1, no_medium);
    let mut profile = profile(&["mkdir"], agent.path());
    profile["flags"] = json!([flag]);
    let bundle = sandbox.busybox("mkdir /dev/shm/a").set("/linux/seccomp", profile);
    let output = bundle.run();
    assert!(output.stderr.contains("No medium found"), "{}", output.describe());
    agent.finish();
}
