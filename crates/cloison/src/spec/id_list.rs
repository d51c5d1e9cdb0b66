//! Lists of CPUs and memory nodes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The highest CPU or node that is accepted: far above what Linux can count, low enough to keep masks small.
const HIGHEST: u32 = 64 * 1024;

/// CPUs or NUMA nodes, written as in cpuset(7): `0-3,7`.
///
/// At least one range is there, none is turned round, and no id is above 65536.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdList(Vec<(u32, u32)>);

impl IdList {
    /// The ranges in the order they were written, first and last id of each.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// Every id of the list; one that was written twice comes twice.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|&(first, last)| first..=last)
    }

    /// The highest id, which tells how long a mask must be.
    pub fn highest(&self) -> u32 {
        self.0.iter().map(|&(_, last)| last).max().unwrap_or(0)
    }
}

/// Why a text is not a list of ids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdList {
    /// Nothing but commas and spaces.
    #[error("{0:?} holds no id")]
    Empty(String),
    /// A part is neither a number nor a range.
    #[error("{0:?} is neither a number nor a range such as 0-3")]
    Part(String),
    /// A range ends before it begins.
    #[error("range {0:?} ends before it begins")]
    Backwards(String),
    /// An id is out of reach.
    #[error("{0} is above the highest id, {HIGHEST}")]
    TooHigh(u32),
}

impl FromStr for IdList {
    type Err = InvalidIdList;

    fn from_str(text: &str) -> Result<Self, InvalidIdList> {
        // Spaces and empty parts are let through, as engines have always been able to write them.
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let ranges = parts.map(range).collect::<Result<Vec<_>, _>>()?;
        if ranges.is_empty() { Err(InvalidIdList::Empty(text.to_owned())) } else { Ok(Self(ranges)) }
    }
}

fn range(part: &str) -> Result<(u32, u32), InvalidIdList> {
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let number = |text: &str| {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidIdList::Part(part.to_owned()));
        }
        text.parse::<u32>().map_err(|_| InvalidIdList::Part(part.to_owned()))
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(InvalidIdList::Backwards(part.to_owned()));
    }
    if last > HIGHEST { Err(InvalidIdList::TooHigh(last)) } else { Ok((first, last)) }
}

impl fmt::Display for IdList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, &(first, last)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for IdList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for IdList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_ids_ranges_spaces_and_empty_parts_are_read() {
        let list: IdList = " 0-3, 7,,5 ,".parse().unwrap();
        assert_eq!(list.ranges(), [(0, 3), (7, 7), (5, 5)]);
        assert_eq!(list.ids().collect::<Vec<_>>(), [0, 1, 2, 3, 7, 5]);
        assert_eq!(list.highest(), 7);
        assert_eq!(list.to_string(), "0-3,7,5");
    }

    #[test]
    fn what_is_no_list_says_why() {
        for (text, why) in [
            ("", InvalidIdList::Empty(String::new())),
            (" , ", InvalidIdList::Empty(" , ".to_owned())),
            ("a", InvalidIdList::Part("a".to_owned())),
            ("1-", InvalidIdList::Part("1-".to_owned())),
            ("-1", InvalidIdList::Part("-1".to_owned())),
            ("+1", InvalidIdList::Part("+1".to_owned())),
            ("1-2-3", InvalidIdList::Part("1-2-3".to_owned())),
            ("99999999999", InvalidIdList::Part("99999999999".to_owned())),
            ("3-1", InvalidIdList::Backwards("3-1".to_owned())),
            ("65537", InvalidIdList::TooHigh(65537)),
        ] {
            assert_eq!(text.parse::<IdList>(), Err(why), "{text:?}");
        }
        assert!("0-65536".parse::<IdList>().is_ok());
    }
}
