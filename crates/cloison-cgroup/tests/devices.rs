//! Device rules on the kernel that runs the tests, as root: in the machine's own layout, and on a hybrid machine in its v2
//! hierarchy too.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cloison_cgroup::{Cgroup, CgroupPath, DeviceAccess, DeviceKind, DeviceRule, Error, Layout, Record};
use cloison_linux::Errno;
use cloison_linux::bpf::{
    Instruction, attach_device_program, device_programs, load_device_program, program_by_id, program_name,
};
use tempfile::TempDir;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A cgroup of a test, which is gone when the test is over.
struct Place(Record);

impl Place {
    fn cgroup(&self) -> &dyn Cgroup {
        self.0.cgroup()
    }

    fn apply(&self, rules: &[DeviceRule]) {
        self.cgroup().apply_devices(rules).unwrap();
    }

    fn directories(&self) -> BTreeSet<PathBuf> {
        self.0.paths().into_values().collect()
    }

    /// Its directory, if programs decide there.
    fn unified(&self) -> Option<PathBuf> {
        match &self.0 {
            Record::Unified(unified) => Some(unified.directory.clone()),
            _ => None,
        }
    }

    /// Which of these shell commands succeed inside.
    fn succeed<'a>(&self, commands: &[&'a str]) -> Vec<&'a str> {
        let join = |directory: &PathBuf| format!("echo 0 > {}/cgroup.procs", directory.display());
        let join: Vec<String> = self.directories().iter().map(join).collect();
        let tries: Vec<String> = (0..commands.len())
            .map(|index| format!("( {} ) 2>&3 && echo {index}", commands[index]))
            .collect();
        // Nothing may be opened but by the commands.
        let script = format!("exec 3>&2; {} && echo in; {}", join.join(" && "), tries.join("; "));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("in"), "{}", String::from_utf8_lossy(&output.stderr));
        lines.map(|index| commands[index.parse::<usize>().unwrap()]).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = self.cgroup().remove() {
            eprintln!("left behind: {error}");
        }
    }
}

/// A new cgroup in each kind of hierarchy that this machine has.
fn places() -> Vec<Place> {
    let layout = Layout::detect().unwrap();
    let place = |layout: &Layout| {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("/cloison-devices-test-{}-{number}", std::process::id());
        let place = Place(layout.place(&CgroupPath::new(Some(&name), "box").unwrap()).unwrap());
        place.cgroup().create().unwrap();
        place
    };
    let mut places = vec![place(&layout)];
    if let Layout::Legacy { unified: Some(mount), .. } = layout {
        places.push(place(&Layout::Unified { mount, own: None }));
    }
    places
}

fn rule(allow: bool, kind: DeviceKind, major: Option<u32>, minor: Option<u32>, access: &str) -> DeviceRule {
    let access = DeviceAccess::all().iter().filter(|bit| access.contains(&bit.to_string())).collect();
    DeviceRule { allow, kind, major, minor, access }
}

fn allow(minor: u32, access: &str) -> DeviceRule {
    rule(true, DeviceKind::Char, Some(1), Some(minor), access)
}

fn all(allow: bool) -> DeviceRule {
    rule(allow, DeviceKind::Any, None, None, "rwm")
}

const NULL: u32 = 3;
const ZERO: u32 = 5;
const FULL: u32 = 7;

const READ_NULL: &str = ": < /dev/null";
const WRITE_NULL: &str = ": > /dev/null";
const BOTH_NULL: &str = ": <> /dev/null";
const READ_ZERO: &str = ": < /dev/zero";
const WRITE_ZERO: &str = ": > /dev/zero";
const EACH: [&str; 5] = [READ_NULL, WRITE_NULL, BOTH_NULL, READ_ZERO, WRITE_ZERO];

#[test]
fn what_no_rule_allows_is_denied() {
    for place in places() {
        assert_eq!(place.succeed(&EACH), EACH);
        place.apply(&[allow(NULL, "r"), allow(ZERO, "w")]);
        assert_eq!(place.succeed(&EACH), [READ_NULL, WRITE_ZERO]);
        place.apply(&[]);
        assert!(place.succeed(&EACH).is_empty());
    }
}

#[test]
fn two_rules_allow_reading_and_writing_at_once() {
    for place in places() {
        place.apply(&[allow(NULL, "r"), rule(true, DeviceKind::Char, None, Some(NULL), "w")]);
        assert_eq!(place.succeed(&EACH), [READ_NULL, WRITE_NULL, BOTH_NULL]);
    }
}

