//! Descriptors that the program inherits beside the standard streams: those of socket activation, then those of `--preserve-fds`.

use cloison_linux::file::is_inherited;

use super::Error;
use super::error::Doing as _;

/// The number of the first one.
const FIRST: u32 = 3;

/// How many descriptors the service manager has handed to us for sockets (`sd_listen_fds(3)`).
pub(super) fn socket_activation() -> u32 {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let is_for_us = number("LISTEN_PID") == Some(std::process::id());
    number("LISTEN_FDS").filter(|_| is_for_us).unwrap_or(0)
}

/// Refuses what was not handed to us. In its place there could be a descriptor of our own, which is closed by `execve(2)` only when the
/// program has been found, and maybe through it (CVE-2024-21626).
pub(super) fn check(count: u32) -> Result<(), Error> {
    for number in FIRST..FIRST.saturating_add(count) {
        if !is_inherited(number).doing(format!("looking at descriptor {number}"))? {
            return Err(Error::NotPreserved { number, count });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_descriptor_is_preserved_that_was_not_handed_to_us() {
        check(0).unwrap();
        for count in [1 << 20, u32::MAX] {
            let error = check(count).unwrap_err().to_string();
            assert!(error.starts_with("unable to stat preserved-fd"), "{error}");
        }
    }
}
