//! The rows for programs: one JSON array on one line.

use cloison::lifecycle::Stats;
use cloison::state::Status;
use serde::Serialize;

use super::Row;
use crate::error::Error;

/// One container.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Container<'a> {
    id: &'a str,
    pid: i32,
    status: Status,
    /// Percent of one processor, since the look before.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_percent: Option<f64>,
    /// Percent of the periods of a quota in which it was used up, since the look before.
    #[serde(skip_serializing_if = "Option::is_none")]
    throttled_percent: Option<f64>,
    /// Memory that could not be had back at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    working_set: Option<u64>,
    stats: &'a Stats,
}

/// The line, without its end.
pub(super) fn line(rows: &[Row]) -> Result<String, Error> {
    let containers: Vec<_> = rows.iter().map(Container::of).collect();
    Ok(serde_json::to_string(&containers)?)
}

impl<'a> Container<'a> {
    fn of(row: &'a Row) -> Self {
        let before = row.before.as_ref();
        Self {
            id: row.now.id.as_str(),
            pid: row.now.pid,
            status: row.now.status,
            cpu_percent: before.and_then(|before| row.now.cpu_percent_since(before)),
            throttled_percent: before.and_then(|before| row.now.throttled_percent_since(before)),
            working_set: row.now.stats.memory.working_set(),
            stats: &row.now.stats,
        }
    }
}
