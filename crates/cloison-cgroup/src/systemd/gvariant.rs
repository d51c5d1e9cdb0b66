//! Values as text ([GVariant text format](https://docs.gtk.org/glib/gvariant-text-format.html)), as far as D-Bus has such values:
//! no `maybe` types.

use super::value::{Value, first_type};

/// How deep values may be nested.
const MAX_DEPTH: usize = 32;

/// Words that say the type of what follows.
const KEYWORDS: [(&str, &str); 12] = [
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("handle", "i"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
];

/// The value that `text` stands for.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { text, at: 0 };
    let tree = reader.tree(0)?;
    reader.space();
    if reader.rest().is_empty() { build(&tree, None) } else { Err(reader.wrong("an end")) }
}

/// What was read, before its type is known.
#[derive(Debug)]
enum Tree {
    Number(String),
    Truth(bool),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Tree>),
    Tuple(Vec<Tree>),
    Entries(Vec<(Tree, Tree)>),
    /// `{key, value}`, an entry by itself.
    Entry,
    Variant(Box<Tree>),
    Typed(String, Box<Tree>),
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn wrong(&self, wanted: &str) -> String {
        format!("not a value in GVariant's text format: {wanted} is missing before {:?}", self.rest())
    }

    fn take(&mut self, mark: &str) -> bool {
        self.space();
        let there = self.rest().starts_with(mark);
        if there {
            self.at += mark.len();
        }
        there
    }

    fn must(&mut self, mark: &str) -> Result<(), String> {
        if self.take(mark) { Ok(()) } else { Err(self.wrong(&format!("{mark:?}"))) }
    }

    fn word(&mut self) -> String {
        let end = self
            .rest()
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || "+-._".contains(letter)))
            .unwrap_or(self.rest().len());
        let word = self.rest()[..end].to_owned();
        self.at += end;
        word
    }

    fn tree(&mut self, depth: usize) -> Result<Tree, String> {
        if depth > MAX_DEPTH {
            return Err("the value is nested too deep".to_owned());
        }
        self.space();
        match self.rest().chars().next() {
            Some('[') => self.sequence("[", "]", depth).map(Tree::List),
            Some('(') => self.sequence("(", ")", depth).map(Tree::Tuple),
            Some('{') => self.entries(depth),
            Some('<') => {
                self.at += 1;
                let inner = self.tree(depth + 1)?;
                self.must(">")?;
                Ok(Tree::Variant(Box::new(inner)))
            }
            Some('@') => {
                self.at += 1;
                let (one, _) = first_type(self.rest()).ok_or_else(|| self.wrong("a type"))?;
                let one = one.to_owned();
                self.at += one.len();
                Ok(Tree::Typed(one, Box::new(self.tree(depth + 1)?)))
            }
            Some('\'' | '"') => self.text().map(Tree::Text),
            Some('b') if self.rest().starts_with("b'") || self.rest().starts_with("b\"") => {
                self.at += 1;
                // A string of bytes has its end in it.
                let mut bytes = self.text()?.into_bytes();
                bytes.push(0);
                Ok(Tree::Bytes(bytes))
            }
            Some(first) if first.is_ascii_digit() || "+-.".contains(first) => Ok(Tree::Number(self.word())),
            Some(first) if first.is_ascii_alphabetic() => self.keyword(depth),
            _ => Err(self.wrong("a value")),
        }
    }

    fn keyword(&mut self, depth: usize) -> Result<Tree, String> {
        let start = self.at;
        let word = self.word();
        match word.as_str() {
            "true" => Ok(Tree::Truth(true)),
            "false" => Ok(Tree::Truth(false)),
            "inf" | "nan" => Ok(Tree::Number(word)),
            "signature" => Ok(Tree::Typed("g".into(), Box::new(self.tree(depth + 1)?))),
            word => {
                let Some((_, letter)) = KEYWORDS.iter().find(|(known, _)| *known == word) else {
                    self.at = start;
                    return Err(self.wrong("a value"));
                };
                Ok(Tree::Typed((*letter).into(), Box::new(self.tree(depth + 1)?)))
            }
        }
    }

    fn sequence(&mut self, open: &str, close: &str, depth: usize) -> Result<Vec<Tree>, String> {
        self.must(open)?;
        let mut trees = Vec::new();
        while !self.take(close) {
            if !trees.is_empty() {
                self.must(",")?;
                // (1,) is a tuple of one.
                if open == "(" && trees.len() == 1 && self.take(close) {
                    break;
                }
            }
            trees.push(self.tree(depth + 1)?);
        }
        Ok(trees)
    }

    fn entries(&mut self, depth: usize) -> Result<Tree, String> {
        self.must("{")?;
        let mut entries = Vec::new();
        while !self.take("}") {
            if !entries.is_empty() {
                self.must(",")?;
            }
            let key = self.tree(depth + 1)?;
            if entries.is_empty() && self.take(",") {
                self.tree(depth + 1)?;
                self.must("}")?;
                return Ok(Tree::Entry);
            }
            self.must(":")?;
            entries.push((key, self.tree(depth + 1)?));
        }
        Ok(Tree::Entries(entries))
    }

    /// A text in quotes, with the escapes of C and Unicode.
    fn text(&mut self) -> Result<String, String> {
        let mut letters = self.rest().char_indices();
        let quote = letters.next().map(|(_, quote)| quote);
        let mut text = String::new();
        while let Some((at, letter)) = letters.next() {
            if Some(letter) == quote {
                let end = self.at + at + letter.len_utf8();
                self.at = end;
                return Ok(text);
            }
            if letter != '\\' {
                text.push(letter);
                continue;
            }
            let Some((_, escaped)) = letters.next() else { break };
            let mut unicode = |digits| {
                let hex: String = letters.by_ref().take(digits).map(|(_, digit)| digit).collect();
                let letter = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                letter.ok_or_else(|| format!("{hex:?} is not the number of a character"))
            };
            text.push(match escaped {
                'u' => unicode(4)?,
                'U' => unicode(8)?,
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                other => other,
            });
        }
        Err(self.wrong("the closing quote"))
    }
}

