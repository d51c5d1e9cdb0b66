//! Go's ways of writing a command line, put into clap's.
//!
//! Engines were made for a runtime that is written in Go, whose flag package lets a long option have one dash (`-no-subreaper`),
//! a switch have a value (`--detach=true`), and an option's value begin with a dash. Some also put global options after the command.
//! [`normalise`] turns all that into what clap expects. What an option takes it asks of clap's own definitions, so there is no
//! second list of options; since that means building the definitions twice, it is left out when nothing calls for it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, Command};

/// True if an argument looks like a long option with a single dash. clap would take it for a bundle of short ones, so it must be
/// put right before clap sees it; all else of [`normalise`] can wait until clap has refused.
pub(crate) fn has_single_dash_word(arguments: &[OsString]) -> bool {
    arguments
        .iter()
        .map(|argument| argument.as_bytes())
        .any(|text| matches!(text, [b'-', second, _, ..] if *second != b'-'))
}

/// A truth value as Go reads it.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The same command line as clap wants it. What is not understood is left as it is, for clap to refuse.
///
/// The first of `arguments` is the program's name.
pub(crate) fn normalise(arguments: &[OsString], mut definition: Command) -> Vec<OsString> {
    definition.build();
    let mut line =
        Line { global: &definition, command: None, positionals: 0, before: Vec::new(), after: Vec::new() };
    let mut rest = arguments.iter();
    line.before.extend(rest.next().cloned());
    while let Some(argument) = rest.next() {
        match Written::parse(argument) {
            Some(written) => line.option(argument, &written, || rest.next().cloned()),
            None if line.other(argument) => {}
            None => {
                line.after.extend(rest.cloned());
                break;
            }
        }
    }
    line.before.append(&mut line.after);
    line.before
}

/// An option as it was written.
struct Written<'a> {
    name: &'a [u8],
    value: Option<&'a [u8]>,
    single_dash: bool,
}

impl<'a> Written<'a> {
    /// Splits an option; none if it is not one, as `-` and `--`.
    fn parse(argument: &'a OsStr) -> Option<Self> {
        let text = argument.as_bytes().strip_prefix(b"-").filter(|text| !matches!(*text, b"" | b"-"))?;
        let (text, single_dash) = text.strip_prefix(b"-").map_or((text, true), |text| (text, false));
        let (name, value) = match text.iter().position(|&byte| byte == b'=') {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        Some(Self { name, value, single_dash })
    }

    fn names(&self, option: &Arg) -> bool {
        let long = |name: &str| name.as_bytes() == self.name;
        let short = |name: char| self.single_dash && self.name == name.to_string().as_bytes();
        option.get_long().is_some_and(long)
            || option.get_all_aliases().is_some_and(|names| names.into_iter().any(long))
            || option.get_short().is_some_and(short)
            || option.get_all_short_aliases().is_some_and(|names| names.into_iter().any(short))
    }
}

/// A command line while it is put right.
struct Line<'a> {
    global: &'a Command,
    command: Option<&'a Command>,
    /// How many arguments of the command are no options.
    positionals: usize,
    /// The program and the global options.
    before: Vec<OsString>,
    /// The command and what belongs to it.
    after: Vec<OsString>,
}

impl Line<'_> {
    /// Takes an argument that is no option: the command, or one of its own. False if what follows is to be left as it is.
    fn other(&mut self, argument: &OsStr) -> bool {
        self.after.push(argument.to_owned());
        if argument == "--" {
            return false;
        }
        let Some(command) = self.command else {
            self.command = self.global.find_subcommand(argument);
            return self.command.is_some();
        };
        self.positionals += 1;
        // A list that options do not interrupt is the last of a command's arguments.
        let list = command.get_positionals().last().filter(|list| list.is_trailing_var_arg_set());
        list.and_then(Arg::get_index).is_none_or(|index| self.positionals < index)
    }

    /// Takes an option, and with `next` its value.
    fn option(&mut self, argument: &OsStr, written: &Written<'_>, next: impl FnOnce() -> Option<OsString>) {
        let (found, place) = match self.command.and_then(|command| find(command, written)) {
            Some(found) => (found, &mut self.after),
            None => match find(self.global, written) {
                Some(found) => (found, &mut self.before),
                None => return self.after.push(argument.to_owned()),
            },
        };
        let (option, long) = found;
        let name = OsString::from(format!("--{long}"));
        let needs_value = option.get_num_args().is_none_or(|count| count.min_values() > 0);
        if option.get_action().takes_values() && (needs_value || written.value.is_some()) {
            let value = written.value.map(|value| OsString::from_vec(value.to_vec())).or_else(next);
            place.push(value.map_or(name.clone(), |value| joined(&name, &value)));
            return;
        }
        match written.value.map(|value| std::str::from_utf8(value).ok().and_then(boolean)) {
            None | Some(Some(true)) => place.push(name),
            // The last one counts.
            Some(Some(false)) => place.retain(|earlier| *earlier != name),
            Some(None) => place.push(argument.to_owned()),
        }
    }
}

