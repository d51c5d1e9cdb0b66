//! Our numbers are libseccomp's, as far as it knows the calls.

use cloison_seccomp::{Architecture, Syscall};
use cloison_seccomp_oracle::{knows, number};

/// What we have where an older libseccomp has nothing, because the kernel had nothing then: numbers of calls it knows
/// on other architectures. Any other number must be the same.
#[test]
fn numbers_are_the_same() {
    let mut compared = 0;
    let mut newer = 0;
    for architecture in Architecture::ALL.into_iter().filter(|architecture| knows(*architecture)) {
        for call in Syscall::all() {
            let (ours, theirs) = (call.number(architecture), number(call.name(), architecture));
            match theirs {
                // libseccomp gives no number for what can be multiplexed.
                None => newer += usize::from(ours.is_some()),
                // It has this one from PA-RISC's 32-bit table.
                Some(140) if call.name() == "_llseek" && architecture == Architecture::Parisc64 => {}
                Some(_) => assert_eq!(ours, theirs, "{} on {architecture:?}", call.name()),
            }
            compared += usize::from(theirs.is_some());
        }
    }
    println!("{compared} numbers are the same, {newer} only ours");
    assert!(compared > 5000, "{compared}");
}
