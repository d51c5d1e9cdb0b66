//! What the command line may say.
//!
//! Each command's own options stand in its file under [`commands`](crate::commands); here are the options that stand before the
//! command, and the way from the arguments of `main` to a [`Request`].

use std::ffi::OsString;
use std::path::{self, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::argv;
use crate::commands::Command;
use crate::error::Error;
use crate::name::Name;

/// A whole command line.
#[derive(Debug, Parser)]
#[command(version = Name::Cloison.version(), args_override_self = true, disable_version_flag = true)]
pub(crate) struct CommandLine {
    /// What stands before the command.
    #[command(flatten)]
    pub(crate) global: GlobalOptions,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options that every command shares.
#[derive(Debug, Args)]
pub(crate) struct GlobalOptions {
    /// Directory of the containers' state [default: /run/cloison, or below the user's runtime directory]
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(crate) root: Option<PathBuf>,
    /// What is logged, how, and where to.
    #[command(flatten)]
    pub(crate) log: LogOptions,
    /// Let systemd make cgroups; the same as --cgroup-manager systemd
    #[arg(long)]
    pub(crate) systemd_cgroup: bool,
    /// Who makes cgroups [default: cgroupfs]
    #[arg(long, value_name = "MANAGER", value_enum, hide_possible_values = false)]
    pub(crate) cgroup_manager: Option<CgroupManager>,
    /// Whether missing permission for cgroups is ignored: true, false, or auto
    #[arg(long, value_name = "WHETHER", default_value = "auto", value_parser = parse_rootless)]
    pub(crate) rootless: Rootless,
    /// Print the version
    #[arg(short = 'v', visible_short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

/// What is logged, how, and where to.
#[derive(Debug, Args)]
pub(crate) struct LogOptions {
    /// File that log lines are appended to, instead of standard error
    #[arg(long = "log", value_name = "FILE", value_parser = path())]
    pub(crate) file: Option<PathBuf>,
    /// Form of a log line
    #[arg(long = "log-format", value_name = "FORMAT", value_enum, default_value = "text")]
    pub(crate) format: LogFormat,
    /// Least severe record to log [default: warning; error with --log-format json, whose readers take a file for one object]
    #[arg(long = "log-level", value_name = "LEVEL", value_enum)]
    pub(crate) level: Option<LogLevel>,
    /// Log all that helps to find a fault; the same as --log-level debug
    #[arg(long)]
    pub(crate) debug: bool,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// `time="…" level=error msg="…"`
    #[value(help = None)]
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`
    #[value(help = None)]
    Json,
}

/// The least severe record that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Failures only.
    #[value(help = None)]
    Error,
    /// Also what is suspicious.
    #[value(alias = "warn", help = None)]
    Warning,
    /// Also what happens.
    #[value(help = None)]
    Info,
    /// Also what is decided, and what is ignored on purpose.
    #[value(help = None)]
    Debug,
    /// Also each step.
    #[value(help = None)]
    Trace,
}

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CgroupManager {
    /// The runtime, through the cgroup file system.
    #[value(help = None)]
    Cgroupfs,
    /// systemd.
    #[value(help = None)]
    Systemd,
    /// Nobody.
    #[value(help = None)]
    Disabled,
}

/// Whether missing permission for cgroups is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rootless {
    /// As it was said.
    Said(bool),
    /// When the caller has no privilege on the host.
    Auto,
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Text to print and be done: help, or the version.
    Text(String),
    /// A command to carry out.
    Command(Box<CommandLine>),
}

/// A command line that makes no sense, and where it wants that to be told.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What is wrong.
    pub(crate) error: Error,
    /// The log options that could be read all the same: engines look for the reason in the log.
    pub(crate) log: Option<LogOptions>,
}

/// Reads a command line, Go's ways of writing one included (see [`argv`]).
pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Request, Refusal> {
    let name = Name::of(arguments.first().map(OsString::as_os_str));
    let written = if argv::has_single_dash_word(&arguments) {
        argv::normalise(&arguments, definition(name))
    } else {
        arguments
    };
    match try_parse(&written, name) {
        Ok(line) => Ok(Request::Command(Box::new(line))),
        Err(error) if is_request(&error) => request(&error, name),
        Err(error) => {
            let normal = argv::normalise(&written, definition(name));
            if normal == written {
                return Err(refusal(&error, normal, name));
            }
            match try_parse(&normal, name) {
                Ok(line) => Ok(Request::Command(Box::new(line))),
                Err(error) if is_request(&error) => request(&error, name),
                Err(error) => Err(refusal(&error, normal, name)),
            }
        }
    }
}

/// What clap knows of the command line.
pub(crate) fn definition(name: Name) -> clap::Command {
    let help_of_command = |command: clap::Command| {
        let template = help_template(&[name.as_str(), " ", command.get_name()]);
        command.help_template(template)
    };
    let program = CommandLine::command().name(name.as_str()).bin_name(name.as_str());
    let program = program.about(name.about()).version(name.version());
    program.help_template(help_template(&[name.as_str()])).mut_subcommands(help_of_command)
}

/// How help looks: the order and the headings that users of the older runtimes know. clap's own `{name}` of a command would have
/// a hyphen in it.
fn help_template(name: &[&str]) -> String {
    let name = name.concat();
    ["NAME:\n   ", &name, " - {about}\n\nUSAGE:\n   {usage}\n\n{all-args}{after-help}\n"].concat()
}

fn try_parse(arguments: &[OsString], name: Name) -> Result<CommandLine, clap::Error> {
    CommandLine::from_arg_matches(&definition(name).try_get_matches_from(arguments)?)
}

/// True for what clap calls an error and is none. Without a command there is help, as with the runtimes before.
fn is_request(error: &clap::Error) -> bool {
    use ErrorKind::{
        DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion, MissingSubcommand,
    };
    let kinds = [DisplayHelp, DisplayVersion, DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand];
    kinds.contains(&error.kind())
}

#[expect(clippy::unnecessary_wraps, reason = "it is the answer of parse")]
fn request(error: &clap::Error, name: Name) -> Result<Request, Refusal> {
    let text = match error.kind() {
        ErrorKind::MissingSubcommand => definition(name).render_help(),
        _ => error.render(),
    };
    Ok(Request::Text(text.to_string()))
}

fn refusal(error: &clap::Error, arguments: Vec<OsString>, name: Name) -> Refusal {
    let (mut message, usage) = explain(error);
    let asks_for_help = arguments.iter().any(|argument| argument == "-h" || argument == "--help");
    if let (true, ErrorKind::InvalidSubcommand, Some(ContextValue::String(topic))) =
        (asks_for_help, error.kind(), error.get(ContextKind::InvalidSubcommand))
    {
        message = format!("No help topic for '{topic}'");
    }
    let readable = definition(name).ignore_errors(true).try_get_matches_from(arguments);
    let log = readable.ok().and_then(|matches| LogOptions::from_arg_matches(&matches).ok());
    Refusal { error: Error::Usage { message, usage }, log }
}

/// One line that says what is wrong, and the text below it.
///
/// The line has the words of Go's flag package where programs look for them: podman tells whether a runtime knows an option
/// by asking for it without a value.
fn explain(error: &clap::Error) -> (String, String) {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let (message, usage) = text.split_once("\n\n").unwrap_or((text, ""));
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.split(' ').next().unwrap_or(argument),
        _ => "",
    };
    let has_no_value =
        matches!(error.get(ContextKind::InvalidValue), Some(ContextValue::String(value)) if value.is_empty());
    let message = match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            format!("flag provided but not defined: {argument}")
        }
        ErrorKind::InvalidValue if has_no_value && argument.starts_with('-') => {
            format!("flag needs an argument: {argument}")
        }
        _ => message.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    (message, usage.trim_end().to_owned())
}

/// A path; an empty one stands for an option that was not given, as with Go programs. (clap's own parser refuses it.)
pub(crate) fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// A path option, unless it is empty.
pub(crate) fn given(path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// A path that means the same in any working directory.
pub(crate) fn absolute(path: PathBuf) -> Result<PathBuf, Error> {
    path::absolute(&path).map_err(|error| Error::WorkingDirectory { path, error })
}

/// The same for a path that may be absent or empty.
pub(crate) fn absolute_if_given(path: Option<PathBuf>) -> Result<Option<PathBuf>, Error> {
    given(path).map(absolute).transpose()
}

fn parse_rootless(text: &str) -> Result<Rootless, String> {
    if text.is_empty() || text.eq_ignore_ascii_case("auto") {
        return Ok(Rootless::Auto);
    }
    argv::boolean(text).map(Rootless::Said).ok_or_else(|| "expected true, false, or auto".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Request, Refusal> {
        parse(line.split(' ').map(OsString::from).collect())
    }

    fn refused(line: &str) -> (String, Option<LogOptions>) {
        let refusal = parse_line(line).expect_err("this command line makes no sense");
        (refusal.error.to_string(), refusal.log)
    }

    fn text(line: &str) -> String {
        match parse_line(line) {
            Ok(Request::Text(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn definitions_agree_with_each_other() {
        definition(Name::Cloison).debug_assert();
    }

    #[test]
    fn lines_of_engines_are_understood() {
        let lines = [
            "cloison --root /r --debug --log /l --log-format json --systemd-cgroup --rootless=true state c1",
            "cloison create --bundle /b --pid-file /p --console-socket /s --pidfd-socket /t --no-pivot c1",
            "cloison create --no-new-keyring --detach --preserve-fds 3 c1",
            "cloison --systemd-cgroup --log=/l --log-format=json create --bundle /b --pid-file /p --console-socket /s c1",
            "cloison kill --all c1 9",
            "cloison kill -a c1",
            "cloison delete --force c1",
            "cloison list --format=json",
            "cloison --rootless=false run -no-subreaper -detach=true c1",
            "cloison --cgroup-manager disabled run --console-socket= c1",
            "cloison --rootless AUTO run -b /b --no-new-keyring=false c1",
        ];
        for line in lines {
            assert!(matches!(parse_line(line), Ok(Request::Command(_))), "{line}: {:?}", parse_line(line));
        }
    }

    #[test]
    fn last_of_two_values_counts() {
        let Ok(Request::Command(line)) = parse_line("cloison --root /a --root=/b list") else {
            panic!("it is understood")
        };
        assert_eq!(line.global.root, Some(PathBuf::from("/b")));
    }

    #[test]
    fn version_names_program_and_specification() {
        for line in ["cloison --version", "cloison -v", "cloison -V", "cloison -version"] {
            let text = text(line);
            assert!(
                text.starts_with(concat!("cloison version ", env!("CARGO_PKG_VERSION"), "\n")),
                "{text:?}"
            );
            let spec = format!("spec: {}", cloison::spec::NEWEST_VERSION);
            assert_eq!(text.lines().last(), Some(&*spec));
        }
    }

    #[test]
    fn help_is_there_for_all_and_for_each() {
        for line in ["cloison", "cloison --help", "cloison -h", "cloison help", "cloison --debug"] {
            assert!(text(line).starts_with("NAME:\n   cloison - run containers"), "{line}: {}", text(line));
        }
        for line in
            ["cloison create --help", "cloison create -h", "cloison help create", "cloison create -help"]
        {
            assert!(
                text(line).starts_with("NAME:\n   cloison create - create a container"),
                "{line}: {}",
                text(line)
            );
        }
    }

    #[test]
    fn called_runc_it_speaks_as_runc_and_says_who_it_is() {
        let version = text("/usr/sbin/runc --version");
        let first = concat!("runc version ", env!("CARGO_PKG_VERSION"), "+cloison\ncommit: ");
        assert!(version.starts_with(first), "{version:?}");
        assert_eq!(version.lines().last(), text("cloison --version").lines().last());
        for line in ["runc", "runc -h", "runc --help"] {
            let help = text(line);
            assert!(
                help.starts_with("NAME:\n   runc - Open Container Initiative runtime (cloison "),
                "{help}"
            );
            assert!(help.contains("USAGE:\n   runc ") && !help.contains("cloison ["), "{help}");
        }
        let help = text("runc create -h");
        assert!(help.starts_with("NAME:\n   runc create - create a container"), "{help}");
        assert!(matches!(parse_line("runc run -detach c1"), Ok(Request::Command(_))));
    }

    #[test]
    fn usage_error_is_one_line_in_the_words_that_engines_look_for() {
        let table = [
            ("cloison --bogus list", "flag provided but not defined: --bogus"),
            ("cloison run --bogus c1", "flag provided but not defined: --bogus"),
            ("cloison create c1 --bundle", "flag needs an argument: --bundle"),
            ("cloison create", "the following required arguments were not provided: <CONTAINER-ID>"),
            ("cloison state a b", "unexpected argument 'b' found"),
            ("cloison bogus", "unrecognized subcommand 'bogus'"),
            ("cloison bogus -h", "No help topic for 'bogus'"),
            ("cloison bogus --help", "No help topic for 'bogus'"),
            (
                "cloison --log-format xml list",
                "invalid value 'xml' for '--log-format <FORMAT>' [possible values: text, json]",
            ),
        ];
        for (line, expected) in table {
            assert_eq!(refused(line).0, expected, "{line}");
        }
    }

    #[test]
    fn refused_line_still_says_where_the_log_is() {
        let (_, log) = refused("cloison --log /l --log-format json run --bogus c1");
        let log = log.expect("the log options can be read");
        assert_eq!((log.file, log.format), (Some(PathBuf::from("/l")), LogFormat::Json));
    }
}
