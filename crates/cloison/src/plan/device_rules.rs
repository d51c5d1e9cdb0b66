//! Which devices the container may use (runtime-spec, config-linux.md, "Allowed Device list").

use std::path::Path;

use cloison_cgroup::{DeviceAccess, DeviceKind, DeviceRule};

use super::devices::DEFAULT;
use super::mounts::clean;
use crate::spec::{self, DeviceRuleType, Spec};

/// Devices that every container has and that have no path: `/dev/console` and the terminals of `/dev/pts`, `/dev/ptmx`, and
/// `/dev/net/tun`, which engines have come to rely on.
const WITHOUT_PATH: [(u32, Option<u32>); 3] = [(136, None), (5, Some(2)), (10, Some(200))];

/// The rules of the configuration, then what no container is without, so that no configuration can take it away: nodes may be made
/// of any device, and the default devices be used. A default device that the configuration puts another one in the place of goes
/// without its rule.
pub(crate) fn device_rules(spec: &Spec) -> Vec<DeviceRule> {
    let asked = spec.linux.resources.devices.iter().map(wanted);
    let nodes = [DeviceKind::Char, DeviceKind::Block].map(|kind| DeviceRule {
        allow: true,
        kind,
        major: None,
        minor: None,
        access: DeviceAccess::MKNOD,
    });
    let replaced =
        |path: &str| spec.linux.devices.iter().any(|device| clean(&device.path) == Path::new(path));
    let with_path =
        DEFAULT.iter().filter(|(path, ..)| !replaced(path)).map(|(_, major, minor)| (*major, Some(*minor)));
    let defaults = with_path.chain(WITHOUT_PATH).map(|(major, minor)| DeviceRule {
        allow: true,
        kind: DeviceKind::Char,
        major: Some(major),
        minor,
        access: DeviceAccess::all(),
    });
    asked.chain(nodes).chain(defaults).collect()
}

fn wanted(rule: &spec::DeviceRule) -> DeviceRule {
    // A number less than 0 is all of them; one that is too large is no device's.
    let number = |number: Option<i64>| {
        number.filter(|number| *number >= 0).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    };
    let letters = [('r', DeviceAccess::READ), ('w', DeviceAccess::WRITE), ('m', DeviceAccess::MKNOD)];
    DeviceRule {
        allow: rule.allow,
        kind: match rule.kind {
            None | Some(DeviceRuleType::All) => DeviceKind::Any,
            Some(DeviceRuleType::Block) => DeviceKind::Block,
            Some(DeviceRuleType::Character) => DeviceKind::Char,
        },
        major: number(rule.major),
        minor: number(rule.minor),
        access: letters
            .iter()
            .filter(|(letter, _)| rule.access.contains(*letter))
            .map(|(_, bit)| *bit)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(resources: &str, devices: &str) -> Vec<String> {
        let mut spec = spec::example(false);
        spec.linux.resources.devices = serde_json::from_str(resources).unwrap();
        spec.linux.devices = serde_json::from_str(devices).unwrap();
        device_rules(&spec).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn default_rules_come_last_whatever_is_asked_for() {
        let rules = printed(
            r#"[{"allow": false, "access": "rwm"}, {"allow": true, "type": "b", "major": 8, "access": "r"}]"#,
            "[]",
        );
        let expected = [
            "deny a *:* rwm",
            "allow b 8:* r",
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
        assert_eq!(rules, expected);
        assert_eq!(printed("[]", "[]"), expected[2..]);
    }

    #[test]
    fn a_device_in_the_place_of_a_default_one_takes_its_rule_away() {
        let other = r#"[{"path": "/dev//null", "type": "c", "major": 10, "minor": 1}]"#;
        assert!(!printed("[]", other).contains(&"allow c 1:3 rwm".to_owned()));
        assert_eq!(printed("[]", other).len(), printed("[]", "[]").len() - 1);
    }

    #[test]
    fn numbers_below_zero_are_all_and_numbers_beyond_reason_none() {
        let rules = r#"[{"allow": true, "type": "c", "major": -1, "minor": 3, "access": "mw"},
                        {"allow": true, "type": "a", "major": 4294967296, "minor": -1, "access": "r"}]"#;
        assert_eq!(printed(rules, "[]")[..2], ["allow c *:3 wm", "allow a 4294967295:* r"]);
    }
}
