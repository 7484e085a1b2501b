//! Which received packets count: the checks of RFC 9568 §7.1 and RFC 3768 §7.1.
//!
//! A function of configuration, packet and the marks of its senders. It changes nothing and sees no timer, so
//! what it rejects can touch neither.

use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::scalars::AdvertInterval;

use super::config::Config;
use super::io::Received;
use super::signing::{Signing, Verified};
use crate::packet::{Advert, decode_frame, split};
use crate::rejection::Rejection;
use crate::wire::{Auth, Version};

/// The advertisement in `received`, when it is whole, from this segment (or near enough, by unicast), of
/// our virtual router, and from who has a key, where that is needed. With it the trailer that was right at
/// Unix time `unix`.
pub(super) fn read(
    config: &Config,
    signing: &Signing,
    received: &Received<'_>,
    unix: Duration,
) -> Result<(Advert, Option<Verified>), Rejection> {
    let Received { payload, src, dst, ttl } = *received;
    let least = config.least_ttl(dst);
    if ttl < least {
        return Err(Rejection::Ttl { received: ttl, least });
    }
    if src.is_ipv4() != config.source.is_ipv4() {
        return Err(Rejection::Family);
    }
    let frame = split(payload, src, config.hmac.is_some())?;
    let verified = match &config.hmac {
        Some(hmac) => signing.examine(config, hmac, &frame, src, unix)?,
        None => None,
    };
    let advert = decode_frame(&frame, src, dst)?;
    if advert.vrid != config.vrid {
        return Err(Rejection::Vrid { received: advert.vrid.get() });
    }
    Ok((advert, verified))
}

/// Interval of an advertisement from `src` that was [`read`].
///
/// Ours: an owner (priority 255) does not discard everything, so that two owners by mistake end up with one
/// Master, as they do in keepalived: the one with the higher address.
///
/// # Errors
///
/// The reason why the advertisement takes no part in the election.
pub(super) fn admit(config: &Config, advert: &Advert, src: IpAddr) -> Result<AdvertInterval, Rejection> {
    if advert.version != config.version {
        return Err(Rejection::Version { received: advert.version.number() });
    }
    if src == config.source {
        return Err(Rejection::OwnAddress);
    }
    if !config.knows(src) {
        return Err(Rejection::UnknownPeer);
    }
    check_auth(advert.auth, config.wire_auth())?;
    check_interval(advert, config)
}

/// RFC 3768 §7.1 and RFC 2338 §7.1: type and password MUST be ours.
fn check_auth(theirs: Auth, ours: Auth) -> Result<(), Rejection> {
    match (theirs, ours) {
        (Auth::None, Auth::None) => Ok(()),
        (Auth::Pass(theirs), Auth::Pass(ours)) if theirs == ours => Ok(()),
        (Auth::Pass(_), Auth::Pass(_)) => Err(Rejection::AuthSecret),
        (Auth::None, Auth::Pass(_)) | (Auth::Pass(_), Auth::None) => {
            Err(Rejection::AuthType { received: theirs.wire_type() })
        }
    }
}

/// RFC 3768 §7.1: a version 2 interval MUST be ours. Version 3 has no such check, but nothing can be
/// derived from zero.
fn check_interval(advert: &Advert, config: &Config) -> Result<AdvertInterval, Rejection> {
    let expected = config.wire_interval();
    let received = advert.interval;
    if received.as_centis() == 0 {
        return Err(Rejection::IntervalZero);
    }
    let mismatch = Rejection::Interval { received, expected };
    match advert.version {
        Version::V2 if received != expected => Err(mismatch),
        Version::V2 | Version::V3 => received.to_interval().ok_or(mismatch),
    }
}
