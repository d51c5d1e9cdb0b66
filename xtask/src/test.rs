//! All tests, those that need it as root.

use std::process::Command;

use crate::{Result, build, command, setup};

/// Installs what is missing, builds as whoever calls, and runs every test; the arguments go to `cargo test`.
///
/// Unit and integration tests run as root, each in a process of its own ([`isolate`](crate::isolate)), and all of a test program in
/// namespaces of their own where that is allowed: a runtime that is being changed may kill and unmount what is not its own.
///
/// # Errors
/// When the set-up or the build fails, or any test does.
pub(crate) fn test(arguments: &[&str]) -> Result<()> {
    setup::setup()?;
    let ourselves = std::env::current_exe()?.display().to_string();
    command::run(build::cargo().args(["build", "--workspace"]))?;
    let mut runner = as_root_apart()?;
    runner.push(ourselves);
    runner.push("isolate".to_owned());
    let runner = runner.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ");
    let for_cargo = || arguments.iter().take_while(|argument| **argument != "--");
    let names_packages = for_cargo().any(|argument| *argument == "-p" || argument.starts_with("--package"));
    let names_targets = for_cargo().any(|argument| *argument == "--lib" || argument.starts_with("--test"));
    let tests = build::cargo()
        .args(["test", "--no-fail-fast"])
        // With it all are built, whichever are named beside it.
        .args(if names_targets { &[][..] } else { &["--tests"] })
        .arg("--config")
        .arg(format!("target.'cfg(unix)'.runner = [{runner}]"))
        // Cargo takes --workspace for more than a package that is named beside it.
        .args(if names_packages { &[][..] } else { &["--workspace"] })
        .args(arguments)
        .status()?;
    let examples = if arguments.is_empty() { examples().status()?.success() } else { true };
    if tests.success() && examples { Ok(()) } else { Err("not all tests have passed".into()) }
}

/// The words that go before tests: they run as root, in namespaces of their own where that is allowed, and hear every signal.
///
/// # Errors
/// When we are not root and cannot become it.
pub(crate) fn as_root_apart() -> Result<Vec<String>> {
    let root = command::as_root()?;
    let mut runner = root.clone();
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc"];
    if command::words(root.iter().map(String::as_str).chain(unshare).chain(["true"])).status()?.success() {
        runner.extend(unshare.map(str::to_owned));
    } else {
        println!("skipped: namespaces for the tests: this machine allows none");
    }
    // A job in the background of a shell ignores them, and so would all that the tests start. GNU env knows this since 8.31.
    let hears = ["env", "--default-signal=INT,QUIT"];
    if command::words(hears.into_iter().chain(["true"])).status()?.success() {
        runner.extend(hears.map(str::to_owned));
    }
    Ok(runner)
}

/// The examples in the documentation need neither root nor a process each.
fn examples() -> Command {
    let mut cargo = build::cargo();
    cargo.args(["test", "--quiet", "--workspace", "--doc"]);
    cargo
}
