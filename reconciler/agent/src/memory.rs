//! What start-up and a large plan took of memory is given back.

use std::fs;
use std::ops::Range;

/// Freed blocks from this size on go back to the system at once, bytes. What is smaller is used again: every look at a large table
/// would otherwise begin with memory that has to be had anew, page by page.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 4 * 1024 * 1024;

/// Holds the allocator to fixed limits: its own grow with the largest block that it has ever freed.
pub(crate) fn settle() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "sets two numbers of the C library's allocator, before any thread is made")]
    // SAFETY: mallopt(3) takes any numbers and refuses those that make no sense.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// Gives freed memory back to the system, whatever lies above it. Takes milliseconds when there was much.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "the C library's allocator has no other way")]
    // SAFETY: malloc_trim(3) may be called at any time from any thread; it takes the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of the pages of code that were used until now: most of them are start-up's, which runs once. What is
/// used again is mapped again from the system's cache, a matter of microseconds.
pub(crate) fn forget_code() {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    for range in maps.lines().filter_map(code) {
        #[allow(unsafe_code, reason = "no safe wrapper of madvise exists")]
        // SAFETY: pages of a file that are mapped for reading and running only hold what the file holds, so
        // that dropping them changes nothing (madvise(2)); a range that was unmapped meanwhile is refused.
        unsafe {
            libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED);
        }
    }
}

/// The addresses of a line of `/proc/self/maps` that is a file's code (proc(5)).
fn code(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (addresses, rights) = (words.next()?, words.next()?);
    let path = words.nth(3)?;
    if rights != "r-xp" || !path.starts_with('/') {
        return None;
    }
    let (start, end) = addresses.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_code_of_files_is_let_go() {
        for (line, found) in [
            (
                "55e0c000-55e0e000 r-xp 00002000 08:01 42   /usr/sbin/evenkeeld",
                Some(0x55e0_c000..0x55e0_e000),
            ),
            ("55e0e000-55e0f000 r--p 00004000 08:01 42   /usr/sbin/evenkeeld", None),
            ("55e0f000-55e10000 rw-p 00005000 08:01 42   /usr/sbin/evenkeeld", None),
            ("55e10000-55e11000 rwxp 00005000 08:01 42   /usr/sbin/evenkeeld", None),
            ("7ffd1000-7ffd3000 r-xp 00000000 00:00 0    [vdso]", None),
            ("7ffd1000-7ffd3000 r-xp 00000000 00:00 0", None),
            ("", None),
        ] {
            assert_eq!(code(line), found, "{line}");
        }
        forget_code();
        assert_eq!(code("1-2 r-xp 0 0 0 /x"), Some(1..2), "code is there again when it is used");
    }
}
