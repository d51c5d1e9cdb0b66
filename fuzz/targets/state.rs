//! Any bytes are a state, damage, or a layout of another time; and what is a state is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match cloison::state::parse(bytes) {
        Ok(state) => {
            let written = serde_json::to_vec(&state).expect("it has a form");
            assert_eq!(cloison::state::parse(&written).expect("it is ours"), state);
            // What a command does with a state that it finds must not depend on who wrote it.
            assert!(state.init.is_none_or(|init| init.pid.as_raw_nonzero().get() > 0));
            assert!(state.cgroup.paths().len() < bytes.len());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
