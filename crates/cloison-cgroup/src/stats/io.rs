//! What was read from block devices and written to them.

use serde::Serialize;

use super::pressure::Pressure;
use super::source::Source;
use crate::error::Result;

/// Block devices, each table with one entry a device and operation.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Io {
    /// Bytes: `io_service_bytes`; `rbytes`, `wbytes` and `dbytes` of `io.stat`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bytes: Vec<IoEntry>,
    /// Operations: `io_serviced`; `rios`, `wios` and `dios` of `io.stat`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<IoEntry>,
    /// Operations that wait: `io_queued`; this and all that follow but the last two on v1 with the scheduler BFQ and a kernel that
    /// debugs it, or with the older CFQ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queued: Vec<IoEntry>,
    /// Nanoseconds from sending to completion: `io_service_time`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_time: Vec<IoEntry>,
    /// Nanoseconds of waiting in the scheduler: `io_wait_time`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wait_time: Vec<IoEntry>,
    /// Operations that were merged into others: `io_merged`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<IoEntry>,
    /// Milliseconds of the device: `time`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub time: Vec<IoEntry>,
    /// Sectors of 512 bytes: `sectors`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors: Vec<IoEntry>,
    /// What the cost model has counted, in microseconds: `cost.usage`, `cost.wait`, `cost.indebt`, `cost.indelay` of `io.stat`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cost: Vec<IoEntry>,
    /// Time lost by waiting for block devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<Pressure>,
}

/// A number for one device and operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IoEntry {
    /// The device's major number.
    pub major: u64,
    /// The device's minor number.
    pub minor: u64,
    /// `Read`, `Write`, `Discard`; on v1 also `Sync`, `Async` and `Total`, which count the same again. Empty where the
    /// kernel does not tell operations apart.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// The number.
    pub value: u64,
}

