//! Figures from measurements, and tables for people. Nothing is measured here.

use std::fmt;
use std::time::Duration;

/// Durations measured alike, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures(Vec<Duration>);

impl FromIterator<Duration> for Figures {
    fn from_iter<I: IntoIterator<Item = Duration>>(values: I) -> Self {
        let mut values: Vec<Duration> = values.into_iter().collect();
        values.sort();
        Self(values)
    }
}

impl Figures {
    /// The middle one, the upper of two; zero without any.
    pub fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// The largest; zero without any.
    pub fn max(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// The one that so many of a hundred are not above; zero without any.
    pub fn percentile(&self, hundredths: usize) -> Duration {
        let rank = (self.0.len() * hundredths).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// The smallest; zero without any.
    pub fn min(&self) -> Duration {
        self.0.first().copied().unwrap_or_default()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |value: Duration| value.as_secs_f64() * 1e3;
        write!(
            out,
            "{} times: min {:.1} p50 {:.1} max {:.1} ms",
            self.count(),
            ms(self.min()),
            ms(self.median()),
            ms(self.max())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_what_was_measured() {
        let figures: Figures = [30, 10, 20].map(Duration::from_millis).into_iter().collect();
        assert_eq!(
            (figures.min(), figures.median(), figures.max()),
            (Duration::from_millis(10), Duration::from_millis(20), Duration::from_millis(30))
        );
        assert_eq!(figures.to_string(), "3 times: min 10.0 p50 20.0 max 30.0 ms");
        let hundred: Figures = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(hundred.percentile(99), Duration::from_millis(99));
        assert_eq!((figures.percentile(99), figures.percentile(1)), (figures.max(), figures.min()));
        assert_eq!(Figures::default().max(), Duration::ZERO);
        assert_eq!(Figures::default().percentile(99), Duration::ZERO);
    }
}
