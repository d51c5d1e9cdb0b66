//! `restore`: a container wakes from the files of a checkpoint.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use cloison_linux::process::pidfd_open;
use cloison_linux::signals::{SignalFd, SignalSet};
use cloison_linux::{Linux, Pid};

use super::birth::{Birth, FirstBorn};
use super::checkpoint::{common, config_file, directory};
use super::conception::Conception;
use super::error::Doing as _;
use super::run::{Program, attend, prepare_to_attend};
use super::{Error, RunOptions, Runtime, console, rootless};
use crate::checkpoint::criu::{Criu, Setup};
use crate::checkpoint::external::{External, namespaces_to_restore, saved_pipes};
use crate::checkpoint::rpc::{self, CgroupRoot, Inherited, Kind, Request};
use crate::checkpoint::stage::Stage;
use crate::checkpoint::{self, Wake};
use crate::init::channel::Failure;
use crate::notify::Notify;
use crate::plan::namespaces::Namespaces;

/// The first CRIU that can change security labels.
const CHANGES_LABELS: i32 = 31_600;

/// The directory, in that of the container, where CRIU finds the root file system.
const ROOT: &str = "criu-root";

/// The first descriptor that CRIU inherits from us.
const FIRST_INHERITED: i32 = 4;

/// Restores a container, and gives its exit code as [`run`](super::run()) does; 0 if detached.
///
/// # Errors
/// [`Error::Checkpoint`] for what CRIU cannot do. Nothing is left behind.
pub fn restore(
    runtime: &Runtime,
    options: &RunOptions,
    images: &checkpoint::Options,
    wake: &Wake,
) -> Result<u8, Error> {
    let conception = Conception::new(runtime, &options.create)?;
    checkpoint::can_be_kept(&conception.plan)?;
    console::check(options.create.console_socket.as_deref(), conception.plan.terminal, options.detach)?;
    if options.detach {
        let mut birth = Birth::prepare(&Linux, runtime, conception)?;
        awaken(&mut birth, images, wake)?;
        console::hand_over(&options.create, &mut birth)?;
        let notify = Notify::open(birth.container()?, birth.first_born()?.pid)?;
        birth.commit(options.create.pid_file.as_deref())?;
        if let Some(notify) = notify {
            notify.until_told_that_it_goes_on()?;
        }
        return Ok(0);
    }
    prepare_to_attend(options, conception.plan.terminal)?;
    let signals = SignalFd::new(SignalSet::ALL).doing("watching signals")?;
    let mut birth = Birth::prepare(&Linux, runtime, conception)?;
    awaken(&mut birth, images, wake)?;
    attend(runtime, options, birth, Program::GoesOn, &signals)
}

