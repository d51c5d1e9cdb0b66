//! The rules of id maps (`user_namespaces(7)`).

use crate::spec::IdMapping;

use super::Check;

/// The most rows that the kernel takes (since Linux 4.15).
const MOST_ROWS: usize = 340;

pub(super) fn check(rows: &[IdMapping], at: &str, check: &mut Check<'_>) {
    if rows.len() > MOST_ROWS {
        check.problem(at, format!("{} rows, the kernel takes at most {MOST_ROWS}", rows.len()));
        return;
    }
    for (index, row) in rows.iter().enumerate() {
        if row.size == 0 && !check.is_hole(&format!("{at}/{index}")) {
            check.problem(format!("{at}/{index}/size"), "found 0, expected the number of ids to map");
        }
        // The last id, 4294967295, stands for "no id" and cannot be mapped.
        for (field, first) in [("containerID", row.container_id), ("hostID", row.host_id)] {
            if first.checked_add(row.size).is_none() {
                check.problem(
                    format!("{at}/{index}/{field}"),
                    format!("{} ids from {first} on run over the last id, {}", row.size, u32::MAX - 1),
                );
            }
        }
        if rows[..index].iter().any(|earlier| overlap(earlier, row)) {
            check.problem(format!("{at}/{index}"), "overlaps with an earlier mapping");
        }
    }
}

fn overlap(one: &IdMapping, other: &IdMapping) -> bool {
    let meet = |one_first: u32, other_first: u32| {
        let (one_first, other_first) = (u64::from(one_first), u64::from(other_first));
        one_first < other_first + u64::from(other.size) && other_first < one_first + u64::from(one.size)
    };
    meet(one.container_id, other.container_id) || meet(one.host_id, other.host_id)
}
