//! How an error is told to the person, or the engine, that gave the command.
//!
//! A person gets the error, one cause a line below it, and a hint where there is one to give. An engine gets one line: in the log
//! file, and again bare on standard error, of which conmon takes the first piece for the whole of the error. Who calls the program `runc` gets
//! what `runc` would print: the line of the log on standard error.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io::{self, Write};

use cloison::lifecycle;
use log::Level;

use crate::error::Error;
use crate::hint::hint;
use crate::log::Sink;
use crate::name::Name;

/// Who tells.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Teller {
    /// By which name it was called.
    pub(crate) name: Name,
    /// What `runc` says of a command that failed before it says why.
    pub(crate) failed: Option<&'static str>,
}

impl Teller {
    /// What an engine reads.
    fn line(self, error: &Error) -> String {
        match (self.name, self.failed) {
            (Name::Runc, Some(failed)) => format!("{failed}: {}", one_line(error)),
            _ => one_line(error),
        }
    }

    /// Whether the error is a line of the log, and nothing beside it is for a person.
    fn logs(self, error: &Error, sink: &Sink) -> bool {
        let for_runc = self.name == Name::Runc
            && !matches!(error, Error::Usage { .. })
            && refused_program(error).is_none();
        !sink.is_plain_stderr() || for_runc
    }
}

/// What the kernel said about the program of a container that was otherwise ready: `runc`, which has handed over its streams by then, prints
/// that alone.
fn refused_program(error: &Error) -> Option<&str> {
    match error {
        Error::Lifecycle(lifecycle::Error::Launch(said, _)) => Some(said),
        _ => None,
    }
}

/// Tells of the error that ends this process. `sink` is none when the log itself is what failed.
pub(crate) fn report(error: &Error, sink: Option<&Sink>, teller: Teller) {
    let mut text = for_stderr(error, sink, teller);
    if let Some(Err(lost)) =
        sink.filter(|sink| teller.logs(error, sink)).map(|sink| sink.write(Level::Error, &teller.line(error)))
    {
        writeln!(text, "cannot write to the log: {lost}").expect("a string takes any text");
    }
    // Where standard error is closed there is nobody to tell; the exit code remains.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// What standard error gets beside the log: the bare line if the log is a file, nothing if the log is standard error itself and
/// wants JSON, and all that a person may want otherwise.
fn for_stderr(error: &Error, sink: Option<&Sink>, teller: Teller) -> String {
    match (sink, refused_program(error)) {
        (Some(sink), _) if sink.is_file() => teller.line(error) + "\n",
        (Some(sink), _) if teller.logs(error, sink) => String::new(),
        (_, Some(said)) if teller.name == Name::Runc => format!("{said}\n"),
        _ => in_full(error, teller.name),
    }
}

/// The error and its causes on one line, joined by colons.
pub(crate) fn one_line(error: &(dyn StdError + 'static)) -> String {
    let causes = causes(error).join(": ");
    let mut line = String::with_capacity(causes.len());
    for part in causes.lines().map(str::trim).filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push_str(if line.ends_with(':') { " " } else { "; " });
        }
        line.push_str(part);
    }
    line
}

/// The error, one cause a line, and a hint.
fn in_full(error: &Error, name: Name) -> String {
    let name = name.as_str();
    if let Error::Usage { message, usage } = error {
        return format!("{name}: Incorrect Usage: {message}\n\n{usage}\n");
    }
    let mut text = format!("{name}: ");
    // Beside the output of a command that did run, one line is what a person can tell from it.
    if let Error::Exec(_) = error {
        text.push_str(&one_line(error));
        text.push('\n');
        return text;
    }
    for (depth, cause) in causes(error).iter().enumerate() {
        if depth > 0 {
            text.push_str("  ");
        }
        // An error that has several lines, such as the list of all that is wrong with a config.json, keeps them.
        text.push_str(cause.trim_end().replace('\n', "\n  ").as_str());
        text.push('\n');
    }
    if let Some(hint) = hint(error) {
        text.push_str("hint: ");
        text.push_str(hint);
        text.push('\n');
    }
    text
}

