//! RDMA devices (Linux 4.11); the same files on v1 and v2.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Limit;
use super::source::{Source, number};
use crate::error::Result;

/// What is used of an RDMA device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rdma {
    /// Handles of the adapter: `hca_handle`.
    pub handles: RdmaCount,
    /// Objects of the adapter: `hca_object`.
    pub objects: RdmaCount,
}

/// A number of an RDMA device's resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RdmaCount {
    /// In use: `rdma.current`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    /// What may be used: `rdma.max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

pub(super) fn read(source: &Source) -> Result<BTreeMap<String, Rdma>> {
    let mut all: BTreeMap<String, Rdma> = BTreeMap::new();
    for (device, handles, objects) in lines(source, "rdma.current")? {
        let entry = all.entry(device).or_default();
        (entry.handles.current, entry.objects.current) = (handles, objects);
    }
    for (device, handles, objects) in lines(source, "rdma.max")? {
        let entry = all.entry(device).or_default();
        (entry.handles.limit, entry.objects.limit) = (handles.map(Limit), objects.map(Limit));
    }
    Ok(all)
}

type Line = (String, Option<u64>, Option<u64>);

/// Lines like `mlx4_0 hca_handle=2 hca_object=2000`.
fn lines(source: &Source, name: &str) -> Result<Vec<Line>> {
    let line = |line: &str| {
        let (device, fields) = line.split_once(' ')?;
        let value = |name: &str| {
            let mut fields = fields.split_ascii_whitespace();
            fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).and_then(number)
        };
        let (handles, objects) = (value("hca_handle"), value("hca_object"));
        (handles.is_some() || objects.is_some()).then(|| (device.to_owned(), handles, objects))
    };
    let text = source.text(name)?.unwrap_or_default();
    Ok(text.lines().filter_map(|text| source.parsed(name, text, line)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn usage_and_limit_of_a_device_come_together() {
        let tree = Tree::new(&[
            ("rdma.current", "mlx4_0 hca_handle=2 hca_object=2000\nocrdma1 hca_handle=1\njunk\n"),
            ("rdma.max", "mlx4_0 hca_handle=3 hca_object=max\n"),
        ]);
        let all = read(&tree.source()).unwrap();
        let count = |current, limit| RdmaCount { current, limit };
        let expected =
            Rdma { handles: count(Some(2), Some(Limit(3))), objects: count(Some(2000), Some(Limit::NONE)) };
        assert_eq!(all["mlx4_0"], expected);
        assert_eq!(all["ocrdma1"], Rdma { handles: count(Some(1), None), ..Rdma::default() });
        assert_eq!(all.len(), 2);
    }
}
