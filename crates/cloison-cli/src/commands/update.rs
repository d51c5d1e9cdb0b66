//! `cloison update`

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use cloison::id::ContainerId;
use cloison::lifecycle::{self, Runtime};
use cloison::spec::{Resources, SIZE_LIMIT};

use crate::args::{given, path};
use crate::error::Error;

const AFTER_HELP: &str = "\
Numbers for memory may have a unit: b, k, m, g, t, p, in powers of 1024. What no option is about stays as it is.

The file of --resources holds what stands under linux.resources in config.json, and may leave out everything but what changes:

   {\"memory\": {\"limit\": 268435456}, \"pids\": {\"limit\": 100},
    \"devices\": [{\"allow\": true, \"type\": \"c\", \"major\": 10, \"minor\": 229, \"access\": \"rwm\"}]}

Rules for devices replace those that the container has; without any they stay. The other options do not count then.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Update {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// File with the new resources as JSON, or - for standard input
    #[arg(short, long, value_name = "FILE", value_parser = path())]
    resources: Option<PathBuf>,
    /// Share of the block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT", value_parser = number::<u16>)]
    blkio_weight: Option<Given<u16>>,
    /// Period of the CPU quota, in microseconds
    #[arg(long, value_name = "US", value_parser = number::<u64>)]
    cpu_period: Option<Given<u64>>,
    /// CPU time in each period, in microseconds; -1 for no limit
    #[arg(long, value_name = "US", allow_hyphen_values = true, value_parser = number::<i64>)]
    cpu_quota: Option<Given<i64>>,
    /// CPU time that may be saved up for bursts, in microseconds
    #[arg(long, value_name = "US", value_parser = number::<u64>)]
    cpu_burst: Option<Given<u64>>,
    /// Share of the CPUs beside others, 2 to 262144
    #[arg(long, value_name = "SHARES", value_parser = number::<u64>)]
    cpu_share: Option<Given<u64>>,
    /// Period of real-time tasks, in microseconds (cgroup v1)
    #[arg(long, value_name = "US", value_parser = number::<u64>)]
    cpu_rt_period: Option<Given<u64>>,
    /// Time of real-time tasks in each of their periods, in microseconds (cgroup v1)
    #[arg(long, value_name = "US", allow_hyphen_values = true, value_parser = number::<i64>)]
    cpu_rt_runtime: Option<Given<i64>>,
    /// 1 to run only when nobody else wants to, 0 to run as others
    #[arg(long, value_name = "0|1", allow_hyphen_values = true, value_parser = number::<i64>)]
    cpu_idle: Option<Given<i64>>,
    /// CPUs to use, like 0-2,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use, like 0-1
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Memory limit in bytes; -1 for none
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    memory: Option<Given<i64>>,
    /// Soft limit of memory in bytes; -1 for none
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    memory_reservation: Option<Given<i64>>,
    /// Limit of memory and swap together in bytes; -1 for none
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    memory_swap: Option<Given<i64>>,
    /// Ignored: kernels since 5.4 have no such limit of their own
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true, value_parser = size)]
    kernel_memory: Option<Given<i64>>,
    /// Ignored: it is part of the memory limit
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true, value_parser = size)]
    kernel_memory_tcp: Option<Given<i64>>,
    /// Greatest number of tasks; -1 for no limit
    #[arg(long, value_name = "COUNT", allow_hyphen_values = true, value_parser = number::<i64>)]
    pids_limit: Option<Given<i64>>,
    /// Shares of the level 3 cache (Intel RDT), like L3:0=f0;1=f
    #[arg(long, value_name = "SCHEMA")]
    l3_cache_schema: Option<String>,
    /// Memory bandwidth (Intel RDT), like MB:0=20;1=70
    #[arg(long, value_name = "SCHEMA")]
    mem_bw_schema: Option<String>,
}

/// A value, or the empty text by which Go programs say that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Given<T>(Option<T>);

impl Update {
    /// Changes the limits.
    pub(crate) fn run(self, runtime: &Runtime) -> Result<ExitCode, Error> {
        let id = ContainerId::parse(&self.id)?;
        let change = match given(self.resources.clone()) {
            Some(file) => {
                if self.options() != Resources::default() {
                    log::warn!("the options beside --resources are ignored");
                }
                read(&file)?
            }
            None => self.options(),
        };
        if change.memory.kernel.is_some() || change.memory.kernel_tcp.is_some() {
            log::warn!("Kernel memory settings are ignored");
        }
        lifecycle::update(runtime, &id, &change, &self.shares())?;
        Ok(ExitCode::SUCCESS)
    }

