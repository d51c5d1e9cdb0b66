//! Hooks: in the namespaces, at the moments and in the order that runtime-spec fixes, and what comes of those that fail.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cloison_tests::{Sandbox, Value, json, only_for, runtime, until};

/// The points that are part of `create`.
const OF_CREATE: [&str; 3] = ["prestart", "createRuntime", "createContainer"];

/// A hook that is a script.
fn script(text: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", text], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]})
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where a test's hooks leave what they have seen: the host's name, and the container's for the same directory.
struct Notes {
    dir: PathBuf,
}

impl Notes {
    fn new(sandbox: &Sandbox) -> Self {
        Self { dir: sandbox.directory("notes") }
    }

    /// The file of a point, as its hooks see it.
    fn seen_by(&self, point: &str) -> String {
        if point == "startContainer" {
            format!("/notes/{point}")
        } else {
            self.path(point).display().to_string()
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn of(&self, name: &str) -> String {
        read(&self.path(name))
    }
}

#[test]
fn create_container_hooks_begin_in_the_root_that_is_to_be_with_the_host_in_reach() {
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let bundle = sandbox.busybox("cat /etc/brought").writable();
    let source = sandbox.file("brought", "from the host\n");
    let hook = format!(
        "pwd -P > {}; touch etc/brought; mount --bind {} etc/brought",
        notes.seen_by("pwd"),
        source.display()
    );
    let bundle = bundle.set("/hooks/createContainer", json!([script(&hook)]));
    assert_eq!(bundle.run().ok(), "from the host\n");
    assert_eq!(Path::new(notes.of("pwd").trim_end()), bundle.rootfs().canonicalize().unwrap());
    assert_eq!(read(&bundle.rootfs().join("etc/brought")), "", "the mount was the container's alone");
}

#[test]
fn create_runtime_hooks_begin_in_the_bundle() {
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let hook = script(&format!("pwd -P > {}", notes.seen_by("pwd")));
    let bundle = sandbox.busybox("true").set("/hooks/createRuntime", json!([hook]));
    bundle.run().ok();
    assert_eq!(Path::new(notes.of("pwd").trim_end()), bundle.dir().canonicalize().unwrap());
}

#[test]
fn hook_without_arguments_is_called_by_its_path() {
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let program = sandbox.file("hook", format!("#!/bin/sh\necho \"$0 $#\" > {}\n", notes.seen_by("name")));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.busybox("true").set("/hooks/createRuntime", json!([{"path": program}])).run().ok();
    assert_eq!(notes.of("name"), format!("{} 0\n", program.display()));
}

#[test]
fn hook_that_fails_at_creation_takes_the_container_away_and_is_quoted() {
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    for point in OF_CREATE {
        let bundle = sandbox.busybox("echo run").set(
            &format!("/hooks/{point}"),
            json!([
                script("true"),
                script("echo said; echo what is wrong >&2; exit 3"),
                script(&format!("echo > {}", notes.seen_by("third"))),
            ]),
        );
        let bundle = bundle.set(
            "/hooks/poststop",
            json!([script(&format!("echo >> {}", notes.seen_by(&format!("{point}-stopped"))))]),
        );
        let id = sandbox.new_id();
        let output = bundle.try_create(&id, &[]);
        output.refused_saying(&[
            &format!("error running {point} hook #1: exit status 3"),
            "what is wrong",
            "said",
        ]);
        sandbox.container(&id).try_state().refused_saying(&["does not exist"]);
        assert!(!notes.path("third").exists(), "{point}: the next one was run");
        assert_eq!(notes.of(&format!("{point}-stopped")), "\n", "the lifecycle goes on with poststop");
    }
}

#[test]
fn run_detached_leaves_nothing_of_a_container_whose_poststart_hook_fails() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.sleeper().set("/hooks/poststart", json!([script("exit 5")]));
    let pid_file = sandbox.dir().join("pid");
    let output = bundle.run_with(&["--detach", "--pid-file", pid_file.to_str().unwrap()]);
    output.refused_saying(&["error running poststart hook #0: exit status 5"]);
    assert!(!pid_file.exists());
}

#[test]
fn poststop_hooks_that_fail_are_warnings_and_the_others_run() {
    only_for!(Cloison, "runc stops at the first and fails, other than runtime-spec says");
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let last = script(&format!("echo last > {}", notes.seen_by("last")));
    let bundle = sandbox.busybox("true").set(
        "/hooks/poststop",
        json!([
            script("echo wrong >&2; exit 6"), {"path": "/no/such/hook"}, last,
        ]),
    );
    let container = bundle.create();
    let output = container.delete();
    output.ok();
    assert!(
        output.stderr.contains("error running poststop hook #0: exit status 6, stderr: wrong"),
        "{}",
        output.stderr
    );
    assert!(
        output.stderr.contains("poststop hook #1: exec /no/such/hook: no such file or directory"),
        "{}",
        output.stderr
    );
    assert_eq!(notes.of("last"), "last\n");
}

#[test]
fn poststop_hooks_run_once_when_the_container_is_gone() {
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let container = sandbox.busybox("true");
    let root = sandbox.root();
    let look = format!("echo run >> {}; ls {} >> {0}", notes.seen_by("all"), root.display());
    let container = container.set("/hooks/poststop", json!([script(&look)])).create();
    let deletions: Vec<_> =
        (0..4).map(|_| sandbox.spawn(sandbox.command(["delete", "--force", container.id()]))).collect();
    for deletion in deletions {
        deletion.wait().ok();
    }
    assert_eq!(notes.of("all"), "run\n");
}

#[test]
fn hook_that_cannot_be_executed_is_named() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("data", "no program");
    for point in OF_CREATE {
        for (path, why) in
            [("/no/such/hook", "no such file or directory"), (file.to_str().unwrap(), "permission denied")]
        {
            let bundle = sandbox.busybox("true").set(&format!("/hooks/{point}"), json!([{"path": path}]));
            bundle.run().refused_saying(&[&format!("error running {point} hook #0"), path, why]);
        }
    }
}

#[test]
fn timeout_kills_all_that_the_hook_has_started() {
    only_for!(Cloison, "runc kills the hook's process alone, and waits for whoever holds its output");
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    for point in OF_CREATE {
        let mut hook = script(&format!("sleep 1000 & echo $! > {}; wait", notes.seen_by("pid")));
        hook["timeout"] = 1.into();
        let bundle = sandbox.busybox("true").set(&format!("/hooks/{point}"), json!([hook]));
        let begin = Instant::now();
        bundle.run().refused_saying(&[&format!(
            "error running {point} hook #0: hook ran past specified timeout of 1.0s"
        )]);
        assert!(begin.elapsed() < Duration::from_mins(1));
        if point != "createContainer" {
            let pid = notes.of("pid").trim().to_owned();
            until("the hook's child to end", || !is_sleeping(&pid));
        }
    }
}

/// The process runs and is not a zombie.
fn is_sleeping(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z ") && stat.contains("(sleep)"))
}

#[test]
fn what_a_hook_leaves_behind_is_not_waited_for() {
    only_for!(Cloison, "runc waits for whoever holds the hook's output");
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let hook = script(&format!("sleep 1000 & echo $! > {}", notes.seen_by("pid")));
    let begin = Instant::now();
    sandbox.busybox("true").set("/hooks/createRuntime", json!([hook])).run().ok();
    assert!(begin.elapsed() < Duration::from_mins(1));
    let pid = notes.of("pid").trim().to_owned();
    assert!(is_sleeping(&pid), "it is not killed either");
    let kill = sandbox.bare_command("kill");
    let mut kill = kill;
    kill.arg(&pid);
    sandbox.finish(kill).ok();
}

#[test]
fn long_state_reaches_a_hook_whole_and_one_that_does_not_read_keeps_nobody() {
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let long = "x".repeat(300_000);
    let hooks =
        json!([{"path": "/bin/true"}, script(&format!("sleep 0.2; cat > {}", notes.seen_by("state")))]);
    let bundle = sandbox.busybox("true").set("/hooks/createRuntime", hooks);
    bundle.set("/annotations", json!({"long": long})).run().ok();
    let state: Value = serde_json::from_str(&notes.of("state")).unwrap();
    assert_eq!(state["annotations"]["long"].as_str().unwrap().len(), 300_000);
}

#[test]
fn hook_that_says_much_is_quoted_with_its_last_words() {
    only_for!(Cloison, "runc keeps all of it");
    let sandbox = Sandbox::new();
    let hook = script("head -c 1000000 /dev/zero | tr '\\0' a >&2; echo the end >&2; exit 1");
    for point in OF_CREATE {
        let output = sandbox.busybox("true").set(&format!("/hooks/{point}"), json!([hook])).run();
        output.refused_saying(&["aaa", "the end"]);
        assert!(output.stderr.len() < 100_000, "{point}");
    }
}

#[test]
fn hooks_can_ask_for_the_state() {
    let sandbox = Sandbox::new();
    only_for!(Cloison, "runc has no state yet that createRuntime hooks could ask for");
    let notes = Notes::new(&sandbox);
    let bundle = ["createRuntime", "poststart"].iter().fold(sandbox.sleeper(), |bundle, point| {
        let ask = format!(
            "id=$(grep -o '\"id\":\"[^\"]*\"' | cut -d '\"' -f 4); {} --root {} state $id > {}",
            runtime::binary().display(),
            sandbox.root().display(),
            notes.seen_by(point)
        );
        bundle.set(&format!("/hooks/{point}"), json!([script(&ask)]))
    });
    let container = bundle.start();
    for (point, status) in [("createRuntime", "creating"), ("poststart", "running")] {
        let state: Value = serde_json::from_str(&notes.of(point)).unwrap();
        assert_eq!(state["status"], status, "{point}");
    }
    container.end();
}

#[test]
fn creation_that_a_hook_holds_up_ends_when_the_container_is_deleted_by_force() {
    only_for!(Cloison, "runc has no state yet by which the container could be deleted");
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    for point in OF_CREATE {
        let begun = notes.path(&format!("{point}-begun"));
        let hook = script(&format!("echo > {}; sleep 1000", begun.display()));
        let bundle = sandbox.busybox("true").set(&format!("/hooks/{point}"), json!([hook]));
        let id = sandbox.new_id();
        bundle.write();
        let creating = sandbox.spawn(bundle.create_command(&id, &[]));
        until("the hook to begin", || begun.exists());
        sandbox.container(&id).delete_force().ok();
        creating.wait().refused();
    }
}

#[test]
fn whoever_deletes_what_a_killed_create_left_runs_the_poststop_hooks_once() {
    only_for!(Cloison, "runc has no state yet");
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let hook = script(&format!("echo $$ > {}; exec sleep 1000", notes.seen_by("pid")));
    let stop = script(&format!("echo stopped >> {}", notes.seen_by("stopped")));
    let bundle = sandbox.busybox("true").set("/hooks", json!({"createRuntime": [hook], "poststop": [stop]}));
    let id = sandbox.new_id();
    bundle.write();
    let mut creating = sandbox.spawn(bundle.create_command(&id, &[]));
    until("the hook to begin", || fs::read_to_string(notes.path("pid")).is_ok_and(|pid| pid.ends_with('\n')));
    creating.child().kill().unwrap();
    let mut kill = sandbox.bare_command("kill");
    kill.arg(notes.of("pid").trim());
    sandbox.finish(kill).ok();
    creating.wait();
    sandbox.container(&id).delete_force().ok();
    sandbox.container(&id).delete_force().ok();
    assert_eq!(notes.of("stopped"), "stopped\n");
}

#[test]
fn empty_lists_of_hooks_are_fine() {
    let sandbox = Sandbox::new();
    let hooks = json!({"prestart": [], "createRuntime": [], "poststop": []});
    sandbox.busybox("true").set("/hooks", hooks).run().ok();
}
