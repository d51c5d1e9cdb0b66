//! Where log records go: one line each, in the form that engines parse.
//!
//! containerd lets all commands on one container share a file and decodes it as a stream of JSON objects; podman gives each
//! command its own file and decodes the whole of it as a single object. Hence: the file is opened for appending, each record
//! is one `write(2)`, and with JSON only errors are logged unless more is asked for.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use cloison::state::Timestamp;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::args::{LogFormat, LogLevel, LogOptions, given};
use crate::error::Error;

/// The only sink of this process.
static SINK: OnceLock<Sink> = OnceLock::new();

/// Where records go, and how they look there.
#[derive(Debug)]
pub(crate) struct Sink {
    /// The log file; standard error without one.
    file: Option<File>,
    json: bool,
}

/// Sends the records of the `log` facade to where the options say, from now on.
///
/// # Errors
/// The file of `--log` cannot be opened for appending, or made (with mode 0644).
pub(crate) fn install(options: &LogOptions) -> Result<&'static Sink, Error> {
    let file = given(options.file.clone()).map(open).transpose()?;
    let sink = SINK.get_or_init(|| Sink::new(file, options.format == LogFormat::Json));
    // Refused only when a logger is there already, and then this sink is it.
    let _ = log::set_logger(sink);
    log::set_max_level(threshold(options));
    Ok(sink)
}

fn open(path: PathBuf) -> Result<File, Error> {
    let file = OpenOptions::new().append(true).create(true).mode(0o644).open(&path);
    file.map_err(|error| Error::Log { path, error })
}

/// The least severe level that is logged.
fn threshold(options: &LogOptions) -> LevelFilter {
    let by_format = if options.format == LogFormat::Json { LevelFilter::Error } else { LevelFilter::Warn };
    let said = options.level.map_or(by_format, level_filter);
    if options.debug { said.max(LevelFilter::Debug) } else { said }
}

fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warning => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    }
}

impl Sink {
    /// A sink that writes to a file, or else to standard error.
    pub(crate) fn new(file: Option<File>, json: bool) -> Self {
        Self { file, json }
    }

    /// True if a person reads the records as they come: plain lines on standard error.
    pub(crate) fn is_plain_stderr(&self) -> bool {
        self.file.is_none() && !self.json
    }

    /// True if records go to a file.
    pub(crate) fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// Writes one record, whatever the threshold is.
    ///
    /// # Errors
    /// What `write(2)` says, for instance that the disk is full.
    pub(crate) fn write(&self, level: Level, message: &str) -> io::Result<()> {
        let form = if self.json { json_line } else { text_line };
        let line = form(level, message, Timestamp::now().as_str());
        match &self.file {
            // A `File` has no buffer of its own: one call unless the disk is nearly full.
            Some(file) => (&mut &*file).write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        }
    }
}

impl Log for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // There is nowhere left to say that a line of the log was lost, and no reason to fail for it.
            let _ = self.write(record.level(), &record.args().to_string());
        }
    }

    fn flush(&self) {}
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// `{"level":"error","msg":"…","time":"…"}`, with a newline.
fn json_line(level: Level, message: &str, time: &str) -> String {
    let message = serde_json::Value::from(message);
    format!("{{\"level\":\"{}\",\"msg\":{message},\"time\":\"{time}\"}}\n", name(level))
}

/// `time="…" level=error msg="…"`, with a newline.
fn text_line(level: Level, message: &str, time: &str) -> String {
    let mut line = format!("time=\"{time}\" level={} msg=\"", name(level));
    for character in message.chars() {
        match character {
            '"' | '\\' => line.extend(['\\', character]),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            control if control.is_control() => {
                write!(line, "\\u{:04x}", u32::from(control)).expect("a string takes any text");
            }
            plain => line.push(plain),
        }
    }
    line.push_str("\"\n");
    line
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tempfile::TempDir;

    use super::*;
    use crate::args::CommandLine;

    const TIME: &str = "1970-01-01T00:00:00Z";

    const MESSAGES: &[&str] = &[
        "",
        "plain",
        "exec: \"sh\": executable file not found in $PATH",
        "two\nlines\r\n",
        "tab\there, nul \0, escape \x1b[31m, delete \x7f",
        "back\\slash at the end\\",
        "naïve – 中文 \u{2028} \u{feff}",
    ];

    #[test]
    fn any_message_is_one_line_of_json_with_three_members() {
        for message in MESSAGES {
            let line = json_line(Level::Error, message, TIME);
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            let value: serde_json::Value = serde_json::from_str(&line).expect("the line is JSON");
            assert_eq!(value["msg"], *message);
            assert_eq!(value["level"], "error");
            assert_eq!(value["time"], TIME);
            assert_eq!(value.as_object().map(serde_json::Map::len), Some(3));
        }
    }

    #[test]
    fn any_message_is_one_line_of_text() {
        for message in MESSAGES {
            let line = text_line(Level::Warn, message, TIME);
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            assert!(line.ends_with("\"\n"));
            assert!(!line.trim_end().contains(char::is_control), "{line:?}");
        }
        assert_eq!(
            text_line(Level::Warn, "say \"hi\"\n", TIME),
            "time=\"1970-01-01T00:00:00Z\" level=warning msg=\"say \\\"hi\\\"\\n\"\n"
        );
    }

    #[test]
    fn commands_that_share_a_file_append_to_it() {
        let directory = TempDir::new().expect("a directory can be made");
        let path = directory.path().join("log");
        let sinks =
            [(); 2].map(|()| Sink::new(Some(open(path.clone()).expect("the file can be made")), true));
        for (sink, message) in sinks.iter().cycle().zip(["one", "two", "three", "four"]) {
            sink.write(Level::Error, message).expect("the file can be written");
        }
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        let messages = text.lines().map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).expect("each line is an object");
            object["msg"].as_str().map(str::to_owned)
        });
        assert_eq!(
            messages.collect::<Option<Vec<_>>>().expect("each has a message"),
            ["one", "two", "three", "four"]
        );
    }

    #[test]
    fn json_has_errors_only_unless_more_is_asked_for() {
        let table = [
            ("cloison list", LevelFilter::Warn),
            ("cloison --log-format json list", LevelFilter::Error),
            ("cloison --log-format json --log-level warning list", LevelFilter::Warn),
            ("cloison --log-format json --debug list", LevelFilter::Debug),
            ("cloison --log-level error list", LevelFilter::Error),
            ("cloison --log-level warn list", LevelFilter::Warn),
            ("cloison --log-level trace --debug list", LevelFilter::Trace),
            ("cloison --log-level error --debug list", LevelFilter::Debug),
        ];
        for (line, expected) in table {
            let options = CommandLine::try_parse_from(line.split(' '))
                .expect("the test's command line is right")
                .global
                .log;
            assert_eq!(threshold(&options), expected, "{line}");
        }
    }
}
