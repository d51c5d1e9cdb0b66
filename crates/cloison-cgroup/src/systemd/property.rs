//! Properties of a unit that a configuration asks for by name: annotations `org.systemd.property.NAME`
//! ([docs/systemd.md](https://github.com/opencontainers/runc/blob/main/docs/systemd.md) of runc).

use super::gvariant;
use super::value::Value;

/// What such annotations begin with.
const PREFIX: &str = "org.systemd.property.";
const SECOND: u64 = 1_000_000;

/// A property of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// `TimeoutStopUSec`
    pub name: String,
    /// What it is set to.
    pub value: Value,
}

impl Property {
    pub(crate) fn new(name: impl Into<String>, value: Value) -> Self {
        Self { name: name.into(), value }
    }

    /// The property that an annotation is; none if it is not about one. The value is in `GVariant`'s text format. A name in
    /// seconds (`TimeoutStopSec`) is understood as the property in microseconds that it stands for.
    ///
    /// # Errors
    /// What is wrong with the annotation.
    pub fn of_annotation(key: &str, text: &str) -> Option<Result<Self, String>> {
        let name = key.strip_prefix(PREFIX)?;
        Some(Self::parse(name, text))
    }

    fn parse(name: &str, text: &str) -> Result<Self, String> {
        if name.len() < 3 {
            return Err(format!("the name of the property {name:?} is too short"));
        }
        if !name.bytes().all(|letter| letter.is_ascii_alphabetic()) {
            return Err(format!("the name of the property {name:?} contains a non-alphabetic character"));
        }
        let value = gvariant::parse(text)?;
        match name.strip_suffix("Sec") {
            Some(stem) if stem.ends_with(|last: char| last.is_ascii_lowercase()) => {
                let value = microseconds(&value).ok_or("not a number of seconds")?;
                Ok(Self::new(format!("{stem}USec"), Value::U64(value)))
            }
            _ => Ok(Self::new(name, value)),
        }
    }
}

#[allow(
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a float becomes the nearest integer there is"
)]
fn microseconds(seconds: &Value) -> Option<u64> {
    let whole = match seconds {
        Value::Byte(number) => u64::from(*number),
        Value::I16(number) => u64::try_from(*number).ok()?,
        Value::U16(number) => u64::from(*number),
        Value::I32(number) => u64::try_from(*number).ok()?,
        Value::U32(number) => u64::from(*number),
        Value::I64(number) => u64::try_from(*number).ok()?,
        Value::U64(number) => *number,
        Value::F64(number) => return Some((number * SECOND as f64) as u64),
        _ => return None,
    };
    whole.checked_mul(SECOND)
}

/// The properties as systemd's methods take them: `a(sv)`.
pub(crate) fn list(properties: Vec<Property>) -> Value {
    let pairs = properties.into_iter().map(|property| {
        Value::Struct(vec![Value::Text(property.name), Value::Variant(Box::new(property.value))])
    });
    Value::Array("(sv)".into(), pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, text: &str) -> Result<(String, Value), String> {
        let property = Property::of_annotation(&format!("org.systemd.property.{name}"), text).unwrap();
        property.map(|property| (property.name, property.value))
    }

    #[test]
    fn annotations_are_properties_by_their_prefix() {
        assert_eq!(Property::of_annotation("org.systemd.properties.X", "1"), None);
        assert_eq!(
            of("TimeoutStopUSec", "uint64 123456789").unwrap(),
            ("TimeoutStopUSec".into(), Value::U64(123_456_789))
        );
        assert_eq!(of("CollectMode", "'inactive-or-failed'").unwrap().1, Value::text("inactive-or-failed"));
    }

    #[test]
    fn seconds_become_microseconds() {
        for (text, expected) in
            [("123", 123_000_000), ("uint64 2", 2_000_000), ("1.5", 1_500_000), ("byte 3", 3_000_000)]
        {
            assert_eq!(of("TimeoutStopSec", text).unwrap(), ("TimeoutStopUSec".into(), Value::U64(expected)));
        }
        for text in ["'covfefe'", "-1", "true", "uint64 18446744073709551615"] {
            assert_eq!(of("TimeoutStopSec", text), Err("not a number of seconds".into()), "{text}");
        }
        assert_eq!(of("FOOSec", "1").unwrap().0, "FOOSec", "no lower case letter stands before it");
    }

    #[test]
    fn names_that_are_no_properties_are_refused() {
        for name in ["", "ab", "a b c", "Ünit", "a.b.c", "Some1"] {
            assert!(of(name, "1").is_err(), "{name}");
        }
        assert!(of("TimeoutStopUSec", "uint64").is_err());
    }

    #[test]
    fn lists_are_pairs_of_names_and_variants() {
        let list = list(vec![Property::new("A", Value::Bool(true))]);
        assert_eq!((list.signature().as_str(), list.to_string().as_str()), ("a(sv)", "[(A true)]"));
    }
}