/// A file of v1 and the table that it fills.
type Table = (&'static str, fn(&mut Io) -> &mut Vec<IoEntry>);

/// The groups of v1 files, the richest first: of the first group that is there, all files are read. (Which one that is depends on the
/// devices' schedulers; each counts what the next does, and more.)
const GROUPS: [&[Table]; 5] = [
    &[
        ("blkio.bfq.sectors_recursive", |io| &mut io.sectors),
        ("blkio.bfq.io_service_time_recursive", |io| &mut io.service_time),
        ("blkio.bfq.io_wait_time_recursive", |io| &mut io.wait_time),
        ("blkio.bfq.io_merged_recursive", |io| &mut io.merged),
        ("blkio.bfq.io_queued_recursive", |io| &mut io.queued),
        ("blkio.bfq.time_recursive", |io| &mut io.time),
        ("blkio.bfq.io_serviced_recursive", |io| &mut io.operations),
        ("blkio.bfq.io_service_bytes_recursive", |io| &mut io.bytes),
    ],
    &[
        ("blkio.bfq.io_serviced_recursive", |io| &mut io.operations),
        ("blkio.bfq.io_service_bytes_recursive", |io| &mut io.bytes),
    ],
    &[
        ("blkio.sectors_recursive", |io| &mut io.sectors),
        ("blkio.io_service_time_recursive", |io| &mut io.service_time),
        ("blkio.io_wait_time_recursive", |io| &mut io.wait_time),
        ("blkio.io_merged_recursive", |io| &mut io.merged),
        ("blkio.io_queued_recursive", |io| &mut io.queued),
        ("blkio.time_recursive", |io| &mut io.time),
        ("blkio.io_serviced_recursive", |io| &mut io.operations),
        ("blkio.io_service_bytes_recursive", |io| &mut io.bytes),
    ],
    &[
        ("blkio.throttle.io_serviced_recursive", |io| &mut io.operations),
        ("blkio.throttle.io_service_bytes_recursive", |io| &mut io.bytes),
    ],
    &[
        ("blkio.throttle.io_serviced", |io| &mut io.operations),
        ("blkio.throttle.io_service_bytes", |io| &mut io.bytes),
    ],
];

impl Io {
    /// Bytes that were read, from all devices. A device that stands on another, as a loop device does, counts beside it.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        total(&self.bytes, "Read")
    }

    /// Bytes that were written, to all devices.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        total(&self.bytes, "Write")
    }

    /// `io.stat` of v2 with the controller, and the pressure always.
    pub(super) fn unified(source: &Source, controlled: bool) -> Result<Self> {
        let mut io = Self { pressure: Pressure::read(source, "io.pressure")?, ..Self::default() };
        if controlled {
            let text = source.text("io.stat")?.unwrap_or_default();
            for line in text.lines() {
                if let Some((major, minor, fields)) = source.parsed("io.stat", line, device_line) {
                    io.take_fields(source, (major, minor), fields);
                }
            }
        }
        Ok(io)
    }

    /// The fields of a device in `io.stat`: `rbytes=1 wbytes=2 …`.
    fn take_fields(&mut self, source: &Source, (major, minor): (u64, u64), fields: &str) {
        for field in fields.split_ascii_whitespace() {
            let Some((name, value)) = source.parsed("io.stat", field, named_number) else { continue };
            let (table, op) = match name {
                "rbytes" => (&mut self.bytes, "Read"),
                "wbytes" => (&mut self.bytes, "Write"),
                "dbytes" => (&mut self.bytes, "Discard"),
                "rios" => (&mut self.operations, "Read"),
                "wios" => (&mut self.operations, "Write"),
                "dios" => (&mut self.operations, "Discard"),
                cost if cost.starts_with("cost.") => (&mut self.cost, cost),
                _ => continue,
            };
            table.push(IoEntry { major, minor, op: op.to_owned(), value });
        }
    }

    /// The files of v1.
    pub(super) fn read_legacy(&mut self, source: &Source) -> Result<()> {
        for group in GROUPS {
            for (index, (name, table)) in group.iter().enumerate() {
                let entries = legacy_entries(source, name)?;
                // An empty first file: this scheduler has no device here.
                if entries.is_empty() && index == 0 {
                    break;
                }
                *table(self) = entries;
                if index == group.len() - 1 {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// A line of `io.stat`: the device's numbers, and its fields.
fn device_line(line: &str) -> Option<(u64, u64, &str)> {
    let (device, fields) = line.split_once(' ')?;
    let (major, minor) = device.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?, fields))
}

fn named_number(field: &str) -> Option<(&str, u64)> {
    let (name, value) = field.split_once('=')?;
    Some((name, value.parse().ok()?))
}

fn total(entries: &[IoEntry], op: &str) -> u64 {
    entries.iter().filter(|entry| entry.op == op).fold(0, |sum, entry| sum.saturating_add(entry.value))
}

fn legacy_entries(source: &Source, name: &str) -> Result<Vec<IoEntry>> {
    let text = source.text(name)?.unwrap_or_default();
    // The last line is the sum over all devices.
    let lines = text.lines().filter(|line| !line.starts_with("Total "));
    Ok(lines.filter_map(|line| source.parsed(name, line, legacy_entry)).collect())
}

/// A line: `8:0 Read 4096`, or `8:0 4096`.
fn legacy_entry(line: &str) -> Option<IoEntry> {
    let mut fields = line.split_ascii_whitespace();
    let (major, minor) = fields.next()?.split_once(':')?;
    let (second, third) = (fields.next()?, fields.next());
    let (op, value) = third.map_or(("", second), |value| (second, value));
    Some(IoEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        op: op.to_owned(),
        value: value.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    fn entry(major: u64, minor: u64, op: &str, value: u64) -> IoEntry {
        IoEntry { major, minor, op: op.to_owned(), value }
    }

    fn legacy(files: &[(&str, &str)]) -> Io {
        let mut io = Io::default();
        io.read_legacy(&Tree::new(files).source()).unwrap();
        io
    }

    #[test]
    fn v2_lines_become_the_tables_of_v1() {
        let text = "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=7 novel=8\n\
                    253:0\nloop rbytes=1\n7:0 rbytes=x wbytes=18446744073709551615\n";
        let io = Io::unified(&Tree::new(&[("io.stat", text)]).source(), true).unwrap();
        let bytes = [entry(8, 16, "Read", 1), entry(8, 16, "Write", 2), entry(8, 16, "Discard", 5)];
        assert_eq!(io.bytes[..3], bytes);
        assert_eq!(io.bytes[3..], [entry(7, 0, "Write", u64::MAX)]);
        assert_eq!(io.operations.len(), 3);
        assert_eq!(io.cost, [entry(8, 16, "cost.usage", 7)]);
        assert_eq!((io.bytes_read(), io.bytes_written()), (1, u64::MAX), "the sum does not wrap");
    }

    #[test]
    fn the_first_group_of_v1_files_with_a_device_is_taken() {
        let throttle = [
            ("blkio.bfq.io_serviced_recursive", "Total 0\n"),
            ("blkio.bfq.io_service_bytes_recursive", "Total 0\n"),
            ("blkio.throttle.io_serviced_recursive", "8:0 Read 2\n8:0 Total 2\nTotal 2\n"),
            ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 8192\n8:0 Total 8192\nTotal 8192\n"),
            ("blkio.throttle.io_serviced", "8:0 Read 1\nTotal 1\n"),
            ("blkio.throttle.io_service_bytes", "8:0 Read 4096\nTotal 4096\n"),
        ];
        let io = legacy(&throttle);
        assert_eq!(io.operations, [entry(8, 0, "Read", 2), entry(8, 0, "Total", 2)]);
        assert_eq!((io.bytes_read(), io.bytes_written()), (8192, 0));
        assert_eq!(legacy(&throttle[4..]).bytes_read(), 4096);
        let debugged: Vec<_> =
            GROUPS[0].iter().map(|(name, _)| (*name, "8:0 Read 5\n8:1 6\nTotal 5\n")).collect();
        let io = legacy(&debugged);
        assert_eq!(io.sectors, [entry(8, 0, "Read", 5), entry(8, 1, "", 6)]);
        assert!([io.queued, io.wait_time, io.merged, io.time, io.bytes].iter().all(|table| table.len() == 2));
    }

    #[test]
    fn garbage_counts_nothing() {
        let junk = "8:0\n8 0 Read 1\n:: Read 1\n8:0 Read one\n\n";
        assert_eq!(legacy(&[("blkio.throttle.io_serviced", junk)]), Io::default());
    }
}
