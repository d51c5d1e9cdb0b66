//! Values as D-Bus knows them ([specification](https://dbus.freedesktop.org/doc/dbus-specification.html#type-system)), and their
//! form on the wire.

use std::fmt;

/// How deep values may be nested, which the specification limits to 32 arrays and 32 structures.
const MAX_DEPTH: usize = 32;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    F64(f64),
    /// `s`
    Text(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `v`
    Variant(Box<Value>),
    /// `a`: the signature of an element, and the elements.
    Array(String, Vec<Value>),
    /// `(…)`
    Struct(Vec<Value>),
    /// `{…}`, in arrays only.
    Entry(Box<(Value, Value)>),
}

impl Value {
    /// A text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Texts: `as`.
    pub(crate) fn texts<const N: usize>(texts: [&str; N]) -> Self {
        Self::Array("s".into(), texts.into_iter().map(Self::text).collect())
    }

    /// The type in the letters of the specification.
    #[must_use]
    pub fn signature(&self) -> String {
        let letter = match self {
            Self::Byte(_) => "y",
            Self::Bool(_) => "b",
            Self::I16(_) => "n",
            Self::U16(_) => "q",
            Self::I32(_) => "i",
            Self::U32(_) => "u",
            Self::I64(_) => "x",
            Self::U64(_) => "t",
            Self::F64(_) => "d",
            Self::Text(_) => "s",
            Self::Path(_) => "o",
            Self::Signature(_) => "g",
            Self::Variant(_) => "v",
            Self::Array(element, _) => return format!("a{element}"),
            Self::Struct(fields) => {
                return format!("({})", fields.iter().map(Self::signature).collect::<String>());
            }
            Self::Entry(entry) => return format!("{{{}{}}}", entry.0.signature(), entry.1.signature()),
        };
        letter.to_owned()
    }
}

impl fmt::Display for Value {
    /// As a person would write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(number) => number.fmt(f),
            Self::Bool(truth) => truth.fmt(f),
            Self::I16(number) => number.fmt(f),
            Self::U16(number) => number.fmt(f),
            Self::I32(number) => number.fmt(f),
            Self::U32(number) => number.fmt(f),
            Self::I64(number) => number.fmt(f),
            Self::U64(u64::MAX) => f.write_str("infinity"),
            Self::U64(number) => number.fmt(f),
            Self::F64(number) => number.fmt(f),
            Self::Text(text) | Self::Path(text) | Self::Signature(text) => f.write_str(text),
            Self::Variant(value) => value.fmt(f),
            Self::Array(_, values) => list(f, ["[", "]"], values),
            Self::Struct(values) => list(f, ["(", ")"], values),
            Self::Entry(entry) => write!(f, "{}={}", entry.0, entry.1),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, brackets: [&str; 2], values: &[Value]) -> fmt::Result {
    f.write_str(brackets[0])?;
    for (index, value) in values.iter().enumerate() {
        write!(f, "{}{value}", if index == 0 { "" } else { " " })?;
    }
    f.write_str(brackets[1])
}

/// Bytes in the order of this machine, each value at a multiple of its size from the start.
#[derive(Debug, Default)]
pub(crate) struct Encoder(pub(crate) Vec<u8>);

impl Encoder {
    pub(crate) fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    pub(crate) fn number(&mut self, bytes: &[u8]) {
        self.align(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.number(&(text.len() as u32).to_ne_bytes());
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(signature.len() as u8);
        self.0.extend_from_slice(signature.as_bytes());
        self.0.push(0);
    }

    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(number) => self.0.push(*number),
            Value::Bool(truth) => self.number(&u32::from(*truth).to_ne_bytes()),
            Value::I16(number) => self.number(&number.to_ne_bytes()),
            Value::U16(number) => self.number(&number.to_ne_bytes()),
            Value::I32(number) => self.number(&number.to_ne_bytes()),
            Value::U32(number) => self.number(&number.to_ne_bytes()),
            Value::I64(number) => self.number(&number.to_ne_bytes()),
            Value::U64(number) => self.number(&number.to_ne_bytes()),
            Value::F64(number) => self.number(&number.to_ne_bytes()),
            Value::Text(text) | Value::Path(text) => self.text(text),
            Value::Signature(signature) => self.signature(signature),
            Value::Variant(value) => {
                self.signature(&value.signature());
                self.value(value);
            }
            Value::Array(element, values) => {
                self.number(&0_u32.to_ne_bytes());
                let length_at = self.0.len() - 4;
                // The padding before the first element is not counted, and is there even if there is none.
                self.align(alignment(element));
                let start = self.0.len();
                for value in values {
                    self.value(value);
                }
                let length = ((self.0.len() - start) as u32).to_ne_bytes();
                self.0[length_at..length_at + 4].copy_from_slice(&length);
            }
            Value::Struct(fields) => {
                self.align(8);
                for field in fields {
                    self.value(field);
                }
            }
            Value::Entry(entry) => {
                self.align(8);
                self.value(&entry.0);
                self.value(&entry.1);
            }
        }
    }
}

fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

/// Reads values from bytes that somebody else has written: every length is checked, none believed.
#[derive(Debug)]
pub(crate) struct Decoder<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Decoder<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Values of the types in `signature`; none if the bytes are not such values.
    pub(crate) fn values(&mut self, signature: &str) -> Option<Vec<Value>> {
        let mut rest = signature;
        let mut values = Vec::new();
        while !rest.is_empty() {
            let (one, more) = first_type(rest)?;
            values.push(self.value(one, 0)?);
            rest = more;
        }
        Some(values)
    }

    pub(crate) fn align(&mut self, to: usize) -> Option<()> {
        self.at = self.at.next_multiple_of(to);
        (self.at <= self.bytes.len()).then_some(())
    }

    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.align(N)?;
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.number().map(u32::from_ne_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        let text = std::str::from_utf8(self.take(length)?).ok()?.to_owned();
        (self.take(1)? == [0]).then_some(text)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(*self.take(1)?.first()?);
        let text = std::str::from_utf8(self.take(length)?).ok()?.to_owned();
        (self.take(1)? == [0]).then_some(text)
    }

    fn value(&mut self, signature: &str, depth: usize) -> Option<Value> {
        if depth > 2 * MAX_DEPTH {
            return None;
        }
        Some(match signature.as_bytes().first()? {
            b'y' => Value::Byte(*self.take(1)?.first()?),
            b'b' => Value::Bool(match self.u32()? {
                0 => false,
                1 => true,
                _ => return None,
            }),
            b'n' => Value::I16(self.number().map(i16::from_ne_bytes)?),
            b'q' => Value::U16(self.number().map(u16::from_ne_bytes)?),
            b'i' => Value::I32(self.number().map(i32::from_ne_bytes)?),
            b'u' => Value::U32(self.u32()?),
            b'x' => Value::I64(self.number().map(i64::from_ne_bytes)?),
            b't' => Value::U64(self.number().map(u64::from_ne_bytes)?),
            b'd' => Value::F64(self.number().map(f64::from_ne_bytes)?),
            b's' => Value::Text(self.text()?),
            b'o' => Value::Path(self.text()?),
            b'g' => Value::Signature(self.signature()?),
            b'v' => {
                let inner = self.signature()?;
                if !first_type(&inner)?.1.is_empty() {
                    return None;
                }
                Value::Variant(Box::new(self.value(&inner, depth + 1)?))
            }
            b'a' => {
                let element = &signature[1..];
                let length = self.u32()? as usize;
                self.align(alignment(element))?;
                let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
                let mut values = Vec::new();
                while self.at < end {
                    let before = self.at;
                    values.push(self.value(element, depth + 1)?);
                    // An empty structure would go on for ever.
                    if self.at == before {
                        return None;
                    }
                }
                if self.at != end {
                    return None;
                }
                Value::Array(element.to_owned(), values)
            }
            b'(' => {
                self.align(8)?;
                let mut rest = signature.get(1..signature.len() - 1)?;
                let mut fields = Vec::new();
                while !rest.is_empty() {
                    let (one, more) = first_type(rest)?;
                    fields.push(self.value(one, depth + 1)?);
                    rest = more;
                }
                Value::Struct(fields)
            }
            b'{' => {
                self.align(8)?;
                let (key, value) = first_type(signature.get(1..signature.len() - 1)?)?;
                Value::Entry(Box::new((self.value(key, depth + 1)?, self.value(value, depth + 1)?)))
            }
            _ => return None,
        })
    }
}

