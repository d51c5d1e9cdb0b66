//! Kernels of Debian's releases under qemu, which emulates the processor.

use std::fs::File;
use std::io::{PipeWriter, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::{Booted, Machine, quoted, until_we_end};
use crate::{Result, command, setup};

/// (`virtiofsd` comes with it on Debian 12.)
const PACKAGES: [(&str, &str); 1] = [("qemu-system-x86", "/usr/bin/qemu-system-x86_64")];

/// Where Debian keeps the server of shared directories.
const VIRTIOFSD: [&str; 2] = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];

/// Attaches a program to a cgroup.
const ALLOW_DEVICES: &str = include_str!("allow_devices.py");

/// What runs before the job in a machine without systemd.
///
/// A read makes Linux before 5.18 fill its pool of random numbers, for which others would wait for ever.
///
/// A cpuset, a quota, a program about devices (v2) and a frozen cgroup (v1) are there for the machine's whole life, and not now some and now none: with the first
/// and the last one of each kind the kernel changes its own code (static keys: `cpusets_enabled` in what hands out pages, `freezer_active` in what each kernel
/// thread runs). Processors that qemu 7.2 emulates may trip over that, in a dead lock or a panic (`Oops: int3`).
const WITHOUT_SYSTEMD: &str = "\
    head -c 1 /dev/random > /dev/null\n\
    cd /sys/fs/cgroup && if [ -e cgroup.subtree_control ]; then \
        echo +cpu +cpuset > cgroup.subtree_control && mkdir steady && echo 100000 > steady/cpu.max && \
        python3 -c \"$allow_devices\" steady; \
    else \
        mkdir cpu/steady freezer/steady && echo 100000 > cpu/steady/cpu.cfs_quota_us && echo FROZEN > freezer/steady/freezer.state && \
        { ! [ -e cpuset ] || mkdir cpuset/steady; }; \
    fi && cd - > /dev/null || exit 1\n";

