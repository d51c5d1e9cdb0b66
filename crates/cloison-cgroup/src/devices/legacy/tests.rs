use proptest::prelude::*;

use super::*;
use crate::devices::reference::{default_list, requests, rule, rules, says};

fn table(rules: &[&str]) -> Table {
    Table::of(&Policy::of(&rules.iter().map(|text| rule(text)).collect::<Vec<_>>())).unwrap()
}

fn lines(table: &Table) -> Vec<String> {
    let line = |(entry, access): (&Entry, &DeviceAccess)| {
        Change { allow: true, entry: Some(*entry), access: *access }.to_string()
    };
    table.exceptions.iter().map(line).collect()
}

/// The changes as they are written, `+` to `devices.allow` and `-` to `devices.deny`.
fn written(from: &Table, to: &Table) -> Vec<String> {
    let sign = |change: &Change| if change.allow { '+' } else { '-' };
    from.transition(to).iter().map(|change| format!("{}{change}", sign(change))).collect()
}

impl Table {
    /// What the kernel does with a line: `devcgroup_update_access`.
    fn take(&mut self, change: &Change) {
        let Some(entry) = change.entry else {
            *self = Self { allow: change.allow, exceptions: BTreeMap::new() };
            return;
        };
        let access = self.exceptions.entry(entry).or_insert(DeviceAccess::empty());
        access.set(change.access, change.allow != self.allow);
        self.exceptions.retain(|_, access| !access.is_empty());
    }

    /// What the kernel answers: `__devcgroup_check_permission`.
    fn allows(&self, kind: DeviceKind, major: u32, minor: u32, access: DeviceAccess) -> bool {
        let device = Range { major: Some(major), minor: Some(minor) };
        let block = kind == DeviceKind::Block;
        let mut matching = self.exceptions.iter().filter(|(e, _)| e.block == block && e.range.covers(device));
        if self.allow {
            !matching.any(|(_, denied)| denied.intersects(access))
        } else {
            matching.any(|(_, allowed)| allowed.contains(access))
        }
    }

    /// What the kernel shows of it.
    fn shown(&self) -> String {
        if self.allow { "a *:* rwm\n".to_owned() } else { lines(self).join("\n") + "\n" }
    }
}

fn new_table() -> Table {
    Table::parse("a *:* rwm\n")
}

#[test]
fn the_default_list_is_what_engines_expect_to_read() {
    let table = Table::of(&Policy::of(&default_list())).unwrap();
    assert!(!table.allow);
    let expected = [
        "c *:* m",
        "c 1:3 rwm",
        "c 1:5 rwm",
        "c 1:7 rwm",
        "c 1:8 rwm",
        "c 1:9 rwm",
        "c 5:0 rwm",
        "c 5:2 rwm",
        "c 10:200 rwm",
        "c 136:* rwm",
        "b *:* m",
    ];
    assert_eq!(lines(&table), expected);
}

#[test]
fn everything_is_allowed_without_exceptions() {
    let all = table(&["deny a *:* rwm", "allow a *:* rwm"]);
    assert_eq!(all, new_table());
    assert_eq!(written(&table(&["allow c 1:3 r"]), &all), ["+a *:* rwm"]);
}

#[test]
fn what_is_denied_to_a_container_that_may_everything_is_an_exception() {
    let most = table(&["allow a *:* rwm", "deny b 8:* w", "deny c 1:1 rwm"]);
    assert!(most.allow);
    assert_eq!(written(&new_table(), &most), ["+a *:* rwm", "-c 1:1 rwm", "-b 8:* w"]);
}

#[test]
fn a_hole_in_a_range_is_refused_by_name() {
    let rules = ["allow c 1:* rwm", "deny c 1:1 w"].map(rule);
    let error = Table::of(&Policy::of(&rules)).unwrap_err();
    let message = "cgroup v1 cannot express \"deny c 1:1 w\" together with the other device rules";
    assert_eq!(error.to_string(), message);
}

#[test]
fn what_stays_is_not_written_again() {
    let before = table(&["allow c 1:3 rwm", "allow c 7:* r", "allow b 8:1 rw"]);
    let after = table(&["allow c 1:3 rwm", "allow c 7:* rw", "allow b 8:1 r", "allow b 8:2 r"]);
    assert_eq!(written(&before, &after), ["+c 7:* w", "+b 8:2 r", "-b 8:1 w"]);
    assert!(written(&after, &after).is_empty());
}

#[test]
fn one_exception_allows_what_two_rules_do() {
    let table = table(&["allow c *:* w", "allow c 1:3 r"]);
    assert_eq!(lines(&table), ["c *:* w", "c 1:3 rw"]);
}

#[test]
fn a_list_is_parsed_as_the_kernel_prints_it() {
    let table = Table::parse("c *:* m\nb 8:0 rw\nc 1:3 rwm\n");
    assert!(!table.allow);
    assert_eq!(lines(&table), ["c *:* m", "c 1:3 rwm", "b 8:0 rw"]);
    assert!(Table::parse("").exceptions.is_empty());
}

proptest! {
    #[test]
    fn the_kernel_says_what_the_list_says(before in rules(), after in rules()) {
        let (Ok(mut now), Ok(wanted)) = (Table::of(&Policy::of(&before)), Table::of(&Policy::of(&after))) else {
            return Ok(());
        };
        let kept = |(kind, major, minor, access): &(DeviceKind, u32, u32, DeviceAccess)| {
            says(&before, *kind, *major, *minor, *access) && says(&after, *kind, *major, *minor, *access)
        };
        let kept: Vec<_> = requests(&after).filter(kept).collect();
        let careful = !now.allow && !wanted.allow;
        for change in Table::parse(&now.shown()).transition(&wanted) {
            now.take(&change);
            for (kind, major, minor, access) in kept.iter().filter(|_| careful) {
                prop_assert!(now.allows(*kind, *major, *minor, *access), "lost {} {:?}", change, now);
            }
        }
        prop_assert_eq!(&now, &wanted);
        for (kind, major, minor, access) in requests(&after) {
            let says = says(&after, kind, major, minor, access);
            prop_assert_eq!(now.allows(kind, major, minor, access), says, "{:?} {}:{} {}", kind, major, minor, access);
        }
    }

    #[test]
    fn only_what_is_an_exception_to_an_exception_is_refused(rules in rules()) {
        let denies = rules.iter().any(|rule| !rule.allow && (rule.major, rule.minor) != (None, None));
        if Table::of(&Policy::of(&rules)).is_err() {
            prop_assert!(denies);
        }
    }
}