/// The first complete type of a signature, and what follows it; none if it does not begin with one.
pub(crate) fn first_type(signature: &str) -> Option<(&str, &str)> {
    let length = type_length(signature.as_bytes(), 0)?;
    Some(signature.split_at(length))
}

fn type_length(signature: &[u8], depth: usize) -> Option<usize> {
    if depth > 2 * MAX_DEPTH {
        return None;
    }
    match signature.first()? {
        b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v' => Some(1),
        b'a' => Some(1 + type_length(&signature[1..], depth + 1)?),
        open @ (b'(' | b'{') => {
            let close = if *open == b'(' { b')' } else { b'}' };
            let mut at = 1;
            let mut fields = 0;
            while *signature.get(at)? != close {
                at += type_length(&signature[at..], depth + 1)?;
                fields += 1;
            }
            (fields > 0 && (*open == b'(' || fields == 2)).then_some(at + 1)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(value: Value) {
        let mut encoder = Encoder::default();
        // Not at the start, so that the alignment matters.
        encoder.0.push(7);
        encoder.value(&value);
        let mut decoder = Decoder::new(&encoder.0);
        decoder.take(1).unwrap();
        assert_eq!(decoder.values(&value.signature()), Some(vec![value]));
        assert_eq!(decoder.at, encoder.0.len());
    }

    #[test]
    fn every_kind_of_value_reads_as_it_was_written() {
        there_and_back(Value::Byte(1));
        there_and_back(Value::Bool(true));
        there_and_back(Value::I16(-2));
        there_and_back(Value::U16(2));
        there_and_back(Value::I32(-3));
        there_and_back(Value::U32(3));
        there_and_back(Value::I64(-4));
        there_and_back(Value::U64(u64::MAX));
        there_and_back(Value::F64(0.5));
        there_and_back(Value::text("é"));
        there_and_back(Value::Path("/a".into()));
        there_and_back(Value::Signature("a(sv)".into()));
        there_and_back(Value::Array("(sv)".into(), vec![]));
        there_and_back(Value::Array(
            "{sv}".into(),
            vec![Value::Entry(Box::new((
                Value::text("k"),
                Value::Variant(Box::new(Value::texts(["a", "bc"]))),
            )))],
        ));
        there_and_back(Value::Struct(vec![Value::Byte(1), Value::U64(2), Value::Array("y".into(), vec![])]));
    }

    #[test]
    fn bytes_on_the_wire_are_those_of_the_specification() {
        let mut encoder = Encoder::default();
        encoder.value(&Value::Array(
            "(ss)".into(),
            vec![Value::Struct(vec![Value::text("a"), Value::text("")])],
        ));
        let mut expected = 13_u32.to_ne_bytes().to_vec();
        expected.extend([0; 4]);
        expected.extend(1_u32.to_ne_bytes());
        expected.extend(*b"a\0\0\0");
        expected.extend(0_u32.to_ne_bytes());
        expected.push(0);
        assert_eq!(encoder.0, expected);
    }

    #[test]
    fn no_truncation_and_no_false_length_is_taken_for_a_value() {
        let value = Value::Struct(vec![Value::texts(["abc"]), Value::Variant(Box::new(Value::U64(1)))]);
        let mut encoder = Encoder::default();
        encoder.value(&value);
        for length in 0..encoder.0.len() {
            assert_eq!(Decoder::new(&encoder.0[..length]).values("(asv)"), None, "{length}");
        }
        let lies: [(&str, &[u8]); 4] = [
            ("s", &[255, 255, 255, 255, 0]),
            ("as", &[9, 0, 0, 0]),
            ("b", &[2, 0, 0, 0]),
            ("v", &[2, b'y', b'y', 0, 1]),
        ];
        for (signature, bytes) in lies {
            assert_eq!(Decoder::new(bytes).values(signature), None, "{signature}");
        }
    }

    #[test]
    fn signatures_are_cut_type_by_type() {
        assert_eq!(first_type("a{sv}u"), Some(("a{sv}", "u")));
        assert_eq!(first_type("(s(ii))s"), Some(("(s(ii))", "s")));
        for wrong in ["", "()", "{s}", "a", "(s", "z", "{sss}"] {
            assert_eq!(first_type(wrong), None, "{wrong}");
        }
        assert_eq!(first_type(&"a".repeat(100_000)), None, "the depth is limited");
    }
}
