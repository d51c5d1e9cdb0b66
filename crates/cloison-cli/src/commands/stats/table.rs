//! The rows for people: columns, as many as there is room for.

use std::iter;

use cloison::lifecycle::percent;
use cloison::state::Status;

use super::Row;

/// What stands where there is nothing to tell.
const NOTHING: &str = "-";
/// Blanks between two columns.
const GAP: usize = 2;
/// The least width that the names keep when room is short.
const NAME: usize = 12;

/// A column.
struct Column {
    title: &'static str,
    /// The least width, so that the columns stand still while numbers change.
    width: usize,
    /// When room is short, the column with the highest rank goes first.
    rank: u8,
    cell: fn(&Row) -> Option<String>,
}

/// The names stand before these.
const COLUMNS: [Column; 11] = [
    Column { title: "CPU %", width: 6, rank: 1, cell: cpu },
    Column { title: "MEMORY", width: 8, rank: 2, cell: |row| row.now.stats.memory.working_set().map(size) },
    Column { title: "LIMIT", width: 8, rank: 4, cell: |row| memory_limit(row).map(size) },
    Column { title: "MEM %", width: 5, rank: 7, cell: memory_percent },
    Column { title: "SWAP", width: 8, rank: 8, cell: |row| Some(size(row.now.stats.memory.swap?.usage)) },
    Column { title: "PIDS", width: 4, rank: 3, cell: pids },
    Column { title: "READ", width: 8, rank: 9, cell: |row| Some(size(row.now.stats.io.bytes_read())) },
    Column { title: "WRITTEN", width: 8, rank: 10, cell: |row| Some(size(row.now.stats.io.bytes_written())) },
    Column { title: "STALLED C/M/I %", width: 15, rank: 11, cell: stalled },
    Column { title: "THROTTLED", width: 9, rank: 6, cell: throttled },
    Column { title: "OOM KILLS", width: 9, rank: 5, cell: oom_kills },
];

/// The title and a line for each row, none longer than `room` characters, if that is bounded.
pub(super) fn lines(rows: &[Row], room: Option<usize>) -> Vec<String> {
    let mut columns: Vec<_> = COLUMNS.iter().map(|column| Drawn::new(column, rows)).collect();
    let longest = rows.iter().map(|row| row.now.id.as_str().len()).max().unwrap_or(0).max(NAME);
    let mut names = longest;
    if let Some(room) = room {
        while NAME + width(&columns) > room
            && let Some(last) = (0..columns.len()).max_by_key(|&index| columns[index].rank)
        {
            columns.remove(last);
        }
        names = longest.min(room.saturating_sub(width(&columns)));
    }
    let title = iter::once("ID").chain(rows.iter().map(|row| row.now.id.as_str()));
    let line = |(index, name): (usize, &str)| {
        let mut line = shortened(name, names);
        line.extend(iter::repeat_n(' ', names.saturating_sub(line.chars().count())));
        for column in &columns {
            let cell = &column.cells[index];
            line.extend(iter::repeat_n(' ', GAP + column.width - cell.chars().count()));
            line.push_str(cell);
        }
        line.truncate(line.trim_end().len());
        line
    };
    title.enumerate().map(line).collect()
}

/// A column with its cells, the title first.
struct Drawn {
    rank: u8,
    width: usize,
    cells: Vec<String>,
}

impl Drawn {
    fn new(column: &Column, rows: &[Row]) -> Self {
        let cell = |row| (column.cell)(row).unwrap_or_else(|| NOTHING.to_owned());
        let cells: Vec<_> = iter::once(column.title.to_owned()).chain(rows.iter().map(cell)).collect();
        let widest = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        Self { rank: column.rank, width: widest.max(column.width), cells }
    }
}

fn width(columns: &[Drawn]) -> usize {
    columns.iter().map(|column| GAP + column.width).sum()
}

/// A name in at most `room` characters; names are ASCII.
fn shortened(name: &str, room: usize) -> String {
    if name.len() <= room {
        return name.to_owned();
    }
    match room.checked_sub(1) {
        Some(kept) => format!("{}\u{2026}", &name[..kept]),
        None => String::new(),
    }
}

fn cpu(row: &Row) -> Option<String> {
    if row.now.status == Status::Paused {
        return Some("paused".to_owned());
    }
    Some(format!("{:.1}", row.now.cpu_percent_since(row.before.as_ref()?)?))
}

fn memory_limit(row: &Row) -> Option<u64> {
    row.now.stats.memory.usage?.limit.filter(|limit| !limit.is_none()).map(|limit| limit.0)
}

