//! The table of mounts, `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`).

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use rustix::fs::{AtFlags, StatxFlags, statx};
use rustix::io::Errno;

use crate::Result;

/// The table of the caller's mount namespace, as far as its root shows it.
pub const PATH: &str = "/proc/self/mountinfo";

/// `STATX_MNT_ID_UNIQUE`, which rustix does not name.
const MNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number, which [`id_of`] tells of a descriptor. Another mount may get it when this one is gone.
    pub id: u64,
    /// The number of the mount on which it lies.
    pub parent: u64,
    /// Which directory of its file system is mounted.
    pub root: PathBuf,
    /// Where, seen from the root of whose table it is.
    pub point: PathBuf,
    /// The type of the file system.
    pub fs_type: String,
    /// The options of the file system, separated by commas.
    pub options: String,
}

/// The caller's own mounts. One that was moved may stand before the one on which it lies.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn read() -> Result<Vec<Mount>> {
    let table = std::fs::read(PATH).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(parse(&table).collect())
}

/// The number of the mount that a descriptor is in, which is [`Mount::id`]: `STATX_MNT_ID` of statx(2) (Linux 5.8). The descriptor's fdinfo has
/// it, too, but is closed to who is not dumpable.
///
/// # Errors
/// `ENOSYS` where the kernel does not tell; those of statx(2).
pub fn id_of(fd: BorrowedFd<'_>) -> Result<u64> {
    told(fd, StatxFlags::MNT_ID)?.ok_or(Errno::NOSYS)
}

/// The number of the mount that a descriptor is in, which no other mount ever gets: `STATX_MNT_ID_UNIQUE` of statx(2). None before Linux 6.8.
///
/// # Errors
/// Those of statx(2).
pub fn unique_id_of(fd: BorrowedFd<'_>) -> Result<Option<u64>> {
    told(fd, MNT_ID_UNIQUE)
}

/// Which of its numbers a mount has, if the kernel knows them.
fn told(fd: BorrowedFd<'_>, which: StatxFlags) -> Result<Option<u64>> {
    let answer = statx(fd, c"", AtFlags::EMPTY_PATH, which)?;
    let known = StatxFlags::from_bits_retain(answer.stx_mask).contains(which);
    Ok(known.then_some(answer.stx_mnt_id))
}

/// The mounts of a table, in its order. A line of another form is none.
pub fn parse(table: &[u8]) -> impl Iterator<Item = Mount> {
    table.split(|byte| *byte == b'\n').filter_map(mount)
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (id, parent, _device) = (number(fields.next()?)?, number(fields.next()?)?, fields.next()?);
    let (root, point) = (unescaped(fields.next()?), unescaped(fields.next()?));
    // The options of the mount, and then as many fields as there are before the separator.
    let mut file_system = fields.skip_while(|field| *field != b"-").skip(1);
    let (fs_type, _source) = (unescaped(file_system.next()?), file_system.next());
    let options = file_system.next().map(unescaped).unwrap_or_default();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let path = |bytes| PathBuf::from(OsString::from_vec(bytes));
    let (root, point) = (path(root), path(point));
    Some(Mount { id, parent, root, point, fs_type: text(fs_type), options: text(options) })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// What would part fields or lines stands there as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, behind @ ..] = rest {
        let escaped = behind.first_chunk().copied().filter(|_| *first == b'\\').and_then(octal);
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &behind[3..] } else { behind };
    }
    bytes
}

fn octal(digits: [u8; 3]) -> Option<u8> {
    let [high, middle, low] = digits.map(|digit| digit.wrapping_sub(b'0'));
    (high < 4 && middle < 8 && low < 8).then_some(high << 6 | middle << 3 | low)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::path::Path;

    use super::*;

    fn one(line: &str) -> Option<Mount> {
        parse(line.as_bytes()).next()
    }

    #[test]
    fn a_line_is_read_whatever_stands_before_the_separator() {
        let expected = Mount {
            id: 36,
            parent: 35,
            root: "/mnt1".into(),
            point: "/mnt2".into(),
            fs_type: "ext3".to_owned(),
            options: "rw,errors=continue".to_owned(),
        };
        for optional in ["", "master:1 ", "shared:3 master:1 propagate_from:2 "] {
            let line =
                format!("36 35 98:0 /mnt1 /mnt2 rw,noatime {optional}- ext3 /dev/root rw,errors=continue");
            assert_eq!(one(&line), Some(expected.clone()), "{line}");
        }
    }

    #[test]
    fn escapes_are_undone_and_what_is_none_stays() {
        let point = |field: &str| one(&format!("1 2 0:3 / {field} rw - tmpfs none rw")).unwrap().point;
        assert_eq!(point(r"/a\040b\011c\012d\134e\043f"), PathBuf::from("/a b\tc\nd\\e#f"));
        assert_eq!(point(r"/\1340"), PathBuf::from(r"/\0"), "the result is not read again");
        for none in [r"/\", r"/\04", r"/\+12", r"/\400", r"/\08x"] {
            assert_eq!(point(none), PathBuf::from(none));
        }
    }

    #[test]
    fn names_need_not_be_text() {
        let mounts: Vec<_> = parse(b"1 2 0:3 / /\xff rw - tmpfs none rw\n").collect();
        assert_eq!(mounts[0].point, PathBuf::from(OsString::from_vec(b"/\xff".to_vec())));
    }

    #[test]
    fn a_line_of_another_form_is_no_mount() {
        for line in ["", "1", "1 2 0:3 / /mnt rw", "1 2 0:3 / /mnt rw -", "x 2 0:3 / /mnt rw - tmpfs none rw"]
        {
            assert_eq!(one(line), None, "{line}");
        }
        assert_eq!(parse(b"\n1 2 0:3 / /a rw - tmpfs none rw\nx\n").count(), 1);
    }

    #[test]
    fn the_root_is_in_our_own_table() {
        let mounts = read().unwrap();
        assert!(mounts.iter().any(|mount| mount.point == Path::new("/")), "{mounts:?}");
    }

    #[test]
    fn a_descriptor_tells_which_row_is_its_own() {
        let root = std::fs::File::open("/").unwrap();
        let id = id_of(root.as_fd()).unwrap();
        let mounts = read().unwrap();
        let own = mounts.iter().find(|mount| mount.id == id).map(|mount| mount.point.as_path());
        assert_eq!(own, Some(Path::new("/")), "{mounts:?}");
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let version: Vec<u32> =
            release.split(['.', '-']).map_while(|part| part.parse().ok()).take(2).collect();
        let unique = unique_id_of(root.as_fd()).unwrap();
        assert_eq!(unique.is_some(), version >= vec![6, 8], "{release}");
        // They begin where the others end, so that nobody takes one for the other.
        assert!(unique.is_none_or(|unique| unique > 0x7fff_ffff), "{unique:?}");
    }
}
