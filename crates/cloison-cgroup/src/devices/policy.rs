//! A list of rules brought into its shortest form: for each kind of devices what is allowed in general, and the exceptions.

use super::{DeviceAccess, DeviceKind, DeviceRule};

/// The highest numbers that the kernel's `dev_t` has room for.
const HIGHEST_MAJOR: u32 = (1 << 12) - 1;
const HIGHEST_MINOR: u32 = (1 << 20) - 1;

/// What a list of rules comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) char: Side,
    pub(crate) block: Side,
}

/// What the rules say of one kind of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Side {
    /// What may be done with a device that no exception is about.
    pub(crate) base: DeviceAccess,
    /// The exceptions; of those that match a device, the last one decides, for each kind of access by itself.
    pub(crate) exceptions: Vec<Exception>,
}

/// What differs for some devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exception {
    pub(crate) allow: bool,
    pub(crate) range: Range,
    pub(crate) access: DeviceAccess,
}

/// Some devices of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
}

impl Policy {
    pub(crate) fn of(rules: &[DeviceRule]) -> Self {
        Self { char: Side::of(rules, DeviceKind::Char), block: Side::of(rules, DeviceKind::Block) }
    }

    /// Whether there is nothing that it denies.
    pub(crate) fn allows_everything(&self) -> bool {
        [&self.char, &self.block].iter().all(|side| side.base.is_all() && side.exceptions.is_empty())
    }
}

impl Side {
    fn of(rules: &[DeviceRule], kind: DeviceKind) -> Self {
        let mut side = Self { base: DeviceAccess::empty(), exceptions: Vec::new() };
        for rule in rules.iter().filter(|rule| rule.kind == kind || rule.kind == DeviceKind::Any) {
            side.add(rule);
        }
        side.drop_what_changes_nothing();
        side.join_equal_ranges();
        side
    }

    fn add(&mut self, rule: &DeviceRule) {
        let range = Range { major: rule.major, minor: rule.minor };
        if !range.may_exist() {
            return;
        }
        // What the new rule decides, no earlier one does.
        for earlier in self.exceptions.iter_mut().filter(|earlier| range.covers(earlier.range)) {
            earlier.access -= rule.access;
        }
        self.exceptions.retain(|exception| !exception.access.is_empty());
        if range == Range::ALL {
            self.base.set(rule.access, rule.allow);
        } else {
            self.exceptions.push(Exception { allow: rule.allow, range, access: rule.access });
        }
    }

    /// An exception that says what would be so without it is none.
    fn drop_what_changes_nothing(&mut self) {
        let mut kept: Vec<Exception> = Vec::with_capacity(self.exceptions.len());
        for exception in &self.exceptions {
            let changes = |bit: &DeviceAccess| {
                let touching = kept
                    .iter()
                    .rev()
                    .filter(|earlier| earlier.access.contains(*bit) && earlier.range.meets(exception.range));
                // Those that say the same of some of the devices only leave the question open.
                let decides = |earlier: &&Exception| {
                    earlier.allow != exception.allow || earlier.range.covers(exception.range)
                };
                let without =
                    touching.into_iter().find(decides).map_or(self.base.contains(*bit), |one| one.allow);
                without != exception.allow
            };
            let access: DeviceAccess = exception.access.iter().filter(changes).collect();
            if !access.is_empty() {
                kept.push(Exception { access, ..*exception });
            }
        }
        self.exceptions = kept;
    }

    /// Two exceptions alike but for their access become one, where nothing between them depends on their order.
    fn join_equal_ranges(&mut self) {
        let mut joined: Vec<Exception> = Vec::with_capacity(self.exceptions.len());
        for exception in self.exceptions.drain(..) {
            let twin = joined
                .iter()
                .rposition(|earlier| earlier.range == exception.range && earlier.allow == exception.allow);
            let in_the_way = |other: &Exception| {
                other.allow != exception.allow
                    && other.range.meets(exception.range)
                    && other.access.intersects(exception.access)
            };
            match twin {
                Some(twin) if !joined[twin..].iter().any(in_the_way) => {
                    joined[twin].access |= exception.access;
                }
                _ => joined.push(exception),
            }
        }
        self.exceptions = joined;
    }

    /// What the exception at `index` may say besides, because it would come out so anyway; most exceptions then need not
    /// look at the access at all.
    pub(crate) fn widened(&self, index: usize) -> DeviceAccess {
        let exception = &self.exceptions[index];
        let same = if exception.allow { self.base } else { !self.base };
        let contradicted = self.exceptions[..index]
            .iter()
            .filter(|earlier| earlier.allow != exception.allow && earlier.range.meets(exception.range))
            .fold(DeviceAccess::empty(), |all, earlier| all | earlier.access);
        exception.access | (same - contradicted)
    }
}

