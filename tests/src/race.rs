//! An enemy who exchanges two paths while containers are made.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::bundle::Bundle;
use crate::output::Output;
use crate::sandbox::Sandbox;
use crate::skip::test_name;

/// How many containers each race makes, if [`ROUNDS`] does not say it.
const DEFAULT_ROUNDS: u32 = 100;

/// The environment variable that says how many containers each race makes.
pub const ROUNDS: &str = "CLOISON_RACE_ROUNDS";

/// How long a path stays in its place, in microseconds: in a race all lengths up to this one come about equally often. A container
/// is made in some milliseconds.
const LONGEST_STAY: u64 = 1500;

/// How many containers a race makes.
pub fn rounds() -> u32 {
    let asked = std::env::var(ROUNDS).ok();
    asked.map_or(DEFAULT_ROUNDS, |text| {
        text.parse().unwrap_or_else(|_| panic!("{ROUNDS}={text:?}: no number"))
    })
}

/// Exchanges two paths again and again (`renameat2(2)` with `RENAME_EXCHANGE`) while `work` goes on.
pub fn while_exchanging(one: &Path, other: &Path, work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    let exchanged = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
                let count = exchanged.fetch_add(1, Ordering::Relaxed);
                // 7919 is a prime: the lengths are spread evenly, and the same in each run.
                let stay = Duration::from_micros(u64::from(count) * 7919 % LONGEST_STAY);
                let begun = Instant::now();
                while begun.elapsed() < stay && !stop.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
            }
        });
        // Also when it panics, or the scope would wait for ever.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(exchanged.load(Ordering::Relaxed) > 0, "nothing was exchanged");
}

/// Runs the bundle [`rounds`] times while the two paths are exchanged, and looks at the output of each. Runs may fail: what was asked for is
/// not there half of the time.
pub fn race(sandbox: &Sandbox, bundle: &Bundle<'_>, one: &Path, other: &Path, mut look: impl FnMut(&Output)) {
    bundle.write();
    let (rounds, mut ran) = (rounds(), 0);
    while_exchanging(one, other, || {
        for _ in 0..rounds {
            let output = sandbox.finish(bundle.run_command(&[]));
            ran += u32::from(output.status.success());
            look(&output);
        }
    });
    println!("{}: {rounds} containers, of which {ran} ran and {} were refused", test_name(), rounds - ran);
}
