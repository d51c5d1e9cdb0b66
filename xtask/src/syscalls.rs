//! The table of system calls of `cloison-seccomp`, from the kernel's own headers.
//!
//! Debian's package `linux-libc-dev` has those of all architectures in one place since Debian 13
//! (`/usr/lib/linux/uapi`). The 31-bit calls of s390 have left the kernel with 6.19, so they come from a package
//! before that; unpack each with `dpkg-deb --extract PACKAGE DIRECTORY` and name the directories, newest first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::Result;

/// One table of numbers: what its column is called, and the header. Where the headers add a base to all numbers,
/// the table has them without it.
const COLUMNS: [(&str, &str); 18] = [
    ("x86", "x86/asm/unistd_32.h"),
    ("x86_64", "x86/asm/unistd_64.h"),
    ("x32", "x86/asm/unistd_x32.h"),
    ("arm", "arm/asm/unistd-eabi.h"),
    ("aarch64", "arm64/asm/unistd_64.h"),
    ("loongarch64", "loongarch/asm/unistd_64.h"),
    ("m68k", "m68k/asm/unistd_32.h"),
    ("mips", "mips/asm/unistd_o32.h"),
    ("mips64", "mips/asm/unistd_n64.h"),
    ("mips64n32", "mips/asm/unistd_n32.h"),
    ("ppc", "powerpc/asm/unistd_32.h"),
    ("ppc64", "powerpc/asm/unistd_64.h"),
    ("s390", "s390/asm/unistd_32.h"),
    ("s390x", "s390/asm/unistd_64.h"),
    ("sh", "sh/asm/unistd_32.h"),
    ("parisc", "parisc/asm/unistd_32.h"),
    ("parisc64", "parisc/asm/unistd_64.h"),
    ("riscv64", "riscv/asm/unistd_64.h"),
];

/// The column of 32-bit ARM, which has calls of its own in a second header.
const ARM: usize = 3;

/// What the table has for those calls: their number without `__ARM_NR_BASE` does not tell them from the others.
const ARM_PRIVATE: u32 = 0xf000;

/// Writes the table anew.
///
/// # Errors
/// When a header is in none of the directories, or says what we do not expect.
pub(crate) fn syscalls(directories: &[&str]) -> Result<()> {
    let packages = directories
        .iter()
        .map(|directory| Package::open(Path::new(directory)))
        .collect::<Result<Vec<_>>>()?;
    let mut calls: BTreeMap<String, [Option<u32>; COLUMNS.len()]> = BTreeMap::new();
    let mut sources = Vec::new();
    for (column, (name, header)) in COLUMNS.into_iter().enumerate() {
        let package = packages
            .iter()
            .find(|package| package.headers.join(header).exists())
            .ok_or_else(|| format!("{header} is in none of the packages: {}", directories.join(", ")))?;
        sources.push((name, package.version.clone()));
        for (call, number) in numbers(&package.headers.join(header))? {
            if !is_hole(&call) {
                calls.entry(call).or_default()[column] = Some(number);
            }
        }
        if column == ARM {
            for (call, number) in arm_private(&package.headers.join("arm/asm/unistd.h"))? {
                calls.entry(call).or_default()[column] = Some(ARM_PRIVATE + number);
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/cloison-seccomp/src/syscalls/table.rs");
    std::fs::write(&path, source(&calls, &sources))?;
    println!("{}: {} calls", path.display(), calls.len());
    Ok(())
}

struct Package {
    headers: PathBuf,
    version: String,
}

impl Package {
    fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("usr/include/linux/version.h");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let part = |name: &str| {
            let found =
                text.lines().find_map(|line| line.strip_prefix(&format!("#define LINUX_VERSION_{name} ")));
            found.map(str::trim).ok_or_else(|| format!("{}: there is no {name}", path.display()))
        };
        let version = format!("{}.{}.{}", part("MAJOR")?, part("PATCHLEVEL")?, part("SUBLEVEL")?);
        Ok(Self { headers: directory.join("usr/lib/linux/uapi"), version })
    }
}

/// The lines `#define __NR_name 7` and `#define __NR_name (BASE + 7)`.
fn numbers(path: &Path) -> Result<Vec<(String, u32)>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((name, value)) =
            line.strip_prefix("#define __NR_").and_then(|rest| rest.split_once([' ', '\t']))
        else {
            continue;
        };
        let number = value.trim_matches(['(', ')', ' ', '\t']).rsplit([' ', '+']).next().unwrap_or_default();
        let number = number.parse().map_err(|_| format!("{}: what is {line:?}?", path.display()))?;
        found.push((name.to_owned(), number));
    }
    Ok(found)
}

/// Whether the name only says that nothing is there, as in `unused18`.
fn is_hole(call: &str) -> bool {
    let number = call.strip_prefix("unused").or_else(|| call.strip_prefix("reserved"));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// The lines `#define __ARM_NR_name (__ARM_NR_BASE+7)`.
fn arm_private(path: &Path) -> Result<Vec<(String, u32)>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("#define __ARM_NR_"));
    let parts = lines.filter_map(|line| line.split_once("(__ARM_NR_BASE+"));
    let calls =
        parts.map(|(name, number)| Ok((name.trim().to_owned(), number.trim_end_matches(')').parse()?)));
    calls.collect()
}

fn source(calls: &BTreeMap<String, [Option<u32>; COLUMNS.len()]>, sources: &[(&str, String)]) -> String {
    let versions: BTreeSet<&str> = sources.iter().map(|(_, version)| version.as_str()).collect();
    let from = versions.iter().rev().map(|version| {
        let columns: Vec<&str> =
            sources.iter().filter(|(_, of)| of == version).map(|(name, _)| *name).collect();
        format!("//! Linux {version}: `{}`\n", columns.join("`, `"))
    });
    let mut text = format!(
        "//! The system calls of Linux. Written by `cargo xtask syscalls` from the headers of\n//!\n{}",
        from.collect::<Vec<_>>().join("//!\n")
    );
    let newest = sources.iter().map(|(_, version)| version).max_by_key(|version| parts(version));
    let names = COLUMNS.map(|(name, _)| name);
    let _ = write!(
        text,
        "\n/// The kernel whose headers the table comes from.\npub(super) const KERNEL: &str = \"{}\";\n\n\
         /// How many tables of numbers there are.\npub(super) const COLUMNS: usize = {};\n\n\
         /// What stands where an architecture has no such call.\npub(super) const NONE: u16 = u16::MAX;\n\
         const X: u16 = NONE;\n\n",
        newest.expect("there are columns"),
        COLUMNS.len(),
    );
    for (index, name) in names.iter().enumerate() {
        let _ = writeln!(text, "pub(crate) const {}: usize = {index};", name.to_uppercase());
    }
    let _ = write!(
        text,
        "\n/// Each call's name, in order, and its number in each table, without the base of that table.\n\
         #[rustfmt::skip]\npub(super) static CALLS: [(&str, [u16; COLUMNS]); {}] = [\n    // {}\n",
        calls.len(),
        names.join(", ")
    );
    for (name, numbers) in calls {
        let numbers = numbers.map(|number| number.map_or("X".to_owned(), |number| number.to_string()));
        let _ = writeln!(text, "    (\"{name}\", [{}]),", numbers.join(", "));
    }
    text.push_str("];\n");
    text
}

fn parts(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|part| part.parse().ok()).collect()
}
