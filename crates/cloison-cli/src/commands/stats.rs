//! `cloison stats`
//!
//! A table for people, drawn again and again where somebody sits at a terminal. The terminal's mode is left as it is and nothing is
//! hidden, so whatever ends this command, `SIGKILL` included, leaves it healthy.

mod json;
mod screen;
mod table;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use cloison::id::ContainerId;
use cloison::lifecycle::{self, Runtime, Sample, Samples, Subjects};
use cloison::state;
use cloison_linux::Signal;

use crate::duration;
use crate::error::Error;
use crate::report::one_line;
use screen::{Screen, Woken};

/// How far the two looks are apart that the first table needs: a share of time is told of the time between them.
const FIRST: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Print once, instead of again and again
    #[arg(long)]
    once: bool,
    /// Time between two tables; with --once the time that is looked at [default: 1s; 200ms with --once]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    interval: Option<Duration>,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    format: Format,
    /// Names of containers [default: all that have not stopped]
    #[arg(value_name = "CONTAINER-ID")]
    ids: Vec<String>,
}

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns for people.
    #[value(help = None)]
    Table,
    /// One JSON array a line.
    #[value(help = None)]
    Json,
}

/// A container as it is told of: what it has used until now, and until the look before.
#[derive(Debug)]
struct Row {
    now: Sample,
    before: Option<Sample>,
}

impl Stats {
    /// Prints what containers use: once, or until somebody ends it, the named containers have all ended, or nobody reads any more.
    pub(crate) fn run(self, runtime: &Runtime, root_is_given: bool) -> Result<ExitCode, Error> {
        let mut named = self.ids.iter().map(|id| ContainerId::parse(id)).collect::<Result<Vec<_>, _>>()?;
        named.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        named.dedup();
        let looker = Looker { runtime, root_is_given, named, of: self.format.subjects() };
        let mut rows = looker.first()?;
        let interval = self.interval.unwrap_or(if self.once { FIRST } else { Duration::from_secs(1) });
        let mut screen = Screen::new(self.format == Format::Table && !self.once)?;
        let mut next = Instant::now().checked_add(if self.once { interval } else { FIRST.min(interval) });
        loop {
            match screen.wait(next)? {
                Woken::Time => {
                    next = Instant::now().checked_add(interval);
                    rows = looker.again(rows)?;
                }
                Woken::Changed => {}
                Woken::Unread(code) => return Ok(code),
                Woken::Signal(signal) => return Ok(self.ended_by(signal)),
            }
            if looker.waits_for_nobody(&rows) && !self.once {
                return Ok(ExitCode::SUCCESS);
            }
            let lines = match self.format {
                Format::Json => vec![json::line(&rows)?],
                Format::Table => table::lines(&rows, screen.columns()),
            };
            match screen.show(lines)? {
                Some(Woken::Unread(code)) => return Ok(code),
                Some(Woken::Signal(signal)) => return Ok(self.ended_by(signal)),
                _ => {}
            }
            if self.once {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    /// Ctrl-C is how one leaves a table that comes again and again.
    fn ended_by(&self, signal: Signal) -> ExitCode {
        if signal == Signal::INT && !self.once {
            return ExitCode::SUCCESS;
        }
        ExitCode::from(u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX))
    }
}

impl Format {
    /// What has to be read for it.
    fn subjects(self) -> Subjects {
        match self {
            Self::Json => Subjects::all(),
            Self::Table => Subjects::CPU | Subjects::MEMORY | Subjects::PIDS | Subjects::IO,
        }
    }
}

/// Who is looked at.
struct Looker<'a> {
    runtime: &'a Runtime,
    root_is_given: bool,
    /// All, if there is no name.
    named: Vec<ContainerId>,
    of: Subjects,
}

impl Looker<'_> {
    /// The first look: who is named has to be there.
    fn first(&self) -> Result<Vec<Row>, Error> {
        let samples = if self.named.is_empty() {
            let all = self.all()?;
            for (name, error) in &all.broken {
                log::warn!("cannot look at {}: {}", name.display(), one_line(error));
            }
            all.samples
        } else {
            let look = |id| lifecycle::sample(self.runtime, id, self.of);
            self.named.iter().map(look).collect::<Result<_, _>>()?
        };
        Ok(samples.into_iter().map(|now| Row { now, before: None }).collect())
    }

    /// A later look; who has ended meanwhile is not among the rows any more, and who has come is.
    fn again(&self, earlier: Vec<Row>) -> Result<Vec<Row>, Error> {
        let samples = if self.named.is_empty() { self.all()?.samples } else { self.named()? };
        let mut earlier: BTreeMap<_, _> =
            earlier.into_iter().map(|row| (row.now.id.as_str().to_owned(), row.now)).collect();
        let row = |now: Sample| {
            let before = earlier.remove(now.id.as_str());
            Row { before: before.filter(|before| before.is_of_same_container(&now)), now }
        };
        Ok(samples.into_iter().map(row).collect())
    }

    /// Everybody. A default root that is not there yet is one without containers.
    fn all(&self) -> Result<Samples, Error> {
        match lifecycle::sample_all(self.runtime, self.of) {
            Err(lifecycle::Error::State(state::Error::NoRoot { .. })) if !self.root_is_given => {
                Ok(Samples::default())
            }
            other => Ok(other?),
        }
    }

    /// Those of the named who have not ended.
    fn named(&self) -> Result<Vec<Sample>, Error> {
        let mut samples = Vec::new();
        for id in &self.named {
            match lifecycle::sample(self.runtime, id, self.of) {
                Ok(sample) => samples.push(sample),
                Err(error) if lifecycle::has_ended(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(samples)
    }

    /// Whether those who were named have all ended.
    fn waits_for_nobody(&self, rows: &[Row]) -> bool {
        !self.named.is_empty() && rows.is_empty()
    }
}
