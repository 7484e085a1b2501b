//! Limit of the daemon's file descriptors: more than it was started with, where that is allowed. Programs of
//! the plan get the limit that the daemon was started with.

use std::sync::OnceLock;

use evenkeel_health::Capacity;
use evenkeel_health::places::{Lane, MAX_PROBES, MAX_PROGRAMS};
use evenkeel_schemas::plan::Check;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use tracing::warn;

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

/// Descriptors that the daemon needs beside its probes: files, sockets of the election, of the kernel and of
/// operators.
const OTHERS: usize = 96;
/// Descriptors of a program that runs: a socket to it, and its output.
const OF_A_PROGRAM: usize = 4;
/// Fewest probes at a time, whatever the limit is: where there are too few descriptors a probe says so.
const FEWEST: usize = 8;

/// How many of these checks can be made at a time with the descriptors that there are. Fewer than would be
/// made otherwise is told.
pub(crate) fn capacity<'c>(checks: impl Iterator<Item = &'c Check>) -> Capacity {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(rlim_t::MAX, |(soft, _)| soft);
    let (mut asks, mut programs) = (0_usize, 0_usize);
    for check in checks {
        match Lane::of(&check.kind) {
            Lane::Ask => asks += 1,
            Lane::Program => programs += 1,
        }
    }
    let found = places(usize::try_from(limit).unwrap_or(usize::MAX), asks, programs);
    let wanted = Capacity { probes: asks.min(MAX_PROBES), programs: programs.min(MAX_PROGRAMS) };
    if found.probes < wanted.probes || found.programs < wanted.programs {
        warn!(
            limit,
            "too few file descriptors (RLIMIT_NOFILE is {limit}): {} of {asks} checks and {} of {programs} \
             programs of checks are made at a time, and others wait",
            found.probes,
            found.programs
        );
    }
    found
}

/// Places of probes with a limit of descriptors.
fn places(limit: usize, asks: usize, programs: usize) -> Capacity {
    let free = limit.saturating_sub(OTHERS);
    // Half of them at most, so that neither kind keeps the other out.
    let half = if asks > 0 { free / 2 } else { free };
    let wanted = programs > 0;
    let programs = if wanted { (half / OF_A_PROGRAM).clamp(1, MAX_PROGRAMS) } else { MAX_PROGRAMS };
    let taken = if wanted { programs * OF_A_PROGRAM } else { 0 };
    Capacity { probes: free.saturating_sub(taken).clamp(FEWEST, MAX_PROBES), programs }
}

/// The raised soft limit, never lower than it was.
fn raised(soft: rlim_t, hard: rlim_t) -> rlim_t {
    soft.max(hard.min(USEFUL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_places_as_descriptors_permit() {
        let all = Capacity::default();
        for (limit, asks, programs, want) in [
            (usize::MAX, 10_000, 100, all),
            (65_536, 10_000, 100, all),
            (1024, 10_000, 0, Capacity { probes: 928, ..all }),
            (256, 10_000, 0, Capacity { probes: 160, ..all }),
            (256, 10_000, 100, Capacity { probes: 80, programs: 20 }),
            (256, 0, 100, Capacity { probes: 32, programs: 32 }),
            (64, 10, 10, Capacity { probes: FEWEST, programs: 1 }),
        ] {
            assert_eq!(places(limit, asks, programs), want, "{limit} {asks} {programs}");
        }
    }

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
