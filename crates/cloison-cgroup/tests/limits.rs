//! Limits on the kernel that runs the tests, as root, in the machine's own layout. Which file gets what is tested beside
//! the code, and that limits hold is tested with containers.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use cloison_cgroup::{Cgroup, CgroupPath, Error, Layout, Limit, Mode, Record, Resources, Terms};

const MIB: u64 = 1 << 20;

static COUNT: AtomicU32 = AtomicU32::new(0);

const UNDO: Terms = Terms { lenient: false, undo: true };

/// A cgroup of a test, which is gone when the test is over.
struct Place(Record);

impl Place {
    fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("/cloison-limits-test-{}-{number}", std::process::id());
        let layout = Layout::detect().unwrap();
        let place = Self(layout.place(&CgroupPath::new(Some(&name), "box").unwrap()).unwrap());
        place.cgroup().create().unwrap();
        place
    }

    fn cgroup(&self) -> &dyn Cgroup {
        self.0.cgroup()
    }

    /// A file by its controller and its names on v1 and v2, if it is there.
    fn file(&self, controller: &str, v1: &str, v2: &str) -> Option<PathBuf> {
        let paths = self.0.paths();
        let path = match &self.0 {
            Record::Unified(unified) => unified.directory.join(v2),
            _ => paths.get(controller)?.join(v1),
        };
        path.exists().then_some(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = self.cgroup().remove() {
            eprintln!("left behind: {error}");
        }
    }
}

fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

fn read(path: &PathBuf) -> String {
    fs::read_to_string(path).unwrap().trim_end().to_owned()
}

#[test]
fn memory_and_swap_go_up_and_down_in_one_step() {
    let place = Place::new();
    let swap = place.file("memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
    let Some(limit) = place.file("memory", "memory.limit_in_bytes", "memory.max") else { return };
    let is_v2 = matches!(place.0, Record::Unified(_));
    for (memory, both) in [(10, 20), (30, 40), (5, 6), (50, 50), (1, 100), (99, 99), (2, 2)] {
        let mut change = Resources::default();
        change.memory.limit = Some(Limit::At(memory * MIB));
        change.memory.swap = swap.as_ref().map(|_| Limit::At(both * MIB));
        place.cgroup().apply(&change, UNDO).unwrap();
        assert_eq!(read(&limit), (memory * MIB).to_string());
        if let Some(swap) = &swap {
            let expected = if is_v2 { both - memory } else { both };
            assert_eq!(read(swap), (expected * MIB).to_string());
        }
    }
    place.cgroup().apply(&resources(r#"{"memory": {"limit": "max"}}"#), UNDO).unwrap();
    for file in [Some(limit), swap].into_iter().flatten() {
        assert!(read(&file) == "max" || read(&file).len() >= 19, "{}", read(&file));
    }
}

#[test]
fn what_was_set_before_one_is_refused_is_taken_back() {
    let place = Place::new();
    let files: Vec<PathBuf> = [
        ("memory", "memory.limit_in_bytes", "memory.max"),
        ("memory", "memory.soft_limit_in_bytes", "memory.low"),
        ("pids", "pids.max", "pids.max"),
        ("cpu", "cpu.shares", "cpu.weight"),
        ("cpu", "cpu.cfs_period_us", "cpu.max"),
        ("cpuset", "cpuset.cpus", "cpuset.cpus"),
    ]
    .iter()
    .filter_map(|(controller, v1, v2)| place.file(controller, v1, v2))
    .collect();
    let look = || files.iter().map(read).collect::<Vec<_>>();
    let all = r#"{"memory": {"limit": 40000000, "reservation": 30000000}, "pids": 7,
                  "cpu": {"shares": 500, "quota": 20000, "period": 50000, "cpus": "0"}}"#;
    let all = resources(all);
    for first in [Resources::default(), all.clone()] {
        if place.cgroup().apply(&first, UNDO).is_err() {
            // Without one of the controllers there is less to see.
            continue;
        }
        let before = look();
        let mut change = resources(
            r#"{"memory": {"limit": 80000000, "reservation": 70000000}, "pids": 9, "cpu": {"shares": 700, "cpus": "0"}}"#,
        );
        // Less than the kernel's least, which is a millisecond.
        change.cpu.quota = Some(Limit::At(1));
        change.cpu.period = Some(60_000);
        let error = place.cgroup().apply(&change, UNDO).unwrap_err();
        assert!(matches!(error, Error::Undone(_)), "{error}");
        assert_eq!(look(), before);
    }
}

#[test]
fn without_undo_what_was_set_stays() {
    let place = Place::new();
    let Some(pids) = place.file("pids", "pids.max", "pids.max") else { return };
    let mut change = resources(r#"{"pids": 9}"#);
    change.hugepages = vec![cloison_cgroup::HugepageLimit { page_size: "3MB".into(), limit: Limit::At(0) }];
    let error = place.cgroup().apply(&change, Terms::default()).unwrap_err();
    assert!(error.to_string().starts_with("/linux/resources/hugepageLimits/0/limit"), "{error}");
    assert_eq!(read(&pids), "9");
    let unheld = place.cgroup().apply(&change, Terms { lenient: true, undo: false });
    // It is the controller that is missing, or only the size.
    assert!(unheld.is_err() || unheld.unwrap().len() == 1);
}

#[test]
fn an_idle_cgroup_gets_shares_again_when_it_is_no_longer_idle() {
    let place = Place::new();
    let Some(idle) = place.file("cpu", "cpu.idle", "cpu.idle") else { return };
    place.cgroup().apply(&resources(r#"{"cpu": {"shares": 300, "idle": 1}}"#), UNDO).unwrap();
    assert_eq!(read(&idle), "1");
    place.cgroup().apply(&resources(r#"{"cpu": {"shares": 400, "idle": 0}}"#), UNDO).unwrap();
    assert_eq!(read(&idle), "0");
    let shares = place.file("cpu", "cpu.shares", "cpu.weight").unwrap();
    assert!(["400", "49"].contains(&read(&shares).as_str()), "{}", read(&shares));
}

#[test]
fn a_cgroup_that_is_gone_is_told_as_such() {
    let place = Place::new();
    place.cgroup().remove().unwrap();
    for terms in [Terms::default(), UNDO, Terms { lenient: true, undo: false }] {
        let error = place.cgroup().apply(&resources(r#"{"cpu": {"period": 50000}}"#), terms).unwrap_err();
        let error = if let Error::Undone(cause) = error { *cause } else { error };
        assert!(matches!(error, Error::Gone { .. }), "{error}");
    }
}

#[test]
fn below_a_cgroup_with_processes_a_missing_controller_is_named() {
    if Layout::detect().unwrap().mode() != Mode::V2 {
        return;
    }
    let above = Place::new();
    let Record::Unified(unified) = &above.0 else { return };
    let below = Record::Unified(cloison_cgroup::Unified {
        mount: unified.mount.clone(),
        directory: unified.directory.join("below"),
    });
    // By itself a cgroup hands nothing down.
    fs::create_dir(unified.directory.join("below")).unwrap();
    let error = below.cgroup().apply(&resources(r#"{"pids": 9}"#), Terms::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/linux/resources/pids/limit needs pids.max of the pids controller, which is not available: \
         the cgroups above do not hand it down"
    );
    let lenient = Terms { lenient: true, undo: false };
    assert_eq!(below.cgroup().apply(&resources(r#"{"pids": 9}"#), lenient).unwrap().len(), 1);
}
