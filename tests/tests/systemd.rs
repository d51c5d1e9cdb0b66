//! Cgroups that systemd makes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use cloison_tests::host::{self, CgroupLayout};
use cloison_tests::patience::patient;
use cloison_tests::{Container, Foreground, Sandbox, caller, json, only_for, only_root, skip_unless, until};

/// What `systemctl` says of the machine's systemd.
fn systemctl(arguments: &[&str]) -> String {
    let output = Command::new("systemctl").args(arguments).output().expect("systemctl runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A tool of systemd's, for the one that makes the caller's units: the machine's, or the user's own.
fn tool(program: &str) -> Command {
    let Some(directory) = caller::runtime_directory() else { return Command::new(program) };
    let words = caller::words();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args([program, "--user"]).env("XDG_RUNTIME_DIR", directory);
    command
}

/// What `systemctl` says of it.
fn manager(arguments: &[&str]) -> String {
    let output = tool("systemctl").args(arguments).output().expect("systemctl runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The variable with the address of the bus on which it is asked.
fn bus() -> &'static str {
    if caller::ordinary().is_some() { "DBUS_SESSION_BUS_ADDRESS" } else { "DBUS_SYSTEM_BUS_ADDRESS" }
}

/// Whether it is a user's own, and cgroups are of v1: those it does not make.
fn is_users_of_v1() -> bool {
    caller::ordinary().is_some() && host::cgroup_layout() == CgroupLayout::V1
}

/// Starts a scope that no container is in.
fn other_scope<'s>(sandbox: &'s Sandbox, unit: &str, properties: &[&str]) -> Foreground<'s> {
    let mut command = tool("systemd-run");
    command.args(["--quiet", "--scope", "--unit", unit]);
    command.args(properties.iter().map(|property| format!("--property={property}")));
    command.args(["sleep", "1000"]).env(cloison_tests::sandbox::MARKER, sandbox.name());
    sandbox.spawn(command)
}

/// Where the manager's slices are.
fn slices() -> PathBuf {
    let own = caller::ordinary()
        .map_or_else(String::new, |id| format!("user.slice/user-{id}.slice/user@{id}.service"));
    PathBuf::from("/sys/fs/cgroup").join(own)
}

fn property(unit: &str, name: &str) -> String {
    manager(&["show", "--value", "--property", name, unit])
}

fn is_known(unit: &str) -> bool {
    property(unit, "LoadState") != "not-found"
}

/// The directory of a container's cgroup, in the hierarchy that has its memory limit.
fn directory(container: &Container<'_>) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).expect("it lives");
    let (controller, mount) = match host::cgroup_layout() {
        CgroupLayout::V2 => ("", "/sys/fs/cgroup"),
        CgroupLayout::V1 => ("memory", "/sys/fs/cgroup/memory"),
    };
    let path = text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        (fields.next()? == controller).then(|| fields.next())?
    });
    PathBuf::from(format!("{mount}{}", path.expect("it is in a cgroup")))
}

macro_rules! systemd_or_skip {
    () => {
        skip_unless!(host::has_systemd(), "needs systemd as the machine's init");
        skip_unless!(
            caller::ordinary().is_none() || caller::runtime_directory().is_some(),
            "needs a systemd of the user's"
        );
    };
}

#[test]
fn a_container_is_in_a_scope_of_its_own_when_create_returns() {
    systemd_or_skip!();
    let sandbox = Sandbox::new().with_systemd();
    let path = format!("machine.slice:test:{}", sandbox.name());
    let container = sandbox.sleeper().set("/linux/cgroupsPath", path).create();
    let unit = format!("test-{}.scope", sandbox.name());
    assert!(directory(&container).ends_with(format!("machine.slice/{unit}")), "{:?}", directory(&container));
    for (name, expected) in [
        ("ActiveState", "active"),
        ("Slice", "machine.slice"),
        ("Delegate", "yes"),
        ("DefaultDependencies", "no"),
        ("MemoryAccounting", "yes"),
        ("TasksAccounting", "yes"),
    ] {
        assert_eq!(property(&unit, name), expected, "{name}");
    }
    container.start().ok();
    container.end();
    assert!(!is_known(&unit));
}

