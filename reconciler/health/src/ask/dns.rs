//! A question to a name server and its answer (RFC 1035), one datagram each.
//!
//! Success is an answer to this question with NOERROR, also one without records, as keepalived has
//! it: a name that has none of the type is the author's affair. An answer that was cut (TC) is one; it is not
//! asked for again by TCP. Answer records are walked through, and nothing in them is followed.

use evenkeel_schemas::plan::DnsRecord;
use evenkeel_schemas::status::FaultLabel;

use crate::fault::{Fault, Says};

/// Length of a header.
const HEADER: usize = 12;
/// Longest part of a name.
const LABEL_MAX: usize = 63;
/// Longest name, with the lengths of its parts.
const NAME_MAX: usize = 255;
/// Class IN.
const CLASS: u16 = 1;
/// "Recursion desired".
const RD: u16 = 0x0100;
/// "This is an answer".
const QR: u16 = 0x8000;
/// "Cut".
const TC: u16 = 0x0200;
/// The kind of query.
const OPCODE: u16 = 0x7800;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsQuery {
    message: Vec<u8>,
    id: u16,
}

/// Relation of a datagram to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsReply {
    /// The answer, and what it means.
    Answer(Result<Says, Fault>),
    /// Not the answer, and why: a better one may come.
    Stray(&'static str),
}

impl DnsQuery {
    /// A question for a name. `id` is chosen by chance: whoever does not see the question cannot answer it.
    /// None for a name that cannot be asked for.
    #[must_use]
    pub fn new(name: &str, record: DnsRecord, id: u16) -> Option<Self> {
        let mut message = Vec::with_capacity(HEADER + name.len() + 6);
        for word in [id, RD, 1, 0, 0, 0] {
            message.extend(word.to_be_bytes());
        }
        for label in name.strip_suffix('.').unwrap_or(name).split('.').filter(|_| name != ".") {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
            message.push(length);
            message.extend(label.as_bytes());
        }
        message.push(0);
        if message.len() - HEADER > NAME_MAX {
            return None;
        }
        for word in [number(record), CLASS] {
            message.extend(word.to_be_bytes());
        }
        Some(Self { message, id })
    }

    /// The datagram to send.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Judges a datagram from the server.
    #[must_use]
    pub fn reply(&self, datagram: &[u8]) -> DnsReply {
        let Some(header) = Header::read(datagram) else {
            return DnsReply::Stray("too short for one");
        };
        if header.id != self.id {
            return DnsReply::Stray("with the number of another question");
        }
        if header.flags & QR == 0 {
            return DnsReply::Stray("with a question instead");
        }
        if header.flags & OPCODE != 0 {
            return DnsReply::Stray("to another kind of query");
        }
        let code = header.flags & 0xf;
        // Errors may come without the question (RFC 1035 is silent on it, and servers differ).
        let at =
            if header.questions == 0 && code != 0 { Some(HEADER) } else { self.question(datagram, &header) };
        let Some(at) = at else {
            return DnsReply::Stray("to another question");
        };
        DnsReply::Answer(match code {
            0 => records(datagram, at, &header).map(|()| Says::default()),
            _ => Err(Fault::new(FaultLabel::Status, format!("name server answered {}", code_words(code)))),
        })
    }

    /// Where the question of an answer ends; none when it is not this one. The case of letters may be
    /// another.
    fn question(&self, datagram: &[u8], header: &Header) -> Option<usize> {
        let asked = self.message.get(HEADER..)?;
        let end = HEADER + asked.len();
        let same = header.questions == 1 && datagram.get(HEADER..end)?.eq_ignore_ascii_case(asked);
        same.then_some(end)
    }
}

struct Header {
    id: u16,
    flags: u16,
    questions: u16,
    answers: u16,
}

impl Header {
    fn read(datagram: &[u8]) -> Option<Self> {
        datagram.get(..HEADER)?;
        let word = |at: usize| word(datagram, at);
        Some(Self { id: word(0)?, flags: word(2)?, questions: word(4)?, answers: word(6)? })
    }
}

/// Walks through the answer records. Those of an answer that was cut may end early.
fn records(datagram: &[u8], mut at: usize, header: &Header) -> Result<(), Fault> {
    if header.flags & TC != 0 {
        return Ok(());
    }
    for one in 1..=header.answers {
        at = record_end(datagram, at).ok_or_else(|| {
            let reason =
                format!("answer of the name server breaks off in record {one} of {}", header.answers);
            Fault::new(FaultLabel::Answer, reason)
        })?;
    }
    Ok(())
}

fn record_end(datagram: &[u8], at: usize) -> Option<usize> {
    // Type, class and time to live.
    let at = name_end(datagram, at)? + 8;
    let end = at + 2 + usize::from(word(datagram, at)?);
    (end <= datagram.len()).then_some(end)
}

/// Where a name ends. A pointer ends it, and is not followed: there are no loops.
fn name_end(datagram: &[u8], begin: usize) -> Option<usize> {
    let mut at = begin;
    while at - begin < NAME_MAX {
        match usize::from(*datagram.get(at)?) {
            0 => return Some(at + 1),
            label @ 1..=LABEL_MAX => at += 1 + label,
            0xc0..=0xff => return datagram.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
    }
    None
}

fn word(datagram: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(datagram.get(at..at + 2)?.try_into().ok()?))
}

/// Number of a type of record (RFC 1035 §3.2.2, RFC 3596).
const fn number(record: DnsRecord) -> u16 {
    match record {
        DnsRecord::A => 1,
        DnsRecord::Ns => 2,
        DnsRecord::Cname => 5,
        DnsRecord::Soa => 6,
        DnsRecord::Mx => 15,
        DnsRecord::Txt => 16,
        DnsRecord::Aaaa => 28,
    }
}

