//! `cloison checkpoint`, and the options that `restore` has as well.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use cloison::checkpoint::{self, CgroupsMode, Dump, NetworkLock};
use cloison::id::ContainerId;
use cloison::lifecycle::{self, Runtime};
use cloison::plan::mounts::clean;

use crate::args::{absolute, absolute_if_given, given, path};
use crate::error::Error;

#[derive(Debug, Args)]
pub(crate) struct Checkpoint {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    #[command(flatten)]
    images: Images,
    /// Images of the dump before, relative to those of this one
    #[arg(long, value_name = "DIR", value_parser = path())]
    parent_path: Option<PathBuf>,
    /// Let the container go on afterwards
    #[arg(long)]
    leave_running: bool,
    /// Skip TCP connections that are being made
    #[arg(long)]
    tcp_skip_in_flight: bool,
    /// Give a name to files that have been removed
    #[arg(long)]
    link_remap: bool,
    /// Descriptor that gets a zero byte when the server of lazy pages is ready
    #[arg(long, value_name = "FD", value_parser = clap::value_parser!(i32).range(0..))]
    status_fd: Option<i32>,
    /// Send the pages to a page server
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = parse_page_server)]
    page_server: Option<(String, u16)>,
    /// Dump the memory only, and let the container go on
    #[arg(long)]
    pre_dump: bool,
}

/// What a checkpoint and a restore have in common.
#[derive(Debug, Args)]
pub(super) struct Images {
    /// Directory of the images [default: checkpoint, in the working directory]
    #[arg(long, value_name = "DIR", value_parser = path())]
    image_path: Option<PathBuf>,
    /// Directory for logs and temporary files [default: that of the images]
    #[arg(long, value_name = "DIR", value_parser = path())]
    work_path: Option<PathBuf>,
    /// Keep TCP connections
    #[arg(long)]
    tcp_established: bool,
    /// Allow unix sockets that have their peer outside
    #[arg(long)]
    ext_unix_sk: bool,
    /// Allow a session that has its leader outside, as with a terminal in the foreground
    #[arg(long)]
    shell_job: bool,
    /// Keep file locks
    #[arg(long)]
    file_locks: bool,
    /// What happens to cgroups
    #[arg(long, value_name = "MODE", value_enum)]
    manage_cgroups_mode: Option<Cgroups>,
    /// Make a namespace and leave it empty: network
    #[arg(long, value_name = "NAMESPACE", value_parser = ["network"])]
    empty_ns: Vec<String>,
    /// Drop pages that a later image has
    #[arg(long)]
    auto_dedup: bool,
    /// Fetch pages when they are touched
    #[arg(long)]
    lazy_pages: bool,
    /// How the network is held still meanwhile
    #[arg(long, value_name = "METHOD", value_enum)]
    network_lock: Option<Network>,
}

/// What happens to cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cgroups {
    /// Those that are made get the properties of the images.
    #[value(help = None)]
    Soft,
    /// All get them.
    #[value(help = None)]
    Full,
    /// They must not be there yet.
    #[value(help = None)]
    Strict,
    /// Nothing.
    #[value(help = None)]
    Ignore,
}

/// How the network is held still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Network {
    /// By iptables(8).
    #[value(help = None)]
    Iptables,
    /// By nftables.
    #[value(help = None)]
    Nftables,
    /// Not at all.
    #[value(help = None)]
    Skip,
}

impl Images {
    /// The options as the library has them.
    pub(super) fn into_options(self) -> Result<checkpoint::Options, Error> {
        let images = given(self.image_path).unwrap_or_else(|| "checkpoint".into());
        Ok(checkpoint::Options {
            image_path: absolute(images)?,
            work_path: absolute_if_given(self.work_path)?,
            tcp_established: self.tcp_established,
            ext_unix_sk: self.ext_unix_sk,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            manage_cgroups: self.manage_cgroups_mode.map(|mode| match mode {
                Cgroups::Soft => CgroupsMode::Soft,
                Cgroups::Full => CgroupsMode::Full,
                Cgroups::Strict => CgroupsMode::Strict,
                Cgroups::Ignore => CgroupsMode::Ignore,
            }),
            empty_network: !self.empty_ns.is_empty(),
            auto_dedup: self.auto_dedup,
            lazy_pages: self.lazy_pages,
            network_lock: self.network_lock.map(|lock| match lock {
                Network::Iptables => NetworkLock::Iptables,
                Network::Nftables => NetworkLock::Nftables,
                Network::Skip => NetworkLock::Skip,
            }),
        })
    }
}

impl Checkpoint {
    /// Checkpoints the container.
    pub(crate) fn run(self, runtime: &Runtime) -> Result<ExitCode, Error> {
        let id = ContainerId::parse(&self.id)?;
        let options = self.images.into_options()?;
        let parent_path = given(self.parent_path);
        if let Some(parent) = &parent_path {
            let refuse = |message: String| Err(Error::Usage { message, usage: String::new() });
            if parent.is_absolute() {
                return refuse("--parent-path: must be a path relative to --image-path".to_owned());
            }
            // As text: the images' own directory need not be there yet.
            let directory = clean(options.image_path.join(parent));
            if !directory.is_dir() {
                return refuse(format!("--parent-path: {} is not a directory", directory.display()));
            }
        }
        let dump = Dump {
            parent_path,
            pre_dump: self.pre_dump,
            leave_running: self.leave_running,
            tcp_skip_in_flight: self.tcp_skip_in_flight,
            link_remap: self.link_remap,
            page_server: self.page_server,
            status_fd: self.status_fd,
        };
        lifecycle::checkpoint(runtime, &id, &options, &dump)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// An address and a port; an IPv6 address may stand in brackets.
fn parse_page_server(text: &str) -> Result<(String, u16), String> {
    let (address, port) =
        text.rsplit_once(':').filter(|(address, _)| !address.is_empty()).ok_or("expected ADDRESS:PORT")?;
    let port = port.parse().map_err(|_| "the port is a number from 1 to 65535")?;
    let address = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    if port == 0 {
        Err("the port is a number from 1 to 65535".to_owned())
    } else {
        Ok((address.to_owned(), port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_server_is_an_address_and_a_port() {
        assert_eq!(parse_page_server("10.0.0.1:80"), Ok(("10.0.0.1".to_owned(), 80)));
        assert_eq!(parse_page_server("[::1]:8"), Ok(("::1".to_owned(), 8)));
        for wrong in ["", ":1", "host", "host:", "host:0", "host:65536", "host:-1"] {
            assert!(parse_page_server(wrong).is_err(), "{wrong:?}");
        }
    }
}
