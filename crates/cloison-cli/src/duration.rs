//! Lengths of time as Go writes them: `5s`, `100ms`, `1m30s`, `1.5h`.

use std::time::Duration;

/// The units and their seconds.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("\u{b5}s", 1e-6),
    ("\u{3bc}s", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];
/// The longest time that Go can count, 292 years, in seconds.
const LONGEST: f64 = 9_223_372_036.0;

/// Reads a length of time that is longer than nothing.
///
/// # Errors
/// One sentence: it is none, or not longer than nothing.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let seconds = match text.strip_prefix('+').unwrap_or(text) {
        "0" => Some(0.0),
        text => match text.strip_prefix('-') {
            Some(text) => read(text).map(|seconds| -seconds),
            None => read(text),
        },
    };
    match seconds.filter(|seconds| *seconds <= LONGEST) {
        None => Err("expected a length of time such as 5s, 100ms or 1m30s".to_owned()),
        Some(seconds) => match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if !duration.is_zero() => Ok(duration),
            _ => Err("duration interval must be greater than 0".to_owned()),
        },
    }
}

/// Numbers with units, one after the other; their sum in seconds.
fn read(mut text: &str) -> Option<f64> {
    let mut sum = 0.0;
    if text.is_empty() {
        return None;
    }
    while !text.is_empty() {
        let end = text.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, rest) = text.split_at(end);
        if !number.contains(|character: char| character.is_ascii_digit()) {
            return None;
        }
        let (unit, size) = UNITS.iter().find(|(unit, _)| {
            // `m` is a minute only where no `s` follows.
            rest.starts_with(unit) && !(*unit == "m" && rest.starts_with("ms"))
        })?;
        sum += number.parse::<f64>().ok()? * size;
        text = &rest[unit.len()..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_go_reads_them() {
        let table = [
            ("5s", Duration::from_secs(5)),
            ("100ms", Duration::from_millis(100)),
            ("1m30s", Duration::from_secs(90)),
            ("1.5h", Duration::from_mins(90)),
            (".5s", Duration::from_millis(500)),
            ("1.s", Duration::from_secs(1)),
            ("+2s", Duration::from_secs(2)),
            ("1us", Duration::from_micros(1)),
            ("1\u{b5}s", Duration::from_micros(1)),
            ("1\u{3bc}s", Duration::from_micros(1)),
            ("3ns", Duration::from_nanos(3)),
            ("1h1m1s1ms", Duration::from_millis(3_661_001)),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_longer_than_nothing_is_refused_in_the_words_that_are_known() {
        for text in ["0", "0s", "-1s", "-5m", "0.1ns"] {
            assert_eq!(parse(text), Err("duration interval must be greater than 0".to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for text in [
            "",
            "5",
            "s",
            ".s",
            "5x",
            "5 s",
            "1..2s",
            "--1s",
            "NaNs",
            "1e3s",
            "300000000h",
            "9".repeat(400).as_str(),
        ] {
            assert!(parse(text).unwrap_err().starts_with("expected a length"), "{text}");
        }
    }
}
