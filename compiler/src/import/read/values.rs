//! Values of statements: numbers, times, switches, addresses and words, each as keepalived reads it. What
//! becomes of the keyword that has the value is told by `read`.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use evenkeel_schemas::scalars::Span;
use serde_json::Value;

use super::super::notes::Fate;
use super::super::tree::Statement;
use super::super::words;
use super::{Reader, ip, shorten};

impl Reader<'_> {
    /// The first value as a whole number within `range`; what else there is, keepalived ignores.
    pub(super) fn number(&mut self, statement: &Statement, range: RangeInclusive<i64>) -> Option<i64> {
        self.number_or(statement, 0, range, Reading::Exact, "keepalived ignores the line")
    }

    /// The same, with signs after the number.
    pub(super) fn loose(&mut self, statement: &Statement, range: RangeInclusive<i64>) -> Option<i64> {
        self.number_or(statement, 0, range, Reading::Loose, "keepalived ignores the line")
    }

    /// A value as a whole number. `taken`: what keepalived does when it is none.
    pub(super) fn number_or(
        &mut self,
        statement: &Statement,
        index: usize,
        range: RangeInclusive<i64>,
        reading: Reading,
        taken: &str,
    ) -> Option<i64> {
        let Some(text) = statement.values().nth(index) else {
            self.lacks_value(statement);
            return None;
        };
        let (number, whole) = leading_number(text);
        let key = index.checked_sub(1).and_then(|before| statement.values().nth(before));
        let key = shorten(key.unwrap_or(statement.keyword()));
        let message = format!(
            "`{key}` is a whole number from {} to {}, not `{}`",
            range.start(),
            range.end(),
            shorten(text)
        );
        match number.filter(|number| range.contains(number)) {
            Some(number) if whole => Some(number),
            Some(number) if reading == Reading::Loose => {
                self.bad_word(statement, Some(text), message, &format!("keepalived takes {number}"));
                Some(number)
            }
            _ => {
                self.bad_word(statement, Some(text), message, taken);
                None
            }
        }
    }

    /// The first value as seconds with at most six decimals, in microseconds.
    pub(super) fn micros(
        &mut self,
        statement: &Statement,
        range: RangeInclusive<u64>,
        taken: &str,
    ) -> Option<u64> {
        let Some(text) = statement.value() else {
            self.lacks_value(statement);
            return None;
        };
        let text = text.to_owned();
        let seconds = |micros: u64| {
            let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        let message = format!(
            "`{}` is a time in seconds from {} to {}, not `{}`",
            shorten(statement.keyword()),
            seconds(*range.start()),
            if *range.end() > u64::MAX / 2 { "any".to_owned() } else { seconds(*range.end()) },
            shorten(&text)
        );
        match decimal(&text) {
            Decimal::Exact(micros) if range.contains(&micros) => Some(micros),
            Decimal::Rounded(micros) if range.contains(&micros) => {
                let taken = format!("keepalived takes {} s", seconds(micros));
                self.bad(statement, message, &taken);
                Some(micros)
            }
            // keepalived takes the digits for microseconds then, which nobody means.
            Decimal::Followed(micros) if range.contains(&micros) => {
                self.bad(statement, message, "the default was taken");
                let why = format!(
                    "keepalived takes it for {micros} microseconds: the default was taken, write the time \
                    that is meant"
                );
                self.instead(Fate::Decide, why);
                None
            }
            _ => {
                self.bad(statement, message, taken);
                None
            }
        }
    }

    /// The first value as seconds, in milliseconds, no longer than a day; what is shorter than one becomes
    /// one.
    pub(super) fn millis(
        &mut self,
        statement: &Statement,
        range: RangeInclusive<u64>,
        taken: &str,
    ) -> Option<u32> {
        let micros = self.micros(statement, range, taken)?;
        Some(self.whole_millis(micros))
    }

    pub(super) fn whole_millis(&mut self, micros: u64) -> u32 {
        let millis = micros.div_ceil(1000);
        if millis * 1000 != micros {
            self.instead(Fate::Changed, "times are multiples of 1 ms: rounded up");
        }
        match u32::try_from(millis).ok().filter(|millis| *millis <= Span::MAX_MILLIS) {
            Some(millis) => millis,
            None => {
                self.instead(Fate::Changed, "longer than a day, which is the longest time: a day was taken");
                Span::MAX_MILLIS
            }
        }
    }

    /// The first value as whole seconds, in milliseconds, no longer than a day.
    pub(super) fn seconds(&mut self, statement: &Statement, range: RangeInclusive<i64>) -> Option<u32> {
        let seconds = self.loose(statement, range)?;
        Some(self.whole_millis(u64::try_from(seconds).unwrap_or_default().saturating_mul(1_000_000)))
    }

    /// The first value as a switch; without one it is on. `None`: keepalived ignores the line.
    pub(super) fn switch(&mut self, statement: &Statement) -> Option<bool> {
        match statement.value() {
            None | Some("on" | "true" | "yes") => Some(true),
            Some("off" | "false" | "no") => Some(false),
            Some(other) => {
                let message = format!("`{}` is on or off, not `{}`", statement.keyword(), shorten(other));
                self.bad(statement, message, "keepalived ignores the line");
                None
            }
        }
    }

    /// A keyword that has no value: keepalived takes it for on, whatever stands after it.
    pub(super) fn always_on(&mut self, statement: &Statement) -> bool {
        if let Some("off" | "false" | "no" | "0") = statement.value() {
            let message = format!("`{}` has no value", statement.keyword());
            self.bad(statement, message, "keepalived takes it for on");
        }
        true
    }

    /// The first value as an address.
    pub(super) fn address(&mut self, statement: &Statement) -> Option<IpAddr> {
        let Some(text) = statement.value() else {
            self.lacks_value(statement);
            return None;
        };
        let address = ip::plain(text);
        if address.is_none() {
            self.bad(statement, format!("`{}` is no IP address", shorten(text)), "keepalived ignores it");
        }
        address
    }

    pub(super) fn word(&mut self, statement: &Statement) -> Option<String> {
        let word = statement.value().map(ToOwned::to_owned);
        if word.is_none() {
            self.lacks_value(statement);
        }
        word
    }
}

