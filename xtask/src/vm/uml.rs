//! User Mode Linux: a kernel that is a process.

use std::fs::File;
use std::io::PipeWriter;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use super::{Booted, Machine, inherited, until_we_end};
use crate::Result;

pub(super) fn boot(
    machine: &Machine,
    image: &Path,
    scratch: &Path,
    script: &str,
    ports: &[PipeWriter; 3],
    console: File,
) -> Result<Booted> {
    let job = scratch.join("job");
    std::fs::create_dir(&job)?;
    std::fs::write(job.join("cmd"), format!("{script}\n"))?;
    let uml = image.join("uml");
    let mut command = until_we_end(&uml.join("linux"));
    command
        .arg(format!("mem={}", machine.memory))
        // What is written goes to a file of this run.
        .arg(format!("ubd0={},{}", scratch.join("cow").display(), image.join("root.ext4").display()))
        .args(["root=/dev/ubda", "rw", "init=/usr/libexec/vmrun/uml-init", "seccomp=auto"])
        .args(["con=null", "con0=null,fd:2", "ssl=null"])
        .arg(format!("uml_dir={}", scratch.display()))
        .arg(format!("vm.dir={}", job.display()))
        .arg(format!("vm.mods={}", uml.join("modules").display()));
    for (line, port) in ports.iter().enumerate() {
        command.arg(format!("ssl{line}=null,fd:{}", port.as_raw_fd()));
    }
    if let Some((directory, read_only)) = &machine.share {
        let suffix = if *read_only { ":ro" } else { "" };
        command.arg(format!("vm.share={}{suffix}", directory.display()));
    }
    let modules = match machine.lsm.as_str() {
        "none" => "yama".to_owned(),
        lsm => format!("yama,{lsm}"),
    };
    command.args(machine.kernel_words()).arg(format!("lsm={modules}"));
    let console = inherited(console)?;
    let process = command.stdout(console.try_clone()?).stderr(console).spawn()?;
    Ok(Booted { processes: vec![process] })
}
