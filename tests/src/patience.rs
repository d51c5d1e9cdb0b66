//! How long things may take.

use std::sync::OnceLock;
use std::time::Duration;

/// The environment variable that says how many times longer everything may take here, on an emulated processor say.
pub const VARIABLE: &str = "CLOISON_TEST_PATIENCE";

/// How long to wait before looking again for what has been waited for so long: looking may be to run a command.
pub fn pause(waited: Duration) -> Duration {
    (waited / 8).clamp(Duration::from_millis(2), Duration::from_millis(100))
}

/// A time that is long enough on an ordinary machine, on this one.
pub fn patient(time: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let factor = FACTOR.get_or_init(|| match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => {
            text.parse().unwrap_or_else(|_| panic!("{VARIABLE}={text:?}: no number"))
        }
        _ => 1,
    });
    time * *factor
}
