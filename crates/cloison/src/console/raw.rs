//! The mode of the caller's terminal, and its way back.

use std::sync::{Mutex, Once, PoisonError};

use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, OutputModes, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use super::Error;

/// The mode to go back to, while there is one. A static, because a panic hook has nothing else.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Waits until the caller's terminal is ours to change: a process in the background is stopped here until it is brought to the front.
///
/// To be called before signals are blocked: the kernel takes a blocked SIGTTOU for leave to change the terminal of another process group.
pub(crate) fn claim() -> Result<(), Error> {
    let Some(mode) = mode()? else { return Ok(()) };
    // Nothing changes; but it is asked for as a change.
    tcsetattr(stdin(), OptionalActions::Now, &mode).map_err(Error::Background)
}

/// Standard input is a raw terminal as long as this lives.
#[derive(Debug)]
pub(crate) struct RawMode {
    raw: Termios,
}

impl RawMode {
    /// Makes standard input raw, if it is a terminal; `output` says whether what is written to it is left as it is, too.
    pub(crate) fn begin(output: bool) -> Result<Option<Self>, Error> {
        let Some(before) = mode()? else { return Ok(None) };
        let mut raw = before.clone();
        raw.make_raw();
        if !output {
            raw.output_modes = before.output_modes;
        }
        restore_in_a_panic();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let mode = Self { raw };
        mode.resume()?;
        Ok(Some(mode))
    }

    /// Makes it raw again after the caller was stopped, for a shell takes its own terminal back then.
    pub(crate) fn resume(&self) -> Result<(), Error> {
        if in_background() {
            return Ok(());
        }
        // Now, and not when all is written: an output that stands still must not hold us. Nor is anything typed thrown away.
        tcsetattr(stdin(), OptionalActions::Now, &self.raw).map_err(Error::Raw)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore(BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

fn restore(before: Option<Termios>) {
    // Another process group has the terminal now, and its own idea of it.
    let Some(before) = before.filter(|_| !in_background()) else { return };
    if let Err(errno) = tcsetattr(stdin(), OptionalActions::Now, &before) {
        log::debug!("the caller's terminal was not restored, is it gone? {errno}");
    }
}

/// Before the message of the panic is written, so that its lines are lines.
fn restore_in_a_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Never waiting: the lock could be held by the one who panics.
            if let Ok(mut before) = BEFORE.try_lock() {
                restore(before.take());
            }
            others(panic);
        }));
    });
}

/// The mode of standard input; none if it is no terminal.
fn mode() -> Result<Option<Termios>, Error> {
    match tcgetattr(stdin()) {
        Ok(mode) => Ok(Some(mode)),
        // EIO: a terminal that has been hung up. It is found out by reading.
        Err(Errno::NOTTY | Errno::INVAL | Errno::BADF | Errno::IO) => Ok(None),
        Err(errno) => Err(Error::Raw(errno)),
    }
}

/// Whether standard input is the terminal of our session, and another process group has it.
fn in_background() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group != getpgrp())
}

/// Whether a terminal writes newlines as they are.
pub(super) fn keep_newlines(mode: &mut Termios) {
    mode.output_modes.remove(OutputModes::ONLCR);
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::Command;

    use cloison_linux::terminal::open_terminal;
    use rustix::pty::{OpenptFlags, openpt};
    use rustix::termios::LocalModes;

    use super::*;

    /// Says that this process is the one that panics.
    const PANICS: &str = "CLOISON_TEST_PANICS";

    /// Whose standard input is a terminal of its parent's.
    fn panic_in_raw_mode() {
        let raw = RawMode::begin(true).unwrap().unwrap();
        let echoes = tcgetattr(stdin()).unwrap().local_modes.contains(LocalModes::ECHO);
        // What is dropped on the way out would restore the mode as well, but in a release nothing is.
        std::mem::forget(raw);
        println!("raw: {}", !echoes);
        panic!("on purpose");
    }

    #[test]
    fn the_mode_is_restored_in_a_panic_that_drops_nothing() {
        if std::env::var_os(PANICS).is_some() {
            panic_in_raw_mode();
        }
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        let terminal = open_terminal(master.as_fd()).unwrap();
        let mode = || format!("{:?}", tcgetattr(&terminal).unwrap());
        let before = mode();
        let name = "console::raw::tests::the_mode_is_restored_in_a_panic_that_drops_nothing";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(PANICS, "1")
            .stdin(terminal.try_clone().unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("raw: true") && !output.status.success(), "{said}");
        assert_eq!(mode(), before);
    }
}
