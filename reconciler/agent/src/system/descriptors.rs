//! Limit of the daemon's file descriptors: more than it was started with, where that is allowed. Programs of
//! the plan get the limit that the daemon was started with.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// Most descriptors that the daemon has use for: a probe under way takes one, and so does a connection to the
/// socket. The usual soft limit of 1024 is for programs that use select(2). With more, a fault could use up
/// the host's descriptors.
const USEFUL: rlim_t = 65_536;

/// The limits, soft and hard, that this process was started with.
static BEFORE: OnceLock<(rlim_t, rlim_t)> = OnceLock::new();

/// Raises the soft limit towards the hard one. A failure costs little: with fewer descriptors fewer probes
/// run at a time.
pub(crate) fn raise_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        BEFORE.set((soft, hard)).ok();
        let raised = raised(soft, hard);
        if raised != soft {
            setrlimit(Resource::RLIMIT_NOFILE, raised, hard).ok();
        }
    }
}

/// The limits that programs get, soft and hard; none when this process still has its own.
pub(crate) fn of_programs() -> Option<(rlim_t, rlim_t)> {
    BEFORE.get().copied()
}

/// The raised soft limit, never lower than it was.
fn raised(soft: rlim_t, hard: rlim_t) -> rlim_t {
    soft.max(hard.min(USEFUL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_within_bounds_and_never_lowered() {
        for (soft, hard, want) in [
            (1024, 4096, 4096),
            (1024, 1_048_576, USEFUL),
            (1024, rlim_t::MAX, USEFUL),
            (100_000, 1_048_576, 100_000),
            (256, 256, 256),
        ] {
            assert_eq!(raised(soft, hard), want, "{soft} {hard}");
        }
    }
}
