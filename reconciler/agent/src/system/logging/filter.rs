//! The meaning of `EVENKEEL_LOG`. Text in, a filter or a sentence for people out; the environment is read
//! elsewhere.

use std::fmt;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

/// Level when none is set.
pub(super) const USUAL: LevelFilter = LevelFilter::INFO;

/// Beginning of the module names that log: a filter for any other would have no effect.
const PARTS: &str = env!("CARGO_CRATE_NAME");

/// The levels, for people.
const LEVELS: &str = "off, error, warn (or warning), info, debug, trace";

/// Reason why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FilterError {
    /// This word is no level.
    Level(String),
    /// No module that logs has this name.
    Part(String),
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level(word) => write!(f, "{word:?} is no level")?,
            Self::Part(name) => write!(f, "no part of evenkeeld is called {name:?}")?,
        }
        write!(
            f,
            "; levels are {LEVELS}; a part gets its own behind a comma, as in \
                `info,{PARTS}::convergence=debug`"
        )
    }
}

/// Parses a level, or levels by module. A module without a level of its own has the level that stands alone,
/// or `info`. Capital letters, blanks and empty words do not matter.
///
/// The first word that is no level or module.
pub(super) fn parse(text: &str) -> Result<Targets, FilterError> {
    let mut filter = Targets::new().with_default(USUAL);
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        filter = match word.split_once('=') {
            None => filter.with_default(level(word)?),
            Some((name, word)) => filter.with_target(part(name.trim())?, level(word.trim())?),
        };
    }
    Ok(filter)
}

fn level(word: &str) -> Result<LevelFilter, FilterError> {
    if word.eq_ignore_ascii_case("warning") {
        return Ok(LevelFilter::WARN);
    }
    // The library accepts numbers as well, of which people do not know which end is the loud one, and an
    // empty word for `error`.
    let named = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    let level = if named { word.parse().ok() } else { None };
    level.ok_or_else(|| FilterError::Level(word.to_owned()))
}

/// A module of this crate, `evenkeel_agent` or below.
fn part(name: &str) -> Result<&str, FilterError> {
    let rest = name.strip_prefix(PARTS);
    let is_one = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    if is_one { Ok(name) } else { Err(FilterError::Part(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    /// Level of one module, and of all others.
    fn levels(text: &str) -> Option<(LevelFilter, LevelFilter)> {
        let filter = parse(text).ok()?;
        let of = |part: &str| {
            let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
            let most = levels.into_iter().find(|level| filter.would_enable(part, level));
            most.map_or(LevelFilter::OFF, LevelFilter::from_level)
        };
        Some((of("evenkeel_agent::convergence"), of("evenkeel_agent::daemon")))
    }

    #[test]
    fn levels_are_taken_as_people_write_them() {
        for (text, wanted) in [
            ("", LevelFilter::INFO),
            (" ", LevelFilter::INFO),
            (",", LevelFilter::INFO),
            ("off", LevelFilter::OFF),
            ("error", LevelFilter::ERROR),
            ("warn", LevelFilter::WARN),
            ("warning", LevelFilter::WARN),
            ("WARNING", LevelFilter::WARN),
            ("Warn", LevelFilter::WARN),
            (" info ", LevelFilter::INFO),
            ("INFO", LevelFilter::INFO),
            ("debug", LevelFilter::DEBUG),
            ("debug,", LevelFilter::DEBUG),
            ("trace", LevelFilter::TRACE),
            ("info,debug", LevelFilter::DEBUG),
        ] {
            assert_eq!(levels(text), Some((wanted, wanted)), "{text:?}");
        }
    }

    #[test]
    fn a_part_has_a_level_of_its_own_and_the_others_keep_theirs() {
        for (text, part, others) in [
            ("info,evenkeel_agent::convergence=debug", LevelFilter::DEBUG, LevelFilter::INFO),
            ("evenkeel_agent::convergence=debug", LevelFilter::DEBUG, LevelFilter::INFO),
            ("evenkeel_agent::convergence = DEBUG , Warning", LevelFilter::DEBUG, LevelFilter::WARN),
            ("warn,evenkeel_agent=debug", LevelFilter::DEBUG, LevelFilter::DEBUG),
            ("evenkeel_agent::convergence=warning", LevelFilter::WARN, LevelFilter::INFO),
            ("evenkeel_agent::convergence=off", LevelFilter::OFF, LevelFilter::INFO),
        ] {
            assert_eq!(levels(text), Some((part, others)), "{text:?}");
        }
    }

    #[test]
    fn any_other_text_is_refused_with_the_levels_there_are() {
        for (text, word) in [
            ("bogus", "bogus"),
            ("informational", "informational"),
            ("info;debug", "info;debug"),
            ("info debug", "info debug"),
            ("5", "5"),
            ("0", "0"),
            ("+5", "+5"),
            ("6", "6"),
            ("-1", "-1"),
            ("info,evenkeel_agent::convergence=5", "5"),
            ("info,bogus", "bogus"),
            ("evenkeel_agent::convergence", "evenkeel_agent::convergence"),
            ("evenkeel_agent=bogus", "bogus"),
            ("evenkeel_agent=", ""),
            ("evenkeel_agent==debug", "=debug"),
            ("[span]", "[span]"),
            ("info\u{0}", "info\u{0}"),
        ] {
            assert_eq!(parse(text), Err(FilterError::Level(word.to_owned())), "{text:?}");
        }
        for (text, name) in [
            ("=debug", ""),
            ("convergence=debug", "convergence"),
            ("evenkeel_agents=debug", "evenkeel_agents"),
            ("info,tokio=trace", "tokio"),
            ("[span]=debug", "[span]"),
        ] {
            assert_eq!(parse(text), Err(FilterError::Part(name.to_owned())), "{text:?}");
        }
        let told = parse("bogus").expect_err("no level").to_string();
        assert_eq!(
            told,
            "\"bogus\" is no level; levels are off, error, warn (or warning), info, debug, trace; a part \
                gets its own \
             behind a comma, as in `info,evenkeel_agent::convergence=debug`"
        );
    }
}
