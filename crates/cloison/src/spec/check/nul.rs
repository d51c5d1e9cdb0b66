//! No text that the kernel reads may hold a NUL, which ends texts there: what follows would be lost, and a
//! path could mean another file than it says.

use serde::Serialize;
use serde_json::Value;

use super::{Check, escape};

/// What never reaches the kernel as a text of its own.
const FREE: [&str; 7] =
    ["/annotations", "/solaris", "/windows", "/vm", "/zos", "/freebsd", "/linux/seccomp/listenerMetadata"];

/// Looks at every text and every key that is written out again, which leaves out unknown fields.
pub(super) fn check<T: Serialize>(document: &T, check: &mut Check<'_>) {
    if let Ok(tree) = serde_json::to_value(document) {
        walk(&tree, &mut String::new(), check);
    }
}

fn walk(value: &Value, pointer: &mut String, check: &mut Check<'_>) {
    let length = pointer.len();
    match value {
        Value::String(text) if text.contains('\0') => {
            check
                .problem(pointer.as_str(), "the text holds a NUL character, which no text of the kernel can");
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointer.push('/');
                pointer.push_str(&index.to_string());
                walk(item, pointer, check);
                pointer.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                pointer.push('/');
                pointer.push_str(&escape(key));
                if !FREE.contains(&pointer.as_str()) {
                    if key.contains('\0') {
                        check.problem(pointer.as_str(), "the name holds a NUL character, which no name can");
                    }
                    walk(field, pointer, check);
                }
                pointer.truncate(length);
            }
        }
        _ => {}
    }
}
