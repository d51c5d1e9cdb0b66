//! How long things may take.

use std::sync::OnceLock;
use std::time::Duration;

/// The environment variable that says how many times longer everything may take here, on an emulated processor say.
pub const VARIABLE: &str = "CLOISON_TEST_PATIENCE";

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
