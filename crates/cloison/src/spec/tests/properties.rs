//! What holds for every text.

use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::id::ContainerId;
use crate::signal::Signal;
use crate::spec::{Spec, SpecError};

const DOCKER: &str = include_str!("fixtures/docker.json");
const WHOLE: &str = include_str!("fixtures/whole.json");

/// Any JSON, of keys that mean something now and then.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..6)
                .prop_map(|fields| Value::from(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "process",
        "args",
        "cwd",
        "user",
        "uid",
        "rlimits",
        "type",
        "root",
        "path",
        "mounts",
        "options",
        "linux",
        "namespaces",
        "resources",
        "memory",
        "limit",
        "seccomp",
        "syscalls",
        "action",
        "timeOffsets",
        "hooks",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => ".{0,4}"]
}

/// Every place of a value, as a pointer.
fn places(value: &Value, pointer: String, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                places(field, format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")), into);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, format!("{pointer}/{index}"), into);
            }
        }
        _ => {}
    }
    into.push(pointer);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_read_or_refused_with_a_reason(value in json()) {
        if let Err(error) = Spec::from_slice(value.to_string().as_bytes()) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_bytes_are_refused_with_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!Spec::from_slice(&bytes).unwrap_err().to_string().is_empty());
    }

    #[test]
    fn a_text_that_was_cut_off_is_refused_with_a_position(length in 0..DOCKER.trim_end().len()) {
        let error = Spec::from_slice(&DOCKER.as_bytes()[..length]).unwrap_err();
        let is_positioned = matches!(error, SpecError::Syntax { line, .. } if line >= 1);
        prop_assert!(is_positioned, "{error}");
    }

    #[test]
    fn any_value_anywhere_is_reported_at_its_own_place_or_is_good(
        place in any::<prop::sample::Index>(), value in json(),
    ) {
        let mut spec: Value = serde_json::from_str(DOCKER).unwrap();
        let mut all = Vec::new();
        places(&spec, String::new(), &mut all);
        *spec.pointer_mut(place.get(&all).as_str()).unwrap() = value;
        if let Err(SpecError::Invalid { problems, .. }) = Spec::from_slice(spec.to_string().as_bytes()) {
            prop_assert!(!problems.is_empty());
            for problem in problems {
                // What is missing has a parent that is there.
                let parent = problem.pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
                prop_assert!(spec.pointer(&problem.pointer).or(spec.pointer(parent)).is_some(), "{problem}");
            }
        }
    }

    #[test]
    fn a_field_that_is_taken_out_is_never_a_panic_and_never_two_problems(place in any::<prop::sample::Index>()) {
        let mut spec: Value = serde_json::from_str(WHOLE).unwrap();
        let mut all = Vec::new();
        places(&spec, String::new(), &mut all);
        let pointer = place.get(&all).clone();
        *spec.pointer_mut(&pointer).unwrap() = Value::Null;
        // With `null` for an item of a list there is one wrong type, and no more.
        if let Err(SpecError::Invalid { problems, .. }) = Spec::from_slice(spec.to_string().as_bytes()) {
            let types = problems.iter().filter(|problem| problem.message.starts_with("found null")).count();
            prop_assert!(types <= 1, "{problems:?}");
        }
    }

    #[test]
    fn an_id_is_always_one_path_component(text in "[a-z./_+-]{0,6}|.{0,6}") {
        if let Ok(id) = ContainerId::parse(&text) {
            let components: Vec<_> = std::path::Path::new(id.as_str()).components().collect();
            prop_assert!(matches!(components[..], [std::path::Component::Normal(name)] if name == id.as_str()));
        }
    }

    #[test]
    fn any_text_is_a_signal_that_exists_or_unknown(text in "(SIG)?(RTM(IN|AX))?[+-]?[0-9]{0,3}|.{0,8}") {
        match Signal::parse(&text) {
            Ok(signal) => prop_assert!((0..=64).contains(&signal.number())),
            Err(error) => prop_assert!(error.to_string().starts_with("unknown signal ")),
        }
    }
}