/// Has CRIU restore the container's processes as children of ours, in its cgroup.
fn awaken(birth: &mut Birth<'_>, images: &checkpoint::Options, wake: &Wake) -> Result<(), Error> {
    birth.carry_out_for_criu()?;
    let root = birth.container()?.path().join(ROOT);
    fs::create_dir(&root).map_err(|source| checkpoint::Error::File { path: root.clone(), source })?;
    let namespaces = Namespaces::of(&rootless::saved(birth.container()?, birth.state())?);
    let joined = namespaces_to_restore(&Linux, &namespaces)?;
    let (names, inherited): (Vec<_>, Vec<_>) = joined.named.into_iter().unzip();
    let log_name = "restore.log";
    let entry = birth.cgroup().entry()?;
    let prepare = || entry.join().map_err(|error| Failure { errno: None, causes: vec![error.to_string()] });
    let setup = Setup {
        cgroup: entry.directory(),
        inherited: &inherited,
        prepare: &prepare,
        log: images.work_path.as_ref().unwrap_or(&images.image_path).join(log_name),
    };
    let stage = Stage::enter(&Linux, &birth.plan, &root)
        .map_err(|error| checkpoint::Error::Start(error.to_string()))?;
    let image_directory = fs::File::open(&images.image_path)
        .map_err(|source| checkpoint::Error::File { path: images.image_path.clone(), source })?;
    let work = images.work_path.as_deref().map(directory).transpose()?;
    let criu = Criu::start(&Linux, &setup)?;
    drop(stage);
    birth.let_placeholder_go()?;
    for named in &names {
        criu.at_least(named.since, named.what)?;
    }
    if wake.lsm_profile.is_some() || wake.lsm_mount_context.is_some() {
        criu.at_least(CHANGES_LABELS, "--lsm-profile and --lsm-mount-context")?;
    }
    let numbered = names.iter().zip(FIRST_INHERITED..);
    let mut inherit: Vec<_> =
        numbered.map(|(named, fd)| Inherited { key: named.name.to_owned(), fd }).collect();
    inherit.extend(saved_pipes(&images.image_path)?);
    let request = rpc::Options {
        root: Some(root.to_string_lossy().into_owned()),
        log_file: Some(log_name.to_owned()),
        work_dir_fd: work.as_ref().map(AsRawFd::as_raw_fd),
        config_file: config_file(birth.state()),
        evasive_devices: Some(true),
        restore_as_sibling: Some(true),
        external_mounts: External::of(&birth.plan).to_restore(),
        joined: joined.by_path,
        inherited: inherit,
        cgroup_roots: cgroup_roots(criu.pid())?,
        tcp_close: Some(wake.tcp_close),
        lsm_profile: wake.lsm_profile.clone(),
        lsm_mount_context: wake.lsm_mount_context.clone(),
        ..common(images, &image_directory)
    };
    let request = Request { kind: Kind::Restore as i32, options: Some(request), ..Request::default() };
    let (mut terminal, mut born) = (None, None);
    let restored = criu.ask(&request, &mut |script, pid, fd| {
        match script {
            "orphan-pts-master" => terminal = fd,
            "setup-namespaces" => birth.run_restore_hooks(process_id(pid)?)?,
            "post-restore" => born = Some(first_born(pid)?),
            _ => {}
        }
        Ok(())
    });
    let is_born = born.is_some();
    if let Some(born) = born {
        birth.take(born, terminal);
    }
    // What is told is what CRIU says, whatever has become of the process.
    restored?;
    if !is_born {
        return Err(checkpoint::Error::Protocol("no process was restored".to_owned()).into());
    }
    birth.look_at_restored()?;
    match fs::remove_dir(&root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(checkpoint::Error::File { path: root, source: error }.into())
        }
        _ => Ok(()),
    }
}

/// Our child by now, so that its number is nobody else's.
fn first_born(pid: i32) -> Result<FirstBorn, Error> {
    let pid = process_id(pid)?;
    let pidfd: OwnedFd = pidfd_open(pid).doing("opening the restored process")?;
    Ok(FirstBorn::restored(pid, pidfd))
}

fn process_id(number: i32) -> Result<Pid, Error> {
    let pid = Pid::from_raw(number).filter(|pid| pid.as_raw_nonzero().get() > 0);
    Ok(pid.ok_or_else(|| checkpoint::Error::Protocol("no process id".to_owned()))?)
}

/// Where the processes go: the cgroups of CRIU, which is in the container's.
fn cgroup_roots(criu: Pid) -> Result<Vec<CgroupRoot>, Error> {
    let path = format!("/proc/{}/cgroup", criu.as_raw_nonzero());
    let text = fs::read_to_string(&path)
        .map_err(|source| checkpoint::Error::File { path: Path::new(&path).to_owned(), source })?;
    Ok(parse_cgroups(&text))
}

/// Lines of `/proc/PID/cgroup` (`cgroups(7)`): each controller by itself, as CRIU knows them.
fn parse_cgroups(text: &str) -> Vec<CgroupRoot> {
    let lines = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.split_once(':')
    });
    let roots = lines.flat_map(|(controllers, path)| {
        controllers
            .split(',')
            .map(|controller| CgroupRoot { controllers: Some(controller.to_owned()), path: path.to_owned() })
    });
    roots.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_controller_has_its_path() {
        let text = "12:cpu,cpuacct:/a\n1:name=systemd:/b:c\n0::/u\n\nbroken\n";
        let roots: Vec<_> =
            parse_cgroups(text).into_iter().map(|root| (root.controllers.unwrap(), root.path)).collect();
        let expected = [("cpu", "/a"), ("cpuacct", "/a"), ("name=systemd", "/b:c"), ("", "/u")];
        assert_eq!(roots, expected.map(|(controller, path)| (controller.to_owned(), path.to_owned())));
    }
}