fn memory_percent(row: &Row) -> Option<String> {
    Some(format!("{:.1}", percent(row.now.stats.memory.working_set()?, memory_limit(row)?)))
}

fn pids(row: &Row) -> Option<String> {
    let pids = row.now.stats.pids?;
    Some(match pids.limit.filter(|limit| !limit.is_none()) {
        Some(limit) => format!("{}/{}", pids.current, limit.0),
        None => pids.current.to_string(),
    })
}

/// Percent of the last ten seconds in which something waited for a processor, for memory and for block devices.
fn stalled(row: &Row) -> Option<String> {
    let stats = &row.now.stats;
    let kinds = [stats.cpu.pressure, stats.memory.pressure, stats.io.pressure];
    if kinds.iter().all(Option::is_none) {
        return None;
    }
    let share = kinds.map(|pressure| {
        let some = pressure.and_then(|pressure| pressure.some);
        some.map_or_else(|| NOTHING.to_owned(), |stall| format!("{:.1}", stall.avg10))
    });
    Some(share.join("/"))
}

fn throttled(row: &Row) -> Option<String> {
    Some(format!("{:.0} %", row.now.throttled_percent_since(row.before.as_ref()?)?))
}

fn oom_kills(row: &Row) -> Option<String> {
    Some(row.now.stats.memory.events?.oom_kill?.to_string())
}

/// Bytes in three digits: `512 B`, `1.50 KiB`, `12.3 MiB`, `123 GiB`.
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"");
    // What would be rounded to 1000 is told in the next unit.
    while value >= 999.5
        && let Some(next) = units.next()
    {
        (value, unit) = (value / 1024.0, next);
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use cloison::id::ContainerId;
    use cloison::lifecycle::{Sample, Stats};
    use serde_json::json;

    use super::*;

    /// A row that used half a processor in between.
    fn row(id: &str) -> Row {
        let now = Instant::now();
        let sample = |at| Sample {
            id: ContainerId::parse(id).unwrap(),
            pid: 7,
            status: Status::Running,
            at,
            stats: Stats::default(),
        };
        Row { now: sample(now), before: Some(sample(now.checked_sub(Duration::from_secs(1)).unwrap())) }
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let lines = lines(&[row("c1")], None);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("ID             CPU %    MEMORY"), "{}", lines[0]);
        let cells: Vec<_> = lines[1].split_whitespace().collect();
        assert_eq!(cells, ["c1", "-", "-", "-", "-", "-", "-", "0", "B", "0", "B", "-", "-", "-"]);
    }

    #[test]
    fn no_line_is_longer_than_the_room_and_the_names_stay_to_the_last() {
        let rows = [row("c1"), row(&"long".repeat(30))];
        for room in 0..200 {
            let lines = lines(&rows, Some(room));
            assert!(lines.iter().all(|line| line.chars().count() <= room), "{room}: {lines:?}");
            if room > 2 {
                assert!(lines[0].starts_with("ID") && lines[1].starts_with("c1"), "{room}: {lines:?}");
            }
        }
        assert_eq!(
            lines(&rows, Some(20)),
            ["ID             CPU %", "c1                 -", "longlonglon\u{2026}       -"]
                .map(str::to_owned)
        );
        assert!(lines(&rows, Some(60))[0].contains("PIDS"));
        assert!(!lines(&rows, Some(60))[0].contains("STALLED"));
    }

    #[test]
    fn without_a_bound_every_column_is_there() {
        let rows = [row(&"x".repeat(300))];
        let title = &lines(&rows, None)[0];
        assert!(COLUMNS.iter().all(|column| title.contains(column.title)), "{title}");
    }

    #[test]
    fn sizes_have_three_digits_and_never_wrap() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (10_240, "10.0 KiB"),
            (102_400, "100 KiB"),
            (1_023_488, "0.98 MiB"),
            (1 << 20, "1.00 MiB"),
            (64 << 20, "64.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, expected) in table {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn a_paused_container_says_so_instead_of_its_share() {
        let mut row = row("c1");
        row.now.status = Status::Paused;
        assert!(lines(&[row], None)[1].contains(" paused "));
    }

    #[test]
    fn json_has_what_is_known_and_nothing_else() {
        let text = super::super::json::line(&[row("c1")]).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = json!([{"id": "c1", "pid": 7, "status": "running", "stats": {"cpu": {}, "memory": {}, "io": {}}}]);
        assert_eq!(value, expected);
    }
}
