//! The two forms of a log.
//!
//! | driver | one line of the log |
//! |---|---|
//! | `file` | `2026-11-25T12:00:00.123456789Z stdout F text`: the form of the Kubernetes CRI; `P` for a piece that no newline ended |
//! | `json` | `{"log":"text\n","stream":"stdout","time":"2026-11-25T12:00:00.123456789Z"}`: the form of Docker's `json-file` |
//!
//! `file` keeps every byte. `json` is text: what is not UTF-8 becomes U+FFFD.

use serde::{Deserialize, Serialize};

use super::protocol::Stream;
use crate::state::LogDriver;

/// One line, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// When it came: RFC 3339 in UTC, with nine digits of a second.
    pub time: String,
    /// It came by standard error.
    pub is_error: bool,
    /// The bytes, with the newline if there was one.
    pub bytes: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct JsonLine<'a> {
    #[serde(borrow)]
    log: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    stream: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    time: std::borrow::Cow<'a, str>,
}

/// Appends the line of the log for a piece of a stream: a line with its newline, or what came without one.
pub(super) fn write(driver: LogDriver, stream: Stream, time: &str, piece: &[u8], out: &mut Vec<u8>) {
    match driver {
        LogDriver::None => {}
        LogDriver::File => {
            let (tag, text) = match piece.strip_suffix(b"\n") {
                Some(text) => (" F ", text),
                None => (" P ", piece),
            };
            for part in [time.as_bytes(), b" ", stream.name().as_bytes(), tag.as_bytes(), text, b"\n"] {
                out.extend_from_slice(part);
            }
        }
        LogDriver::Json => {
            let line = JsonLine {
                log: String::from_utf8_lossy(piece),
                stream: stream.name().into(),
                time: time.into(),
            };
            serde_json::to_writer(&mut *out, &line).expect("texts are JSON, and memory takes any");
            out.push(b'\n');
        }
    }
}

/// Reads a line of a log, without its newline; none if it is no such line.
pub(super) fn read(driver: LogDriver, line: &[u8]) -> Option<LogEntry> {
    match driver {
        LogDriver::None => None,
        LogDriver::File => {
            let mut fields = line.splitn(4, |byte| *byte == b' ');
            let time = str::from_utf8(fields.next()?).ok()?.to_owned();
            let is_error = is_error(fields.next()?)?;
            let whole = fields.next()? == b"F";
            let mut bytes = fields.next()?.to_vec();
            if whole {
                bytes.push(b'\n');
            }
            Some(LogEntry { time, is_error, bytes })
        }
        LogDriver::Json => {
            let line: JsonLine<'_> = serde_json::from_slice(line).ok()?;
            Some(LogEntry {
                time: line.time.into_owned(),
                is_error: is_error(line.stream.as_bytes())?,
                bytes: line.log.into_owned().into_bytes(),
            })
        }
    }
}

fn is_error(stream: &[u8]) -> Option<bool> {
    match stream {
        b"stdout" => Some(false),
        b"stderr" => Some(true),
        _ => None,
    }
}

/// How many bytes at the end are the beginning of a character that is not there yet, at most three.
pub(super) fn unfinished(bytes: &[u8]) -> usize {
    for length in 1..=bytes.len().min(3) {
        let needed = match bytes[bytes.len() - length] {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 0,
        };
        return if needed > length { length } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-25T12:00:00.000000001Z";

    fn line(driver: LogDriver, stream: Stream, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(driver, stream, TIME, piece, &mut out);
        out
    }

    #[test]
    fn lines_have_the_forms_that_collectors_of_logs_know() {
        let file = |piece: &[u8]| String::from_utf8(line(LogDriver::File, Stream::Output, piece)).unwrap();
        assert_eq!(file(b"a b\n"), format!("{TIME} stdout F a b\n"));
        assert_eq!(file(b"$ "), format!("{TIME} stdout P $ \n"));
        assert_eq!(file(b"\n"), format!("{TIME} stdout F \n"));
        let json = line(LogDriver::Json, Stream::Error, b"a\"\n");
        let expected = format!("{{\"log\":\"a\\\"\\n\",\"stream\":\"stderr\",\"time\":\"{TIME}\"}}\n");
        assert_eq!(String::from_utf8(json).unwrap(), expected);
        assert!(line(LogDriver::None, Stream::Output, b"x").is_empty());
    }

    #[test]
    fn what_was_written_reads_the_same() {
        for driver in [LogDriver::File, LogDriver::Json] {
            for piece in [&b"text\n"[..], b"no end", b"\n", b"", b"a b c \n", "\u{e9}\u{4e2d}\n".as_bytes()] {
                for stream in [Stream::Output, Stream::Error] {
                    let line = line(driver, stream, piece);
                    let entry = read(driver, line.strip_suffix(b"\n").unwrap()).unwrap();
                    let is_error = stream == Stream::Error;
                    assert_eq!(entry, LogEntry { time: TIME.into(), is_error, bytes: piece.to_vec() });
                }
            }
        }
        let odd = b"\xff\x00 \xfe\n";
        let entry =
            read(LogDriver::File, line(LogDriver::File, Stream::Output, odd).strip_suffix(b"\n").unwrap());
        assert_eq!(entry.unwrap().bytes, odd, "the form of the file keeps every byte");
    }

    #[test]
    fn what_is_no_line_of_a_log_is_none() {
        for text in ["", "x", "a b", "a stdout F", "a stdin F x", "{}", "{\"log\":1}"] {
            assert_eq!(read(LogDriver::File, text.as_bytes()), None, "{text}");
            assert_eq!(read(LogDriver::Json, text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_beginning_of_a_character_is_told_from_an_end() {
        for (bytes, expected) in [
            (&b""[..], 0),
            (b"abc", 0),
            ("\u{e9}".as_bytes(), 0),
            (b"a\xc3", 1),
            (b"\xe4\xb8", 2),
            (b"\xf0\x9f\x98", 3),
            ("\u{1f600}".as_bytes(), 0),
            (b"\xff", 0),
            (b"\x80\x80\x80\x80", 0),
        ] {
            assert_eq!(unfinished(bytes), expected, "{bytes:?}");
        }
    }
}
