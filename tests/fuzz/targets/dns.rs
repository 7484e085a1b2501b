//! Any bytes as the answer of a name server: judged without panic, and only an answer to
//! this question is one.
#![no_main]

use evenkeel_health::ask::dns::{DnsQuery, DnsReply};
use evenkeel_schemas::plan::DnsRecord;

/// Length of a header.
const HEADER: usize = 12;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(query) = DnsQuery::new("www.example.com", DnsRecord::A, 0x1234) else { return };
    let strange = query.reply(bytes);
    let is_ours = bytes.starts_with(&[0x12, 0x34]);
    assert!(is_ours || matches!(strange, DnsReply::Stray(_)), "{bytes:?}");

    // With the number and the question of ours, or nothing gets past them.
    let mut answer = vec![0x12, 0x34];
    let (header, rest) = bytes.split_at(bytes.len().min(HEADER - 2));
    answer.extend(header);
    answer.resize(HEADER, 0);
    answer[2] |= 0x80;
    answer[4..6].copy_from_slice(&[0, 1]);
    answer.extend(&query.message()[HEADER..]);
    answer.extend(rest);
    if let DnsReply::Answer(Err(fault)) = query.reply(&answer) {
        assert!(fault.reason.len() < 200, "{fault}");
    }
    // A name as a plan may have it.
    if let Ok(name) = std::str::from_utf8(bytes)
        && let Some(query) = DnsQuery::new(name, DnsRecord::Soa, 7)
    {
        assert!(query.message().len() <= HEADER + 255 + 4, "{name:?}");
        assert!(matches!(query.reply(query.message()), DnsReply::Stray(_)), "it is no answer to itself");
    }
});
