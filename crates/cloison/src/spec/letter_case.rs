//! Reading a `resources` section as Go does, for engines that rely on it: whatever the letter case of its keys is.

use std::path::Path;

use serde_json::{Map, Value};

use super::Resources;
use super::error::SpecError;

/// Every key of the section and of what is in it; no two differ in letter case alone.
const KEYS: [&str; 47] = [
    "access",
    "allow",
    "blockIO",
    "burst",
    "checkBeforeUpdate",
    "classID",
    "cpu",
    "cpus",
    "devices",
    "disableOOMKiller",
    "hcaHandles",
    "hcaObjects",
    "hugepageLimits",
    "idle",
    "kernel",
    "kernelTCP",
    "leafWeight",
    "limit",
    "major",
    "memory",
    "mems",
    "minor",
    "name",
    "network",
    "pageSize",
    "period",
    "pids",
    "priorities",
    "priority",
    "quota",
    "rate",
    "rdma",
    "realtimePeriod",
    "realtimeRuntime",
    "reservation",
    "shares",
    "swap",
    "swappiness",
    "throttleReadBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteBpsDevice",
    "throttleWriteIOPSDevice",
    "type",
    "unified",
    "useHierarchy",
    "weight",
    "weightDevice",
];

impl Resources {
    /// The same as [`parse`](Self::parse) for `update --resources`: keys count in any letter case, and what follows the object
    /// is left alone. Of a key that is there in several spellings the last one counts; objects of that name are joined.
    pub fn parse_in_any_case(bytes: &[u8], path: &Path) -> Result<Self, SpecError> {
        let mut documents = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
        match documents.next() {
            Some(Ok(document @ Value::Object(_))) => {
                let usual = usual_case(document, Depth::Keys).to_string();
                Self::parse(usual.as_bytes(), path)
            }
            // What is wrong with it is told there.
            _ => Self::parse(bytes, path),
        }
    }
}

/// What the keys of an object are.
#[derive(Clone, Copy)]
enum Depth {
    /// Ours.
    Keys,
    /// Names of devices, whose objects have keys of ours.
    Devices,
    /// Names of files.
    Files,
}

fn usual_case(value: Value, depth: Depth) -> Value {
    match value {
        Value::Object(fields) => Value::Object(usual_keys(fields, depth)),
        Value::Array(items) => items.into_iter().map(|item| usual_case(item, depth)).collect(),
        other => other,
    }
}

fn usual_keys(fields: Map<String, Value>, depth: Depth) -> Map<String, Value> {
    let mut usual = Map::new();
    for (key, value) in fields {
        let (key, below) = match depth {
            Depth::Keys => match KEYS.iter().find(|known| known.eq_ignore_ascii_case(&key)) {
                Some(&"rdma") => ("rdma".to_owned(), Depth::Devices),
                Some(&"unified") => ("unified".to_owned(), Depth::Files),
                Some(known) => ((*known).to_owned(), Depth::Keys),
                None => (key, Depth::Keys),
            },
            Depth::Devices => (key, Depth::Keys),
            Depth::Files => (key, Depth::Files),
        };
        let value = usual_case(value, below);
        match (usual.get_mut(&key), value) {
            (Some(Value::Object(there)), Value::Object(more)) => there.extend(more),
            (_, value) => drop(usual.insert(key, value)),
        }
    }
    usual
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Resources, SpecError> {
        Resources::parse_in_any_case(text.as_bytes(), Path::new("-"))
    }

    #[test]
    fn keys_count_in_any_letter_case_and_names_as_they_are() {
        let text = r#"{"CPU": {"Cpus": "0", "SHARES": 7}, "Memory": {"disableoomkiller": true},
                       "Devices": [{"Allow": true, "ACCESS": "r"}],
                       "RDMA": {"Mlx5": {"HCAHandles": 3}}, "Unified": {"Memory.High": "1"},
                       "blockio": {"throttlereadiopsdevice": [{"Major": 8, "Minor": 1, "Rate": 5}]}}"#;
        let resources = parse(text).unwrap();
        assert_eq!(resources.cpu.cpus.as_deref(), Some("0"));
        assert_eq!(resources.cpu.shares, Some(7));
        assert_eq!(resources.memory.disable_oom_killer, Some(true));
        assert!(resources.devices[0].allow);
        assert_eq!(resources.rdma["Mlx5"].hca_handles, Some(3));
        assert_eq!(resources.unified["Memory.High"], "1");
        assert_eq!(resources.block_io.throttle_read_iops_device[0].rate, 5);
    }

    #[test]
    fn every_field_has_its_key_in_the_table() {
        let whole = include_str!("tests/fixtures/whole.json");
        let whole: Value = serde_json::from_str(whole).unwrap();
        let usual = serde_json::from_value::<Resources>(whole["linux"]["resources"].clone()).unwrap();
        assert_eq!(parse(&shout(&whole["linux"]["resources"], "").to_string()).unwrap(), usual);
    }

    /// Everything that is a key of ours in capitals.
    fn shout(value: &Value, name: &str) -> Value {
        let is_ours = name != "unified" && name != "rdma";
        match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(key, value)| {
                    (if is_ours { key.to_uppercase() } else { key.clone() }, shout(value, key))
                })
                .collect::<Map<_, _>>()
                .into(),
            Value::Array(items) => items.iter().map(|item| shout(item, "")).collect(),
            other => other.clone(),
        }
    }

    #[test]
    fn the_last_spelling_counts_and_objects_are_joined() {
        let both = parse(r#"{"CPU": {"shares": 3, "quota": 5}, "cpu": {"shares": 4}}"#).unwrap();
        assert_eq!((both.cpu.shares, both.cpu.quota), (Some(4), Some(5)));
    }

    #[test]
    fn what_follows_the_object_is_left_alone() {
        assert_eq!(parse("{\"cpu\": {\"shares\": 3}}\nmore").unwrap().cpu.shares, Some(3));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            ("", "nothing is there"),
            ("[]", "-: "),
            ("{\"cpu\": ", "line 1"),
            (r#"{"CPU": {"Shares": "x"}}"#, "/cpu/shares"),
            (r#"{"unified": {"a/b.c": "1"}}"#, "no slashes"),
        ] {
            let said = parse(text).unwrap_err().to_string();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
