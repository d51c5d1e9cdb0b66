//! A terminal that somebody sits at, shell and all: a `tmux` of the test's own, which nobody looks at.
//!
//! [`Screen`](crate::Screen) is a bare pseudo terminal. Here there is a real one, which knows colours, cursors and full-screen programs, and at
//! it a shell with job control, from which the runtime is started as a person would start it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::caller;
use crate::patience::patient;
use crate::sandbox::{Sandbox, until};

/// How long something may take until it is on the screen: the machine may be busy with all the other tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the shell at the terminal says when it waits.
pub const OUTSIDE: &str = "outside> ";

/// A `tmux` server with one window, and a shell in it.
pub struct Tmux<'s> {
    sandbox: &'s Sandbox,
    socket: PathBuf,
}

impl<'s> Tmux<'s> {
    /// A window of this size, in characters, with a shell that waits.
    pub fn new(sandbox: &'s Sandbox, columns: u16, rows: u16) -> Self {
        let tmux = Self { sandbox, socket: sandbox.dir().join("tmux") };
        let size = [columns.to_string(), rows.to_string()];
        // Nobody's configuration, and a shell that is the same on every machine.
        let mut command = tmux.command(&["-f", "/dev/null", "new-session", "-d", "-s", "test"]);
        let shell = format!("exec env PS1='{OUTSIDE}' /bin/busybox sh");
        command.args(["-x", &size[0], "-y", &size[1], &shell]);
        sandbox.finish(command).ok();
        tmux.until_shows(OUTSIDE);
        tmux
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.bare_command("tmux");
        // Without it tmux shows no characters but those of ASCII.
        command.env("LC_ALL", "C.UTF-8").arg("-S").arg(&self.socket).args(arguments);
        // What is typed there finds the caller's systemd.
        if let Some(directory) = caller::runtime_directory() {
            command.env("XDG_RUNTIME_DIR", directory);
        }
        command
    }

    fn tell(&self, arguments: &[&str]) -> String {
        self.sandbox.finish(self.command(arguments)).ok().to_owned()
    }

    /// Types this text as it is.
    pub fn types(&self, text: &str) {
        self.tell(&["send-keys", "-t", "test", "-l", "--", text]);
    }

    /// Presses keys, by the names that `tmux` has for them: `Enter`, `Escape`, `C-c`.
    pub fn presses(&self, keys: &[&str]) {
        self.tell(&[&["send-keys", "-t", "test"], keys].concat());
    }

    /// Types a line, and the key that ends it.
    pub fn enters(&self, line: &str) {
        self.types(line);
        self.presses(&["Enter"]);
    }

    /// Enters a command line.
    pub fn runs(&self, command: &Command) {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
        self.enters(&words.join(" "));
    }

    /// Changes the window's size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = [columns.to_string(), rows.to_string()];
        self.tell(&["resize-window", "-t", "test", "-x", &size[0], "-y", &size[1]]);
    }

    /// What can be seen now, and what has been scrolled away; a line that is longer than the window is one line.
    pub fn shown(&self) -> String {
        self.tell(&["capture-pane", "-t", "test", "-p", "-J", "-S", "-"])
    }

    /// The same, with the sequences that make the colours.
    pub fn shown_in_colour(&self) -> String {
        self.tell(&["capture-pane", "-t", "test", "-p", "-e", "-S", "-"])
    }

    /// What can be seen now.
    pub fn visible(&self) -> String {
        self.tell(&["capture-pane", "-t", "test", "-p"])
    }

    /// Waits until this is on the screen.
    #[track_caller]
    pub fn until_shows(&self, text: &str) {
        self.until(&format!("{text:?} is shown"), |tmux| tmux.shown().contains(text));
    }

    /// Waits until something holds.
    #[track_caller]
    pub fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + patient(PATIENCE);
        while !holds(self) {
            assert!(Instant::now() < deadline, "waited in vain until {what}:\n{}", self.shown());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Forgets what was shown, and waits until the shell at the terminal, or whoever has that prompt, waits for a line.
    #[track_caller]
    pub fn clear(&self, prompt: &str) {
        // The shells' key for an empty screen with the prompt at its top.
        self.presses(&["C-l"]);
        self.until("the prompt stands alone", |tmux| tmux.visible().trim() == prompt.trim());
        self.tell(&["clear-history", "-t", "test"]);
    }

    /// The mode of the terminal, as `stty -a` tells it to the shell.
    #[track_caller]
    pub fn mode(&self) -> String {
        self.clear(OUTSIDE);
        self.enters("stty -a; echo to''ld");
        self.until_shows("told\n");
        let shown = self.shown();
        let lines = shown.lines().skip(1).take_while(|line| *line != "told");
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let server = self.sandbox.finish(self.command(&["display-message", "-p", "#{pid}"]));
        self.sandbox.finish(self.command(&["kill-server"]));
        // It was given to us when the command that started it ended.
        let server: Option<u32> = server.stdout.trim().parse().ok();
        if let Some(server) = server.filter(|_| !std::thread::panicking()) {
            until("tmux has ended", || {
                self.sandbox.reap();
                !std::path::Path::new(&format!("/proc/{server}")).exists()
            });
        }
    }
}
