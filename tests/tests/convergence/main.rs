//! Convergence on a real kernel, shown by tools that know nothing of evenkeel: what `ipvsadm` and `ip` say
//! before and after.
//!
//! Each is bounded in the normal run; `tests/soak` runs them at full size. All that is random comes from one
//! seed, which a failure tells and `EVENKEEL_SEED` sets.

mod connections;
#[cfg(target_arch = "x86_64")]
mod crash;
mod drift;
mod look;
mod oracle;
mod plan;
mod random;
mod support;