/// The error's sentence and those of its causes, without those that only repeat the end of the one before.
fn causes(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut sentences: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let sentence = error.to_string();
        if !sentences.last().is_some_and(|last| last.ends_with(&sentence)) {
            sentences.push(sentence);
        }
        next = error.source();
    }
    sentences
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn no_log() -> Error {
        Error::Log { path: PathBuf::from("/gone/log"), error: io::Error::from_raw_os_error(2) }
    }

    #[test]
    fn person_reads_one_cause_a_line() {
        let text = in_full(&no_log(), Name::Cloison);
        assert_eq!(
            text,
            "cloison: cannot open the log file \"/gone/log\"\n  No such file or directory (os error 2)\n"
        );
    }

    #[test]
    fn engine_reads_one_line() {
        let line = one_line(&no_log());
        assert_eq!(line, "cannot open the log file \"/gone/log\": No such file or directory (os error 2)");
        let several =
            Error::Usage { message: "two problems:\n  one\n  two\n".to_owned(), usage: String::new() };
        assert_eq!(one_line(&several), "two problems: one; two");
    }

    #[test]
    fn standard_error_gets_the_bare_line_beside_a_log_file_and_nothing_beside_json() {
        let file = || Some(std::fs::File::open("/dev/null").expect("there is /dev/null"));
        let line = one_line(&no_log()) + "\n";
        assert_eq!(for_stderr(&no_log(), Some(&Sink::new(file(), true)), Teller::default()), line);
        assert_eq!(for_stderr(&no_log(), Some(&Sink::new(file(), false)), Teller::default()), line);
        assert_eq!(for_stderr(&no_log(), Some(&Sink::new(None, true)), Teller::default()), "");
        assert_eq!(
            for_stderr(&no_log(), Some(&Sink::new(None, false)), Teller::default()),
            in_full(&no_log(), Name::Cloison)
        );
        assert_eq!(for_stderr(&no_log(), None, Teller::default()), in_full(&no_log(), Name::Cloison));
    }

    #[test]
    fn usage_error_shows_how_it_is_done() {
        let usage = Error::Usage {
            message: "flag needs an argument: --root".to_owned(),
            usage: "USAGE:\n   …".to_owned(),
        };
        assert_eq!(
            in_full(&usage, Name::Cloison),
            "cloison: Incorrect Usage: flag needs an argument: --root\n\nUSAGE:\n   …\n"
        );
    }

    #[test]
    fn who_calls_runc_reads_what_runc_writes() {
        let file = || Some(std::fs::File::open("/dev/null").expect("there is /dev/null"));
        let teller = Teller { name: Name::Runc, failed: Some("runc run failed") };
        let (plain, log) = (Sink::new(None, false), Sink::new(file(), true));
        assert!(teller.logs(&no_log(), &plain), "a line of the log");
        assert_eq!(for_stderr(&no_log(), Some(&plain), teller), "");
        let line = format!("runc run failed: {}\n", one_line(&no_log()));
        assert_eq!(for_stderr(&no_log(), Some(&log), teller), line);
        let errno = rustix::io::Errno::NOENT;
        let program = Error::Lifecycle(lifecycle::Error::Launch(
            "exec /run.sh: no such file or directory".to_owned(),
            errno,
        ));
        assert!(!teller.logs(&program, &plain) && teller.logs(&program, &log));
        assert_eq!(for_stderr(&program, Some(&plain), teller), "exec /run.sh: no such file or directory\n");
        assert!(
            in_full(&program, Name::Cloison).starts_with("cloison: unable to start container process: exec")
        );
        let usage = Error::Usage { message: "no".to_owned(), usage: String::new() };
        assert!(for_stderr(&usage, Some(&plain), teller).starts_with("runc: Incorrect Usage: no"));
    }

    #[test]
    fn cause_that_was_told_already_is_not_told_again() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read: {0}")]
        struct Told(#[source] io::Error);
        let told = Told(io::Error::other("it is closed"));
        assert_eq!(causes(&told), ["cannot read: it is closed"]);
    }
}
