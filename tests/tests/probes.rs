//! Forty looks around from inside a container: what the candidate shows is what `runc` shows.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use cloison_tests::{Bundle, Rootfs, Sandbox, runtime, skip_unless};

/// The probes: a name, and a shell command that runs on busybox and on Debian.
const PROBES: [(&str, &str); 45] = [
    ("id", "id"),
    ("groups", "grep -E '^(Uid|Gid|Groups)' /proc/self/status"),
    ("capabilities", "grep ^Cap /proc/self/status"),
    ("capsh", "command -v capsh >/dev/null && capsh --print || true"),
    ("no new privileges", "grep ^NoNewPrivs /proc/self/status"),
    ("seccomp", "grep ^Seccomp: /proc/self/status"),
    ("signals", "grep -E '^Sig(Blk|Cgt)' /proc/self/status"),
    ("ignored signals", "grep ^SigIgn /proc/self/status"),
    ("umask", "umask; grep ^Umask /proc/self/status"),
    ("threads", "grep ^Threads /proc/self/status"),
    ("processors", "grep ^Cpus_allowed_list /proc/self/status"),
    ("memory nodes", "grep ^Mems_allowed_list /proc/self/status"),
    ("pid", "cat /proc/1/comm; ls -d /proc/[0-9]* | grep -c /1$"),
    ("parent", "grep ^PPid /proc/1/status"),
    ("session", "cut -d' ' -f5,6,7,8 /proc/1/stat"),
    ("nice and policy", "cut -d' ' -f19,40,41 /proc/1/stat"),
    ("first command line", "tr '\\0' ' ' </proc/1/cmdline | cut -c1-6"),
    ("environment", "env | grep -v CLOISON_TEST | grep -v ^_= | sort"),
    ("working directory", "pwd; readlink /proc/self/cwd"),
    ("root directory", "readlink /proc/self/root; ls -A /"),
    ("hostname", "hostname; cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname"),
    ("mounts", "mount | sed 's/lowerdir=[^)]*/LAYERS/'"),
    (
        "mount attributes",
        "sed -E 's/^[0-9]+ [0-9]+ [0-9]+:[0-9]+ //; s/lowerdir=.*/LAYERS/' /proc/self/mountinfo",
    ),
    (
        "propagation",
        "awk '{ for (i = 7; $i != \"-\"; i++) print $5, $i }' /proc/self/mountinfo | sed 's/:[0-9]*//'",
    ),
    ("/dev", "ls -l /dev | sed -E 's/ +[A-Z][a-z]{2} +[0-9]+ +[0-9:]+ / /'"),
    ("/dev/pts", "ls -l /dev/pts | sed -E 's/ +[A-Z][a-z]{2} +[0-9]+ +[0-9:]+ / /'"),
    ("/dev/shm", "stat -c '%a %u %g' /dev/shm; stat -f -c '%T %s %b' /dev/shm"),
    ("/dev itself", "stat -c '%a %u %g' /dev; touch /dev/new && rm /dev/new && echo writable"),
    ("/proc", "ls /proc | grep -v '^[0-9]'"),
    ("/proc/sys", "touch /proc/sys/x 2>&1; echo 1 2>/dev/null >/proc/sys/kernel/sysrq || echo read-only"),
    ("/sys", "ls /sys; touch /sys/x 2>&1"),
    (
        "/sys/fs/cgroup",
        "ls /sys/fs/cgroup; touch /sys/fs/cgroup/x 2>&1; cat /sys/fs/cgroup/*/cgroup.procs | grep -x 1 | uniq -c",
    ),
    ("cgroup", "cat /proc/self/cgroup"),
    (
        "masked files",
        "for f in kcore keys timer_list sched_debug; do test -e /proc/$f && wc -c </proc/$f; done; true",
    ),
    ("masked file types", "stat -c '%n %a %u %F' /proc/keys /proc/timer_list"),
    (
        "masked directories",
        "for d in /proc/acpi /proc/scsi /sys/firmware; do test -e $d && ls -lA $d; done; true",
    ),
    ("read-only paths", "for p in bus fs irq sysrq-trigger; do test -w /proc/$p && echo $p; done; true"),
    ("limits", "cat /proc/self/limits"),
    ("ulimit", "ulimit -a"),
    ("oom score", "cat /proc/self/oom_score_adj"),
    ("open files", "ls /proc/self/fd | wc -l; ls /proc/1/fd | wc -l"),
    ("network", "cat /proc/net/dev | cut -d: -f1; cat /proc/net/route"),
    ("sysctl", "cat /proc/sys/kernel/shmmax /proc/sys/net/ipv4/ip_forward /proc/sys/fs/mqueue/msg_max"),
    ("write", "touch /x 2>&1; touch /tmp/x 2>&1; touch /etc/x 2>&1; mkdir /y 2>&1"),
    (
        "keyring",
        "cut -d' ' -f1 /proc/self/keys 2>/dev/null | wc -c; cat /proc/self/personality 2>/dev/null || true",
    ),
];

/// What is left of a probe's output when the difference is taken away.
type Comparable = fn(&str) -> String;

