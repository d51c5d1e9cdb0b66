//! A filter of ours costs less than libseccomp's: to compile, and each call under it. The figures are printed by the example `cost`.

use std::time::{Duration, Instant};

use cloison_seccomp::{Architecture, compile, interpret};
use cloison_seccomp_oracle::{ENGINES, Reference, engine_profile, typical_calls};

const NATIVE: Architecture = Architecture::X86_64;

#[test]
fn a_typical_call_executes_fewer_instructions_than_under_libseccomp_at_its_best() {
    for (engine, json) in ENGINES {
        let profile = engine_profile(json, NATIVE, &["CAP_CHOWN", "CAP_SYS_CHROOT"]);
        let ours = compile(&profile, NATIVE).expect("a good profile");
        let theirs = Reference::compile(&profile, NATIVE).expect("a good profile");
        assert!(ours.filter.len() < theirs.filter().len());
        for (name, call) in typical_calls() {
            let executed = interpret(&ours.filter, &call, NATIVE.endianness()).expect("a valid program");
            let (ours, theirs) = (executed.instructions, theirs.verdict(&call).instructions);
            assert!(ours < theirs, "{engine}, {name}: {ours} and {theirs}");
        }
    }
}

#[test]
fn compiling_takes_less_than_a_tenth_of_what_it_takes_libseccomp() {
    for (engine, json) in ENGINES {
        let profile = engine_profile(json, NATIVE, &["CAP_CHOWN"]);
        // The least of several: others are at work on this machine, too.
        let least = |compile: &dyn Fn()| {
            let took = (0..5).map(|_| {
                let begun = Instant::now();
                compile();
                begun.elapsed()
            });
            took.min().unwrap_or(Duration::MAX)
        };
        let ours = least(&|| drop(compile(&profile, NATIVE)));
        let theirs = least(&|| drop(Reference::compile(&profile, NATIVE)));
        println!("{engine}: {ours:?} and {theirs:?}");
        assert!(ours * 10 < theirs, "{engine}: {ours:?} and {theirs:?}");
    }
}
