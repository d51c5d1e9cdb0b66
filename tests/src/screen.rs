//! A terminal that somebody sits at: the test.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::bundle::Bundle;
use crate::caller;
use crate::output::Output;
use crate::sandbox::{Foreground, Sandbox, to_pid, until};

/// A terminal with its keyboard and its screen.
pub struct Screen {
    /// The side that a person sits at.
    pub master: OwnedFd,
    /// The side that programs are at.
    pub terminal: OwnedFd,
    seen: RefCell<Vec<u8>>,
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Screen {
    /// A terminal without a size.
    pub fn new() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a new terminal");
        unlockpt(&master).expect("it is ours");
        let terminal = ioctl_tiocgptpeer(&master, flags).expect("its other side");
        rustix::io::ioctl_fionbio(&master, true).expect("it is ours");
        caller::give_open(&terminal);
        Self { master, terminal, seen: RefCell::default() }
    }

    /// A terminal of this size, in characters.
    pub fn sized(columns: u16, rows: u16) -> Self {
        let screen = Self::new();
        screen.resize(columns, rows);
        screen
    }

    /// Changes the size, and tells the programs at it.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("it is ours");
    }

    /// One more descriptor of the terminal.
    pub fn stream(&self) -> Stdio {
        self.terminal.try_clone().expect("a descriptor").into()
    }

    /// Starts a command that has this terminal for all its standard streams.
    pub fn spawn<'s>(&self, sandbox: &'s Sandbox, mut command: Command) -> Foreground<'s> {
        command.stdin(self.stream()).stdout(self.stream()).stderr(self.stream());
        sandbox.spawn_with_own_stdio(command)
    }

    /// Runs a container at this terminal.
    pub fn start<'s>(&self, sandbox: &'s Sandbox, bundle: &Bundle<'s>) -> Foreground<'s> {
        self.spawn(sandbox, Self::command(sandbox, bundle))
    }

    /// The command line that runs a container at a terminal.
    pub fn command(sandbox: &Sandbox, bundle: &Bundle<'_>) -> Command {
        bundle.write();
        // Warnings would be on the screen as well.
        let mut command = sandbox.command(["--log"]);
        command.arg(sandbox.dir().join("log")).args(["run", "--bundle"]).arg(bundle.dir());
        command.arg(sandbox.new_id());
        command
    }

    /// Runs a container at this terminal, to its end.
    pub fn run<'s>(&self, sandbox: &'s Sandbox, bundle: &Bundle<'s>) -> Output {
        self.end(self.start(sandbox, bundle))
    }

    /// Looks at the screen until the command has ended.
    pub fn end(&self, run: Foreground<'_>) -> Output {
        let pidfd = pidfd_open(to_pid(run.pid()), PidfdFlags::empty()).expect("it is our child");
        until("the command ends", || {
            self.look();
            poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&Timespec::default()))
                .expect("poll on a pidfd")
                > 0
        });
        let output = run.wait();
        self.look();
        output
    }

    /// Types these keys.
    pub fn types(&self, keys: &str) {
        assert_eq!(
            rustix::io::write(&self.master, keys.as_bytes()).expect("the other side is open"),
            keys.len()
        );
    }

    /// Looks at what has been shown since the last look.
    pub fn look(&self) {
        let mut bytes = [0; 16384];
        loop {
            match rustix::io::read(&self.master, &mut bytes) {
                Ok(count) if count > 0 => self.seen.borrow_mut().extend(&bytes[..count]),
                Ok(_) | Err(Errno::AGAIN) => return,
                Err(error) => panic!("reading the screen: {error}"),
            }
        }
    }

    /// All that was shown so far, but for the carriage returns.
    pub fn shown(&self) -> String {
        self.look();
        String::from_utf8_lossy(&self.seen.borrow()).replace('\r', "")
    }

    /// Waits until this is on the screen.
    pub fn until_shows(&self, text: &str) {
        until(&format!("the screen shows {text:?}"), || self.shown().contains(text));
    }

    /// What a shell would find changed.
    pub fn mode(&self) -> String {
        let mode = tcgetattr(&self.terminal).expect("it is ours");
        format!(
            "{:?}",
            (mode.input_modes, mode.output_modes, mode.control_modes, mode.local_modes, mode.special_codes)
        )
    }

    /// Whether keys reach programs as they are.
    pub fn is_raw(&self) -> bool {
        let local = tcgetattr(&self.terminal).expect("it is ours").local_modes;
        !local.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }
}
