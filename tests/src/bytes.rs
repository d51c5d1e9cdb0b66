//! Random bytes that go in and come back.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use crate::sandbox::{Foreground, Sandbox};

/// How often the bytes of a test go round: what `CLOISON_STREAM_ROUNDS` says, else twice.
///
/// # Panics
/// When it says something else than a number.
pub fn rounds() -> usize {
    let said = std::env::var("CLOISON_STREAM_ROUNDS").ok();
    said.map_or(2, |rounds| rounds.parse().expect("CLOISON_STREAM_ROUNDS is a number"))
}

/// So many bytes that nobody could guess.
pub fn random(length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut data)).expect("random bytes");
    data
}

/// A command with pipes for its input and output.
pub struct Piped<'s> {
    /// The command.
    pub command: Foreground<'s>,
    /// Its standard input.
    pub input: ChildStdin,
    /// Its standard output.
    pub output: ChildStdout,
}

impl<'s> Piped<'s> {
    /// Starts a command; its standard error is for `errors`.
    pub fn spawn(sandbox: &'s Sandbox, mut command: Command, errors: Stdio) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut command = sandbox.spawn_with_own_stdio(command);
        let input = command.child().stdin.take().expect("it is a pipe");
        let output = command.child().stdout.take().expect("it is a pipe");
        Self { command, input, output }
    }

    /// Reads what is printed, up to this word.
    pub fn until_prints(&mut self, word: &[u8]) {
        let (mut printed, mut byte) = (Vec::new(), [0]);
        while !printed.ends_with(word) {
            self.output.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {printed:?}"));
            printed.extend_from_slice(&byte);
        }
    }

    /// Sends all these bytes and then the end, reads to the end meanwhile, and gives what was read. The command must succeed.
    pub fn there_and_back(self, data: &[u8]) -> Vec<u8> {
        let Self { command, mut input, mut output } = self;
        let mut got = Vec::with_capacity(data.len());
        std::thread::scope(|scope| {
            scope.spawn(move || input.write_all(data).expect("somebody reads"));
            output.read_to_end(&mut got).expect("a pipe can be read");
        });
        command.wait().ok();
        got
    }
}
