//! Signals by name and by number.

use std::fmt;
use std::str::FromStr;

/// The first real-time signal that a program may use; the C library keeps 32 and 33 for itself (signal(7)).
const RTMIN: u8 = 34;
/// The last signal of Linux on all architectures but MIPS (signal(7)).
const RTMAX: u8 = 64;

/// The numbers of x86, ARM, RISC-V, PowerPC, s390 and `LoongArch`, which are the same (signal(7)).
const NAMES: [(&str, u8); 35] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
    // Other names of the same; the first of a number is the one that is shown.
    ("IOT", 6),
    ("CLD", 17),
    ("POLL", 29),
    ("UNUSED", 31),
];

/// A signal that exists: a number from 1 to 64.
///
/// ```
/// use cloison::signal::Signal;
///
/// assert_eq!(Signal::parse("term")?, Signal::TERM);
/// assert_eq!(Signal::parse("SIGRTMIN+3")?.number(), 37);
/// assert_eq!(Signal::parse("9")?.to_string(), "SIGKILL");
/// # Ok::<(), cloison::signal::UnknownSignal>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(u8);

/// The text names no signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown signal {0:?}")]
pub struct UnknownSignal(
    /// The text as it was given.
    pub String,
);

impl Signal {
    /// No signal: only asks whether there is somebody to send one to (`kill(2)`).
    pub const NONE: Self = Self(0);
    /// Kills without a word; a pid namespace's init dies of it only when it comes from outside.
    pub const KILL: Self = Self(9);
    /// Asks to end: the default of `cloison kill`.
    pub const TERM: Self = Self(15);

    /// Parses `TERM`, `SIGTERM`, `sigterm`, `15`, `SIGRTMIN+3` or `RTMAX-1`; `0` is [no signal](Self::NONE).
    pub fn parse(text: &str) -> Result<Self, UnknownSignal> {
        let by_number = || match text.parse().ok()? {
            0 => Some(Self::NONE),
            number => Self::from_number(number),
        };
        let by_name = || {
            let upper = text.to_ascii_uppercase();
            let name = upper.strip_prefix("SIG").unwrap_or(&upper);
            let named = NAMES.iter().find(|(known, _)| *known == name).map(|&(_, number)| Self(number));
            named.or_else(|| real_time(name))
        };
        by_number().or_else(by_name).ok_or_else(|| UnknownSignal(text.to_owned()))
    }

    /// The signal of this number, if there is one.
    pub fn from_number(number: i32) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| (1..=RTMAX).contains(number)).map(Self)
    }

    /// The number that kill(2) takes, from 0 to 64.
    pub const fn number(self) -> i32 {
        self.0 as i32
    }
}

/// Parses `RTMIN`, `RTMIN+n`, `RTMAX` or `RTMAX-n`, as long as it stays between the two.
fn real_time(name: &str) -> Option<Signal> {
    let offset = |text: &str, sign| match text.strip_prefix(sign) {
        None => text.is_empty().then_some(0),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse::<u8>().ok(),
        Some(_) => None,
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        RTMIN.checked_add(offset(rest, '+')?)?
    } else {
        RTMAX.checked_sub(offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (RTMIN..=RTMAX).contains(&number).then_some(Signal(number))
}

impl FromStr for Signal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        Self::parse(text)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = NAMES.iter().find(|&&(_, number)| number == self.0) {
            return write!(f, "SIG{name}");
        }
        match self.0 {
            RTMIN => f.write_str("SIGRTMIN"),
            RTMAX => f.write_str("SIGRTMAX"),
            number if number > RTMIN => write!(f, "SIGRTMIN+{}", number - RTMIN),
            number => write!(f, "{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_found_with_and_without_sig_in_any_case_and_by_number() {
        for text in ["TERM", "SIGTERM", "sigterm", "Term", "15"] {
            assert_eq!(Signal::parse(text), Ok(Signal::TERM), "{text}");
        }
    }

    #[test]
    fn real_time_signals_count_from_both_ends() {
        for (text, number) in [
            ("SIGRTMIN", 34),
            ("RTMIN+0", 34),
            ("sigrtmin+3", 37),
            ("RTMIN+30", 64),
            ("RTMAX", 64),
            ("RTMAX-1", 63),
            ("RTMAX-30", 34),
        ] {
            assert_eq!(Signal::parse(text).unwrap().number(), number, "{text}");
        }
    }

    #[test]
    fn what_names_no_signal_is_refused_with_the_text_as_given() {
        for text in [
            "",
            "SIG",
            "FOO",
            "65",
            "-1",
            "1.5",
            " 9",
            "RTMIN-1",
            "RTMAX+1",
            "RTMIN+31",
            "RTMAX-31",
            "RTMIN+",
            "RTMIN++1",
            "RTMIN+256",
            "SIGSIGTERM",
        ] {
            assert_eq!(Signal::parse(text), Err(UnknownSignal(text.to_owned())), "{text}");
        }
        assert_eq!(Signal::parse("Foo").unwrap_err().to_string(), "unknown signal \"Foo\"");
    }

    #[test]
    fn every_signal_is_shown_by_a_name_that_parses_to_it() {
        for number in 1..=64 {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(Signal::parse(&signal.to_string()), Ok(signal));
        }
        assert_eq!(Signal::KILL.to_string(), "SIGKILL");
        assert_eq!(Signal::from_number(37).unwrap().to_string(), "SIGRTMIN+3");
        assert_eq!(Signal::from_number(32).unwrap().to_string(), "32");
    }
}
