//! `cloison resize`

use std::process::ExitCode;

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, Runtime};

use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Resize {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// Columns and rows, such as 80x24
    #[arg(value_name = "COLSxROWS", value_parser = size)]
    size: (u16, u16),
}

impl Resize {
    /// Gives the container's terminal the size.
    pub(crate) fn run(&self, runtime: &Runtime) -> Result<ExitCode, Error> {
        let (columns, rows) = self.size;
        lifecycle::resize(runtime, &ContainerId::parse(&self.id)?, columns, rows)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let read = |text: &str| text.parse().ok().filter(|number: &u16| *number > 0);
    let numbers = text.split_once(['x', 'X']).and_then(|(columns, rows)| Some((read(columns)?, read(rows)?)));
    numbers.ok_or_else(|| "expected columns and rows such as 80x24, each from 1 to 65535".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_two_numbers_that_a_terminal_can_have() {
        assert_eq!(size("80x24"), Ok((80, 24)));
        assert_eq!(size("1X65535"), Ok((1, 65535)));
        for wrong in ["", "80", "x", "0x24", "80x0", "80x65536", "-1x1", "80x24x1", "80 x 24"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
