//! Tests that cannot run here say so, where whoever runs them sees it.

use std::fs::OpenOptions;
use std::io::Write;

/// Ends the test when the condition does not hold, and prints what it would have needed.
#[macro_export]
macro_rules! skip_unless {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            $crate::skip::report(&format!($($reason)+));
            return;
        }
    };
}

/// Ends the test unless an ordinary user gets a view of the host's programs from `cloison try`.
#[macro_export]
macro_rules! users_need_usr {
    () => {
        $crate::skip_unless!(
            $crate::host::kernel() >= (5, 11),
            "needs overlays in user namespaces, Linux 5.11"
        );
        $crate::skip_unless!(
            $crate::host::users_see_usr(),
            "needs a machine without mounts below /usr, of which the kernel gives an ordinary user no view"
        );
    };
}

/// Ends the test unless the binary under test is of the given [`Kind`](crate::Kind): for what differs by design.
#[macro_export]
macro_rules! only_for {
    ($kind:ident, $reason:literal) => {
        $crate::skip_unless!(
            $crate::runtime::kind() == $crate::Kind::$kind,
            "only for {}: {}",
            stringify!($kind),
            $reason
        );
    };
}

/// Ends the test when the binary is a `runc` older than the release named before the colon.
///
/// `runc_lacks!("1.2: idmapped mounts")` runs on `runc` 1.2 and later, and on every other runtime.
#[macro_export]
macro_rules! runc_lacks {
    ($since:literal) => {
        $crate::skip_unless!(
            $crate::runtime::has_what_runc_has_since($since),
            "runc has it since {}",
            $since
        );
    };
}

/// Ends the test where nobody can make idmapped mounts, or the runtime knows none.
#[macro_export]
macro_rules! needs_idmapped_mounts {
    () => {
        $crate::skip_unless!(
            $crate::host::has_idmapped_mounts(),
            "needs idmapped mounts (Linux 5.12, and root as who makes them)"
        );
        $crate::runc_lacks!("1.2: idmapped mounts");
    };
}

/// Prints `skipped: <test>: <reason>` to the test's output and to the terminal of the run.
///
/// The runner shows no output of tests that pass, so the line also goes to the runner's own standard error.
pub fn report(reason: &str) {
    let line = format!("skipped: {}: {reason}\n", test_name());
    print!("{line}");
    if std::env::var_os("NEXTEST").is_some()
        && let Some(parent) = rustix::process::getppid()
        && let Ok(mut runner) =
            OpenOptions::new().append(true).open(format!("/proc/{}/fd/2", parent.as_raw_nonzero()))
        && let Err(error) = runner.write_all(line.as_bytes())
    {
        println!("(could not tell the runner: {error})");
    }
}

/// The name of the running test, as the runner knows it.
pub fn test_name() -> String {
    let arguments: Vec<String> = std::env::args().collect();
    let file = arguments
        .first()
        .and_then(|path| path.rsplit('/').next())
        .and_then(|file| file.rsplit_once('-').map(|(name, _hash)| name.to_owned()))
        .unwrap_or_default();
    let exact = arguments.iter().skip(1).find(|argument| !argument.starts_with('-')).cloned();
    let test = exact.unwrap_or_else(|| std::thread::current().name().unwrap_or("unnamed").to_owned());
    format!("{file}::{test}")
}
