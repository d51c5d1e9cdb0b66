//! How large the binary is, that it is static, and how large its monitor is in memory.

use std::fs;
use std::path::Path;

use crate::{Result, build, integration, setup};

/// No release is larger than this, in bytes.
const LARGEST: usize = 4_300_000;

/// Builds the release binary, and prints its size and that of its monitor.
///
/// # Errors
/// When the build fails, when the binary or the monitor is too large, and when the binary asks for a dynamic loader.
pub(crate) fn size() -> Result<()> {
    let binary = build::runtime("release")?;
    check(&binary)?;
    monitor(&binary)
}

/// Runs the test that measures a monitor; without it a debug build would be measured, which says nothing.
fn monitor(binary: &Path) -> Result<()> {
    setup::setup()?;
    let program = integration::program("monitor")?;
    let variables = [format!("CLOISON_BIN={}", binary.display()), "CLOISON_TEST_RELEASE=1".to_owned()];
    let output = integration::run(&program, "the_monitor_is_small", &variables)?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().filter(|line| line.starts_with("at ")).for_each(|line| println!("the monitor {line}"));
    if output.status.success() {
        return Ok(());
    }
    Err(format!("the monitor is too large: {said}{}", String::from_utf8_lossy(&output.stderr)).into())
}

fn check(binary: &Path) -> Result<()> {
    let bytes = fs::read(binary)?;
    if asks_for_a_loader(&bytes).ok_or("the binary is no 64-bit ELF file of this byte order")? {
        return Err("the binary is not static: it asks for a dynamic loader".into());
    }
    println!("{}: {} bytes, static", binary.display(), bytes.len());
    if bytes.len() > LARGEST {
        return Err(format!("that is more than {LARGEST}").into());
    }
    Ok(())
}

/// Whether an ELF file has a program header of type `PT_INTERP` (elf(5)).
fn asks_for_a_loader(file: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let half = |at: usize| Some(usize::from(u16::from_ne_bytes(file.get(at..at + 2)?.try_into().ok()?)));
    if file.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    // e_phoff, e_phentsize and e_phnum of Elf64_Ehdr; p_type is the first field of Elf64_Phdr.
    let table = usize::try_from(u64::from_ne_bytes(file.get(32..40)?.try_into().ok()?)).ok()?;
    let (length, count) = (half(54)?, half(56)?);
    (0..count).map(|index| table + index * length).try_fold(false, |found, at| {
        let kind = u32::from_ne_bytes(file.get(at..at + 4)?.try_into().ok()?);
        Some(found || kind == PT_INTERP)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kinds: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..5].copy_from_slice(b"\x7fELF\x02");
        file[32..40].copy_from_slice(&64_u64.to_ne_bytes());
        file[54..56].copy_from_slice(&56_u16.to_ne_bytes());
        file[56..58].copy_from_slice(&u16::try_from(kinds.len()).unwrap().to_ne_bytes());
        for kind in kinds {
            file.extend(kind.to_ne_bytes());
            file.extend([0; 52]);
        }
        file
    }

    #[test]
    fn interpreter_is_found_wherever_it_stands() {
        assert_eq!(asks_for_a_loader(&elf(&[1, 6, 2])), Some(false));
        assert_eq!(asks_for_a_loader(&elf(&[1, 6, 3])), Some(true));
    }

    #[test]
    fn what_is_no_elf_file_or_is_cut_off_is_neither() {
        assert_eq!(asks_for_a_loader(b"#!/bin/sh"), None);
        let mut cut = elf(&[1, 2]);
        cut.truncate(100);
        assert_eq!(asks_for_a_loader(&cut), None);
    }
}