#[test]
fn rules_of_a_running_cgroup_change_without_a_gap() {
    for place in places() {
        place.apply(&[allow(NULL, "rw"), allow(ZERO, "r")]);
        // A child cgroup keeps v1 from denying everything first.
        let below: Vec<_> = place.directories().iter().map(|directory| directory.join("below")).collect();
        for directory in &below {
            fs::create_dir(directory).unwrap();
        }
        place.apply(&[allow(NULL, "rw"), allow(ZERO, "w"), allow(FULL, "rwm")]);
        for directory in &below {
            fs::remove_dir(directory).unwrap();
        }
        assert_eq!(place.succeed(&EACH), [READ_NULL, WRITE_NULL, BOTH_NULL, WRITE_ZERO]);
    }
}

#[test]
fn everything_is_allowed_again() {
    for place in places() {
        place.apply(&[all(false), allow(NULL, "r")]);
        assert_eq!(place.succeed(&EACH), [READ_NULL]);
        place.apply(&[all(true)]);
        assert_eq!(place.succeed(&EACH), EACH);
        if let Some(directory) = place.unified() {
            assert!(device_programs(File::open(directory).unwrap().as_fd()).unwrap().is_empty());
        }
    }
}

#[test]
fn exceptions_are_made_for_whoever_may_everything() {
    for place in places() {
        place.apply(&[all(true), rule(false, DeviceKind::Char, Some(1), Some(NULL), "w")]);
        assert_eq!(place.succeed(&EACH), [READ_NULL, READ_ZERO, WRITE_ZERO]);
    }
}

#[test]
fn a_hole_in_a_range_holds_on_v2_and_is_refused_on_v1() {
    for place in places() {
        let rules = [
            rule(true, DeviceKind::Char, Some(1), None, "rwm"),
            DeviceRule { allow: false, ..allow(NULL, "w") },
        ];
        if place.unified().is_some() {
            place.apply(&rules);
            assert_eq!(place.succeed(&EACH), [READ_NULL, READ_ZERO, WRITE_ZERO]);
        } else {
            let error = place.cgroup().apply_devices(&rules).unwrap_err();
            assert!(matches!(error, Error::DeviceRulesTooFine(rule) if rule == rules[1]), "{error}");
        }
    }
}

#[test]
fn making_nodes_is_a_right_of_its_own() {
    let directory = TempDir::new().unwrap();
    let [char, block] =
        ["c 1 3", "b 7 0"].map(|what| format!("mknod {0}/x {what} && rm {0}/x", directory.path().display()));
    for place in places() {
        place.apply(&[rule(true, DeviceKind::Char, None, None, "m")]);
        assert_eq!(place.succeed(&[&char, &block, READ_NULL]), [&char]);
    }
}

#[test]
fn the_program_is_replaced_and_not_joined_by_another() {
    for (place, directory) in
        places().into_iter().filter_map(|place| place.unified().map(|path| (place, path)))
    {
        let cgroup = File::open(directory).unwrap();
        place.apply(&[allow(NULL, "r")]);
        let first = device_programs(cgroup.as_fd()).unwrap();
        place.apply(&[allow(NULL, "rw")]);
        let second = device_programs(cgroup.as_fd()).unwrap();
        assert_eq!((first.len(), second.len()), (1, 1));
        assert_ne!(first, second);
    }
}

#[test]
fn programs_of_others_stay() {
    for (place, directory) in
        places().into_iter().filter_map(|place| place.unified().map(|path| (place, path)))
    {
        let cgroup = File::open(directory).unwrap();
        let allow_all = [(0xb7, 1), (0x95, 0)].map(|(code, immediate)| Instruction {
            code,
            registers: 0,
            offset: 0,
            immediate,
        });
        let other = load_device_program(c"sd_devices", c"GPL", &allow_all).unwrap();
        attach_device_program(cgroup.as_fd(), other.as_fd(), None).unwrap();
        for rules in [&[allow(NULL, "r")], &[allow(ZERO, "r")], &[all(true)]] {
            place.apply(rules);
        }
        let ids = device_programs(cgroup.as_fd()).unwrap();
        let names = ids.iter().map(|id| program_name(program_by_id(*id).unwrap().as_fd()).unwrap());
        assert_eq!(names.collect::<Vec<_>>(), ["sd_devices"]);
    }
}

#[test]
fn the_program_ends_with_the_cgroup() {
    for (place, directory) in
        places().into_iter().filter_map(|place| place.unified().map(|path| (place, path)))
    {
        place.apply(&[]);
        let id = device_programs(File::open(directory).unwrap().as_fd()).unwrap()[0];
        assert!(program_by_id(id).is_ok());
        drop(place);
        let start = Instant::now();
        // The kernel frees a cgroup in the background.
        while program_by_id(id).err() != Some(Errno::NOENT) {
            assert!(start.elapsed() < Duration::from_secs(10), "the program outlives its cgroup");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_cgroup_that_is_none_can_deny_nothing() {
    let none = Record::disabled();
    none.cgroup().apply_devices(&[all(true)]).unwrap();
    let error = none.cgroup().apply_devices(&[all(false)]).unwrap_err();
    assert!(matches!(error, Error::NoDeviceController), "{error}");
}
