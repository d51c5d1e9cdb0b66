//! What is not built yet: refused by name, because a container would be less than was asked for.
//!
//! What does not hold is a lie, so it is refused.

use crate::spec::{Problem, Spec};

/// Everything in the configuration that is refused.
pub fn check(spec: &Spec) -> Vec<Problem> {
    let mut refused = Vec::new();
    let mut refuse = |is_there: bool, pointer: &str, what: &str| {
        if is_there {
            refused.push(problem(pointer, format!("{what} not supported by this version of cloison")));
        }
    };
    let linux = &spec.linux;
    refuse(linux.intel_rdt.is_some(), "/linux/intelRdt", "Intel RDT is");
    refused
}

fn problem(pointer: &str, message: String) -> Problem {
    Problem { pointer: pointer.to_owned(), message }
}