#[test]
fn the_default_is_a_scope_in_the_system_or_user_slice_named_after_the_container() {
    systemd_or_skip!();
    only_for!(Cloison, "runc names it after itself");
    let sandbox = Sandbox::new().with_systemd();
    let container = sandbox.sleeper().start();
    let unit = format!("cloison-{}.scope", container.id());
    let slice = if caller::ordinary().is_some() { "user.slice" } else { "system.slice" };
    assert_eq!(directory(&container), slices().join(slice).join(&unit));
    container.end();
    assert!(!is_known(&unit));
}

#[test]
fn a_cgroup_namespace_has_the_scope_as_its_root() {
    systemd_or_skip!();
    skip_unless!(host::cgroup_layout() == CgroupLayout::V2, "needs cgroup v2 alone");
    let sandbox = Sandbox::new().with_systemd();
    let output =
        sandbox.busybox("cat /proc/self/cgroup; ls -d /sys/fs/cgroup/cgroup.procs").namespace("cgroup", None);
    assert_eq!(output.run().ok(), "0::/\n/sys/fs/cgroup/cgroup.procs\n");
}

#[test]
fn a_user_namespace_is_no_hindrance() {
    systemd_or_skip!();
    let sandbox = Sandbox::new().with_systemd();
    let rootfs = cloison_tests::Rootfs::busybox().owned_by(100_000, 100_000);
    let bundle =
        sandbox.bundle(rootfs).args(["sh", "-c", "id -u; cat /proc/self/uid_map"]).user_namespace(100_000);
    let printed = bundle.run().ok().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(printed, "0 0 100000 65536");
}

#[test]
fn joined_namespaces_are_no_hindrance() {
    systemd_or_skip!();
    let sandbox = Sandbox::new().with_systemd();
    let first = sandbox.sleeper().namespace("cgroup", None).start();
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", first.pid());
    let second = sandbox
        .busybox("readlink /proc/self/ns/ipc; echo $$")
        .namespace("pid", Some(&path("pid")))
        .namespace("ipc", Some(&path("ipc")))
        .namespace("cgroup", Some(&path("cgroup")))
        .in_user_namespace_of(first.pid());
    let output = second.run();
    let expected = fs::read_link(path("ipc")).unwrap();
    let mut lines = output.ok().lines().map(str::to_owned).collect::<Vec<_>>();
    assert_ne!(lines.pop().as_deref(), Some("1"));
    assert_eq!(lines, [expected.to_str().unwrap()]);
    first.end();
}

