//! What making and removing a cgroup costs, beside the bare `mkdir(2)` and `rmdir(2)` of the same directories.
//!
//! Root only: `cargo bench -p cloison-cgroup`. Prints the median of each in microseconds.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cloison_cgroup::{CgroupPath, DeviceAccess, DeviceKind, DeviceRule, Layout, Record, Signal, Unified};
use rustix::fs::{Mode, mkdir, rmdir};

const ROUNDS: usize = 400;

fn main() {
    let path =
        CgroupPath::new(Some(&format!("/cloison-bench-{}", std::process::id())), "bench").expect("a path");
    let layout = Layout::detect().expect("a layout");
    println!(
        "layout {}: detect_for {:.1}",
        layout.mode(),
        median(|| timed(|| drop(Layout::detect_for(&path))))
    );
    println!("detect by mountinfo {:.1}", median(|| timed(mountinfo)));
    let own = layout.place(&path).expect("a place");
    measure(&layout.mode().to_string(), &own);
    if let Layout::Legacy { unified: Some(mount), .. } = layout {
        let directory = mount.join(path.below());
        measure("its v2 hierarchy alone", &Record::Unified(Unified { mount, directory }));
    }
}

fn mountinfo() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    drop(Layout::parse(read("/proc/self/mountinfo"), &read("/proc/self/cgroup")));
}

/// Interleaves ours and the bare calls, so that both see the same machine.
fn measure(what: &str, record: &Record) {
    let cgroup = record.cgroup();
    let directories: Vec<PathBuf> = {
        let mut paths: Vec<_> = record.paths().into_values().collect();
        paths.dedup();
        paths
    };
    let mut times: [Vec<Duration>; 7] = Default::default();
    let rules = default_rules();
    for _ in 0..ROUNDS {
        times[0].push(timed(|| cgroup.create().expect("create")));
        times[1].push(timed(|| drop(cgroup.entry().expect("entry"))));
        times[5].push(timed(|| cgroup.apply_devices(&rules).expect("device rules")));
        times[6].push(timed(|| cgroup.apply_devices(&rules).expect("device rules")));
        times[2].push(timed(|| cgroup.remove().expect("remove")));
        times[3].push(timed(|| {
            for directory in &directories {
                mkdir(directory, Mode::from_raw_mode(0o755)).expect("mkdir");
            }
        }));
        times[4].push(timed(|| {
            for directory in &directories {
                rmdir(directory).expect("rmdir");
            }
        }));
    }
    let (kill, gone) = killing(record);
    let [create, entry, remove, bare_create, bare_remove, devices, again] =
        times.map(|mut all| middle(&mut all));
    println!(
        "{what}: create {create:.1} (mkdir {bare_create:.1}), entry {entry:.1}, remove {remove:.1} (rmdir {bare_remove:.1})"
    );
    println!("{what}: device rules {devices:.1}, the same again {again:.1}");
    println!("{what}: kill_all {kill:.1}, remove after it {gone:.1}");
}

/// What a container has that asks for nothing.
fn default_rules() -> Vec<DeviceRule> {
    let rule = |allow, kind, major, minor, access| DeviceRule { allow, kind, major, minor, access };
    let (all, mknod) = (DeviceAccess::all(), DeviceAccess::MKNOD);
    let general = [
        rule(false, DeviceKind::Any, None, None, all),
        rule(true, DeviceKind::Char, None, None, mknod),
        rule(true, DeviceKind::Block, None, None, mknod),
        rule(true, DeviceKind::Char, Some(136), None, all),
    ];
    let devices = [(1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (5, 2), (10, 200)];
    let devices = devices.map(|(major, minor)| rule(true, DeviceKind::Char, Some(major), Some(minor), all));
    general.into_iter().chain(devices).collect()
}

/// What it takes to kill one process, and to remove its cgroup right after that.
fn killing(record: &Record) -> (f64, f64) {
    let (mut kills, mut removals) = (Vec::new(), Vec::new());
    let cgroup = record.cgroup();
    for _ in 0..ROUNDS / 8 {
        cgroup.create().expect("create");
        let join: String = record.paths().values().fold(String::new(), |all, directory| {
            all + "echo 0 > " + &directory.display().to_string() + "/cgroup.procs && "
        });
        let mut child = Command::new("sh")
            .args(["-c", &(join + "echo && exec sleep 100")])
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let mut ready = [0];
        child.stdout.take().expect("a pipe").read_exact(&mut ready).expect("the child is in its cgroup");
        kills.push(timed(|| cgroup.kill_all(Signal::KILL).expect("kill")));
        removals.push(timed(|| cgroup.remove().expect("remove")));
        child.wait().expect("the child's end");
    }
    (middle(&mut kills), middle(&mut removals))
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median(mut work: impl FnMut() -> Duration) -> f64 {
    middle(&mut (0..ROUNDS).map(|_| work()).collect::<Vec<_>>())
}

fn middle(all: &mut [Duration]) -> f64 {
    all.sort_unstable();
    all[all.len() / 2].as_secs_f64() * 1e6
}
