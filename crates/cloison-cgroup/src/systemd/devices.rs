//! Device rules as properties of a unit (`DeviceAllow=` of `systemd.resource-control(5)`).
//!
//! On v1 systemd writes a unit's rules anew when it reloads, and without any would allow everything. On v2 it attaches a program of
//! its own beside ours; a device has to pass both, and ours stays. So there a list that systemd has no words for is left to our
//! program alone, and on v1 what systemd has no words for is denied after a reload.

use super::property::Property;
use super::value::Value;
use crate::devices::{DeviceAccess, DeviceRule, Exception, Policy, Side};

/// The properties for a list of rules; `ours_stays` says that a program of ours holds them too.
pub(super) fn properties(rules: &[DeviceRule], ours_stays: bool) -> Vec<Property> {
    let policy = Policy::of(rules);
    let mut allowed = Vec::new();
    let char = side(&policy.char, "char", &mut allowed);
    let block = side(&policy.block, "block", &mut allowed);
    let exact = char && block;
    let open = policy.allows_everything() || (!exact && ours_stays);
    if !exact && !ours_stays {
        log::warn!(
            "systemd has no words for some device rules: when it reloads, it denies more than they do"
        );
    }
    let entry = |(path, access): (String, DeviceAccess)| {
        Value::Struct(vec![Value::Text(path), Value::text(access.to_string())])
    };
    let entries = if open { Vec::new() } else { allowed.into_iter().map(entry).collect() };
    // What is given is added to what the unit has, but for an empty list, which takes it away.
    let list = |entries| Property::new("DeviceAllow", Value::Array("(ss)".into(), entries));
    let policy = Property::new("DevicePolicy", Value::text(if open { "auto" } else { "strict" }));
    let mut properties = vec![list(Vec::new()), policy];
    if !entries.is_empty() {
        properties.push(list(entries));
    }
    properties
}

/// What systemd can be told of one kind of devices. Whether that is all; if not, it is less than the rules allow.
fn side(side: &Side, kind: &str, allowed: &mut Vec<(String, DeviceAccess)>) -> bool {
    let mut exact = true;
    let denied = |allows: Option<&Exception>| {
        let denials = side.exceptions.iter().filter(|exception| !exception.allow);
        let meeting = denials.filter(|denial| allows.is_none_or(|allows| allows.range.meets(denial.range)));
        meeting.fold(DeviceAccess::empty(), |all, denial| all | denial.access)
    };
    let mut allow = |path: Option<String>, access: DeviceAccess, denied: DeviceAccess| {
        exact &= path.is_some() && !access.intersects(denied);
        let access = access - denied;
        if let Some(path) = path
            && !access.is_empty()
        {
            allowed.push((path, access));
        }
    };
    if !side.base.is_empty() {
        allow(Some(format!("{kind}-*")), side.base, denied(None));
    }
    for exception in side.exceptions.iter().filter(|exception| exception.allow) {
        let path = match (exception.range.major, exception.range.minor) {
            (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
            (Some(major), None) => Some(format!("{kind}-{major}")),
            // All majors with one minor number.
            (None, _) => None,
        };
        allow(path, exception.access, denied(Some(exception)));
    }
    exact
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::DeviceKind;

    fn rule(text: &str) -> DeviceRule {
        let words: Vec<&str> = text.split(' ').collect();
        let number = |text: &str| text.parse().ok();
        let (major, minor) = words[2].split_once(':').unwrap();
        let letters = [('r', DeviceAccess::READ), ('w', DeviceAccess::WRITE), ('m', DeviceAccess::MKNOD)];
        DeviceRule {
            allow: words[0] == "allow",
            kind: match words[1] {
                "c" => DeviceKind::Char,
                "b" => DeviceKind::Block,
                _ => DeviceKind::Any,
            },
            major: number(major),
            minor: number(minor),
            access: letters.iter().filter(|(l, _)| words[3].contains(*l)).map(|(_, bit)| *bit).collect(),
        }
    }

    fn of(rules: &[&str], ours_stays: bool) -> String {
        let rules: Vec<DeviceRule> = rules.iter().map(|text| rule(text)).collect();
        let all = properties(&rules, ours_stays);
        all.iter().map(|one| format!("{}={}", one.name, one.value)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rules_that_systemd_has_words_for_are_told_to_it() {
        let rules =
            ["deny a *:* rwm", "allow c *:* m", "allow c 1:3 rwm", "allow c 136:* rwm", "allow b 8:0 r"];
        let expected = "DeviceAllow=[] DevicePolicy=strict DeviceAllow=[(char-* m) (/dev/char/1:3 rw) \
                        (char-136 rw) (/dev/block/8:0 r)]";
        for ours_stays in [true, false] {
            assert_eq!(of(&rules, ours_stays).replace("rwm", "rw"), expected);
        }
    }

    #[test]
    fn rules_that_allow_everything_are_no_rules() {
        for ours_stays in [true, false] {
            assert_eq!(of(&["allow a *:* rwm"], ours_stays), "DeviceAllow=[] DevicePolicy=auto");
        }
    }

    #[test]
    fn no_rules_deny_everything() {
        assert_eq!(of(&[], true), "DeviceAllow=[] DevicePolicy=strict");
    }

    #[test]
    fn rules_without_words_are_left_to_our_program_or_denied() {
        let exception = ["allow c *:* rwm", "deny c 1:3 w"];
        assert_eq!(of(&exception, true), "DeviceAllow=[] DevicePolicy=auto");
        assert_eq!(of(&exception, false), "DeviceAllow=[] DevicePolicy=strict DeviceAllow=[(char-* rm)]");
        let all_majors = ["allow c *:3 rwm", "allow c 5:0 r"];
        assert_eq!(of(&all_majors, true), "DeviceAllow=[] DevicePolicy=auto");
        assert_eq!(
            of(&all_majors, false),
            "DeviceAllow=[] DevicePolicy=strict DeviceAllow=[(/dev/char/5:0 r)]"
        );
        let narrower = ["allow c 5:* rwm", "deny c 5:1 w", "allow c 6:* w"];
        assert_eq!(
            of(&narrower, false),
            "DeviceAllow=[] DevicePolicy=strict DeviceAllow=[(char-5 rm) (char-6 w)]"
        );
    }
}