    /// Lines of `schemata`, the cache first. Unlike limits, they count beside `--resources`, which has no place for them.
    fn shares(&self) -> Vec<String> {
        let lines = [&self.l3_cache_schema, &self.mem_bw_schema];
        lines.into_iter().flatten().filter(|line| !line.is_empty()).cloned().collect()
    }

    /// What the options say.
    fn options(&self) -> Resources {
        let mut resources = Resources::default();
        let (memory, cpu) = (&mut resources.memory, &mut resources.cpu);
        memory.limit = self.memory.and_then(|given| given.0);
        memory.reservation = self.memory_reservation.and_then(|given| given.0);
        memory.swap = self.memory_swap.and_then(|given| given.0);
        memory.kernel = self.kernel_memory.and_then(|given| given.0);
        memory.kernel_tcp = self.kernel_memory_tcp.and_then(|given| given.0);
        cpu.period = self.cpu_period.and_then(|given| given.0);
        cpu.quota = self.cpu_quota.and_then(|given| given.0);
        cpu.burst = self.cpu_burst.and_then(|given| given.0);
        cpu.shares = self.cpu_share.and_then(|given| given.0);
        cpu.realtime_period = self.cpu_rt_period.and_then(|given| given.0);
        cpu.realtime_runtime = self.cpu_rt_runtime.and_then(|given| given.0);
        cpu.idle = self.cpu_idle.and_then(|given| given.0);
        cpu.cpus = self.cpuset_cpus.clone().filter(|list| !list.is_empty());
        cpu.mems = self.cpuset_mems.clone().filter(|list| !list.is_empty());
        resources.block_io.weight = self.blkio_weight.and_then(|given| given.0);
        resources.pids.limit = self.pids_limit.and_then(|given| given.0);
        resources
    }
}

/// Reads the new resources from a file or from standard input.
fn read(file: &Path) -> Result<Resources, Error> {
    let failed = |error| Error::Read { path: file.to_owned(), error };
    let mut bytes = Vec::new();
    // One byte more tells that there is too much.
    if file == Path::new("-") {
        io::stdin().take(SIZE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        File::open(file).map_err(failed)?.take(SIZE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(Resources::parse_in_any_case(&bytes, file)?)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<Given<T>, String>
where
    T::Err: std::fmt::Display,
{
    if text.is_empty() {
        return Ok(Given(None));
    }
    text.parse().map(|number| Given(Some(number))).map_err(|error: T::Err| error.to_string())
}

/// A number of bytes as Docker's users write it: `1.5g`, `64 MiB`, `100`; -1 for no limit.
fn size(text: &str) -> Result<Given<i64>, String> {
    if text.is_empty() {
        return Ok(Given(None));
    }
    bytes(text).map(|bytes| Given(Some(bytes)))
}

/// The same for what has to be given.
pub(super) fn bytes(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let wrong = || "expected a number of bytes, with k, m, g, t or p for powers of 1024, or -1".to_owned();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let power = match unit.strip_suffix('i').unwrap_or(unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(wrong()),
    };
    let factor = 1_i64 << (10 * power);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let whole: i64 = whole.parse().map_err(|_| wrong())?;
    let is_fraction =
        !fraction.is_empty() && fraction.len() <= 17 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !is_fraction {
        return Err(wrong());
    }
    let part = fraction.parse::<i128>().map_err(|_| wrong())? * i128::from(factor)
        / 10_i128.pow(u32::try_from(fraction.len()).unwrap_or(u32::MAX));
    let bytes = i128::from(whole) * i128::from(factor) + part;
    i64::try_from(bytes).map_err(|_| "more bytes than there can be".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_does() {
        let table = [
            ("100", 100),
            ("0", 0),
            ("32b", 32),
            ("32B", 32),
            ("1k", 1 << 10),
            ("1K", 1 << 10),
            ("50M", 50 << 20),
            ("50 MB", 50 << 20),
            ("50MiB", 50 << 20),
            ("1.5g", 3 << 29),
            ("0.5k", 512),
            ("2t", 2 << 40),
            ("1P", 1 << 50),
            ("-1", -1),
        ];
        for (text, bytes) in table {
            assert_eq!(size(text), Ok(Given(Some(bytes))), "{text}");
        }
        assert_eq!(size(""), Ok(Given(None)));
        for text in [
            "-2", "-1m", "m", "1x", "1kk", "1,5m", "1.", ".5m", "1.2.3m", "9999999p", "0x10", " 1", "1  m",
            "1i5",
        ] {
            assert!(size(text).is_err(), "{text}: {:?}", size(text));
        }
    }
}
