//! Any bytes may stand in a table of mounts, whose names are others': what is read of it reads the same when it is written again.
#![no_main]

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cloison_linux::mountinfo::{Mount, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|table: &[u8]| {
    for mount in parse(table) {
        let again: Vec<Mount> = parse(&written(&mount)).collect();
        assert_eq!(again, [mount]);
    }
});

/// With every byte escaped that is no plain sign.
fn written(mount: &Mount) -> Vec<u8> {
    let escaped = |bytes: &[u8]| -> String {
        let one = |byte: &u8| match byte {
            b'/' | b',' | b'=' | b'0'..=b'9' | b'a'..=b'z' => char::from(*byte).to_string(),
            other => format!("\\{other:03o}"),
        };
        bytes.iter().map(one).collect()
    };
    let path = |path: &Path| escaped(path.as_os_str().as_bytes());
    let (root, point) = (path(&mount.root), path(&mount.point));
    let (kind, options) = (escaped(mount.fs_type.as_bytes()), escaped(mount.options.as_bytes()));
    format!("{} {} 0:1 {root} {point} rw shared:1 - {kind} none {options}\n", mount.id, mount.parent)
        .into_bytes()
}
