//! Hooks: in the namespaces, at the moments and in the order that runtime-spec fixes, and what comes of those that fail.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cloison_tests::{Bundle, Rootfs, Sandbox, Value, append_command, json, only_for, runtime, until};

/// The points in the order of a container's life.
const POINTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Those whose hooks see the host's files.
const OF_THE_HOST: [&str; 5] = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];

/// Those that are part of `create`.
const OF_CREATE: [&str; 3] = ["prestart", "createRuntime", "createContainer"];

/// A hook that is a script.
fn script(text: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", text], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]})
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A hook in new namespaces before `pivot_root` sees the host's procfs, in which it has no number; it mounts its own over it, which the
/// host does not see. The others must not: theirs would be the host's.
const OWN_PROC: &str = "/bin/mount -t proc proc /proc;";

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

    /// The bundle with the notes inside, too.
    fn mounted<'s>(&self, bundle: Bundle<'s>) -> Bundle<'s> {
        bundle.mount("bind", &self.dir, "/notes", &["bind", "rw"])
    }

    /// A hook at every point, whose output is its note.
    fn at_every_point<'s>(&self, bundle: Bundle<'s>, command: &str) -> Bundle<'s> {
        POINTS.iter().fold(self.mounted(bundle), |bundle, point| {
            let proc = if *point == "createContainer" { OWN_PROC } else { "" };
            let hook = script(&format!("exec > {} 2>&1; {proc} {command}", self.seen_by(point)));
            bundle.set(&format!("/hooks/{point}"), json!([hook]))
        })
    }
}

fn namespace(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string()
}

#[test]
fn hooks_run_in_the_order_of_a_containers_life_and_of_their_lists() {
    only_for!(Cloison, "runc runs poststart hooks at create, before the program");
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let mut bundle = notes.mounted(sandbox.busybox("echo program >> /notes/all"));
    for point in POINTS {
        let all = if point == "startContainer" { "/notes/all".into() } else { notes.seen_by("all") };
        // What comes after the program begins waits for it.
        let wait = format!("until grep -q program {all}; do sleep 0.01; done;");
        let wait = if point == "poststart" { wait.as_str() } else { "" };
        let hook = |number| script(&format!("{wait} echo {point} {number} >> {all}"));
        bundle = bundle.set(&format!("/hooks/{point}"), json!([hook(0), hook(1)]));
    }
    bundle.run().ok();
    let mut expected: Vec<_> =
        POINTS.iter().flat_map(|point| [format!("{point} 0"), format!("{point} 1")]).collect();
    expected.insert(8, "program".to_owned());
    assert_eq!(notes.of("all").lines().collect::<Vec<_>>(), expected);
}

#[test]
fn hooks_belong_to_the_command_of_their_moment() {
    only_for!(Cloison, "runc runs poststart hooks at create, before the program");
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let there =
        |points: &[&str]| POINTS.iter().all(|point| notes.path(point).exists() == points.contains(point));
    let container = notes.at_every_point(sandbox.busybox("sleep 1000"), "true").create();
    assert!(there(&POINTS[..3]), "create");
    container.start().ok();
    assert!(there(&POINTS[..5]), "start");
    container.kill(&["KILL"]).ok();
    container.until("stopped");
    assert!(there(&POINTS[..5]), "a container that stops is still there");
    container.delete().ok();
    assert!(there(&POINTS), "delete");
}

#[test]
fn hooks_are_told_the_state_of_their_moment() {
    only_for!(Cloison, "runc runs poststart hooks at create, before the program");
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let bundle = notes.at_every_point(sandbox.busybox("sleep 1000"), "cat");
    let bundle = bundle.set("/annotations", json!({"a": "b", "c": "\u{e9}\n"}));
    let container = bundle.create();
    let pid = container.pid();
    container.start().ok();
    container.delete_force().ok();
    for (point, status, expected) in [
        ("prestart", "creating", Some(pid)),
        ("createRuntime", "creating", Some(pid)),
        ("createContainer", "creating", Some(1)),
        ("startContainer", "created", Some(1)),
        ("poststart", "running", Some(pid)),
        ("poststop", "stopped", None),
    ] {
        let state: Value = serde_json::from_str(&notes.of(point)).unwrap();
        assert_eq!(state["status"], status, "{point}");
        assert_eq!(state["pid"].as_u64(), expected.map(u64::from), "{point}");
        assert_eq!(state["id"], container.id(), "{point}");
        assert_eq!(state["bundle"], bundle.dir().to_str().unwrap(), "{point}");
        assert_eq!(state["annotations"], json!({"a": "b", "c": "\u{e9}\n"}), "{point}");
        assert!(state["ociVersion"].is_string(), "{point}");
    }
}

