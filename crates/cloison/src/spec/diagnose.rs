//! The slow way: finds every problem of a text that the fast way refused, or that no problem is left once
//! Go's rules are applied (`null` is absent, the last of two equal keys wins).
//!
//! A value of a wrong type is reported, cut out, and the rest is read again, until it can be read whole. So
//! that the places which are reported stay those of the text, what was cut out of lists is remembered.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::check::{self, Rules, escape};
use super::error::Problem;

/// After this many wrong types the rest of the text is not looked at.
const ENOUGH: usize = 100;
/// How many characters of a wrong text are shown.
const SHOWN: usize = 60;

/// The document, or all that is wrong with it; the outer error is one of syntax.
pub(super) fn diagnose<T>(text: &str) -> Result<Result<T, Vec<Problem>>, serde_json::Error>
where
    T: DeserializeOwned + Serialize + Rules,
{
    let mut tree = serde_json::from_str(text)?;
    drop_nulls(&mut tree);
    let mut pruned = Pruned { tree, ..Pruned::default() };
    let mut problems = Vec::new();
    while problems.len() < ENOUGH {
        match serde_path_to_error::deserialize::<_, T>(&pruned.tree) {
            Ok(document) => {
                let broken_rules = check::problems(&document, true, &|pointer| pruned.is_hole(pointer));
                problems.extend(broken_rules.into_iter().map(|problem| Problem {
                    pointer: pruned.in_text(&pruned.steps(&problem.pointer)),
                    message: problem.message,
                }));
                return Ok(if problems.is_empty() { Ok(document) } else { Err(problems) });
            }
            Err(error) => {
                let steps = error.path().iter().map_while(Step::from_segment).collect();
                let (problem, goes_on) = pruned.cut(steps, &error.inner().to_string());
                problems.extend(problem);
                if !goes_on {
                    break;
                }
            }
        }
    }
    if problems.len() == ENOUGH {
        let message = format!("{ENOUGH} values are of a wrong type, the rest was not looked at");
        problems.push(Problem { pointer: String::new(), message });
    }
    Ok(Err(problems))
}

/// Takes out what Go reads as absent.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// One step from a value to one within it.
#[derive(Clone)]
enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    fn from_segment(segment: &Segment) -> Option<Self> {
        match segment {
            Segment::Map { key } => Some(Self::Key(key.clone())),
            Segment::Seq { index } => Some(Self::Index(*index)),
            // Neither comes up: no type here is an enum with content.
            Segment::Enum { .. } | Segment::Unknown => None,
        }
    }
}

/// The text as a tree, without what was of a wrong type.
#[derive(Default)]
struct Pruned {
    tree: Value,
    /// Where something was cut out, as pointers into the text.
    holes: BTreeSet<String>,
    /// Which items are gone from a list, by the list's pointer into the text.
    gone: BTreeMap<String, BTreeSet<usize>>,
    /// Required names that were not there and were put in as empty, as pointers into the text.
    filled: BTreeSet<String>,
}

impl Pruned {
    /// Reports what stands at `steps` and cuts it out. The second answer is whether it is worth going on.
    fn cut(&mut self, mut steps: Vec<Step>, message: &str) -> (Option<Problem>, bool) {
        if let Some(field) = missing_field(message) {
            steps.push(Step::Key(field.to_owned()));
            let pointer = self.in_text(&steps);
            steps.pop();
            if self.holes.contains(&pointer) {
                // What was required has been reported already, so the whole entry makes no sense any more.
                return (None, self.remove(&steps));
            }
            // An empty name is refused in the next round, by the type that knows what may stand there.
            if let Some(Value::Object(fields)) = self.at(&steps) {
                fields.insert(field.to_owned(), Value::String(String::new()));
                self.filled.insert(pointer);
                return (None, true);
            }
        }
        let pointer = self.in_text(&steps);
        let expected = expected(message);
        let message = if self.filled.contains(&pointer) {
            format!("missing, expected {}", expected.unwrap_or_default())
        } else {
            match (self.at(&steps), expected) {
                (Some(found), Some(expected)) => format!("found {}, expected {expected}", shown(found)),
                _ => message.to_owned(),
            }
        };
        let message = match known_words(&pointer) {
            Some(words) => format!("{words}: {message}"),
            None => message,
        };
        (Some(Problem { pointer, message }), self.remove(&steps))
    }