fn joined(name: &OsStr, value: &OsStr) -> OsString {
    let mut whole = name.to_owned();
    whole.push("=");
    whole.push(value);
    whole
}

/// The option that is meant, with its long name.
fn find<'a>(command: &'a Command, written: &Written<'_>) -> Option<(&'a Arg, &'a str)> {
    let option =
        command.get_arguments().find(|argument| !argument.is_positional() && written.names(argument))?;
    Some((option, option.get_long()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::definition;
    use crate::name::Name;

    fn normal(line: &str) -> String {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let normal = normalise(&arguments, definition(Name::Cloison));
        normal
            .iter()
            .map(|argument| argument.to_str().expect("the test is in ASCII"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn each_way_of_go_becomes_the_way_of_clap() {
        let table = [
            // One dash before a long option.
            ("cloison run -no-subreaper c1", "cloison run --no-subreaper c1"),
            ("cloison -systemd-cgroup run c1", "cloison --systemd-cgroup run c1"),
            ("cloison -root /r state c1", "cloison --root=/r state c1"),
            ("cloison run -bundle=/b c1", "cloison run --bundle=/b c1"),
            ("cloison kill -all c1", "cloison kill --all c1"),
            // A value for a switch.
            ("cloison run --detach=true c1", "cloison run --detach c1"),
            ("cloison run --detach=false c1", "cloison run c1"),
            ("cloison run -d=T c1", "cloison run --detach c1"),
            ("cloison run --keep --keep=0 c1", "cloison run c1"),
            ("cloison run --keep=false --keep c1", "cloison run --keep c1"),
            ("cloison run --keep=maybe c1", "cloison run --keep=maybe c1"),
            ("cloison --debug=1 list", "cloison --debug list"),
            // A value that looks like an option.
            ("cloison run --pid-file -debug c1", "cloison run --pid-file=-debug c1"),
            ("cloison run -b -b c1", "cloison run --bundle=-b c1"),
            ("cloison run --bundle -- c1", "cloison run --bundle=-- c1"),
            ("cloison run c1 --bundle", "cloison run c1 --bundle"),
            // Global options after the command.
            ("cloison state --root /r c1", "cloison --root=/r state c1"),
            (
                "cloison --log /l run --debug c1 --log-format=json",
                "cloison --log=/l --debug --log-format=json run c1",
            ),
            // A command's own option hides the global one.
            ("cloison --rootless=true spec --rootless", "cloison --rootless=true spec --rootless"),
            ("cloison state --rootless false c1", "cloison --rootless=false state c1"),
            // What is not known stays.
            ("cloison run -bogus c1", "cloison run -bogus c1"),
            ("cloison -bogus run -detach c1", "cloison -bogus run --detach c1"),
            ("cloison list -qf json", "cloison list -qf json"),
            ("cloison bogus -debug", "cloison bogus -debug"),
            ("cloison kill c1 -", "cloison kill c1 -"),
            // What belongs to the container's command is not ours.
            ("cloison try -tty ls -debug --root x", "cloison try --tty ls -debug --root x"),
            ("cloison try -rootfs / -- -tty", "cloison try --rootfs=/ -- -tty"),
            ("cloison run -- -detach", "cloison run -- -detach"),
        ];
        for (written, expected) in table {
            // What is not understood may stand on either side of the command, but nothing may be lost or added.
            assert_eq!(normal(written), expected, "{written}");
        }
    }

    #[test]
    fn only_single_dash_words_call_for_it_beforehand() {
        let calls = |argument: &str| has_single_dash_word(&["cloison".into(), argument.into()]);
        assert!(calls("-no-subreaper"));
        assert!(!calls("--no-subreaper"));
        assert!(!calls("-d"));
        assert!(!calls("-"));
        assert!(!calls("--"));
        assert!(!calls("a-b-c"));
    }

    #[test]
    fn arguments_that_are_not_utf_8_survive() {
        let odd = OsString::from_vec(b"--pid-file=\xff".to_vec());
        let normal = normalise(&["cloison".into(), "run".into(), odd.clone()], definition(Name::Cloison));
        assert_eq!(normal, [OsString::from("cloison"), OsString::from("run"), odd]);
    }
}
