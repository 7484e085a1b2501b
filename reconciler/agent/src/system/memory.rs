//! Memory used during start-up and while adopting a large plan is returned to the system.

/// Size from which freed blocks are returned to the system at once, bytes. Smaller ones are used again:
/// otherwise every observation of a large table would begin with memory to be had anew, page by page.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 4 * 1024 * 1024;

/// Holds the allocator to fixed limits: its own grow with the largest block that it has ever freed.
pub(crate) fn fix_limits() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "sets two numbers of the C library's allocator, before any thread is made")]
    // SAFETY: mallopt(3) takes any numbers and refuses those that make no sense.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// Returns freed memory to the system, whatever lies above it. Takes milliseconds when there was much.
pub(crate) fn release() {
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "the C library's allocator has no other way")]
    // SAFETY: malloc_trim(3) may be called at any time from any thread; it takes the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