    /// Takes a value out; the whole document cannot be.
    fn remove(&mut self, steps: &[Step]) -> bool {
        let Some((last, parent)) = steps.split_last() else { return false };
        let hole = self.in_text(steps);
        match (self.at(parent), last) {
            (Some(Value::Object(fields)), Step::Key(key)) => {
                fields.remove(key);
            }
            (Some(Value::Array(items)), Step::Index(index)) if *index < items.len() => {
                items.remove(*index);
                let within = self.in_text(parent);
                if let Some(index) = hole.rsplit('/').next().and_then(|index| index.parse().ok()) {
                    self.gone.entry(within).or_default().insert(index);
                }
            }
            _ => return false,
        }
        self.holes.insert(hole);
        true
    }

    /// Whether something at, in or around a place of the tree was cut out.
    fn is_hole(&self, pointer: &str) -> bool {
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let place = self.in_text(&self.steps(pointer));
        self.holes.iter().any(|hole| within(hole, &place) || within(&place, hole))
    }

    fn at(&mut self, steps: &[Step]) -> Option<&mut Value> {
        steps.iter().try_fold(&mut self.tree, |value, step| match step {
            Step::Key(key) => value.get_mut(key),
            Step::Index(index) => value.get_mut(index),
        })
    }

    /// The pointer into the text of what now stands at `steps`.
    fn in_text(&self, steps: &[Step]) -> String {
        let mut pointer = String::new();
        for step in steps {
            let part = match step {
                Step::Key(key) => escape(key),
                Step::Index(index) => {
                    let gone = self.gone.get(&pointer).into_iter().flatten();
                    gone.fold(*index, |index, &gone| if gone <= index { index + 1 } else { index })
                        .to_string()
                }
            };
            pointer.push('/');
            pointer.push_str(&part);
        }
        pointer
    }

    /// The steps of a pointer into the tree.
    fn steps(&self, pointer: &str) -> Vec<Step> {
        let mut value = Some(&self.tree);
        let mut steps = Vec::new();
        for part in pointer.split('/').skip(1) {
            let key = part.replace("~1", "/").replace("~0", "~");
            let index = value.filter(|value| value.is_array()).and_then(|_| key.parse::<usize>().ok());
            value = value.and_then(|value| index.map_or_else(|| value.get(&key), |index| value.get(index)));
            steps.push(index.map_or(Step::Key(key), Step::Index));
        }
        steps
    }
}

/// The field that serde misses.
fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// What users of other runtimes look for in a refusal.
fn known_words(pointer: &str) -> Option<&'static str> {
    match pointer.strip_prefix("/linux/memoryPolicy/")?.split('/').next()? {
        "mode" => Some("invalid memory policy mode"),
        "flags" => Some("invalid memory policy flag"),
        "nodes" => Some("invalid memory policy node"),
        _ => None,
    }
}

/// What serde expected, in words of JSON.
fn expected(message: &str) -> Option<&str> {
    let (_, expected) = message.rsplit_once(", expected ")?;
    Some(match expected {
        "a sequence" => "a list",
        "a map" => "an object",
        "a boolean" => "true or false",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" => "a whole number from 0 to 18446744073709551615",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i64" => "a whole number from -9223372036854775808 to 9223372036854775807",
        _ if expected.starts_with("struct ") => "an object",
        _ => expected,
    })
}

/// A value as a message shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => match text.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{:?}…", &text[..end]),
            None => format!("{text:?}"),
        },
        _ => value.to_string(),
    }
}
