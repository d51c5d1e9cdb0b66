//! For tests: what a list of rules says, worked out as plainly as the specification has it.

use proptest::prelude::*;

use super::{DeviceAccess, DeviceKind, DeviceRule};

/// Whether a list allows something: for each kind of access, the last rule that matches decides.
pub(super) fn says(
    rules: &[DeviceRule],
    kind: DeviceKind,
    major: u32,
    minor: u32,
    access: DeviceAccess,
) -> bool {
    access.iter().all(|bit| {
        let matches = |rule: &&DeviceRule| {
            (rule.kind == DeviceKind::Any || rule.kind == kind)
                && rule.major.is_none_or(|number| number == major)
                && rule.minor.is_none_or(|number| number == minor)
                && rule.access.contains(bit)
        };
        rules.iter().rev().find(matches).is_some_and(|rule| rule.allow)
    })
}

/// A rule as [`DeviceRule`] prints it.
pub(super) fn rule(text: &str) -> DeviceRule {
    let parts: Vec<&str> = text.split([' ', ':']).collect();
    let [what, kind, major, minor, access] = parts[..] else { panic!("{text} is no rule") };
    DeviceRule {
        allow: what == "allow",
        kind: match kind {
            "a" => DeviceKind::Any,
            "c" => DeviceKind::Char,
            _ => DeviceKind::Block,
        },
        major: major.parse().ok(),
        minor: minor.parse().ok(),
        access: letters(access),
    }
}

pub(super) fn letters(text: &str) -> DeviceAccess {
    DeviceAccess::all().iter().filter(|bit| text.contains(&bit.to_string())).collect()
}

/// What a container has that asks for nothing.
pub(super) fn default_list() -> Vec<DeviceRule> {
    let rules = [
        "deny a *:* rwm",
        "allow c *:* m",
        "allow b *:* m",
        "allow c 1:3 rwm",
        "allow c 1:8 rwm",
        "allow c 1:7 rwm",
        "allow c 5:0 rwm",
        "allow c 1:5 rwm",
        "allow c 1:9 rwm",
        "allow c 136:* rwm",
        "allow c 5:2 rwm",
        "allow c 10:200 rwm",
    ];
    rules.map(rule).to_vec()
}

/// Lists in which the same few devices come again and again.
pub(super) fn rules() -> impl Strategy<Value = Vec<DeviceRule>> {
    let kind = prop_oneof![Just(DeviceKind::Any), Just(DeviceKind::Char), Just(DeviceKind::Block)];
    let major = prop_oneof![
        3 => Just(None),
        6 => (0_u32..3).prop_map(Some),
        1 => prop_oneof![Just(Some(2048)), Just(Some(4095)), Just(Some(4096))],
    ];
    let minor = prop_oneof![
        3 => Just(None),
        6 => (0_u32..3).prop_map(Some),
        1 => prop_oneof![Just(Some(0xf_ffff)), Just(Some(0x10_0000)), Just(Some(u32::MAX))],
    ];
    let access = (1_u8..8).prop_map(DeviceAccess::from_bits_truncate);
    let rule = (any::<bool>(), kind, major, minor, access);
    let rule =
        rule.prop_map(|(allow, kind, major, minor, access)| DeviceRule { allow, kind, major, minor, access });
    prop::collection::vec(rule, 0..12)
}

/// Everything that may be asked for of the devices that the rules name, of their neighbours, and of one that none names.
pub(super) fn requests(
    rules: &[DeviceRule],
) -> impl Iterator<Item = (DeviceKind, u32, u32, DeviceAccess)> + use<> {
    let numbers = |named: fn(&DeviceRule) -> Option<u32>, highest: u32| {
        let mut numbers: Vec<u32> = rules.iter().filter_map(named).chain([77]).collect();
        numbers.extend(numbers.clone().iter().map(|number| number.wrapping_add(1)));
        numbers.retain(|number| *number <= highest);
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    let majors = numbers(|rule| rule.major, 0xfff);
    let minors = numbers(|rule| rule.minor, 0xf_ffff);
    let devices: Vec<_> =
        majors.iter().flat_map(|major| minors.iter().map(|minor| (*major, *minor))).collect();
    [DeviceKind::Char, DeviceKind::Block].into_iter().flat_map(move |kind| {
        let accesses = (1..8).map(DeviceAccess::from_bits_truncate);
        let devices = devices.clone();
        accesses.flat_map(move |access| {
            devices.clone().into_iter().map(move |(major, minor)| (kind, major, minor, access))
        })
    })
}
