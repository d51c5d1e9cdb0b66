//! The time of creation, as engines read it.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::Timespec;
use serde::{Deserialize, Serialize};

/// A point in time as RFC 3339 with nanoseconds in UTC, for example `2026-08-22T10:00:00.123456789Z`.
///
/// Zeros at the end of the fraction are left out, and so is a fraction of zero: that is how Go's `RFC3339Nano`, which all
/// engines use, writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(String);

impl Timestamp {
    /// Now, by `CLOCK_REALTIME`.
    pub fn now() -> Self {
        // A clock before 1970 is one that has not been set.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::at(Timespec { tv_sec: since.as_secs().cast_signed(), tv_nsec: since.subsec_nanos().into() })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same moment with all nine digits of the fraction: such texts stand in the order of their times.
    pub fn with_nine_digits(&self) -> String {
        let (seconds, fraction) =
            self.0.trim_end_matches('Z').split_once('.').unwrap_or((self.0.trim_end_matches('Z'), ""));
        format!("{seconds}.{fraction:0<9}Z")
    }

    /// Reads RFC 3339, with any offset and at most nine digits of a fraction; none if it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.split_at_checked(10)?;
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let (clock, rest) = rest.split_at_checked(8)?;
        let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
        let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
        let (fraction, zone) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
            None => ("0", rest),
        };
        let offset = match zone {
            "Z" | "z" => 0,
            zone => {
                let sign = match zone.as_bytes().first()? {
                    b'+' => 1,
                    b'-' => -1,
                    _ => return None,
                };
                let [hours, minutes] = numbers(&zone[1..], ':', [2, 2])?;
                sign * (hours * 3600 + minutes * 60)
            }
        };
        let is_right =
            (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
        if !is_right || fraction.is_empty() || fraction.len() > 9 {
            return None;
        }
        let seconds = days(year, month, day) * SECONDS_A_DAY + hour * 3600 + minute * 60 + second - offset;
        let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
        Some(Self::at(Timespec { tv_sec: seconds, tv_nsec: nanoseconds }))
    }

    /// A moment by its seconds since 1970, before which there is none.
    pub fn at_second(seconds: u64) -> Self {
        // The last second that has a year of four digits.
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX).min(253_402_300_799);
        Self::at(Timespec { tv_sec: seconds, tv_nsec: 0 })
    }

    /// So long before now, or 1970.
    pub fn ago(time: std::time::Duration) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(time);
        Self::at(Timespec { tv_sec: since.as_secs().cast_signed(), tv_nsec: since.subsec_nanos().into() })
    }

    fn at(time: Timespec) -> Self {
        let (year, month, day) = civil(time.tv_sec.div_euclid(SECONDS_A_DAY));
        let second = time.tv_sec.rem_euclid(SECONDS_A_DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        if time.tv_nsec != 0 {
            let fraction = format!(".{:09}", time.tv_nsec);
            text.push_str(fraction.trim_end_matches('0'));
        }
        text.push('Z');
        Self(text)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const SECONDS_A_DAY: i64 = 86_400;
const DAYS_IN_400_YEARS: i64 = 146_097;

/// Numbers of so many digits each, with something between them.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut fields = text.split(between);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let field = fields.next().filter(|field| field.len() == digits)?;
        *number = field.bytes().all(|byte| byte.is_ascii_digit()).then(|| field.parse().ok()).flatten()?;
    }
    fields.next().is_none().then_some(numbers)
}

/// The day of a date, counted from 1970-01-01: the way back of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month < 3 { year - 1 } else { year };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = if month < 3 { month + 9 } else { month - 3 };
    let day = year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1;
    era * DAYS_IN_400_YEARS + day - 719_468
}

/// Year, month and day of a day that is counted from 1970-01-01, in the Gregorian calendar.
///
/// Years are counted from 1 March here, so that the leap day is a year's last; then the month follows from the day by one
/// division (the months from March on are 31, 30, 31, 30, 31 days long, twice over: 153 days in five months).
fn civil(days_since_1970: i64) -> (i64, i64, i64) {
    let day = days_since_1970 + 719_468; // since 0000-03-01
    let era = day.div_euclid(DAYS_IN_400_YEARS);
    let day = day.rem_euclid(DAYS_IN_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next_year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: i64, nanoseconds: i64) -> String {
        Timestamp::at(Timespec { tv_sec: seconds, tv_nsec: nanoseconds }).to_string()
    }

    #[test]
    fn known_moments_read_as_date_prints_them() {
        assert_eq!(text(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_399, 0), "2000-02-28T23:59:59Z");
        assert_eq!(text(951_782_400, 0), "2000-02-29T00:00:00Z");
        assert_eq!(text(1_709_251_199, 999_999_999), "2024-02-29T23:59:59.999999999Z");
        assert_eq!(text(4_107_542_400, 0), "2100-03-01T00:00:00Z");
        assert_eq!(text(-1, 0), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn zeros_at_the_end_of_the_fraction_are_left_out() {
        assert_eq!(text(0, 120_000_000), "1970-01-01T00:00:00.12Z");
        assert_eq!(text(0, 1), "1970-01-01T00:00:00.000000001Z");
    }

    #[test]
    fn moments_are_read_with_any_offset_and_fraction() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("2024-02-29T23:59:59.5Z", "2024-02-29T23:59:59.5Z"),
            ("2024-03-01T01:30:00.000000001+01:45", "2024-02-29T23:45:00.000000001Z"),
            ("2023-12-31 23:59:59-00:01", "2024-01-01T00:00:59Z"),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().as_str(), expected);
        }
        for wrong in [
            "",
            "2024-02-29",
            "2024-13-01T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00.1234567890Z",
            "2024-01-01T00:00:00+1",
            "\u{e9}024-01-01T00:00:00Z",
            "2024-01-01T00:00:00\u{e9}",
        ] {
            assert_eq!(Timestamp::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn texts_with_nine_digits_stand_in_the_order_of_their_times() {
        let texts = [text(5, 0), text(5, 1), text(5, 20), text(5, 100_000_000), text(6, 0)]
            .map(|text| Timestamp(text).with_nine_digits());
        assert_eq!(texts[0], "1970-01-01T00:00:05.000000000Z");
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(Timestamp::at_second(u64::MAX).as_str(), "9999-12-31T23:59:59Z");
        assert!(Timestamp::ago(std::time::Duration::MAX).as_str().starts_with("1970-01-01T00:00:00"));
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..DAYS_IN_400_YEARS {
            assert_eq!(civil(days), (year, month, day));
            assert_eq!(super::days(year, month, day), days);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }
}
