//! Seeds, and all randomness of a schedule from one seed. The simulations of the election and of the head of
//! a host share this file.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `scenario` once per seed and names the seed that fails.
#[allow(clippy::disallowed_methods, reason = "how much a test does is not the crate's business")]
pub(crate) fn for_seeds(count: u64, scenario: fn(u64)) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = match (number("EVENKEEL_SEED"), number("EVENKEEL_SCHEDULES")) {
        (Some(seed), _) => seed..seed + 1,
        (None, some) => 0..some.unwrap_or(count),
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            eprintln!("the seed of this failure is {seed}");
            resume_unwind(panic);
        }
    }
}

/// xorshift64*: small, seeded, good enough.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            rng.next();
        }
        rng
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// 0..bound.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// A number from the least to the most, both included.
    pub(crate) fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.index(all.len())]
    }

    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}
