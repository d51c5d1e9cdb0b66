//! What filters cost, ours and libseccomp's: how long they take to compile, how long they are, and how many
//! instructions a call executes. Run it with `cargo run --release --package cloison-seccomp-oracle --example cost`.

use std::time::Instant;

use cloison_seccomp::{Architecture, Call, Syscall, compile, interpret};
use cloison_seccomp_oracle::{ENGINES, Reference, engine_profile};

const NATIVE: Architecture = Architecture::X86_64;

const CAPABILITIES: [&str; 4] = ["CAP_CHOWN", "CAP_SETUID", "CAP_SYS_CHROOT", "CAP_AUDIT_WRITE"];

const CALLS: [&str; 14] = [
    "read",
    "write",
    "close",
    "openat",
    "fstat",
    "mmap",
    "futex",
    "epoll_wait",
    "recvfrom",
    "sendto",
    "clock_nanosleep",
    "clone",
    "execve",
    "exit_group",
];

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
        println!("| instructions | {} | {} |", ours.filter.len(), theirs.length());
        for name in CALLS {
            let call = call(name);
            let executed = interpret(&ours.filter, &call, NATIVE.endianness()).expect("a valid program");
            println!(
                "| executed for {name} | {} | {} |",
                executed.instructions,
                theirs.verdict(&call).instructions
            );
        }
    }
}

fn call(name: &str) -> Call {
    let number = Syscall::named(name).and_then(|call| call.number(NATIVE)).expect("a call");
    Call { number, architecture: NATIVE.audit(), instruction_pointer: 0, arguments: [0x11, 0, 0, 0, 0, 0] }
}

/// Of some rounds, in µs.
fn median(run: &dyn Fn()) -> f64 {
    let mut times: Vec<f64> = (0..51)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