#[test]
fn hooks_run_in_the_runtimes_namespaces_or_the_containers() {
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let kinds = ["mnt", "pid", "net", "uts", "ipc", "cgroup", "user"];
    let look = "for kind in mnt pid net uts ipc cgroup user; do readlink /proc/self/ns/$kind; done";
    let bundle = sandbox.busybox("sleep 1000").namespace("cgroup", None);
    let container = notes.at_every_point(bundle, look).start();
    let links = |path: String| -> Vec<String> {
        kinds
            .iter()
            .map(|kind| fs::read_link(format!("{path}/{kind}")).unwrap().display().to_string())
            .collect()
    };
    let inside = links(format!("/proc/{}/ns", container.pid()));
    container.delete_force().ok();
    let outside: Vec<_> = kinds.iter().map(|kind| namespace(kind)).collect();
    for point in POINTS {
        let seen = notes.of(point);
        let expected = if point.contains("Container") { &inside } else { &outside };
        assert_eq!(&seen.lines().collect::<Vec<_>>(), expected, "{point}");
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
fn start_container_hooks_see_the_containers_files_and_run_as_its_program() {
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    fs::set_permissions(&notes.dir, fs::Permissions::from_mode(0o777)).unwrap();
    let hook = json!([{"path": "/bin/busybox", "args": ["id"]}, script("busybox id -u > /notes/uid; pwd > /notes/pwd; \
        grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status > /notes/status")]);
    let bundle =
        notes.mounted(sandbox.busybox("grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status"));
    let bundle =
        bundle.set("/hooks/startContainer", hook).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdirat"], "action": "SCMP_ACT_ERRNO"}]});
    let bundle = bundle.set("/linux/seccomp", seccomp).set("/process/cwd", "/tmp");
    let of_the_program = bundle.run().ok().to_owned();
    assert_eq!(notes.of("uid"), "1000\n");
    assert_eq!(notes.of("status"), of_the_program, "no more rights than the program");
    assert_eq!(notes.of("pwd"), "/tmp\n");
}

#[test]
fn what_a_hook_is_called_is_kept() {
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let bundle = OF_THE_HOST.iter().fold(notes.mounted(sandbox.busybox("true")), |bundle, point| {
        let proc = if *point == "createContainer" { OWN_PROC } else { "" };
        let look = format!("{proc} tr '\\0' ' ' < /proc/$$/cmdline > {}; true", notes.seen_by(point));
        let hook = json!([{"path": "/bin/sh", "args": ["another name", "-c", look], "env": ["A=1"]}]);
        bundle.set(&format!("/hooks/{point}"), hook)
    });
    // Another applet's name would do something else.
    let applet =
        |name: &str| json!({"path": "/bin/busybox", "args": [name, "-c", "echo > /notes/startContainer"]});
    let bundle = bundle.set("/hooks/startContainer", json!([applet("true"), applet("sh")]));
    bundle.run().ok();
    for point in OF_THE_HOST {
        assert!(notes.of(point).starts_with("another name -c "), "{point}: {}", notes.of(point));
    }
    assert_eq!(notes.of("startContainer"), "\n");
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
fn environment_of_a_hook_is_what_is_given() {
    only_for!(Cloison, "runc drops what comes before another entry of the same name");
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let hook = |point: &str, env: &Value| {
        let mount = if point == "createContainer" { OWN_PROC } else { "" };
        // With something after it, so that the shell is still itself.
        let look = format!("{mount} /bin/cat /proc/$$/environ > {}; true", notes.seen_by(point));
        json!([{"path": "/bin/sh", "args": ["sh", "-c", look], "env": env}])
    };
    for env in [json!(["A=1", "B=x y", "A=2"]), json!([])] {
        let bundle = POINTS.iter().fold(notes.mounted(sandbox.busybox("true")), |bundle, point| {
            bundle.set(&format!("/hooks/{point}"), hook(point, &env))
        });
        bundle.run().ok();
        let expected = env.as_array().unwrap().iter().map(|entry| format!("{}\0", entry.as_str().unwrap()));
        let expected: String = expected.collect();
        for point in POINTS {
            if point != "startContainer" || !expected.is_empty() {
                assert_eq!(notes.of(point), expected, "{point}");
            }
        }
    }
}

#[test]
fn hook_without_an_environment_gets_the_runtimes_and_inside_the_programs() {
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let bundle = ["createRuntime", "startContainer"].iter().fold(
        notes.mounted(sandbox.busybox("true").env("ONE=two")),
        |bundle, point| {
            let look = format!("/bin/cp /proc/$$/environ {}; true", notes.seen_by(point));
            bundle.set(&format!("/hooks/{point}"), json!([{"path": "/bin/sh", "args": ["sh", "-c", look]}]))
        },
    );
    bundle.write();
    let mut command = bundle.run_command(&[]);
    command.env("OF_THE_CALLER", "yes");
    sandbox.finish(command).ok();
    let of_the_host = notes.of("createRuntime");
    assert!(of_the_host.split('\0').any(|entry| entry == "OF_THE_CALLER=yes"), "{of_the_host:?}");
    let inside = notes.of("startContainer");
    assert!(inside.split('\0').any(|entry| entry == "ONE=two"), "{inside:?}");
    assert!(inside.split('\0').any(|entry| entry.starts_with("HOME=/")), "{inside:?}");
    assert!(!inside.contains("OF_THE_CALLER"), "{inside:?}");
}

#[test]
fn hooks_have_no_descriptor_but_the_standard_streams_and_no_signal_held_back() {
    only_for!(Cloison, "hooks of runc begin with signal 32 blocked");
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    // By the shell itself: who is forked for something else may be another in this.
    let look = "cd /proc/$$; for fd in fd/*; do echo $fd; done; \
        while IFS= read -r line; do case $line in SigBlk*|SigIgn*) echo \"$line\";; esac; done < status";
    let bundle = notes.at_every_point(sandbox.busybox("true"), look);
    bundle.run().ok();
    for point in POINTS {
        let seen = notes.of(point);
        let fds: Vec<_> = seen.lines().filter(|line| line.starts_with("fd/")).collect();
        // The shell itself reads the directory by another.
        let fds: Vec<_> = fds.into_iter().filter(|line| *line != "fd/3").collect();
        assert_eq!(fds, ["fd/0", "fd/1", "fd/2"], "{point}: {seen}");
        let mask = |name: &str| {
            let line = seen.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        assert_eq!(mask("SigBlk:"), 0, "{point}");
        // A shell that is not interactive may ignore SIGQUIT itself.
        assert_eq!(mask("SigIgn:") & !4, 0, "{point}");
    }
}

#[test]
fn descriptors_that_the_program_is_to_get_are_not_the_hooks() {
    only_for!(Cloison, "the init of runc gives createContainer hooks its own descriptors");
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    let bundle = notes.at_every_point(sandbox.busybox("cat <&3"), "ls /proc/self/fd");
    let file = sandbox.file("kept", "kept open\n");
    bundle.write();
    let inner = bundle.run_command(&["--preserve-fds", "1"]);
    let mut command = sandbox.bare_command("sh");
    command.args(["-c", "exec 3<$0 && exec \"$@\""]).arg(file);
    append_command(&mut command, &inner);
    assert_eq!(sandbox.finish(command).ok(), "kept open\n");
    for point in POINTS {
        let seen = notes.of(point);
        let count = seen.lines().count();
        assert!(count == 4, "{point}: the streams, and the directory that ls reads: {seen}");
    }
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
fn hook_that_fails_at_the_start_ends_the_container() {
    only_for!(
        Cloison,
        "run of runc ends with the exit code of its init, 255, when a startContainer hook fails"
    );
    let sandbox = Sandbox::new();
    for point in ["startContainer", "poststart"] {
        let bundle = sandbox.busybox("echo run; sleep 1000");
        let bundle =
            bundle.set(&format!("/hooks/{point}"), json!([script("true"), script("echo wrong >&2; exit 4")]));
        let words = [format!("error running {point} hook #1: exit status 4"), "wrong".to_owned()];
        let words = words.each_ref().map(String::as_str);
        let output = bundle.run();
        output.refused_saying(&words);
        if point == "startContainer" {
            assert_eq!(output.stdout, "", "the program was not run");
        }
        let container = bundle.create();
        container.start().refused_saying(&words);
        assert_eq!(container.status(), "stopped");
        container.delete().ok();
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
    only_for!(Cloison, "each delete of runc runs them, and several at once do");
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
fn output_goes_to_the_files_that_annotations_name() {
    only_for!(Cloison, "runc has no such annotations");
    let sandbox = Sandbox::new();
    let [out, err] = ["out", "err"].map(|name| sandbox.dir().join(name));
    let bundle = POINTS.iter().fold(sandbox.busybox("true"), |bundle, point| {
        bundle
            .set(&format!("/hooks/{point}"), json!([script(&format!("echo {point}; echo {point} too >&2"))]))
    });
    let annotations = json!({"org.cloison.hooks.stdout": out, "org.cloison.hooks.stderr": err});
    let bundle = bundle.set("/annotations", annotations);
    bundle.run().ok();
    assert_eq!(read(&out).lines().collect::<Vec<_>>(), POINTS);
    let too: Vec<_> = POINTS.iter().map(|point| format!("{point} too")).collect();
    assert_eq!(read(&err).lines().collect::<Vec<_>>(), too);
    bundle
        .set("/annotations", json!({"org.cloison.hooks.stdout": "relative"}))
        .run()
        .refused_saying(&["org.cloison.hooks.stdout", "absolute"]);
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

#[test]
fn hooks_in_a_user_namespace_have_the_rights_of_their_side() {
    let sandbox = Sandbox::new();
    let notes = Notes::new(&sandbox);
    fs::set_permissions(&notes.dir, fs::Permissions::from_mode(0o777)).unwrap();
    let bundle = sandbox.bundle(Rootfs::busybox().owned_by(100_000, 100_000)).args(["true"]);
    notes.at_every_point(bundle, "cat /proc/self/uid_map").user_namespace(100_000).run().ok();
    for point in OF_THE_HOST.iter().filter(|point| **point != "createContainer") {
        assert!(notes.of(point).contains("4294967295"), "{point}: {}", notes.of(point));
    }
    assert!(notes.of("startContainer").contains("100000"), "{}", notes.of("startContainer"));
}
