//! Any bytes are a configuration, or told what is wrong with them; and what is one is written as it was read.
#![no_main]

use std::path::Path;

use cloison::spec::{Process, Resources, Spec, SpecError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Spec::from_slice(bytes) {
        Ok(spec) => {
            let written = spec.to_json();
            let again = Spec::from_slice(&written)
                .unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(&written)));
            assert_eq!(again, spec, "what is written reads the same");
            // Its parts are read by other commands, and mean the same there.
            let parts: serde_json::Value = serde_json::from_slice(&written).expect("it is JSON");
            let process = Process::parse(parts["process"].to_string().as_bytes(), Path::new("process"));
            assert_eq!(process.ok(), Some(spec.process));
        }
        Err(error) => is_told(&error),
    }
    for error in [
        Process::parse(bytes, Path::new("process.json")).err(),
        Resources::parse(bytes, Path::new("resources.json")).err(),
    ] {
        error.iter().for_each(is_told);
    }
});

/// A refusal has words.
fn is_told(error: &SpecError) {
    assert!(!error.to_string().trim().is_empty(), "{error:?}");
}
