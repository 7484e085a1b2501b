//! The file of allowed signers (ALLOWED SIGNERS in ssh-keygen(1)), reduced to the keys that are allowed now.
//! Pure.
//!
//! git judges the lifetime of a key at the commit's own date, which the committer chooses: whoever has an
//! old key could date a commit back. So lines out of their time are left out, and lifetimes are taken from
//! the others. A certificate has a lifetime of its own, which only ssh-keygen sees: `cert-authority` is not
//! taken.

use std::fmt;

/// Keys that are allowed now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InForce {
    /// The file for git, without lifetimes; empty when nobody is allowed.
    pub(crate) text: String,
    /// Lines that are left out, by number from 1.
    pub(crate) left_out: Vec<(usize, LeftOut)>,
}

/// Reason why a line is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// `valid-before` is over.
    Expired,
    /// `valid-after` is to come.
    NotYet,
    /// `cert-authority`.
    Authority,
    /// The line cannot be parsed, or has an option that is not known here.
    NotUnderstood,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "its time is over",
            Self::NotYet => "its time has not come",
            Self::Authority => "cert-authority is not supported",
            Self::NotUnderstood => "it cannot be understood",
        })
    }
}

/// A calendar time: year, month, day, hour, minute, second.
pub(crate) type Calendar = [i64; 6];

/// Keeps the lines that are in force at `now` (seconds since 1970). `local` converts a calendar time of this
/// host's time zone.
pub(crate) fn in_force(text: &str, now: i64, local: &dyn Fn(Calendar) -> Option<i64>) -> InForce {
    let mut found = InForce::default();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match one(line, now, local) {
            Ok(line) => {
                found.text += &line;
                found.text.push('\n');
            }
            Err(why) => found.left_out.push((number, why)),
        }
    }
    found
}

/// A line without its lifetime.
fn one(line: &str, now: i64, local: &dyn Fn(Calendar) -> Option<i64>) -> Result<String, LeftOut> {
    let (principals, rest) = word(line).ok_or(LeftOut::NotUnderstood)?;
    let (second, after) = word(rest).ok_or(LeftOut::NotUnderstood)?;
    let (options, key) = if is_key_type(second) { ("", rest) } else { (second, after) };
    let (kind, _) = word(key).ok_or(LeftOut::NotUnderstood)?;
    if principals.chars().any(char::is_control) || key.chars().any(|c| c.is_control() && c != '\t') {
        return Err(LeftOut::NotUnderstood);
    }
    if !is_key_type(kind) {
        return Err(LeftOut::NotUnderstood);
    }
    let mut kept = Vec::new();
    for option in split(options) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = value.trim_matches('"');
        match name.to_ascii_lowercase().as_str() {
            "namespaces" => kept.push(option),
            "cert-authority" => return Err(LeftOut::Authority),
            "valid-after" if time(value, local).ok_or(LeftOut::NotUnderstood)? > now => {
                return Err(LeftOut::NotYet);
            }
            "valid-before" if time(value, local).ok_or(LeftOut::NotUnderstood)? <= now => {
                return Err(LeftOut::Expired);
            }
            "valid-after" | "valid-before" => {}
            _ => return Err(LeftOut::NotUnderstood),
        }
    }
    let options = if kept.is_empty() { String::new() } else { format!("{} ", kept.join(",")) };
    Ok(format!("{principals} {options}{key}"))
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"].iter().any(|kind| word.starts_with(kind))
}

/// The first word, in which blanks may be quoted, and the rest.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t']);
    let mut quoted = false;
    let end = text.find(|c| {
        quoted ^= c == '"';
        !quoted && (c == ' ' || c == '\t')
    });
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    (!word.is_empty() && !quoted).then_some((word, rest.trim_start_matches([' ', '\t'])))
}

/// Options between commas that are not quoted.
fn split(options: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let parts = options.split(move |c| {
        quoted ^= c == '"';
        !quoted && c == ','
    });
    parts.filter(|part| !part.is_empty())
}

