//! Cgroups on the kernel that runs the tests, as root: the machine's own layout, and on a hybrid machine its v2
//! hierarchy too. Every cgroup is called `cloison-cgroup-test-…` and is gone when its test is over, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cloison_cgroup::{Cgroup, CgroupPath, Error, Layout, Mode, Record, Signal, Unified};
use tempfile::TempDir;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A cgroup of a test, two levels deep; both levels are removed in the end with all that runs there.
struct Place {
    record: Record,
    name: String,
}

impl Place {
    fn cgroup(&self) -> &dyn Cgroup {
        self.record.cgroup()
    }

    fn directories(&self) -> Vec<PathBuf> {
        // Controllers that are mounted together share a directory.
        self.record.paths().into_values().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// A directory in which the kernel lists the cgroup's processes.
    fn directory(&self) -> PathBuf {
        let paths = self.record.paths();
        paths.get("devices").unwrap_or_else(|| &paths[""]).clone()
    }

    /// A child that moved itself into the cgroup and then became `sh -c script`.
    fn run(&self, script: &str) -> Runner {
        self.run_in(&self.directories(), script)
    }

    fn run_in(&self, directories: &[PathBuf], script: &str) -> Runner {
        let join: Vec<_> = directories
            .iter()
            .map(|directory| format!("echo 0 > {}/cgroup.procs", directory.display()))
            .collect();
        let join = join.join(" && ");
        let child = Command::new("sh")
            .args(["-c", &format!("{join} && echo in; {script}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut runner = Runner(child);
        let mut word = [0; 3];
        std::io::Read::read_exact(runner.0.stdout.as_mut().unwrap(), &mut word).unwrap();
        assert_eq!(&word, b"in\n", "the child could not join {}", self.name);
        runner
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for directory in self.directories() {
            let outer = directory.parent().unwrap();
            for file in ["freezer.state", "cgroup.freeze"] {
                let thawed = if file == "freezer.state" { "THAWED" } else { "0" };
                let _ = fs::write(directory.join(file), thawed);
            }
            let above = Record::Unified(Unified { mount: outer.to_owned(), directory: outer.to_owned() });
            let _ = above.cgroup().kill_all(Signal::KILL);
            if let Err(error) = above.cgroup().remove() {
                eprintln!("left behind: {error}");
            }
        }
    }
}

struct Runner(Child);

impl Runner {
    fn id(&self) -> i32 {
        self.0.id().cast_signed()
    }

    /// Waits for the end, and says by which signal it came.
    fn killed_by(&mut self) -> Option<i32> {
        std::os::unix::process::ExitStatusExt::signal(&self.0.wait().unwrap())
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn new_name() -> String {
    format!("cloison-cgroup-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A place of its own in each kind of hierarchy that this machine has.
fn places() -> Vec<Place> {
    let layout = Layout::detect().unwrap();
    let place = |layout: &Layout| {
        let name = new_name();
        let path = CgroupPath::new(Some(&format!("/{name}/box")), "box").unwrap();
        Place { record: layout.place(&path).unwrap(), name }
    };
    let mut places = vec![place(&layout)];
    if let Layout::Legacy { unified: Some(mount), .. } = layout {
        places.push(place(&Layout::Unified { mount, own: None }));
    }
    places
}

fn made_places() -> Vec<Place> {
    let places = places();
    for place in &places {
        place.cgroup().create().unwrap();
    }
    places
}

fn is_there(path: &Path) -> bool {
    path.try_exists().unwrap()
}

#[test]
fn a_cgroup_is_made_in_every_hierarchy_and_removed_from_it() {
    for place in places() {
        assert!(!place.cgroup().exists());
        place.cgroup().create().unwrap();
        assert!(place.cgroup().exists());
        assert!(place.directories().iter().all(|directory| is_there(directory)));
        assert!(!place.cgroup().is_frozen().unwrap());
        assert!(place.cgroup().processes().unwrap().is_empty());
        place.cgroup().remove().unwrap();
        assert!(!place.directories().iter().any(|directory| is_there(directory)));
        // As runc does, what is above stays: others may have come to use it.
        assert!(place.directories().iter().all(|directory| is_there(directory.parent().unwrap())));
        place.cgroup().remove().expect("removing what is gone is success");
    }
}

#[test]
fn the_entry_moves_the_thread_that_joins() {
    for place in made_places() {
        let entry = place.cgroup().entry().unwrap();
        let home: Vec<_> = own_tasks_files();
        entry.join().unwrap();
        let now = fs::read_to_string("/proc/thread-self/cgroup").unwrap();
        for file in home {
            fs::write(file, "0").unwrap();
        }
        let inside = now.lines().filter(|line| line.ends_with(&format!("/{}/box", place.name))).count();
        assert_eq!(inside, entry.tasks().len(), "{now}");
    }
}

/// The `tasks` files by which this thread gets back to where it is.
fn own_tasks_files() -> Vec<PathBuf> {
    let Layout::Legacy { hierarchies, .. } = Layout::detect().unwrap() else { return Vec::new() };
    hierarchies.into_iter().map(|hierarchy| hierarchy.mount.join(hierarchy.own).join("tasks")).collect()
}

#[test]
fn the_entry_has_the_directory_that_a_child_is_born_into() {
    for place in made_places() {
        let entry = place.cgroup().entry().unwrap();
        let Some(unified) = place.record.paths().remove("") else {
            assert!(entry.directory().is_none());
            continue;
        };
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&entry.directory().unwrap());
        assert_eq!(fs::read_link(format!("/proc/self/fd/{descriptor}")).unwrap(), unified);
    }
}

#[test]
fn a_new_cpuset_can_be_joined_at_any_depth() {
    for place in made_places() {
        if let Some(cpuset) = place.record.paths().get("cpuset").filter(|path| is_there(&path.join("tasks")))
        {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                let root = fs::read_to_string(cpuset.ancestors().nth(2).unwrap().join(file)).unwrap();
                assert_eq!(fs::read_to_string(cpuset.join(file)).unwrap(), root);
            }
        }
        place.run("exit 0");
    }
}

#[test]
fn a_cgroup_that_is_there_and_empty_is_used() {
    for place in made_places() {
        place.cgroup().create().unwrap();
    }
}

#[test]
fn a_cgroup_with_a_process_is_refused() {
    for place in made_places() {
        let runner = place.run("exec sleep 100");
        let error = place.cgroup().create().unwrap_err();
        assert!(
            error.to_string().starts_with("container's cgroup is not empty: 1 process(es) found"),
            "{error}"
        );
        assert_eq!(place.cgroup().processes().unwrap(), [runner.id()]);
    }
}

#[test]
fn a_process_in_a_sub_cgroup_is_found_too() {
    for place in made_places() {
        let sub = place.directory().join("sub/sub");
        fs::create_dir_all(&sub).unwrap();
        let runner = place.run_in(&[sub], "exec sleep 100");
        assert!(matches!(place.cgroup().create(), Err(Error::NotEmpty { count: 1, .. })));
        assert_eq!(place.cgroup().processes().unwrap(), [runner.id()]);
    }
}

#[test]
fn of_two_who_make_a_container_in_one_cgroup_one_is_refused() {
    for place in made_places() {
        let claim = place.cgroup().claim().unwrap();
        // It is empty, so making it succeeds.
        place.cgroup().create().unwrap();
        let error = place.cgroup().claim().unwrap_err();
        assert!(error.to_string().starts_with("container's cgroup is in use"), "{error}");
        drop(claim);
        let claim = place.cgroup().claim().unwrap();
        let runner = place.run("exec sleep 100");
        drop(claim);
        // Whoever comes between the making and the claim.
        assert!(matches!(place.cgroup().claim(), Err(Error::NotEmpty { count: 1, .. })));
        drop(runner);
    }
    Record::disabled().cgroup().claim().unwrap();
}

#[test]
fn a_v2_cgroup_is_given_to_a_user_but_for_its_limits() {
    use std::os::unix::fs::MetadataExt;
    for place in unified_places() {
        place.cgroup().create().unwrap();
        place.cgroup().delegate(12345).unwrap();
        let owner = |file: &str| fs::metadata(place.directory().join(file)).unwrap().uid();
        for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
            assert_eq!(owner(file), 12345, "{file}");
        }
        for file in ["cgroup.freeze", "cgroup.max.descendants", "cgroup.type"] {
            assert_eq!(owner(file), 0, "{file}");
        }
        place.cgroup().remove().unwrap();
        let error = place.cgroup().delegate(12345).unwrap_err();
        assert!(matches!(error, Error::Delegate { uid: 12345, .. }), "{error}");
    }
}

#[test]
fn a_frozen_cgroup_is_refused() {
    for place in made_places() {
        if freeze(&place) {
            assert!(place.cgroup().is_frozen().unwrap());
            let error = place.cgroup().create().unwrap_err();
            assert!(error.to_string().starts_with("container's cgroup unexpectedly frozen"), "{error}");
        }
    }
}

/// Freezes the cgroup, where there is a freezer.
fn freeze(place: &Place) -> bool {
    let paths = place.record.paths();
    match paths.get("freezer") {
        Some(directory) => fs::write(directory.join("freezer.state"), "FROZEN").unwrap(),
        None if place.record.paths().len() == 1 => {
            fs::write(place.directory().join("cgroup.freeze"), "1").unwrap();
        }
        None => return false,
    }
    true
}

#[test]
fn who_is_frozen_stands_still_until_thawed() {
    for place in made_places() {
        let script = "trap 'echo got' USR1; echo ready; while :; do sleep 0.01; done";
        let mut runner = place.run(script);
        let mut output = std::io::BufReader::new(runner.0.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        place.cgroup().thaw().expect("thawing what is not frozen is success");
        place.cgroup().freeze().unwrap();
        place.cgroup().freeze().expect("freezing twice is freezing");
        assert!(place.cgroup().is_frozen().unwrap());
        place.cgroup().kill_all(Signal::USR1).unwrap();
        assert!(!is_readable(output.get_ref(), Duration::from_millis(200)), "it runs while frozen");
        place.cgroup().thaw().unwrap();
        assert!(!place.cgroup().is_frozen().unwrap());
        line.clear();
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert_eq!(line, "got\n");
    }
}

fn is_readable(file: &impl std::os::fd::AsFd, within: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(within.subsec_nanos()) };
    poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&timeout)).unwrap() > 0
}

#[test]
fn an_empty_cgroup_can_be_frozen_and_one_that_is_gone_cannot() {
    for place in made_places() {
        place.cgroup().freeze().unwrap();
        assert!(place.cgroup().is_frozen().unwrap());
        place.cgroup().thaw().unwrap();
        place.cgroup().remove().unwrap();
        let error = place.cgroup().freeze().unwrap_err();
        assert!(matches!(error, Error::Gone { .. }), "{error}");
    }
    let disabled = Record::disabled();
    assert!(matches!(disabled.cgroup().freeze(), Err(Error::NoFreezer)));
    assert!(matches!(disabled.cgroup().thaw(), Err(Error::NoFreezer)));
}

#[test]
fn a_cgroup_is_frozen_while_processes_keep_appearing() {
    for place in made_places() {
        let runner = place.run("while :; do true & true | true; done");
        for _ in 0..20 {
            place.cgroup().freeze().unwrap();
            let before = place.cgroup().processes().unwrap();
            std::thread::sleep(Duration::from_millis(5));
            assert_eq!(place.cgroup().processes().unwrap(), before);
            place.cgroup().thaw().unwrap();
        }
        drop(runner);
        place.cgroup().kill_all(Signal::KILL).unwrap();
    }
}

#[test]
fn making_that_fails_leaves_nothing_behind() {
    for place in places() {
        let mut failing = place.record.clone();
        match &mut failing {
            // Nothing can be made in /proc.
            Record::Legacy(legacy) => {
                legacy.directories.last_mut().unwrap().path = "/proc/nowhere/box".into();
            }
            Record::Unified(unified) => unified.mount = "/proc".into(),
            Record::Disabled(_) | Record::Systemd(_) => unreachable!(),
        }
        let error = failing.cgroup().create().unwrap_err();
        assert!(matches!(error, Error::Make { .. } | Error::Read { .. }), "{error}");
        assert!(!place.directories().iter().any(|directory| is_there(directory.parent().unwrap())));
    }
}

#[test]
fn kill_reaches_everyone_and_remove_waits_for_their_end() {
    for place in made_places() {
        let subs: Vec<_> = place.directories().iter().map(|directory| directory.join("sub")).collect();
        for sub in &subs {
            fs::create_dir(sub).unwrap();
            inherit_cpuset(sub);
        }
        let mut runners: Vec<_> = (0..20).map(|_| place.run("exec sleep 100")).collect();
        runners.push(place.run_in(&subs, "exec sleep 100"));
        place.cgroup().kill_all(Signal::KILL).unwrap();
        place.cgroup().remove().unwrap();
        assert!(!place.directories().iter().any(|directory| is_there(directory)));
        for mut runner in runners {
            assert_eq!(runner.killed_by(), Some(9));
        }
    }
}

/// Makes a v1 cpuset fit to be joined; other cgroups are already.
fn inherit_cpuset(directory: &Path) {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let (true, Ok(value)) =
            (is_there(&directory.join("tasks")), fs::read(directory.join("..").join(file)))
        {
            fs::write(directory.join(file), value).unwrap();
        }
    }
}

#[test]
fn kill_reaches_who_is_in_one_hierarchy_only() {
    for place in made_places() {
        for directory in [place.directory()].into_iter().chain(place.record.paths().remove("")) {
            let mut runner = place.run_in(&[directory], "exec sleep 100");
            place.cgroup().kill_all(Signal::KILL).unwrap();
            assert_eq!(runner.killed_by(), Some(9));
        }
    }
}

#[test]
fn kill_reaches_a_chain_of_forks() {
    for place in made_places() {
        // Each process starts the next and ends, so no list of pids is right for long.
        let directory = TempDir::new().unwrap();
        let chain = directory.path().join("chain.sh");
        fs::write(&chain, "sh $0 & exit\n").unwrap();
        let mut first = place.run(&format!("exec sh {} > /dev/null 2>&1", chain.display()));
        first.killed_by();
        let alive = !place.cgroup().processes().unwrap().is_empty();
        let killed = place.cgroup().kill_all(Signal::KILL);
        let removed = place.cgroup().remove();
        assert!(alive);
        killed.unwrap();
        removed.unwrap();
    }
}

#[test]
fn kill_reaches_the_frozen() {
    for place in made_places() {
        let mut runner = place.run("exec sleep 100");
        if freeze(&place) {
            place.cgroup().kill_all(Signal::KILL).unwrap();
            assert_eq!(runner.killed_by(), Some(9));
            place.cgroup().remove().unwrap();
        }
    }
}

#[test]
fn other_signals_reach_everyone_once() {
    for place in made_places() {
        let script = "trap 'echo got' USR1; trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done";
        let runners: Vec<_> = (0..3).map(|_| place.run(script)).collect();
        let mut outputs = Vec::new();
        for mut runner in runners {
            let mut output = std::io::BufReader::new(runner.0.stdout.take().unwrap());
            let mut line = String::new();
            std::io::BufRead::read_line(&mut output, &mut line).unwrap();
            assert_eq!(line, "ready\n");
            outputs.push((runner, output));
        }
        place.cgroup().kill_all(Signal::USR1).unwrap();
        for (_, output) in &mut outputs {
            let mut line = String::new();
            std::io::BufRead::read_line(output, &mut line).unwrap();
            assert_eq!(line, "got\n");
        }
        place.cgroup().kill_all(Signal::TERM).unwrap();
        for (mut runner, mut output) in outputs {
            let mut rest = String::new();
            std::io::Read::read_to_string(&mut output, &mut rest).unwrap();
            assert_eq!(rest, "");
            assert_eq!(runner.0.wait().unwrap().code(), Some(3));
        }
    }
}

#[test]
fn a_cgroup_that_stays_busy_is_given_up_in_time() {
    let place = &made_places()[0];
    let runner = place.run("exec sleep 100");
    let start = Instant::now();
    let error = place.cgroup().remove().unwrap_err();
    assert!(matches!(error, Error::Busy { processes: 1, .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(runner);
    place.cgroup().remove().unwrap();
}

#[test]
fn sub_cgroups_are_removed_however_many_and_deep() {
    for place in made_places() {
        for directory in place.directories() {
            for wide in 0..40 {
                fs::create_dir_all(directory.join(format!("wide-{wide}/a/b"))).unwrap();
            }
        }
        nest(&place.directory(), 30);
        place.cgroup().remove().unwrap();
        assert!(!place.directories().iter().any(|directory| is_there(directory)));
    }
}

#[test]
fn a_nest_longer_than_any_path_is_walked() {
    for place in made_places() {
        nest(&place.directory(), 30);
        assert!(place.cgroup().processes().unwrap().is_empty());
        place.cgroup().kill_all(Signal::TERM).unwrap();
    }
}

/// Makes `depth` cgroups one in the other, with names so long that no path leads to the last; as many as go, where a
/// security module labels them by their paths.
fn nest(top: &Path, depth: usize) {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    let name = "n".repeat(200);
    let mut here = openat(CWD, top, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for level in 0..depth {
        let made = mkdirat(&here, &name, Mode::from_raw_mode(0o755));
        // It lets nobody make one that has no path to be labelled by.
        let is_labelled = Path::new("/sys/fs/selinux/enforce").exists();
        if is_labelled && level * name.len() > 4000 && made.is_err() {
            return;
        }
        made.unwrap();
        here = openat(&here, &name, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
}

#[test]
fn a_cgroup_is_found_again_by_its_record() {
    for place in made_places() {
        let text = serde_json::to_string(&place.record).unwrap();
        let again: Record = serde_json::from_str(&text).unwrap();
        assert_eq!(again, place.record);
        assert!(again.cgroup().exists());
        again.cgroup().remove().unwrap();
        assert!(!place.cgroup().exists());
    }
}

#[test]
fn a_disabled_cgroup_is_nothing() {
    let text = serde_json::to_string(&Record::disabled()).unwrap();
    assert_eq!(text, r#"{"driver":"disabled"}"#);
    let record: Record = serde_json::from_str(&text).unwrap();
    record.cgroup().create().unwrap();
    assert!(record.cgroup().entry().unwrap().directory().is_none());
    record.cgroup().kill_all(Signal::KILL).unwrap();
    record.cgroup().remove().unwrap();
    assert!(!record.cgroup().exists() && record.paths().is_empty());
}

#[test]
fn on_v2_every_controller_of_the_root_reaches_the_cgroup() {
    if Layout::detect().unwrap().mode() != Mode::V2 {
        return;
    }
    for place in made_places() {
        let root = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
        assert_eq!(fs::read_to_string(place.directory().join("cgroup.controllers")).unwrap(), root);
    }
}

/// The places of [`places`] that are in the v2 hierarchy and nowhere else.
fn unified_places() -> impl Iterator<Item = Place> {
    places().into_iter().filter(|place| matches!(place.record, Record::Unified(_)))
}

#[test]
fn below_a_threaded_cgroup_a_new_one_can_be_joined() {
    for place in unified_places() {
        let above = place.directory().parent().unwrap().to_owned();
        fs::create_dir(&above).unwrap();
        fs::write(above.join("cgroup.type"), "threaded").unwrap();
        place.cgroup().create().unwrap();
        assert_eq!(fs::read_to_string(place.directory().join("cgroup.type")).unwrap(), "threaded\n");
        // The kernel doesn't tell a threaded cgroup's processes, nor kill them, so their threads are looked at.
        let mut runner = place.run("exec sleep 100");
        assert_eq!(place.cgroup().processes().unwrap(), [runner.id()]);
        place.cgroup().kill_all(Signal::KILL).unwrap();
        assert_eq!(runner.killed_by(), Some(9));
    }
}

#[test]
fn below_a_cgroup_with_processes_controllers_are_done_without() {
    for place in unified_places() {
        let above = place.directory().parent().unwrap().to_owned();
        fs::create_dir(&above).unwrap();
        let runner = place.run_in(&[above], "exec sleep 100");
        place.cgroup().create().unwrap();
        place.run("exit 0");
        drop(runner);
        place.cgroup().remove().unwrap();
    }
}

#[test]
fn a_controller_that_is_enabled_later_reaches_the_next_cgroup() {
    for place in unified_places() {
        let above = place.directory().parent().unwrap().to_owned();
        fs::create_dir(&above).unwrap();
        // As another runtime leaves it that wants pids alone.
        let controllers = fs::read_to_string(above.join("cgroup.controllers")).unwrap();
        if controllers.contains("pids") {
            fs::write(above.join("cgroup.subtree_control"), "+pids").unwrap();
        }
        place.cgroup().create().unwrap();
        assert_eq!(fs::read_to_string(place.directory().join("cgroup.controllers")).unwrap(), controllers);
    }
}