/// The value of `tree`, of the type `wanted` if one is.
fn build(tree: &Tree, wanted: Option<&str>) -> Result<Value, String> {
    let mismatch = || Err(format!("the value is not of the type {:?}", wanted.unwrap_or_default()));
    match tree {
        Tree::Typed(own, _) if wanted.is_some_and(|wanted| wanted != own) => mismatch(),
        Tree::Typed(own, inner) => build(inner, Some(own)),
        _ if wanted == Some("v") => match tree {
            Tree::Variant(inner) => Ok(Value::Variant(Box::new(build(inner, None)?))),
            _ => mismatch(),
        },
        Tree::Variant(inner) if wanted.is_none() => Ok(Value::Variant(Box::new(build(inner, None)?))),
        Tree::Number(digits) => number(digits, wanted),
        Tree::Truth(truth) if matches!(wanted, None | Some("b")) => Ok(Value::Bool(*truth)),
        Tree::Text(text) => match wanted {
            None | Some("s") => Ok(Value::text(text)),
            Some("o") if is_object_path(text) => Ok(Value::Path(text.clone())),
            Some("g") if is_signature(text) => Ok(Value::Signature(text.clone())),
            _ => mismatch(),
        },
        Tree::Bytes(bytes) if matches!(wanted, None | Some("ay")) => {
            Ok(Value::Array("y".into(), bytes.iter().copied().map(Value::Byte).collect()))
        }
        Tree::List(trees) => {
            let element = element(trees.iter(), wanted.map(|wanted| wanted.strip_prefix('a').ok_or(wanted)))?;
            let values = trees.iter().map(|tree| build(tree, Some(&element)));
            Ok(Value::Array(element.clone(), values.collect::<Result<_, _>>()?))
        }
        Tree::Tuple(trees) => {
            let mut rest = match wanted {
                None => None,
                Some(tuple) => match tuple.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
                    None => return mismatch(),
                    inner => inner,
                },
            };
            let mut fields = Vec::new();
            for tree in trees {
                let wanted = match rest {
                    None => None,
                    Some(types) => match first_type(types) {
                        None => return mismatch(),
                        Some((one, more)) => {
                            rest = Some(more);
                            Some(one)
                        }
                    },
                };
                fields.push(build(tree, wanted)?);
            }
            if fields.is_empty() || rest.is_some_and(|rest| !rest.is_empty()) {
                return mismatch();
            }
            Ok(Value::Struct(fields))
        }
        Tree::Entries(entries) => {
            let types =
                wanted.map(|wanted| wanted.strip_prefix("a{").and_then(|inner| inner.strip_suffix('}')));
            let (key, value) = match types {
                Some(None) => return mismatch(),
                Some(Some(types)) => first_type(types).ok_or("not the type of a dictionary")?,
                None => ("", ""),
            };
            let key = element(entries.iter().map(|entry| &entry.0), (!key.is_empty()).then_some(Ok(key)))?;
            let value =
                element(entries.iter().map(|entry| &entry.1), (!value.is_empty()).then_some(Ok(value)))?;
            let pairs = entries.iter().map(|entry| {
                let pair = (build(&entry.0, Some(&key))?, build(&entry.1, Some(&value))?);
                Ok(Value::Entry(Box::new(pair)))
            });
            Ok(Value::Array(format!("{{{key}{value}}}"), pairs.collect::<Result<_, String>>()?))
        }
        Tree::Entry => Err("an entry of a dictionary by itself is no value for D-Bus".to_owned()),
        Tree::Truth(_) | Tree::Variant(_) | Tree::Bytes(_) => mismatch(),
    }
}

