//! `create`: everything but the program.

use cloison_linux::Linux;

use super::birth::{Begin, Birth};
use super::conception::Conception;
use super::{CreateOptions, Error, Runtime, console};
use crate::plan::Plan;

/// Makes a container whose first process waits for [`start`](super::start()).
///
/// # Errors
/// Everything that is wrong with the configuration, at once; else the first step that failed. Nothing is left behind.
pub fn create(runtime: &Runtime, options: &CreateOptions) -> Result<(), Error> {
    let conception = Conception::new(runtime, options)?;
    console::check(options.console_socket.as_deref(), conception.plan.terminal, true)?;
    let mut birth = Birth::begin(&Linux, runtime, conception, Begin::WhenStarted)?;
    console::hand_over(options, &mut birth)?;
    birth.commit(options.pid_file.as_deref())?;
    birth.hand_over_listener()
}

/// What [`create`] would do.
///
/// # Errors
/// Everything that is wrong with the configuration, at once.
pub fn plan(runtime: &Runtime, options: &CreateOptions) -> Result<Plan, Error> {
    Ok(Conception::new(runtime, options)?.plan)
}