#[test]
fn limits_are_told_to_systemd_and_hold_after_it_reloads() {
    systemd_or_skip!();
    skip_unless!(host::cgroup_layout() == CgroupLayout::V2, "needs cgroup v2 alone");
    let sandbox = Sandbox::new().with_systemd();
    let container = sandbox
        .sleeper()
        .set("/linux/resources/memory", json!({"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20}))
        .set("/linux/resources/cpu", json!({"shares": 512, "quota": 45_500, "period": 100_000}))
        .set("/linux/resources/pids", json!({"limit": 40}))
        .set("/linux/resources/unified", json!({"memory.high": "60000000"}))
        .start();
    let unit = directory(&container).file_name().unwrap().to_str().unwrap().to_owned();
    for (name, expected) in [
        ("MemoryMax", "67108864"),
        ("MemorySwapMax", "33554432"),
        ("MemoryLow", "33554432"),
        ("MemoryHigh", "60000000"),
        ("CPUWeight", "59"),
        ("CPUQuotaPerSecUSec", "460ms"),
        ("TasksMax", "40"),
    ] {
        assert_eq!(property(&unit, name), expected, "{name}");
    }
    let files =
        ["memory.max", "memory.swap.max", "memory.low", "memory.high", "cpu.weight", "cpu.max", "pids.max"];
    let directory = directory(&container);
    let read = || files.map(|file| fs::read_to_string(directory.join(file)).unwrap());
    let before = read();
    assert_eq!(before[0], "67108864\n");
    assert_eq!(before[5], "46000 100000\n", "rounded up to what systemd can keep");
    manager(&["daemon-reload"]);
    assert_eq!(read(), before);
    container.end();
}

#[test]
fn a_period_without_a_quota_is_kept() {
    systemd_or_skip!();
    skip_unless!(host::cgroup_layout() == CgroupLayout::V2, "needs cgroup v2 alone");
    let sandbox = Sandbox::new().with_systemd();
    let container = sandbox.sleeper().set("/linux/resources/cpu", json!({"period": 1_000_000})).start();
    // systemd would have written the default period.
    assert_eq!(fs::read_to_string(directory(&container).join("cpu.max")).unwrap(), "max 1000000\n");
    container.end();
}

#[test]
fn update_changes_the_unit_and_the_cgroup() {
    systemd_or_skip!();
    let sandbox = Sandbox::new().with_systemd();
    let container = sandbox.sleeper().set("/linux/resources/pids", json!({"limit": 40})).start();
    let unit = directory(&container).file_name().unwrap().to_str().unwrap().to_owned();
    sandbox.cloison(["update", "--pids-limit", "50", "--cpu-share", "100", container.id()]).ok();
    assert_eq!(property(&unit, "TasksMax"), "50");
    if host::cgroup_layout() == CgroupLayout::V2 {
        assert_eq!(fs::read_to_string(directory(&container).join("pids.max")).unwrap(), "50\n");
        assert_eq!(property(&unit, "CPUWeight"), "17");
        manager(&["daemon-reload"]);
        assert_eq!(fs::read_to_string(directory(&container).join("pids.max")).unwrap(), "50\n");
    }
    container.end();
}

#[test]
fn an_update_that_fails_gives_the_unit_its_properties_back() {
    systemd_or_skip!();
    only_for!(Cloison, "runc leaves what it has set");
    let sandbox = Sandbox::new().with_systemd();
    let container = sandbox
        .sleeper()
        .set("/linux/resources/pids", json!({"limit": 40}))
        .set("/linux/resources/memory", json!({"limit": 64 << 20}))
        .start();
    let unit = directory(&container).file_name().unwrap().to_str().unwrap().to_owned();
    let memory = if host::cgroup_layout() == CgroupLayout::V2 { "MemoryMax" } else { "MemoryLimit" };
    let look = || [property(&unit, "TasksMax"), property(&unit, memory)];
    let before = look();
    assert_eq!(before, ["40", "67108864"]);
    let change = json!({
        "pids": {"limit": 7},
        "memory": {"limit": 80 << 20},
        "hugepageLimits": [{"pageSize": "3KB", "limit": 1}],
    });
    let file = sandbox.file("change.json", change.to_string());
    let output = sandbox.cloison(["update", "--resources", file.to_str().unwrap(), container.id()]);
    output.refused_saying(&["hugepageLimits/0"]);
    assert_eq!(look(), before);
    container.end();
}

#[test]
fn device_rules_hold_after_systemd_reloads() {
    only_root!("device rules, which take rights over BPF, and no device nodes");
    systemd_or_skip!();
    let sandbox = Sandbox::new().with_systemd();
    let kmsg = json!({"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11});
    for allow in [true, false] {
        let rules = json!([
            {"allow": false, "access": "rwm"},
            {"allow": allow, "type": "c", "major": 1, "minor": 11, "access": "w"},
        ]);
        let container = sandbox
            .sleeper()
            .push("/linux/devices", kmsg.clone())
            .set("/linux/resources/devices", rules)
            .start();
        for _ in 0..2 {
            let output = container.exec_script(&[], "echo > /dev/null && echo x > /dev/kmsg && echo written");
            assert_eq!(output.stdout == "written\n", allow, "{}", output.describe());
            systemctl(&["daemon-reload"]);
        }
        container.end();
    }
}

#[test]
fn annotations_are_properties_of_the_unit() {
    systemd_or_skip!();
    let sandbox = Sandbox::new().with_systemd();
    let annotations = json!({
        "org.systemd.property.TimeoutStopUSec": "uint64 123456789",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
    });
    let container = sandbox.sleeper().set("/annotations", annotations).start();
    let unit = directory(&container).file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(property(&unit, "TimeoutStopUSec"), "2min 3.456789s");
    assert_eq!(property(&unit, "CollectMode"), "inactive-or-failed");
    container.end();
}

#[test]
fn a_property_that_systemd_does_not_know_is_refused_in_its_words() {
    systemd_or_skip!();
    let sandbox = Sandbox::new().with_systemd();
    let id = sandbox.new_id();
    let bundle = sandbox.sleeper().set("/annotations", json!({"org.systemd.property.Nonsense": "true"}));
    bundle.try_create(&id, &[]).refused_saying(&["Nonsense"]);
    sandbox.assert_nothing_left();
    assert!(!is_known(&format!("cloison-{id}.scope")));
}

#[test]
fn delete_makes_systemd_forget_a_unit_that_failed() {
    systemd_or_skip!();
    let sandbox = Sandbox::new().with_systemd();
    // The first process of a pid namespace does not hear of the SIGTERM that comes first.
    let annotations = json!({
        "org.systemd.property.RuntimeMaxSec": "uint64 1",
        "org.systemd.property.TimeoutStopSec": "uint64 1",
    });
    let container = sandbox.sleeper().set("/annotations", annotations).start();
    let (unit, pid) =
        (directory(&container).file_name().unwrap().to_str().unwrap().to_owned(), container.pid());
    until("the unit has failed", || property(&unit, "ActiveState") == "failed");
    sandbox.wait_for_orphan(pid);
    container.delete().ok();
    assert!(!is_known(&unit));
}

#[test]
fn the_name_of_a_unit_that_has_failed_can_be_used_again() {
    systemd_or_skip!();
    let sandbox = Sandbox::new().with_systemd();
    let unit = format!("test-{}.scope", sandbox.name());
    other_scope(&sandbox, &unit, &["RuntimeMaxSec=1"]).wait();
    until("the unit has failed", || property(&unit, "ActiveState") == "failed");
    let path = format!("system.slice:test:{}", sandbox.name());
    let container = sandbox.sleeper().set("/linux/cgroupsPath", path).start();
    assert_eq!(property(&unit, "ActiveState"), "active");
    container.end();
    assert!(!is_known(&unit));
}

#[test]
fn a_unit_that_is_somebody_elses_is_refused_and_lives_on() {
    systemd_or_skip!();
    only_for!(Cloison, "runc stops it when its own container could not be made");
    let sandbox = Sandbox::new().with_systemd();
    let unit = format!("test-{}.scope", sandbox.name());
    let other = other_scope(&sandbox, &unit, &["Slice=system.slice"]);
    until("the scope is there", || property(&unit, "ActiveState") == "active");
    // In another slice, so that its cgroup is not looked for where it is.
    for (slice, words) in [("system.slice", "is not empty"), ("machine.slice", "already")] {
        let path = format!("{slice}:test:{}", sandbox.name());
        let id = sandbox.new_id();
        sandbox.sleeper().set("/linux/cgroupsPath", path).try_create(&id, &[]).refused_saying(&[words]);
        assert_eq!(property(&unit, "ActiveState"), "active");
        assert!(!sandbox.root().join(&id).exists());
    }
    other.signal(rustix::process::Signal::KILL);
    other.wait();
}

#[test]
fn a_frozen_cgroup_that_was_there_before_is_refused_and_nothing_hangs_in_it() {
    systemd_or_skip!();
    skip_unless!(host::cgroup_layout() == CgroupLayout::V2, "needs cgroup v2 alone");
    let sandbox = Sandbox::new().with_systemd();
    let unit = format!("test-{}.scope", sandbox.name());
    let cgroup = slices().join("system.slice").join(&unit);
    fs::create_dir_all(&cgroup).unwrap();
    caller::give(cgroup.parent().unwrap());
    caller::give(&cgroup);
    fs::write(cgroup.join("cgroup.freeze"), "1").unwrap();
    let bundle = sandbox.sleeper().set("/linux/cgroupsPath", format!("system.slice:test:{}", sandbox.name()));
    bundle.try_create(&sandbox.new_id(), &[]).refused_saying(&["container's cgroup unexpectedly frozen"]);
    assert!(!is_known(&unit));
    fs::remove_dir(cgroup).unwrap();
}

#[test]
fn a_frozen_slice_is_told_of_and_nothing_hangs_in_it() {
    systemd_or_skip!();
    only_for!(Cloison, "runc waits until it is thawed");
    skip_unless!(host::cgroup_layout() == CgroupLayout::V2, "needs cgroup v2 alone");
    let sandbox = Sandbox::new().with_systemd();
    let slice = format!("{}.slice", sandbox.name().replace('-', "_"));
    manager(&["start", &slice]);
    let cgroup = slices().join(&slice);
    let freeze = cgroup.join("cgroup.freeze");
    // By hand: newer releases of systemd start nothing in a slice that they have frozen themselves.
    fs::write(&freeze, "1").unwrap();
    let bundle = sandbox.sleeper().set("/linux/cgroupsPath", format!("{slice}:test:{}", sandbox.name()));
    // So that the test ends, whatever the runtime does.
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let thaw = std::thread::spawn(move || {
        let _ = is_done.recv_timeout(patient(Duration::from_mins(1)));
        fs::write(&freeze, "0").unwrap();
    });
    let words = format!("because {} is frozen: thaw that first", cgroup.display());
    bundle.try_create(&sandbox.new_id(), &[]).refused_saying(&[&words]);
    drop(done);
    thaw.join().unwrap();
    let unit = format!("test-{}.scope", sandbox.name());
    until(&format!("{unit} is gone"), || !is_known(&unit));
    manager(&["stop", &slice]);
}

#[test]
fn a_limit_that_cannot_be_leaves_no_unit() {
    systemd_or_skip!();
    let sandbox = Sandbox::new().with_systemd();
    let id = sandbox.new_id();
    let bundle =
        sandbox.sleeper().set("/linux/resources/hugepageLimits", json!([{"pageSize": "3KB", "limit": 1}]));
    bundle.try_create(&id, &[]).refused_saying(&["hugepageLimits/0"]);
    assert!(!is_known(&format!("cloison-{id}.scope")));
}

#[test]
fn a_path_that_is_no_unit_is_refused_in_the_words_of_runc() {
    let sandbox = Sandbox::new().with_systemd();
    let path = format!("/{}", sandbox.name());
    let expected = format!(
        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"{path}\" instead"
    );
    let bundle = sandbox.sleeper().set("/linux/cgroupsPath", path);
    bundle.try_create(&sandbox.new_id(), &[]).refused_saying(&[&expected]);
}

#[test]
fn an_annotation_that_is_no_property_is_refused_by_its_place() {
    systemd_or_skip!();
    only_for!(Cloison, "runc does not tell the place");
    let sandbox = Sandbox::new().with_systemd();
    let bundle = sandbox.sleeper().set("/annotations", json!({"org.systemd.property.TasksMax": "uint64"}));
    let output = bundle.try_create(&sandbox.new_id(), &[]);
    output.refused_saying(&["/annotations/org.systemd.property.TasksMax", "GVariant"]);
}

#[test]
fn without_systemd_the_error_says_so() {
    skip_unless!(!host::has_systemd(), "needs a machine without systemd");
    only_for!(Cloison, "runc says it in other words");
    let sandbox = Sandbox::new().with_systemd();
    let why = if is_users_of_v1() { "cannot make cgroups of v1, only of v2" } else { "/run/systemd/system" };
    sandbox.sleeper().try_create(&sandbox.new_id(), &[]).refused_saying(&["systemd", why]);
}

#[test]
fn a_bus_that_stalls_is_an_error_in_time_and_nothing_is_left() {
    only_for!(Cloison, "runc waits for the bus as long as it takes");
    skip_unless!(!is_users_of_v1(), "an ordinary user has no cgroups of v1 by systemd, which is not asked");
    let sandbox = Sandbox::new().with_systemd();
    let socket = sandbox.dir().join("bus");
    let _accepts_and_says_nothing = cloison_tests::receiver::listen(&socket);
    let bundle = sandbox.sleeper();
    bundle.write();
    let id = sandbox.new_id();
    let mut command = bundle.create_command(&id, &[]);
    command.env(bus(), format!("unix:path={}", socket.display()));
    let begun = Instant::now();
    let output = sandbox.finish(command);
    output.refused_saying(&[&format!("systemd ({}): connecting: no answer within 10 s", socket.display())]);
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    assert!(!sandbox.root().join(&id).exists());
    sandbox.assert_nothing_left();
}

#[test]
fn a_bus_that_stalls_later_leaves_nothing_frozen_and_does_not_keep_a_container_from_being_deleted() {
    systemd_or_skip!();
    only_for!(Cloison, "runc waits for the bus as long as it takes");
    let sandbox = Sandbox::new().with_systemd();
    let container = sandbox.sleeper().start();
    let (unit, pid) =
        (directory(&container).file_name().unwrap().to_str().unwrap().to_owned(), container.pid());
    let socket = sandbox.dir().join("bus");
    let _accepts_and_says_nothing = cloison_tests::receiver::listen(&socket);
    let stalled = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env(bus(), format!("unix:path={}", socket.display()));
        sandbox.finish(command)
    };
    let in_time = format!("systemd ({}): connecting: no answer within 10 s", socket.display());
    let rules = sandbox.file("rules.json", r#"{"devices": [{"allow": true, "access": "rwm"}]}"#);
    let changes = [&["--pids-limit", "7"][..], &["--resources", rules.to_str().unwrap()]];
    // An ordinary user's device rules are nobody's affair.
    for change in &changes[..if caller::ordinary().is_some() { 1 } else { 2 }] {
        let arguments = [&["update"], *change, &[container.id()]].concat();
        stalled(&arguments).refused_saying(&[&in_time]);
        assert_eq!(container.status(), "running", "not paused: {change:?}");
        assert_eq!(container.exec(["echo", "goes on"]).ok(), "goes on\n");
    }
    // What only the kernel has to do is done.
    stalled(&["pause", container.id()]).ok();
    stalled(&["resume", container.id()]).ok();
    stalled(&["kill", container.id(), "KILL"]).ok();
    sandbox.wait_for_orphan(pid);
    let deleted = stalled(&["delete", container.id()]);
    deleted.ok();
    assert!(deleted.stderr.contains(&in_time), "{}", deleted.describe());
    until("the scope has ended with its last process", || !is_known(&unit));
}

/// An ordinary user of the machine whose systemd runs; if it did not before, only for the test.
struct UserWithSystemd {
    uid: u32,
    to_stop: bool,
}

impl UserWithSystemd {
    fn find() -> Option<Self> {
        let accounts = fs::read_to_string("/etc/passwd").ok()?;
        let uid = |line: &str| line.split(':').nth(2)?.parse().ok();
        let uid = accounts.lines().filter_map(uid).find(|uid| (1000..60_000).contains(uid))?;
        let user = Self { uid, to_stop: false };
        let was_active = systemctl(&["is-active", &user.service()]) == "active";
        if !was_active {
            systemctl(&["start", &user.service()]);
        }
        let is_active = systemctl(&["is-active", &user.service()]) == "active";
        is_active.then_some(Self { to_stop: !was_active, ..user })
    }

    fn service(&self) -> String {
        format!("user@{}.service", self.uid)
    }

    /// A command line of the user's runtime, from outside of what is the user's.
    fn command(&self, sandbox: &Sandbox, arguments: &[&str]) -> Command {
        let binary = sandbox.dir().join("runtime");
        if !binary.exists() {
            fs::copy(cloison_tests::runtime::binary(), &binary).expect("the runtime can be copied");
            fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        let mut command = sandbox.bare_command(binary);
        command.uid(self.uid).gid(self.uid).env("XDG_RUNTIME_DIR", format!("/run/user/{}", self.uid));
        command
            .arg("--root")
            .arg(sandbox.dir().join("user").join("state"))
            .arg("--systemd-cgroup")
            .args(arguments);
        command
    }
}

impl Drop for UserWithSystemd {
    fn drop(&mut self) {
        if self.to_stop {
            systemctl(&["stop", &self.service()]);
        }
    }
}

#[test]
fn a_user_outside_of_what_is_delegated_to_him_has_containers_all_the_same() {
    systemd_or_skip!();
    skip_unless!(host::cgroup_layout() == CgroupLayout::V2, "needs cgroup v2 alone");
    let Some(user) = UserWithSystemd::find() else {
        return cloison_tests::skip::report("needs an ordinary user whose systemd can be started");
    };
    let sandbox = Sandbox::new();
    fs::set_permissions(sandbox.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let home = sandbox.directory("user");
    std::os::unix::fs::chown(&home, Some(user.uid), Some(user.uid)).unwrap();
    let rootfs = cloison_tests::Rootfs::busybox().owned_by(user.uid, user.uid);
    let bundle = sandbox.bundle(rootfs).args(["sleep", "1000"]);
    let bundle = cloison_tests::user::with_maps(bundle, &[(0, user.uid, 1)])
        .set("/linux/resources", json!({"pids": {"limit": 40}}))
        .set("/linux/cgroupsPath", format!(":test:{}", sandbox.name()));
    bundle.write();
    let id = sandbox.new_id();
    let does = |arguments: &[&str]| sandbox.finish(user.command(&sandbox, arguments));
    does(&["run", "--detach", "--bundle", bundle.dir().to_str().unwrap(), &id]).ok();
    let pid = does(&["state", &id]).json()["pid"].as_u64().unwrap();
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(cgroup.contains(&format!("user@{}.service/", user.uid)), "{cgroup}");
    let expected = format!("test-{}.scope", sandbox.name());
    assert!(cgroup.trim_end().ends_with(&expected), "{cgroup}");
    // The host's view, since the container has no cgroup namespace.
    assert_eq!(does(&["exec", &id, "cat", "/proc/self/cgroup"]).ok(), cgroup);
    let other =
        does(&["exec", "--detach", "--pid-file", home.join("pid").to_str().unwrap(), &id, "sleep", "1000"]);
    other.ok();
    let other = fs::read_to_string(home.join("pid")).unwrap();
    assert_eq!(fs::read_to_string(format!("/proc/{other}/cgroup")).unwrap(), cgroup);
    let processes = does(&["ps", "--format", "json", &id]).json();
    assert_eq!(processes.as_array().unwrap().len(), 2, "{processes}");
    // It has become a child of the test, and the first process cannot end before it is waited for.
    let other = other.parse().unwrap();
    does(&["kill", "--all", &id, "KILL"]).ok();
    sandbox.wait_for_orphan(other);
    does(&["delete", "--force", &id]).ok();
    assert!(!PathBuf::from("/sys/fs/cgroup").join(cgroup.trim_end().trim_start_matches("0::/")).exists());
}
