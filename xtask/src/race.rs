//! The tests that are races, with more tries than a run of all tests has time for.

use crate::{Result, build, command, integration, setup};

/// Runs every test of `tests/races.rs` with so many containers, one test after another: two at once would disturb each other's timing.
///
/// # Errors
/// When the build or a test fails.
pub(crate) fn race(rounds: u32) -> Result<()> {
    setup::setup()?;
    command::run(build::cargo().args(["build", "--quiet", "--workspace"]))?;
    let program = integration::program("races")?;
    let mut lost = Vec::new();
    for name in integration::names(&program)? {
        let output = integration::run(&program, &name, &[format!("CLOISON_RACE_ROUNDS={rounds}")])?;
        let said = String::from_utf8_lossy(&output.stdout);
        let told =
            said.lines().filter(|line| line.contains(" containers, ") || line.starts_with("skipped: "));
        told.for_each(|line| println!("{line}"));
        if !output.status.success() {
            println!("FAILED: {name}\n{said}{}", String::from_utf8_lossy(&output.stderr));
            lost.push(name);
        }
    }
    if lost.is_empty() { Ok(()) } else { Err(format!("lost: {}", lost.join(", ")).into()) }
}
