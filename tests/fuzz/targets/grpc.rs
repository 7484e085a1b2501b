//! Any bytes as an answer of gRPC's health service, and as a certificate: no panic, and what we write
//! ourselves is understood.
#![no_main]

use evenkeel_health::ask::certificate;
use evenkeel_health::ask::grpc::{GrpcAnswer, judge, request};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    assert!(certificate::end(bytes).is_none() || bytes.len() > 30);
    let (status, body) = bytes.split_at(bytes.len().min(2));
    for status in [None, Some(b"0".as_slice()), Some(status)] {
        let said = judge("x", GrpcAnswer { http: 200, status, message: Some(body), body });
        assert!(said.is_err() || (status == Some(b"0") && body.contains(&1)));
    }
    // A request is a message, of a service and no status: field 1 is no number there.
    let service = String::from_utf8_lossy(bytes);
    let asked = request(&service);
    assert!(asked.len() >= 5 + service.len());
    let echoed = GrpcAnswer { http: 200, status: Some(b"0"), message: None, body: &asked };
    assert!(judge("", echoed).is_err());
});