impl Range {
    pub(crate) const ALL: Self = Self { major: None, minor: None };

    /// Whether every device of `other` is in it.
    pub(crate) fn covers(self, other: Self) -> bool {
        let covers = |ours: Option<u32>, theirs| ours.is_none() || ours == theirs;
        covers(self.major, other.major) && covers(self.minor, other.minor)
    }

    /// Whether there is a device in both.
    pub(crate) fn meets(self, other: Self) -> bool {
        let meet =
            |ours: Option<u32>, theirs: Option<u32>| ours.is_none() || theirs.is_none() || ours == theirs;
        meet(self.major, other.major) && meet(self.minor, other.minor)
    }

    fn may_exist(self) -> bool {
        self.major.is_none_or(|major| major <= HIGHEST_MAJOR)
            && self.minor.is_none_or(|minor| minor <= HIGHEST_MINOR)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::devices::reference::{default_list, requests, rule, rules, says};

    impl Side {
        fn allows(&self, device: Range, access: DeviceAccess) -> bool {
            access.iter().all(|bit| {
                let decides = |e: &&Exception| e.range.covers(device) && e.access.contains(bit);
                self.exceptions.iter().rev().find(decides).map_or(self.base.contains(bit), |e| e.allow)
            })
        }
    }

    fn side(texts: &[&str]) -> (String, Vec<String>) {
        let side = Policy::of(&texts.iter().map(|text| rule(text)).collect::<Vec<_>>()).char;
        let shown = side.exceptions.iter().map(|exception| {
            let Exception { allow, range, access } = *exception;
            let rule =
                DeviceRule { allow, kind: DeviceKind::Char, major: range.major, minor: range.minor, access };
            rule.to_string()
        });
        (side.base.to_string(), shown.collect())
    }

    #[test]
    fn the_last_rule_for_everything_forgets_all_before_it() {
        let all = ["allow c 1:3 rwm", "deny b *:* w", "allow a *:* rwm"];
        assert!(Policy::of(&all.map(rule)).allows_everything());
        assert_eq!(side(&[&all[..], &["deny a *:* rwm"]].concat()), (String::new(), vec![]));
    }

    #[test]
    fn nothing_is_allowed_by_no_rules() {
        assert_eq!(side(&[]), (String::new(), vec![]));
        assert!(!Policy::of(&[]).allows_everything());
    }

    #[test]
    fn what_is_allowed_anyway_is_no_exception() {
        assert_eq!(side(&["allow c *:* m", "allow c 1:3 rwm"]), ("m".into(), vec!["allow c 1:3 rw".into()]));
        assert_eq!(side(&["allow a *:* rwm", "allow c 1:3 rwm"]), ("rwm".into(), vec![]));
        assert_eq!(side(&["deny c 1:3 rwm"]), (String::new(), vec![]));
    }

    #[test]
    fn a_hole_in_a_range_stays() {
        let rules = ["allow c 1:* rwm", "deny c 1:1 w"];
        assert_eq!(side(&rules), (String::new(), rules.map(str::to_owned).to_vec()));
        let filled = [&rules[..], &["allow c 1:1 w"]].concat();
        assert_eq!(side(&filled), (String::new(), vec!["allow c 1:* rwm".into()]));
    }

    #[test]
    fn rules_for_one_device_are_joined_in_any_order() {
        let joined = vec!["allow c 1:3 rw".to_owned()];
        assert_eq!(side(&["allow c 1:3 r", "allow c 1:3 w"]), (String::new(), joined.clone()));
        assert_eq!(side(&["allow c 1:3 rwm", "deny c 1:3 m"]), (String::new(), joined));
    }

    #[test]
    fn numbers_that_no_device_has_are_left_out() {
        assert_eq!(side(&["allow c 4096:* rwm", "allow c *:1048576 rwm"]), (String::new(), vec![]));
        assert_eq!(side(&["allow c 4095:1048575 rwm"]).1.len(), 1);
    }

    #[test]
    fn the_default_list_is_a_base_and_nine_exceptions() {
        let policy = Policy::of(&default_list());
        assert_eq!(policy.char.base, DeviceAccess::MKNOD);
        assert_eq!(policy.char.exceptions.len(), 9);
        assert_eq!(policy.block, Side { base: DeviceAccess::MKNOD, exceptions: vec![] });
    }

    proptest! {
        #[test]
        fn the_short_form_says_what_the_list_says(rules in rules()) {
            let policy = Policy::of(&rules);
            for (kind, major, minor, access) in requests(&rules) {
                let side = if kind == DeviceKind::Char { &policy.char } else { &policy.block };
                let device = Range { major: Some(major), minor: Some(minor) };
                let wanted = says(&rules, kind, major, minor, access);
                prop_assert_eq!(side.allows(device, access), wanted, "{:?} {}:{} {}", kind, major, minor, access);
            }
        }
    }
}
