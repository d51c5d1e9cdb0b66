//! What filters cost, ours and libseccomp's: how long they take to compile, how long they are, and how many
//! instructions a call executes. Run it with `cargo run --release --package cloison-seccomp-oracle --example cost`.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd;
use std::time::Instant;

use cloison_linux::process::{CloneRequest, Fork, clone3, wait_pidfd};
use cloison_linux::{launch, namespace, seccomp};
use cloison_seccomp::{Architecture, SockFilter, compile, interpret};
use cloison_seccomp_oracle::{ENGINES, Reference, engine_profile, typical_calls};

const NATIVE: Architecture = Architecture::X86_64;

const CAPABILITIES: [&str; 4] = ["CAP_CHOWN", "CAP_SETUID", "CAP_SYS_CHROOT", "CAP_AUDIT_WRITE"];

fn main() {
    for (engine, json) in ENGINES {
        let profile = engine_profile(json, NATIVE, &CAPABILITIES);
        let ours = compile(&profile, NATIVE).expect("a good profile");
        let theirs = Reference::compile(&profile, NATIVE).expect("a good profile");
        println!("\n{engine}'s profile on {NATIVE:?}\n");
        println!("| | cloison | libseccomp, optimised |\n|---|---|---|");
        println!(
            "| compiled in µs | {:.0} | {:.0} |",
            median(&|| drop(compile(&profile, NATIVE))),
            median(&|| drop(Reference::compile(&profile, NATIVE))),
        );
        println!(
            "| loaded in µs | {:.0} | {:.0} |",
            median_of((0..51).map(|_| loading(&ours.filter))),
            median_of((0..51).map(|_| loading(theirs.filter()))),
        );
        println!("| instructions | {} | {} |", ours.filter.len(), theirs.filter().len());
        for (name, call) in typical_calls() {
            let executed = interpret(&ours.filter, &call, NATIVE.endianness()).expect("a valid program");
            println!(
                "| executed for {name} | {} | {} |",
                executed.instructions,
                theirs.verdict(&call).instructions
            );
        }
    }
}

/// Of some rounds, in µs.
fn median(run: &dyn Fn()) -> f64 {
    median_of((0..51).map(|_| {
        let begun = Instant::now();
        run();
        begun.elapsed().as_secs_f64() * 1e6
    }))
}

/// How long the kernel takes to load a filter, in µs; measured in a process of its own, since it stays there.
fn loading(filter: &[SockFilter]) -> f64 {
    let filter: Vec<_> = filter
        .iter()
        .map(|one| launch::SockFilter { code: one.code, jt: one.jt, jf: one.jf, k: one.k })
        .collect();
    let (mut told, mut tell) = std::io::pipe().expect("a pipe");
    let request =
        CloneRequest { namespaces: namespace::NamespaceFlags::empty(), cgroup: None, as_sibling: false };
    match clone3(&request).expect("a process") {
        Fork::Child => {
            let begun = Instant::now();
            let loaded = seccomp::load(&filter, seccomp::SPEC_ALLOW);
            let taken = begun.elapsed().as_secs_f64() * 1e6;
            loaded.expect("this runs as root");
            tell.write_all(&taken.to_ne_bytes()).expect("the pipe is open");
            std::process::exit(0)
        }
        Fork::Parent { pidfd, .. } => {
            let mut taken = [0; 8];
            told.read_exact(&mut taken).expect("the child tells");
            wait_pidfd(pidfd.as_fd()).expect("the child ends");
            f64::from_ne_bytes(taken)
        }
    }
}

fn median_of(times: impl Iterator<Item = f64>) -> f64 {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
