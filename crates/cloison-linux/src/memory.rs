//! Memory of our own that can be given back.

use std::ffi::c_void;
use std::ops::Range;

use crate::Result;
use crate::raw::{check, page_size};

/// Gives back the pages of our own executable that are code or constants, and those of the heap that nobody uses.
///
/// For a process that has done all but one small thing, and will now do that for a long time. Code that is needed again comes back from the
/// file, some pages at a time; the file's pages stay in the page cache, for others who run it (`madvise(2)`, `MADV_DONTNEED`; Linux 2.4).
pub fn give_back() -> Result<()> {
    // SAFETY: changes nothing that anybody can see. Whether there was anything to be given back is no matter.
    #[cfg(target_env = "gnu")]
    let _ = unsafe { libc::malloc_trim(0) };
    own_code().into_iter().try_for_each(|pages| {
        let (start, length) = (pages.start as *mut c_void, pages.len());
        // SAFETY: these pages were mapped from the executable's file without the permission to write, and so hold what the file holds,
        // which is what reading them gives again. The file cannot change: executables that run are closed to writers (`ETXTBSY`).
        check(unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) }.into()).map(drop)
    })
}

/// The whole pages of the executable's segments that were never writable.
fn own_code() -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    // SAFETY: the callback has the type that is asked for, and what it is given lives until this returns.
    unsafe { libc::dl_iterate_phdr(Some(of_first_object), (&raw mut found).cast()) };
    found
}

/// Called with the program itself first (`dl_iterate_phdr(3)`), and then no more.
unsafe extern "C" fn of_first_object(
    info: *mut libc::dl_phdr_info,
    _: usize,
    found: *mut c_void,
) -> libc::c_int {
    // SAFETY: the C library gives a valid description, and `own_code` its own vector, which nobody else uses meanwhile.
    let (info, found) = unsafe { (&*info, &mut *found.cast::<Vec<Range<usize>>>()) };
    // SAFETY: the program headers are mapped as long as the program is.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let page = page_size();
    // A segment that is read-only now but was not at first (`PT_GNU_RELRO`) holds addresses that the file does not.
    let segments =
        headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0);
    found.extend(segments.filter_map(|header| {
        let start = usize::try_from(info.dlpi_addr + header.p_vaddr).ok()?;
        let end = start.checked_add(usize::try_from(header.p_memsz).ok()?)?;
        let pages = start.next_multiple_of(page)..end / page * page;
        (!pages.is_empty()).then_some(pages)
    }));
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel says of the pages at an address: its size in memory, and how much of that is no file's, in bytes.
    fn resident(address: usize) -> (usize, usize) {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines().skip_while(|line| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let ends =
                range.map(|(start, end)| (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16)));
            !matches!(ends, Some((Ok(start), Ok(end))) if (start..end).contains(&address))
        });
        let mut value = |name: &str| {
            let line = lines.find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
        };
        (value("Rss:"), value("Anonymous:"))
    }

    #[test]
    fn code_is_where_we_are_and_holds_nothing_of_its_own() {
        let code = own_code();
        let here = give_back as fn() -> Result<()> as usize;
        assert!(code.iter().any(|pages| pages.contains(&here)), "{code:?}");
        for pages in &code {
            assert_eq!(resident(pages.start).1, 0, "{pages:?}");
        }
    }

    #[test]
    fn code_that_was_given_back_can_be_run_and_its_constants_be_read() {
        let largest = own_code().into_iter().max_by_key(ExactSizeIterator::len).unwrap();
        // All of it, so that there is something to give back.
        let sum = |pages: &Range<usize>| {
            pages.clone().step_by(page_size()).fold(0_u64, |sum, address| {
                // SAFETY: the program's own pages, which can be read.
                sum + u64::from(unsafe { std::ptr::read_volatile(address as *const u8) })
            })
        };
        let before = (sum(&largest), resident(largest.start).0);
        give_back().unwrap();
        // What looks is code, too, and comes back with as much around it as the page cache has in one piece.
        let after = resident(largest.start).0;
        assert!(after < before.1, "{after} of {}", before.1);
        assert_eq!(sum(&largest), before.0);
    }
}
