//! Random numbers of a test: one seed, settable, told when the test fails. No distribution here is anything
//! but uniform.

use std::ops::Range;

/// Numbers that follow from a seed (SplitMix64).
pub(crate) struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// From `EVENKEEL_SEED`; without it the same in every run, so that what fails was made to fail by a
    /// change.
    pub(crate) fn from_environment() -> Self {
        let seed = match std::env::var("EVENKEEL_SEED") {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("EVENKEEL_SEED={text} is not a number")),
            Err(_) => 1,
        };
        println!("EVENKEEL_SEED={seed}");
        Self { seed, state: seed }
    }

    /// The seed, which a failure must tell.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn within(&mut self, range: Range<u32>) -> u32 {
        range.start + (self.next() % u64::from(range.end - range.start)) as u32
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Some of them, in their order: each with even odds.
    pub(crate) fn some<T: Clone>(&mut self, from: &[T]) -> Vec<T> {
        from.iter().filter(|_| self.once_in(2)).cloned().collect()
    }
}
