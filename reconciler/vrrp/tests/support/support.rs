//! What several test files need: a configuration to vary, adverts of others, outputs as text.
//!
//! No expectation lives here.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::scalars::{AdvertInterval, Priority, Vrid};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Advert, Auth, Checksum, Config, Delivery, GROUP_V4, Input, Output, Received, Secret, TTL, Version,
    VirtualRouter, WireInterval, encode,
};

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

pub(crate) fn ips(text: &[&str]) -> Vec<IpAddr> {
    text.iter().map(|text| ip(text)).collect()
}

pub(crate) fn vrid(number: u8) -> Vrid {
    Vrid::new(number).expect("VRID")
}

pub(crate) fn priority(number: u8) -> Priority {
    Priority::new(number).expect("priority")
}

pub(crate) fn centis(number: u16) -> AdvertInterval {
    AdvertInterval::from_centis(number).expect("interval")
}

pub(crate) fn at(millis: u64) -> MonoTime {
    MonoTime::from_millis(millis)
}

/// Version 2, VRID 51, priority 100, 1 s, PASS, 10.9.0.2, one VIP.
pub(crate) fn config() -> Config {
    Config {
        version: Version::V2,
        vrid: vrid(51),
        priority: priority(100),
        interval: AdvertInterval::ONE_SECOND,
        preempt: true,
        preempt_delay: Duration::ZERO,
        unready: false,
        delivery: Delivery::Multicast,
        auth: Some(Secret::from_text("hell>com")),
        source: ip("10.9.0.2"),
        vips: ips(&["10.9.0.100"]),
        garp_repeat: 5,
        garp_delay: Duration::from_secs(5),
        garp_refresh: None,
        directors: None,
        checksum: Checksum::WithPseudoHeader,
        hmac: None,
    }
}

/// The same in version 3, which has no password.
pub(crate) fn config_v3() -> Config {
    Config { version: Version::V3, auth: None, ..config() }
}

/// Advertisement of a router with this configuration, but with `priority`, which may be 0.
pub(crate) fn advert(config: &Config, priority: u8) -> Advert {
    Advert {
        version: config.version,
        vrid: config.vrid,
        priority,
        interval: WireInterval::from(config.effective_interval()),
        auth: match (config.version, config.auth) {
            (Version::V2, Some(secret)) => Auth::Pass(secret),
            (Version::V2, None) | (Version::V3, _) => Auth::None,
        },
        addresses: config.vips.clone(),
    }
}

pub(crate) fn bytes(advert: &Advert, src: IpAddr) -> Vec<u8> {
    let mut out = Vec::new();
    encode(advert, src, GROUP_V4.into(), Checksum::WithPseudoHeader, &mut out);
    out
}

pub(crate) fn received(payload: &[u8], src: IpAddr) -> Received<'_> {
    Received { payload, src, dst: GROUP_V4.into(), ttl: TTL }
}

/// Hands `advert` from `src` to the router.
pub(crate) fn hear(router: &mut VirtualRouter, advert: &Advert, src: IpAddr, now: MonoTime) {
    let payload = bytes(advert, src);
    router.handle(Input::Packet(received(&payload, src)), now);
}

pub(crate) fn drain(router: &mut VirtualRouter) -> Vec<Output> {
    std::iter::from_fn(|| router.poll_output()).collect()
}

/// Outputs as one line: `advert Claim, Master, announce 5`.
pub(crate) fn line(outputs: &[Output]) -> String {
    let texts: Vec<String> = outputs
        .iter()
        .map(|output| match output {
            Output::Transmit { kind, .. } => format!("advert {kind:?}"),
            Output::StateChanged { to, .. } => to.to_string(),
            Output::Announce { repeat } => format!("announce {repeat}"),
            Output::Event(event) => format!("event {:?}", event.notice.kind()),
        })
        .collect();
    if texts.is_empty() { "nothing".to_owned() } else { texts.join(", ") }
}