/// Where the candidate may show something else, why, and what is compared all the same.
const DIFFERENCES: [(&str, &str, Comparable); 8] = [
    ("/dev", "the message queues of a user namespace belong to its root's group, too", |text| {
        let busybox =
            text.replace("root     65534           40 mqueue", "root     root            40 mqueue");
        busybox.replace("root   nogroup   40 mqueue", "root   root      40 mqueue")
    }),
    ("mounts", "see `mount attributes`", comparable_mounts),
    (
        "mount attributes",
        "the order of the cgroup hierarchies is free; masked directories have no room in them, as since runc 1.3; \
         the directory of the hierarchies is read-only when `ro` is asked for, which old releases of runc forget; \
         they do not know the hierarchy `misc` either",
        comparable_mounts,
    ),
    ("cgroup", "old releases of runc do not know the hierarchy `misc`", without_misc),
    ("/sys/fs/cgroup", "read-only, see `mount attributes`", without_touch),
    (
        "ignored signals",
        "runc hands down a signal that its language's runtime ignores, number 32",
        without_signal_32,
    ),
    ("open files", "runc copies the output of a foreground run through pipes of its own", |_| String::new()),
    ("masked directories", "the sizes of the empty directories", |text| text.replace("total 0\n", "")),
];

fn comparable_mounts(table: &str) -> String {
    let table = table
        .replace(",size=4k,nr_inodes=1", "")
        .replace("/sys/fs/cgroup rw,", "/sys/fs/cgroup ro,")
        .replace("/sys/fs/cgroup type tmpfs (rw,", "/sys/fs/cgroup type tmpfs (ro,")
        .replace(" - cgroup systemd ", " - cgroup cgroup ")
        .replace("systemd on /sys/fs/cgroup", "cgroup on /sys/fs/cgroup");
    let mut lines: Vec<&str> = table.lines().filter(|line| !line.ends_with("cgroup rw,misc")).collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn without_misc(text: &str) -> String {
    text.lines().filter(|line| !line.contains(":misc:")).collect::<Vec<_>>().join("\n")
}

fn without_touch(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("touch:")).collect::<Vec<_>>().join("\n")
}

fn without_signal_32(text: &str) -> String {
    text.replace("000000008000000", "000000000000000")
}

/// Runs all the probes in one container.
fn probe(sandbox: &Sandbox, bundle: &Bundle, binary: &OsStr) -> BTreeMap<&'static str, String> {
    bundle.write();
    let mut command = sandbox.bare_command(binary);
    // The same id for both: it shows in the cgroup.
    let id = format!("{}-probe", sandbox.name());
    command.arg("--root").arg(sandbox.root()).args(["run", "--bundle"]).arg(bundle.dir()).arg(id);
    let output = sandbox.finish(command);
    // Of the cgroups beside the container's, others come and go: they are of other tests.
    let is_ours = |line: &&str| !line.starts_with("cloison-test-") || line.starts_with(sandbox.name());
    let shown: String = output.ok().split_inclusive('\n').filter(is_ours).collect();
    let mut sections = shown.split("=== ").skip(1);
    let results: BTreeMap<_, _> = PROBES
        .iter()
        .map(|(name, _)| {
            (*name, sections.next().unwrap_or_else(|| panic!("{name}: {}", output.describe())).to_owned())
        })
        .collect();
    assert_eq!(sections.next(), None);
    results
}

fn script() -> String {
    // Each one in a shell of its own: what fails does not end the others.
    let quoted = |command: &str| command.replace('\'', "'\\''");
    let each =
        |(name, command): &(&str, &str)| format!("echo '=== {name}'; sh -c '{}' 2>&1", quoted(command));
    PROBES.iter().map(each).collect::<Vec<_>>().join("\n")
}

fn compare(rootfs: impl Fn() -> Rootfs, change: impl for<'s> Fn(Bundle<'s>) -> Bundle<'s>) {
    let runc = runtime::reference_runc();
    skip_unless!(runc.is_some(), "needs runc to compare with");
    let runc = runc.unwrap();
    skip_unless!(
        runc.canonicalize().ok().as_deref() != Some(runtime::binary()),
        "runc is not compared with itself; CLOISON_BIN names it"
    );
    let sandbox = Sandbox::new();
    let bundle = change(sandbox.bundle(rootfs()).args(["sh", "-c", &script()]));
    let theirs = probe(&sandbox, &bundle, runc.as_os_str());
    let ours = probe(&sandbox, &bundle, runtime::binary().as_os_str());
    let mut differences = Vec::new();
    for (name, _) in PROBES {
        if theirs[name] == ours[name] {
            continue;
        }
        match DIFFERENCES.iter().find(|(known, ..)| *known == name) {
            Some((_, why, comparable)) if comparable(&theirs[name]) == comparable(&ours[name]) => {
                println!("{name}: differs, {why}");
            }
            _ => differences.push(format!("--- {name}, runc:\n{}+++ ours:\n{}", theirs[name], ours[name])),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn busybox_shows_what_it_shows_under_runc() {
    compare(Rootfs::busybox, |bundle| bundle);
}

#[test]
fn debian_shows_what_it_shows_under_runc() {
    compare(Rootfs::debian, |bundle| bundle);
}

#[test]
fn a_user_namespace_shows_what_it_shows_under_runc() {
    compare(|| Rootfs::busybox().owned_by(100_000, 100_000), |bundle| bundle.user_namespace(100_000));
}

#[test]
fn another_user_sees_what_it_sees_under_runc() {
    let user = || cloison_tests::json!({"uid": 1000, "gid": 1000, "additionalGids": [5, 7], "umask": 63});
    compare(Rootfs::busybox, |bundle| {
        let limits = cloison_tests::json!([{"type": "RLIMIT_CORE", "hard": 7, "soft": 5},
            // Go raises its own soft limit of open files, and old releases of runc hand that down.
            {"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1000}]);
        bundle
            .set("/process/user", user())
            .set("/process/rlimits", limits)
            .set("/process/oomScoreAdj", 77)
            .set("/process/cwd", "/home/user")
            .namespace("cgroup", None)
            .writable()
    });
}
