//! Scalar resources of the `misc` controller (v2, Linux 5.13).

use std::collections::BTreeMap;

use serde::Serialize;

use super::Limit;
use super::source::Source;
use crate::error::Result;

/// One scalar resource, in units of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Misc {
    /// In use: `misc.current`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<u64>,
    /// What may be used: `misc.max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// How often more was asked for than the limit: `misc.events` (Linux 5.16).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
}

pub(super) fn unified(source: &Source) -> Result<BTreeMap<String, Misc>> {
    let mut all: BTreeMap<String, Misc> = BTreeMap::new();
    for (name, value) in source.pairs("misc.current")?.unwrap_or_default() {
        all.entry(name).or_default().usage = Some(value);
    }
    for (name, value) in source.pairs("misc.max")?.unwrap_or_default() {
        all.entry(name).or_default().limit = Some(Limit(value));
    }
    for (name, value) in source.pairs("misc.events")?.unwrap_or_default() {
        let name = name.strip_suffix(".max").unwrap_or(&name);
        all.entry(name.to_owned()).or_default().events = Some(value);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn three_files_make_one_entry() {
        let tree = Tree::new(&[
            ("misc.current", "sev 3\nsev_es 0\n"),
            ("misc.max", "sev max\n"),
            ("misc.events", "sev.max 2\n"),
        ]);
        let all = unified(&tree.source()).unwrap();
        let expected = Misc { usage: Some(3), limit: Some(Limit::NONE), events: Some(2) };
        assert_eq!(all["sev"], expected);
        assert_eq!(all["sev_es"], Misc { usage: Some(0), ..Misc::default() });
    }
}
