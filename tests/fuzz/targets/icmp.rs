//! Any bytes as the reply to an echo request: taken without panic, and none without the bytes of chance that
//! the request has.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use evenkeel_health::ask::icmp::EchoRequest;

const NONCE: [u8; 16] = *b"\x91\x1f\x07\xd3\x6a\x55\xf0\xee\x13\x37\x80\xa5\x42\xc9\x3b\x6d";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let targets = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    for (target, kind) in targets.into_iter().zip([0, 129]) {
        let request = EchoRequest::new(target, 7, NONCE);
        if request.is_answered_by(bytes) {
            assert!(bytes.ends_with(&NONCE), "{bytes:?}");
        }
        // Its own reply, behind whatever header of IP these bytes are.
        let mut reply = request.message().to_vec();
        reply[0] = kind;
        assert!(request.is_answered_by(&reply));
        // Only that it does not panic: whether it is an answer depends on that header.
        let _ = request.is_answered_by(&[bytes, &reply].concat());
    }
});