/// The type that all elements have: the one wanted, or else the first that one of them knows of itself.
fn element<'t>(
    mut trees: impl Iterator<Item = &'t Tree> + Clone,
    wanted: Option<Result<&str, &str>>,
) -> Result<String, String> {
    match wanted {
        Some(Ok(element)) => return Ok(element.to_owned()),
        Some(Err(wanted)) => return Err(format!("the value is not of the type {wanted:?}")),
        None => {}
    }
    if trees.clone().next().is_none() {
        return Err("the type of an empty list is not known: say it, as in \"@as []\"".to_owned());
    }
    let knows = |tree: &&Tree| !matches!(tree, Tree::Number(digits) if !is_float(digits));
    let first = trees.clone().find(knows).or_else(|| trees.next());
    first.map_or(Ok(String::new()), |tree| Ok(build(tree, None)?.signature()))
}

fn is_float(digits: &str) -> bool {
    !digits.starts_with("0x") && digits.contains(['.', 'e', 'E']) || matches!(digits, "inf" | "nan")
}

fn number(digits: &str, wanted: Option<&str>) -> Result<Value, String> {
    let wanted = wanted.unwrap_or(if is_float(digits) { "d" } else { "i" });
    let wrong = || format!("{digits:?} is not a number of the type {wanted:?}");
    if wanted == "d" {
        return digits.parse().map(Value::F64).map_err(|_| wrong());
    }
    let (negative, magnitude) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    // What Rust would read as a second sign.
    if !magnitude.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(wrong());
    }
    let magnitude = match magnitude.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16),
        None if magnitude.len() > 1 && magnitude.starts_with('0') => i128::from_str_radix(magnitude, 8),
        None => magnitude.parse(),
    };
    let whole = magnitude.map_err(|_| wrong())? * if negative { -1 } else { 1 };
    let value = match wanted {
        "y" => whole.try_into().map(Value::Byte),
        "n" => whole.try_into().map(Value::I16),
        "q" => whole.try_into().map(Value::U16),
        "i" => whole.try_into().map(Value::I32),
        "u" => whole.try_into().map(Value::U32),
        "x" => whole.try_into().map(Value::I64),
        "t" => whole.try_into().map(Value::U64),
        _ => return Err(wrong()),
    };
    value.map_err(|_| wrong())
}