pub(super) fn boot(
    machine: &Machine,
    image: &Path,
    scratch: &Path,
    script: &str,
    ports: &[PipeWriter; 3],
    console: File,
) -> Result<Booted> {
    let kernel = image.join(&machine.kernel);
    let initrd = scratch.join("initrd");
    let mut file = File::create(&initrd)?;
    std::io::copy(&mut File::open(kernel.join("initrd"))?, &mut file)?;
    let first = if machine.init == "none" {
        format!("allow_devices={}\n{WITHOUT_SYSTEMD}", quoted(ALLOW_DEVICES))
    } else {
        String::new()
    };
    file.write_all(&archive(format!("{first}{script}\n").as_bytes()))?;
    setup::install(&PACKAGES)?;
    let mut command = until_we_end(Path::new("qemu-system-x86_64"));
    let drive = |name: &str, file: &Path| {
        format!(
            // Nobody writes to it; other machines have it, too, and User Mode Linux locks it.
            "file={},file.locking=off,format=raw,if=none,id={name},snapshot=on,cache=unsafe",
            file.display()
        )
    };
    command
        // For what is written to the drives, which is of this run only.
        .env("TMPDIR", scratch)
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        // The plainest processor is the quickest to emulate.
        .args([
            "-accel",
            "tcg,thread=multi,tb-size=512",
            "-cpu",
            "qemu64",
            "-smp",
            "2",
            "-m",
            &machine.memory,
        ])
        .args(["-machine", "q35,memory-backend=ram", "-object"])
        .arg(format!("memory-backend-memfd,id=ram,share=on,size={}", machine.memory))
        .arg("-kernel")
        .arg(kernel.join("vmlinux"))
        .arg("-initrd")
        .arg(&initrd)
        .args(["-serial", "stdio"])
        .args(["-drive", &drive("root", &image.join("root.ext4")), "-device", "virtio-blk-pci,drive=root"])
        .args([
            "-drive",
            &drive("modules", &kernel.join("modules.ext4")),
            "-device",
            "virtio-blk-pci,drive=modules",
        ])
        .args(["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]);
    for (set, (name, port)) in ["out", "err", "rc"].iter().zip(ports).enumerate() {
        command
            .arg("-add-fd")
            .arg(format!("fd={},set={set}", port.as_raw_fd()))
            .arg("-chardev")
            .arg(format!("file,id={name},path=/dev/fdset/{set},append=on"))
            .arg("-device")
            .arg(format!("virtserialport,chardev={name},name={name}"));
    }
    let mut words = machine.kernel_words();
    words.push(match machine.lsm.as_str() {
        "none" => "apparmor=0".to_owned(),
        "selinux" => "security=selinux selinux=1".to_owned(),
        lsm => format!("security={lsm}"),
    });
    words.push(
        "console=ttyS0 mitigations=off tsc=reliable no_timer_check random.trust_cpu=on init_on_alloc=0 \
         cryptomgr.notests=1"
            .to_owned(),
    );
    let mut booted = Booted { processes: Vec::new() };
    if let Some((directory, read_only)) = &machine.share {
        let socket = scratch.join("virtiofsd");
        let server = serve(directory, &socket, &console)?;
        booted.processes.push(server);
        command
            .arg("-chardev")
            .arg(format!("socket,id=fs,path={}", socket.display()))
            .args(["-device", "vhost-user-fs-pci,chardev=fs,tag=share,queue-size=1024"]);
        words.push(format!("vm.share={}", if *read_only { "ro" } else { "rw" }));
    }
    command.arg("-append").arg(words.join(" "));
    let process = command.stdout(console.try_clone()?).stderr(console).spawn()?;
    booted.processes.insert(0, process);
    Ok(booted)
}

/// Starts the server of a shared directory.
fn serve(directory: &Path, socket: &Path, log: &File) -> Result<std::process::Child> {
    let program = VIRTIOFSD.iter().map(PathBuf::from).find(|path| path.is_file());
    let program = program
        .or_else(|| command::find("virtiofsd"))
        .ok_or("there is no virtiofsd here: it is in qemu-system-common of Debian 12, and virtiofsd later")?;
    let mut server = until_we_end(&program)
        .arg(format!("--socket-path={}", socket.display()))
        .arg("--rlimit-nofile=0")
        .arg("-o")
        .arg(format!("sandbox=chroot,xattr,log_level=err,source={}", directory.display()))
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()?;
    while !socket.exists() {
        if let Some(status) = server.try_wait()? {
            return Err(format!("virtiofsd: {status}").into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(server)
}

/// An archive as the kernel unpacks it after the initrd (`newc`, kernel's Documentation/driver-api/early-userspace/buffer-format.rst),
/// with the job in it.
fn archive(job: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    let entries: [(&str, u32, &[u8]); 3] =
        [("job", 0o40755, b""), ("job/cmd", 0o100_755, job), ("TRAILER!!!", 0, b"")];
    for (number, (name, mode, content)) in (1_u32..).zip(entries) {
        let lengths = [content.len(), name.len() + 1].map(|length| u32::try_from(length).unwrap_or(u32::MAX));
        let fields = [number, mode, 0, 0, 1, 0, lengths[0], 0, 0, 0, 0, lengths[1], 0];
        archive.extend(b"070701");
        for field in fields {
            archive.extend(format!("{field:08X}").bytes());
        }
        archive.extend(name.bytes().chain([0]));
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_is_read_by_cpio() {
        let Some(cpio) = command::find("cpio") else {
            println!("skipped: there is no cpio here");
            return;
        };
        let mut child = std::process::Command::new(cpio)
            .args(["--list", "--verbose", "--quiet"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&archive(b"echo hello\n")).unwrap();
        let output = child.wait_with_output().unwrap();
        let list = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert!(list.contains("job/cmd") && list.contains("-rwxr-xr-x") && list.contains(" 11 "), "{list}");
    }
}
