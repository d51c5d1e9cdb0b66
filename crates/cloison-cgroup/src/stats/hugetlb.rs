//! Huge pages.

use std::collections::BTreeMap;

use serde::Serialize;

use super::memory::Counter;
use super::source::{Source, value_of};
use crate::error::Result;

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Hugetlb {
    /// Pages that are in use: `hugetlb.SIZE.*`.
    pub usage: Counter,
    /// Pages that are reserved: `hugetlb.SIZE.rsvd.*` (Linux 5.7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved: Option<Counter>,
}

/// The sizes that this machine has, as the controller names them: `2MB`, `1GB`. Asked of sysfs and not of the cgroup's directory, in
/// which a container may make as many names as it likes.
pub(super) fn page_sizes() -> Vec<String> {
    let entries = match std::fs::read_dir("/sys/kernel/mm/hugepages") {
        Ok(entries) => entries,
        Err(error) => {
            log::debug!("no huge pages are counted, as /sys/kernel/mm/hugepages cannot be read: {error}");
            return Vec::new();
        }
    };
    entries.filter_map(|entry| size_of_name(entry.ok()?.file_name().to_str()?)).collect()
}

/// `hugepages-2048kB` is `2MB` to the controller.
fn size_of_name(name: &str) -> Option<String> {
    let kibibytes: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kibibytes {
        size if size >= 1 << 20 => format!("{}GB", size >> 20),
        size if size >= 1 << 10 => format!("{}MB", size >> 10),
        size => format!("{size}KB"),
    })
}

/// The files of v1.
pub(super) fn legacy(source: &Source, sizes: &[String]) -> Result<BTreeMap<String, Hugetlb>> {
    read(sizes, |size, kind| {
        let file = |name: &str| format!("hugetlb.{size}{kind}.{name}");
        let Some(usage) = source.number(&file("usage_in_bytes"))? else { return Ok(None) };
        Ok(Some(Counter {
            usage,
            max: source.number(&file("max_usage_in_bytes"))?,
            limit: source.limit(&file("limit_in_bytes"))?,
            failcnt: source.number(&file("failcnt"))?,
        }))
    })
}

/// The files of v2 (Linux 5.6), where failures are counted for both kinds together.
pub(super) fn unified(source: &Source, sizes: &[String]) -> Result<BTreeMap<String, Hugetlb>> {
    read(sizes, |size, kind| {
        let file = |name: &str| format!("hugetlb.{size}{kind}.{name}");
        let Some(usage) = source.number(&file("current"))? else { return Ok(None) };
        let events = source.pairs(&format!("hugetlb.{size}.events"))?;
        let failcnt = events.and_then(|pairs| value_of(&pairs, "max"));
        Ok(Some(Counter { usage, max: None, limit: source.limit(&file("max"))?, failcnt }))
    })
}

/// Both kinds of each size; sizes that the controller does not know are left out.
fn read(
    sizes: &[String],
    counter: impl Fn(&str, &str) -> Result<Option<Counter>>,
) -> Result<BTreeMap<String, Hugetlb>> {
    let mut all = BTreeMap::new();
    for size in sizes {
        if let Some(usage) = counter(size, "")? {
            all.insert(size.clone(), Hugetlb { usage, reserved: counter(size, ".rsvd")? });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::Limit;
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn sizes_have_the_names_of_the_controller() {
        let table = [
            ("hugepages-64kB", Some("64KB")),
            ("hugepages-2048kB", Some("2MB")),
            ("hugepages-32768kB", Some("32MB")),
            ("hugepages-1048576kB", Some("1GB")),
            ("hugepages-16777216kB", Some("16GB")),
            ("hugepages-x", None),
            ("nr_hugepages", None),
        ];
        for (name, expected) in table {
            assert_eq!(size_of_name(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn both_kinds_of_each_known_size_are_read() {
        let sizes = ["2MB", "1GB"].map(String::from);
        let tree = Tree::new(&[
            ("hugetlb.2MB.usage_in_bytes", "2097152\n"),
            ("hugetlb.2MB.max_usage_in_bytes", "4194304\n"),
            ("hugetlb.2MB.limit_in_bytes", "9223372036854771712\n"),
            ("hugetlb.2MB.failcnt", "1\n"),
            ("hugetlb.2MB.rsvd.usage_in_bytes", "0\n"),
        ]);
        let all = legacy(&tree.source(), &sizes).unwrap();
        assert_eq!(all.len(), 1);
        let pages = all["2MB"];
        assert_eq!(
            (pages.usage.usage, pages.usage.max, pages.usage.failcnt),
            (2_097_152, Some(4_194_304), Some(1))
        );
        assert_eq!(pages.reserved, Some(Counter::default()));
        let tree = Tree::new(&[
            ("hugetlb.1GB.current", "1073741824\n"),
            ("hugetlb.1GB.max", "max\n"),
            ("hugetlb.1GB.events", "max 6\n"),
        ]);
        let pages = unified(&tree.source(), &sizes).unwrap()["1GB"];
        assert_eq!(
            (pages.usage.limit, pages.usage.failcnt, pages.reserved),
            (Some(Limit::NONE), Some(6), None)
        );
    }
}