/// `YYYYMMDD[HHMM[SS]]`, in UTC with `Z` at its end, else in this host's time zone; seconds since 1970.
fn time(text: &str, local: &dyn Fn(Calendar) -> Option<i64>) -> Option<i64> {
    let (digits, utc) = match text.strip_suffix(['Z', 'z']) {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |part| part.parse().ok());
    let calendar @ [year, month, day, hour, minute, second] =
        [number(0, 4)?, number(4, 6)?, number(6, 8)?, number(8, 10)?, number(10, 12)?, number(12, 14)?];
    if !(1970..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    if utc { Some(seconds(calendar)) } else { local(calendar) }
}

/// Seconds since 1970 of a calendar time in UTC, by the days before a year that begins in March.
fn seconds([year, month, day, hour, minute, second]: Calendar) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    ((days * 24 + hour) * 60 + minute) * 60 + second
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA comment";
    /// 2026-01-01 00:00:00 UTC.
    const NOW: i64 = 1_767_225_600;

    fn east(calendar: Calendar) -> Option<i64> {
        Some(seconds(calendar) - 3600)
    }

    fn judge(line: &str) -> Result<String, LeftOut> {
        let found = in_force(line, NOW, &east);
        match found.left_out.first() {
            Some((_, why)) => Err(*why),
            None => Ok(found.text),
        }
    }

    #[test]
    fn calendar_times_are_seconds() {
        for (calendar, want) in [
            ([1970, 1, 1, 0, 0, 0], 0),
            ([2000, 2, 29, 12, 30, 1], 951_827_401),
            ([2000, 3, 1, 0, 0, 0], 951_868_800),
            ([2026, 1, 1, 0, 0, 0], NOW),
            ([2100, 12, 31, 23, 59, 59], 4_133_980_799),
        ] {
            assert_eq!(seconds(calendar), want, "{calendar:?}");
        }
    }

    #[test]
    fn a_key_is_judged_now_and_its_lifetime_is_taken_from_the_line() {
        let plain = format!("a@example {KEY}\n");
        for options in [
            "",
            "valid-before=\"20260101000001Z\" ",
            "valid-after=\"20260101Z\" ",
            "valid-after=20250101Z,valid-before=\"202601010001Z\" ",
            // One hour east of Greenwich.
            "valid-before=\"202601010101\" ",
        ] {
            assert_eq!(judge(&format!("a@example {options}{KEY}")), Ok(plain.clone()), "{options}");
        }
        let kept = judge(&format!("\"a b\",c namespaces=\"git,file\",valid-before=\"20300101\" {KEY}"));
        assert_eq!(kept, Ok(format!("\"a b\",c namespaces=\"git,file\" {KEY}\n")));
    }

    #[test]
    fn a_line_out_of_its_time_or_with_an_unknown_option_allows_nobody() {
        for (options, why) in [
            ("valid-before=\"20260101Z\" ", LeftOut::Expired),
            ("valid-before=\"202601010100\" ", LeftOut::Expired),
            ("VALID-BEFORE=\"20250101Z\" ", LeftOut::Expired),
            ("valid-after=\"20260101000001Z\" ", LeftOut::NotYet),
            ("valid-after=\"20240101Z\",valid-before=\"20250101Z\" ", LeftOut::Expired),
            ("cert-authority ", LeftOut::Authority),
            ("valid-until=\"20300101\" ", LeftOut::NotUnderstood),
            ("valid-before=\"soon\" ", LeftOut::NotUnderstood),
            ("valid-before ", LeftOut::NotUnderstood),
            ("valid-before=\"20260101 ", LeftOut::NotUnderstood),
            ("namespaces=\"git\" other ", LeftOut::NotUnderstood),
        ] {
            assert_eq!(judge(&format!("a@example {options}{KEY}")), Err(why), "{options}");
        }
        for line in ["a@example", KEY, "x", "a b c"] {
            assert_eq!(judge(line), Err(LeftOut::NotUnderstood), "{line}");
        }
        assert_eq!(in_force("\n# none\n  \n", NOW, &east), InForce::default());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_no_lifetime_is_left(
            options in
                "(valid-(before|after)=\"?[0-9Z]{0,15}\"?,?|namespaces=\"git\",?|[a-z=,\" ]{0,9}){0,4}",
            text in "[a-z@,=\" \tZ0-9\n-]{0,99}",
        ) {
            for text in [text, format!("a {options} {KEY}")] {
                let found = in_force(&text, NOW, &east);
                for then in [0, i64::MAX] {
                    let again = in_force(&found.text, then, &|_| None);
                    proptest::prop_assert_eq!(&again.text, &found.text);
                }
            }
        }
    }
}