/// Reading of a number by keepalived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Nothing else may stand in the word.
    Exact,
    /// Text after the digits is warned of and dropped.
    Loose,
}

/// Any time: what keepalived bounds only by its own arithmetic.
pub(super) const ANY_TIME: RangeInclusive<u64> = 0..=u64::MAX - 1;

/// The same, but no time at all.
pub(super) const SOME_TIME: RangeInclusive<u64> = 1..=u64::MAX - 1;

/// Longest `connect_timeout` of keepalived, in microseconds.
pub(super) const CONNECT_TIME: RangeInclusive<u64> = 1..=u32::MAX as u64;

/// Whole seconds that keepalived counts in microseconds in 32 bits.
pub(super) const MICROS_IN_U32: RangeInclusive<i64> = 0..=4294;

/// A time as the cluster file writes it.
pub(super) fn span(millis: u32) -> Value {
    let text = format!("{millis}ms");
    text.parse::<Span>().map_or(Value::String(text), |span| Value::String(span.to_string()))
}

/// The number that a word begins with, as C reads it, and whether it is the whole word. No word is 0.
pub(super) fn leading_number(text: &str) -> (Option<i64>, bool) {
    let text = text.trim_start_matches(words::is_blank);
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|char: char| !char.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 {
        return (Some(0), text.is_empty());
    }
    (digits[..end].parse::<i64>().ok().map(|number| sign * number), end == digits.len())
}

/// A decimal number of seconds, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decimal {
    Exact(u64),
    /// A number with more than six decimals.
    Rounded(u64),
    /// Something that is no digit follows; the number before it, which is not scaled.
    Followed(u64),
    /// None, or one that is too large.
    None,
}

fn decimal(text: &str) -> Decimal {
    const PLACES: usize = 6;
    if text.starts_with('-') {
        return Decimal::None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let up = fraction.as_bytes().get(PLACES).is_some_and(|digit| *digit >= b'5');
    let rounded = fraction.len() > PLACES;
    let kept: String = fraction.chars().take(PLACES).collect();
    let digits = format!("{whole}{kept}");
    let end = digits.find(|char: char| !char.is_ascii_digit()).unwrap_or(digits.len());
    if end < digits.len() {
        return digits[..end].parse().map_or(Decimal::None, Decimal::Followed);
    }
    let number = match digits.as_str() {
        "" => Ok(0),
        digits => digits.parse::<u64>(),
    };
    let scale = (kept.len()..PLACES).try_fold(1_u64, |scale, _| scale.checked_mul(10));
    match number.ok().zip(scale).and_then(|(number, scale)| number.checked_mul(scale)) {
        Some(number) if rounded => Decimal::Rounded(number + u64::from(up)),
        Some(number) => Decimal::Exact(number),
        None => Decimal::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_seconds_are_microseconds() {
        for (text, value) in [
            ("1", Decimal::Exact(1_000_000)),
            ("0.5", Decimal::Exact(500_000)),
            (".25", Decimal::Exact(250_000)),
            ("3.", Decimal::Exact(3_000_000)),
            ("", Decimal::Exact(0)),
            ("0.0000001", Decimal::Rounded(0)),
            ("0.0000005", Decimal::Rounded(1)),
            ("-1", Decimal::None),
            ("1s", Decimal::Followed(1)),
            ("2.5.5", Decimal::Followed(25)),
            ("1e3", Decimal::Followed(1)),
            ("99999999999999999", Decimal::None),
        ] {
            assert_eq!(decimal(text), value, "{text}");
        }
    }

    #[test]
    fn numbers_are_read_as_in_c() {
        for (text, number) in [
            ("5", (Some(5), true)),
            (" +5", (Some(5), true)),
            ("-5", (Some(-5), true)),
            ("5x", (Some(5), false)),
            ("", (Some(0), true)),
            ("x", (Some(0), false)),
            ("24;", (Some(24), false)),
            ("99999999999999999999", (None, true)),
        ] {
            assert_eq!(leading_number(text), number, "{text}");
        }
    }
}
