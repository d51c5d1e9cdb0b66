//! Running from a sealed copy: these tests start themselves anew.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Command;

const ASKED: &str = "CLOISON_TEST_SEALED_COPY";

/// What the process does that the test starts: first from its file, then, with the same arguments, from the copy.
fn go_on_from_a_copy() {
    cloison_linux::sealed::ensure_sealed_copy().unwrap();
    println!("exe {}", fs::read_link("/proc/self/exe").unwrap().display());
    println!("args {:?}", std::env::args().skip(1).collect::<Vec<_>>());
    // A process that executed the copy may keep a way to it and write once it is no longer busy.
    let file = fs::File::open("/proc/self/exe").unwrap();
    let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
    println!("seals {seals:?}");
    let refused =
        OpenOptions::new().write(true).open("/proc/self/exe").and_then(|mut exe| exe.write(b"evil"));
    println!("write {}", refused.unwrap_err());
}

#[test]
fn sealed_copy_has_the_same_arguments_and_cannot_be_written() {
    if std::env::var_os(ASKED).is_some() {
        return go_on_from_a_copy();
    }
    let child = Command::new("/proc/self/exe")
        .args(["--exact", "sealed_copy_has_the_same_arguments_and_cannot_be_written", "--nocapture"])
        .env(ASKED, "yes")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
    for line in [
        "exe /memfd:cloison (deleted)",
        r#"args ["--exact", "sealed_copy_has_the_same_arguments_and_cannot_be_written", "--nocapture"]"#,
        "write Text file busy (os error 26)",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    let seals = said.lines().find(|line| line.starts_with("seals ")).unwrap();
    assert!(["SEAL", "SHRINK", "GROW", "WRITE"].iter().all(|seal| seals.contains(seal)), "{seals}");
}