/// Words of a response code (RFC 1035 §4.1.1).
fn code_words(code: u16) -> String {
    match code {
        1 => "FORMERR, it does not understand the question".to_owned(),
        2 => "SERVFAIL".to_owned(),
        3 => "NXDOMAIN".to_owned(),
        4 => "NOTIMP, it does not do that".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("response code {other}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query() -> DnsQuery {
        DnsQuery::new("www.example.com", DnsRecord::A, 0x1234).expect("a name")
    }

    /// An answer to it with these flags and counts, and this after the question.
    fn answer(flags: u16, counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        for word in [0x1234, flags].into_iter().chain(counts) {
            message.extend(word.to_be_bytes());
        }
        if counts[0] > 0 {
            message.extend(&query().message()[HEADER..]);
        }
        message.extend(rest);
        message
    }

    /// `www.example.com A 192.0.2.1`, its name a pointer to the question.
    const RECORD: &[u8] = &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];

    fn words(reply: DnsReply) -> String {
        match reply {
            DnsReply::Answer(Ok(_)) => "well".to_owned(),
            DnsReply::Answer(Err(fault)) => format!("{}: {fault}", fault.label),
            DnsReply::Stray(why) => format!("stray: {why}"),
        }
    }

    #[test]
    fn a_question_is_as_the_rfc_has_it() {
        let asked = query();
        let head = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(asked.message(), [&head[..], b"\x03www\x07example\x03com\0\0\x01\0\x01"].concat());
        let root = DnsQuery::new(".", DnsRecord::Soa, 0).expect("the root");
        assert_eq!(root.message()[HEADER..], [0, 0, 6, 0, 1]);
        let dot = DnsQuery::new("a.b.", DnsRecord::Aaaa, 0).expect("a name");
        assert_eq!(dot.message()[HEADER..], *b"\x01a\x01b\0\0\x1c\0\x01");
        let long = vec!["a".repeat(63); 4].join(".");
        for none in ["", "..", "a..b", &"a".repeat(64), &long] {
            assert_eq!(DnsQuery::new(none, DnsRecord::A, 0), None, "{none}");
        }
    }

    #[test]
    fn an_answer_is_told_from_what_is_none() {
        let record = |rest: &[u8]| answer(0x8180, [1, 1, 0, 0], rest);
        let of = |name: &[u8]| [name, &RECORD[2..]].concat();
        for (datagram, said) in [
            (record(RECORD), "well"),
            (answer(0x8180, [1, 0, 0, 0], &[]), "well"),
            (answer(0x8180, [1, 0, 9, 9], &[]), "well"),
            (answer(0x8380, [1, 9, 0, 0], &[0xc0]), "well"),
            (record(&of(b"\x03www\xc0\x14")), "well"),
            (record(&of(b"\xc0\x1d")), "well"),
            (answer(0x8183, [1, 0, 0, 0], &[]), "status: name server answered NXDOMAIN"),
            (answer(0x8182, [1, 0, 0, 0], &[]), "status: name server answered SERVFAIL"),
            (answer(0x8185, [0, 0, 0, 0], &[]), "status: name server answered REFUSED"),
            (answer(0x818b, [1, 0, 0, 0], &[]), "status: name server answered response code 11"),
            (answer(0x8180, [0, 0, 0, 0], &[]), "stray: to another question"),
            (answer(0x0100, [1, 0, 0, 0], &[]), "stray: with a question instead"),
            (answer(0xa000, [1, 0, 0, 0], &[]), "stray: to another kind of query"),
            (Vec::new(), "stray: too short for one"),
            (vec![0; 11], "stray: too short for one"),
            (record(&[]), "answer: answer of the name server breaks off in record 1 of 1"),
            (record(&RECORD[..15]), "answer: answer of the name server breaks off in record 1 of 1"),
            (record(&of(b"\x40")), "answer: answer of the name server breaks off in record 1 of 1"),
            (record(&of(b"\x03www")), "answer: answer of the name server breaks off in record 1 of 1"),
            (
                answer(0x8180, [1, 0xffff, 0, 0], RECORD),
                "answer: answer of the name server breaks off in record 2 of 65535",
            ),
        ] {
            assert_eq!(words(query().reply(&datagram)), said, "{datagram:x?}");
        }
        let mut other = record(RECORD);
        other[1] ^= 1;
        assert_eq!(words(query().reply(&other)), "stray: with the number of another question");
        let mut other = record(RECORD);
        other[HEADER + 1] = b'x';
        assert_eq!(words(query().reply(&other)), "stray: to another question");
        let mut other = record(RECORD);
        other[HEADER + 1] = b'W';
        assert_eq!(words(query().reply(&other)), "well", "the case of letters says nothing");
    }

    proptest! {
        #[test]
        fn any_datagram_is_taken_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..600), ours: bool,
        ) {
            let mut bytes = bytes;
            if ours && bytes.len() >= HEADER {
                bytes[..4].copy_from_slice(&[0x12, 0x34, 0x81, 0x80]);
                bytes.splice(12..12, query().message()[HEADER..].iter().copied()).count();
            }
            let _ = query().reply(&bytes);
        }

        /// Only a whole answer to this question is one: any other bit in the question makes it a stray.
        #[test]
        fn no_other_question_is_answered(at in 0..33_usize, bit in 0..8_u8) {
            let mut datagram = answer(0x8180, [1, 0, 0, 0], &[]);
            // Neither counts of records nor flags are of the question, and the case of letters says nothing.
            prop_assume!(!(2..HEADER).contains(&at) && bit != 5);
            datagram[at] ^= 1 << bit;
            prop_assert!(matches!(query().reply(&datagram), DnsReply::Stray(_)));
        }
    }
}
