//! The end of a certificate's time (X.509, RFC 5280 §4.1.2.5), read by hand, and the words for it.
//!
//! Nothing else of a certificate is read here: whether it is valid is the TLS library's to say.

use std::time::Duration;

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When a certificate ends, after the beginning of 1970; none where it cannot be read, or is before.
#[must_use]
pub fn end(der: &[u8]) -> Option<Duration> {
    let mut certificate = value(&mut { der }, SEQUENCE)?;
    let mut signed = value(&mut certificate, SEQUENCE)?;
    if signed.first() == Some(&VERSION) {
        element(&mut signed)?;
    }
    // Serial number, algorithm and issuer.
    for _ in 0..3 {
        element(&mut signed)?;
    }
    let mut validity = value(&mut signed, SEQUENCE)?;
    element(&mut validity)?;
    let (tag, time) = element(&mut validity)?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let year = number(time.get(..2)?)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, time.get(2..)?)
        }
        GENERALIZED_TIME => (number(time.get(..4)?)?, time.get(4..)?),
        _ => return None,
    };
    let two = |at: usize| number(rest.get(at..at + 2)?);
    let (month, day, hour, minute, second) = (two(0)?, two(2)?, two(4)?, two(6)?, two(8)?);
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    if !in_range || second > 60 || rest.get(10..) != Some(b"Z") {
        return None;
    }
    let seconds = days_before(year, month, day)? * DAY + hour * 3600 + minute * 60 + second;
    Some(Duration::from_secs(seconds))
}

/// Remark on a certificate that ends then; none where that is later than so many days from
/// `now`.
#[must_use]
pub fn remark(end: Duration, now: Duration, within_days: u16) -> Option<String> {
    match end.checked_sub(now) {
        None => Some(expired(now - end)),
        Some(left) if left.as_secs() <= u64::from(within_days) * DAY => {
            Some(format!("certificate expires in {}", span(left)))
        }
        Some(_) => None,
    }
}

/// A certificate that ended so long ago.
#[must_use]
pub fn expired(ago: Duration) -> String {
    format!("certificate expired {} ago", span(ago))
}

/// A time in words, of its largest unit.
#[must_use]
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (number, unit) = match seconds {
        DAY.. => (seconds / DAY, "day"),
        3600.. => (seconds / 3600, "hour"),
        _ => (seconds / 60, "minute"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// The contents of the next element, which has this tag.
fn value<'d>(der: &mut &'d [u8], wanted: u8) -> Option<&'d [u8]> {
    element(der).filter(|(tag, _)| *tag == wanted).map(|(_, contents)| contents)
}

/// The next element: tag and contents.
fn element<'d>(der: &mut &'d [u8]) -> Option<(u8, &'d [u8])> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        // As many bytes of length as a certificate of 16 MiB needs.
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    *der = rest;
    Some((*tag, contents))
}

fn number(digits: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    digits.iter().try_fold(0, |number, byte| Some(number * 10 + digit(byte)?))
}

/// Days from the beginning of 1970 to a day.
fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    const DAYS: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let past = year.checked_sub(1970)?;
    // Leap years before this one, and this one's own day where it is over.
    let leap_years = |year: u64| year / 4 - year / 100 + year / 400;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let leaps = leap_years(year - 1) - leap_years(1969) + u64::from(leap && month > 2);
    let of_month = DAYS.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    Some(past * 365 + leaps + of_month + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of which only what is read is there.
    fn certificate(end: (u8, &str)) -> Vec<u8> {
        let wrap = |tag: u8, contents: &[u8]| {
            let mut der = vec![tag, 0x82];
            der.extend(u16::try_from(contents.len()).expect("short").to_be_bytes());
            der.extend_from_slice(contents);
            der
        };
        let begin = [b"\x17\x0d".as_slice(), b"240101000000Z"].concat();
        let end = [&[end.0, u8::try_from(end.1.len()).expect("short")], end.1.as_bytes()].concat();
        let validity = wrap(SEQUENCE, &[begin, end].concat());
        let signed = [
            b"\xa0\x03\x02\x01\x02".to_vec(),
            b"\x02\x01\x05".to_vec(),
            wrap(SEQUENCE, b""),
            wrap(SEQUENCE, b""),
            validity,
        ];
        wrap(SEQUENCE, &wrap(SEQUENCE, &signed.concat()))
    }

    #[test]
    fn the_end_of_a_certificate_is_read() {
        for (tag, text, seconds) in [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "261130180844Z", 1_796_062_124),
            (UTC_TIME, "240229235959Z", 1_709_251_199),
            (UTC_TIME, "240301000000Z", 1_709_251_200),
            (GENERALIZED_TIME, "20500101000000Z", 2_524_608_000),
            (GENERALIZED_TIME, "21000301000000Z", 4_107_542_400),
            (GENERALIZED_TIME, "99991231235959Z", 253_402_300_799),
        ] {
            assert_eq!(end(&certificate((tag, text))), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "2611301808Z", "261330180844Z", "261130180844", "26113018084xZ", "261130180844+00"] {
            assert_eq!(end(&certificate((UTC_TIME, text))), None, "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_has_no_end() {
        let whole = certificate((UTC_TIME, "261130180844Z"));
        for length in 0..whole.len() {
            assert_eq!(end(&whole[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_remark_names_the_time_that_is_left() {
        let day = |days: u64| Duration::from_secs(days * DAY);
        let now = day(1000);
        assert_eq!(remark(day(1015), now, 14), None);
        assert_eq!(remark(day(1014), now, 14).as_deref(), Some("certificate expires in 14 days"));
        assert_eq!(remark(day(1001), now, 14).as_deref(), Some("certificate expires in 1 day"));
        let soon = now + Duration::from_secs(7300);
        assert_eq!(remark(soon, now, 14).as_deref(), Some("certificate expires in 2 hours"));
        assert_eq!(remark(day(997), now, 0).as_deref(), Some("certificate expired 3 days ago"));
    }
}