fn is_object_path(text: &str) -> bool {
    let element =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(element))
}

fn is_signature(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, more)) = first_type(rest) {
        rest = more;
    }
    rest.is_empty() && text.len() < 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_values_that_glib_says() {
        let numbers =
            |numbers: &[u16]| Value::Array("q".into(), numbers.iter().copied().map(Value::U16).collect());
        for (text, value) in [
            ("1", Value::I32(1)),
            (" -0x10 ", Value::I32(-16)),
            ("017", Value::I32(15)),
            ("0", Value::I32(0)),
            ("1.5", Value::F64(1.5)),
            ("1e3", Value::F64(1000.0)),
            ("uint64 18446744073709551615", Value::U64(u64::MAX)),
            ("@t 5", Value::U64(5)),
            ("int16 -5", Value::I16(-5)),
            ("byte 0xff", Value::Byte(255)),
            ("true", Value::Bool(true)),
            ("boolean false", Value::Bool(false)),
            ("'it\\'s'", Value::text("it's")),
            (r#""a\t\u00e9\U0001F600b""#, Value::text("a\té😀b")),
            ("objectpath '/a/b_1'", Value::Path("/a/b_1".into())),
            ("signature 'a{sv}'", Value::Signature("a{sv}".into())),
            ("b'ab'", Value::Array("y".into(), vec![Value::Byte(97), Value::Byte(98), Value::Byte(0)])),
            ("['a', 'b']", Value::texts(["a", "b"])),
            ("@as []", Value::texts([])),
            ("[1, uint16 2, 3]", numbers(&[1, 2, 3])),
            ("@aq [7]", numbers(&[7])),
            ("[1, 2.5]", Value::Array("d".into(), vec![Value::F64(1.0), Value::F64(2.5)])),
            ("('a', uint32 1)", Value::Struct(vec![Value::text("a"), Value::U32(1)])),
            ("(1,)", Value::Struct(vec![Value::I32(1)])),
            ("@(yt) (1, 2)", Value::Struct(vec![Value::Byte(1), Value::U64(2)])),
            ("<'a'>", Value::Variant(Box::new(Value::text("a")))),
            (
                "[('/dev/null', 'rw')]",
                Value::Array(
                    "(ss)".into(),
                    vec![Value::Struct(vec![Value::text("/dev/null"), Value::text("rw")])],
                ),
            ),
            (
                "{'a': <1>}",
                Value::Array(
                    "{sv}".into(),
                    vec![Value::Entry(Box::new((Value::text("a"), Value::Variant(Box::new(Value::I32(1))))))],
                ),
            ),
            ("@a{sv} {}", Value::Array("{sv}".into(), vec![])),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            " ",
            "abc",
            "uint64",
            "uint64 -1",
            "byte 256",
            "2147483648",
            "1 2",
            "'open",
            "[1, 'a']",
            "[]",
            "()",
            "{}",
            "@z 1",
            "@as 1",
            "@(ii) (1,)",
            "@(i) (1, 2)",
            "objectpath 'a'",
            "signature 'z'",
            "nothing",
            "{1, 2}",
            "<1",
            "'\\uZZZZ'",
            "1x",
            "--1",
            "@v 1",
            "[1",
            "(1",
            "{1: 2",
            "b'",
            "uint64 'a'",
            "string 1",
            &deep,
        ] {
            assert!(parse(text).is_err(), "{text:.40}: {:?}", parse(text));
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic() {
        proptest::proptest!(|(text in r#"[\[\](){}<>@,:'"\\a-z0-9 éu.+-]{0,24}"#)| { let _ = parse(&text); });
    }
}
