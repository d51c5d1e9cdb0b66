//! Bytes become a document, on the fast way: one pass, no tree. Whatever goes wrong there is looked at again
//! by `diagnose`, which may take its time.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::check::{self, Rules};
use super::error::{SIZE_LIMIT, SpecError};
use super::{Process, Resources, Spec, diagnose};

/// The name that messages give to bytes that came from nowhere in particular.
const UNNAMED: &str = "config.json";

impl Spec {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, SpecError> {
        parse(&read_file(path)?, path)
    }

    /// Reads and checks bytes; messages call them `config.json`.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, SpecError> {
        parse(bytes, Path::new(UNNAMED))
    }

    /// Reads and checks bytes that came from `path`, as messages will say.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, SpecError> {
        parse(bytes, path)
    }
}

impl Process {
    /// Reads and checks a file that holds a `process` section alone, as `exec --process` takes it. It may be a pipe, which is read to
    /// its end: shells give one for `<(command)`.
    pub fn load(path: &Path) -> Result<Self, SpecError> {
        let is_pipe =
            rustix::fs::stat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        parse(&if is_pipe { read_pipe(path) } else { read_file(path) }?, path)
    }

    /// Reads and checks a `process` section; messages say that it came from `path`.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, SpecError> {
        parse(bytes, path)
    }
}

impl Resources {
    /// Reads and checks a `resources` section, as `update --resources` takes it; messages say that it came
    /// from `path`.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, SpecError> {
        parse(bytes, path)
    }
}

/// Reads a file whole, without waiting for a FIFO's writer and without waking a device.
pub fn read_file(path: &Path) -> Result<Vec<u8>, SpecError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => SpecError::NotFound { path: path.to_owned(), source },
        _ => SpecError::Read { path: path.to_owned(), source },
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    let stat = rustix::fs::fstat(&file).map_err(|errno| failed(errno.into()))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile {
        return Err(SpecError::NotAFile { path: path.to_owned(), kind: kind_name(kind) });
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > SIZE_LIMIT {
        return Err(SpecError::TooLarge { path: path.to_owned(), size });
    }
    // A file that grows while it is read stops at the limit too.
    let mut bytes = Vec::with_capacity(size as usize + 1);
    File::from(file).take(SIZE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Waits for whoever writes. What is longer than any `process` section is not.
fn read_pipe(path: &Path) -> Result<Vec<u8>, SpecError> {
    let failed = |source: io::Error| SpecError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(SIZE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        _ => "something else",
    }
}

fn parse<T>(bytes: &[u8], path: &Path) -> Result<T, SpecError>
where
    T: DeserializeOwned + Serialize + Rules,
{
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(SpecError::TooLarge { path: path.to_owned(), size: bytes.len() as u64 });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to(), path))?;
    let problems = match serde_json::from_str::<T>(text) {
        Ok(document) => {
            let problems = check::problems(&document, may_hold_nul(text), &|_| false);
            if problems.is_empty() {
                return Ok(document);
            }
            problems
        }
        Err(error) if error.classify() == Category::Data => match diagnose::diagnose(text) {
            Ok(Ok(document)) => return Ok(document),
            Ok(Err(problems)) => problems,
            Err(error) => return Err(syntax(text, &error, path)),
        },
        Err(error) => return Err(syntax(text, &error, path)),
    };
    Err(SpecError::Invalid { path: path.to_owned(), problems })
}

/// Whether any text may hold a NUL, which JSON can only write as an escape.
fn may_hold_nul(text: &str) -> bool {
    let mut rest = text;
    // Backslashes are rare, so this is one quick search in most files.
    while let Some(position) = rest.find('\\') {
        rest = &rest[position..];
        if rest.starts_with("\\u0000") {
            return true;
        }
        // The character behind the backslash may be a backslash itself.
        rest = rest.get(2..).unwrap_or_default();
    }
    false
}

fn not_utf8(bytes: &[u8], position: usize, path: &Path) -> SpecError {
    let before = &bytes[..position];
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    SpecError::Syntax {
        path: path.to_owned(),
        line: before.split(|&byte| byte == b'\n').count(),
        column: position - line_start + 1,
        message: format!("the byte 0x{:02x} is not UTF-8", bytes[position]),
    }
}

fn syntax(text: &str, error: &serde_json::Error, path: &Path) -> SpecError {
    SpecError::Syntax {
        path: PathBuf::from(path),
        line: error.line(),
        column: error.column(),
        message: syntax_message(text, error),
    }
}

fn syntax_message(text: &str, error: &serde_json::Error) -> String {
    if text.trim_ascii().is_empty() {
        return "nothing is there, where a JSON object is needed".to_owned();
    }
    let with_place = error.to_string();
    let message = with_place.rsplit_once(" at line ").map_or(with_place.as_str(), |(message, _)| message);
    match message {
        "recursion limit exceeded" => "lists and objects are nested more than 127 levels deep".to_owned(),
        "trailing characters" => "something follows the end of the JSON object".to_owned(),
        _ => match message.strip_prefix("EOF while parsing ") {
            Some(what) => format!("the text ends in the middle of {what}"),
            None => message.to_owned(),
        },
    }
}
