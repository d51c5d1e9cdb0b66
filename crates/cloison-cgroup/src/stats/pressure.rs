//! Pressure stall information (Linux 4.20).

use serde::Serialize;

use super::source::Source;
use crate::error::Result;

/// How much time was lost by waiting for a resource: a `*.pressure` file of v2.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Time in which at least one task waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub some: Option<Stall>,
    /// Time in which every task waited; for processors since Linux 5.13.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<Stall>,
}

/// Shares of time lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Stall {
    /// Percent of the last 10 seconds.
    pub avg10: f64,
    /// Percent of the last minute.
    pub avg60: f64,
    /// Percent of the last 5 minutes.
    pub avg300: f64,
    /// All time lost, in microseconds.
    #[serde(rename = "totalUs")]
    pub total: u64,
}

impl Pressure {
    /// Reads a pressure file; none where the kernel does not measure.
    pub(super) fn read(source: &Source, name: &str) -> Result<Option<Self>> {
        let Some(text) = source.text(name)? else { return Ok(None) };
        let mut pressure = Self::default();
        for line in text.lines() {
            match source.parsed(name, line, stall) {
                Some(("some", stall)) => pressure.some = Some(stall),
                Some(("full", stall)) => pressure.full = Some(stall),
                _ => {}
            }
        }
        Ok((pressure != Self::default()).then_some(pressure))
    }
}

/// A line: whose stall it is, and `avg10=0.00 avg60=0.00 avg300=0.00 total=0`, with all four in any order.
fn stall(line: &str) -> Option<(&str, Stall)> {
    let (kind, rest) = line.split_once(' ')?;
    let value = |name: &str| {
        rest.split_ascii_whitespace().find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    };
    let share = |name| value(name)?.parse::<f64>().ok().filter(|share| share.is_finite());
    let stall = Stall {
        avg10: share("avg10")?,
        avg60: share("avg60")?,
        avg300: share("avg300")?,
        total: value("total")?.parse().ok()?,
    };
    Some((kind, stall))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    fn read(text: &str) -> Option<Pressure> {
        Pressure::read(&Tree::new(&[("p", text)]).source(), "p").unwrap()
    }

    #[test]
    fn both_lines_are_read() {
        let pressure = read(
            "some avg10=1.50 avg60=0.25 avg300=99.99 total=4748\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=952\n",
        )
        .unwrap();
        assert_eq!(pressure.some, Some(Stall { avg10: 1.5, avg60: 0.25, avg300: 99.99, total: 4748 }));
        assert_eq!(pressure.full.unwrap().total, 952);
    }

    #[test]
    fn a_kernel_without_the_full_line_has_none() {
        let pressure = read("some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n").unwrap();
        assert!(pressure.some.is_some() && pressure.full.is_none());
    }

    #[test]
    fn what_is_no_share_of_time_is_left_out() {
        for text in [
            "",
            "some\n",
            "some avg10=NaN avg60=0 avg300=0 total=0\n",
            "some avg10=inf avg60=0 avg300=0 total=0\n",
            "some avg10=0 avg60=0 total=0\n",
            "some avg10=0 avg60=0 avg300=0 total=-1\n",
            "many avg10=0 avg60=0 avg300=0 total=1\n",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_kernel_without_pressure_has_none() {
        assert_eq!(Pressure::read(&Tree::new(&[]).source(), "cpu.pressure").unwrap(), None);
    }
}
