//! Three containers that show what the runtime is.

use std::path::Path;

use crate::{Result, build, command};

/// What is shown: a sentence, a shell command that runs in a container, and its exit code.
const SCENES: [(&str, &str, i32); 3] = [
    (
        "A host name, process ids and a network of its own:",
        "hostname; ls -d /proc/[0-9]*; ls /sys/class/net",
        0,
    ),
    (
        "The files of this machine, to be changed at will:",
        "touch /etc/x; rm /etc/passwd; ls /etc/x /etc/passwd",
        2,
    ),
    ("The program's own exit code:", "exit 42", 42),
];

/// Builds the runtime, and runs the scenes with `cloison try`.
///
/// # Errors
/// When the build fails, or a container does not do what is shown.
pub(crate) fn demo() -> Result<()> {
    let binary = build::runtime("release")?;
    let before = Path::new("/etc/x").exists();
    for (sentence, script, wanted) in SCENES {
        println!("\n# {sentence}\n$ cloison try -- sh -c '{script}'");
        let mut words = command::as_root()?;
        words.push(binary.display().to_string());
        words.extend(["try", "--", "sh", "-c", script].map(str::to_owned));
        let status = command::words(&words).status()?;
        println!("(exit code {})", status.code().unwrap_or(-1));
        if status.code() != Some(wanted) {
            return Err(format!("`{}` should have ended with {wanted}", words.join(" ")).into());
        }
    }
    if Path::new("/etc/x").exists() != before || !Path::new("/etc/passwd").exists() {
        return Err("the containers left a trace on this machine".into());
    }
    println!("\nAnd outside there is no /etc/x, and /etc/passwd is where it was.");
    println!("The runtime is {}", binary.display());
    Ok(())
}
