//! Memory of a router with HMAC: the last sequence that it sent, and the last of each sender that it heard.
//!
//! A mark moves only by an advertisement whose HMAC is right, and there are only so many of them. What a
//! trailer is, is `trailer`'s; what an advertisement means, `hear`'s.

use std::net::IpAddr;
use std::time::Duration;

use super::config::{Config, Delivery};
use crate::packet::Frame;
use crate::rejection::Rejection;
use crate::trailer::{AntiReplay, Hmac, HmacMode, Sequence, TRAILER_BYTES, verify};

/// Senders by multicast that are remembered beside the directors of the plan. Only who has a key gets here.
const SENDERS: usize = 8;

/// A sequence that a sender has reached.
#[derive(Debug, Clone, Copy)]
struct Mark {
    source: IpAddr,
    sequence: Sequence,
    /// Time of use, as a number that grows by one each time.
    used: u64,
}

/// Clock of another director beside ours, by its last advertisement with a right HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// The director.
    pub source: IpAddr,
    /// Milliseconds by which its clock is behind ours; negative when it is ahead.
    pub millis: i64,
    /// Seconds beyond which its advertisements are rejected; none with `monotonic`.
    pub window: Option<u16>,
}

impl Skew {
    /// Whether half of the window is used up.
    #[must_use]
    pub fn is_wide(&self) -> bool {
        self.window.is_some_and(|window| self.millis.unsigned_abs() * 2 >= u64::from(window) * 1000)
    }
}

/// A trailer that is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verified {
    sequence: Sequence,
    pub(super) skew: Skew,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Signing {
    sent: Option<Sequence>,
    marks: Vec<Mark>,
    uses: u64,
    skew: Option<Skew>,
}

impl Signing {
    /// The trailer of an advertisement at Unix time `unix`; none where none is sent.
    pub(super) fn sign(
        &mut self,
        config: &Config,
        message: &[u8],
        unix: Duration,
    ) -> Option<[u8; TRAILER_BYTES]> {
        let hmac = config.hmac.as_ref().filter(|hmac| hmac.sends())?;
        let key = hmac.keys.get(&hmac.active)?;
        let sequence = Sequence::next(self.sent, unix, hmac.anti_replay);
        self.sent = Some(sequence);
        Some(key.trailer(hmac.active, sequence, config.source, message))
    }

    /// Examines a packet from `src` at Unix time `unix` before anything else of it counts. Changes nothing.
    /// None: it has no trailer, and needs none.
    ///
    /// # Errors
    /// The reason why it does not count.
    pub(super) fn examine(
        &self,
        config: &Config,
        hmac: &Hmac,
        frame: &Frame<'_>,
        src: IpAddr,
        unix: Duration,
    ) -> Result<Option<Verified>, Rejection> {
        if src == config.source {
            return Err(Rejection::OwnAddress);
        }
        if !config.knows(src) {
            return Err(Rejection::UnknownPeer);
        }
        let Some(trailer) = frame.trailer else {
            return match hmac.mode {
                HmacMode::Enforce => Err(Rejection::HmacMissing),
                HmacMode::ReceiveOnly | HmacMode::Permissive => Ok(None),
            };
        };
        let sequence = verify(hmac, frame.message, trailer, src, unix)?;
        let mark = self.marks.iter().find(|mark| mark.source == src);
        // A mark outside the window only orders packets that the window rejects: its sender's clock was set.
        let holds = |mark: &&Mark| match hmac.anti_replay {
            AntiReplay::Time { window } => {
                mark.sequence.seconds_before(unix).unsigned_abs() <= u32::from(window)
            }
            AntiReplay::Monotonic => true,
        };
        if mark.filter(holds).is_some_and(|mark| !sequence.is_after(mark.sequence)) {
            return Err(Rejection::HmacReplay);
        }
        let window = match hmac.anti_replay {
            AntiReplay::Time { window } => Some(window),
            AntiReplay::Monotonic => None,
        };
        let skew = Skew { source: src, millis: sequence.millis_before(unix), window };
        Ok(Some(Verified { sequence, skew }))
    }

    /// Moves the mark of a sender whose packet was examined and is whole.
    pub(super) fn accept(&mut self, config: &Config, verified: Verified) {
        let Verified { sequence, skew } = verified;
        self.skew = Some(skew);
        self.uses += 1;
        let used = self.uses;
        if let Some(mark) = self.marks.iter_mut().find(|mark| mark.source == skew.source) {
            (mark.sequence, mark.used) = (sequence, used);
            return;
        }
        let most = most_marks(config);
        while self.marks.len() >= most
            && let Some(oldest) = (0..self.marks.len()).min_by_key(|index| self.marks[*index].used)
        {
            self.marks.swap_remove(oldest);
        }
        self.marks.push(Mark { source: skew.source, sequence, used });
    }

    /// Another configuration is in force. Marks stay, or a change would open the door to recorded packets.
    pub(super) fn reconfigured(&mut self, config: &Config) {
        if config.hmac.is_none() {
            *self = Self::default();
        }
    }

    /// The clock of the director that was heard last, beside ours.
    pub(super) const fn skew(&self) -> Option<Skew> {
        self.skew
    }
}

/// Most marks: one for each peer by unicast, whose packets alone get here.
fn most_marks(config: &Config) -> usize {
    match &config.delivery {
        Delivery::Unicast { peers, .. } => peers.len().max(1),
        Delivery::Multicast => {
            let directors = config.directors.as_ref();
            SENDERS + directors.map_or(0, |directors| directors.addresses.len() + directors.unnamed)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::wire::{Checksum, Version};
    use evenkeel_schemas::scalars::{AdvertInterval, Priority, Vrid};

    fn config() -> Config {
        Config {
            version: Version::V3,
            vrid: Vrid::new(51).expect("VRID"),
            priority: Priority::new(100).expect("priority"),
            interval: AdvertInterval::ONE_SECOND,
            preempt: true,
            preempt_delay: Duration::ZERO,
            unready: false,
            delivery: Delivery::Multicast,
            auth: None,
            hmac: None,
            source: Ipv4Addr::from_bits(7).into(),
            vips: Vec::new(),
            garp_repeat: 5,
            garp_delay: Duration::ZERO,
            garp_refresh: None,
            directors: None,
            checksum: Checksum::WithPseudoHeader,
        }
    }

    fn verified(source: u32, sequence: u64) -> Verified {
        let source = Ipv4Addr::from_bits(source).into();
        Verified { sequence: Sequence::from_bits(sequence), skew: Skew { source, millis: 0, window: None } }
    }

    #[test]
    fn marks_are_bounded_and_the_one_unused_longest_goes() {
        let mut signing = Signing::default();
        let config = config();
        for source in 0..10_000 {
            signing.accept(&config, verified(1_000_000, u64::from(source)));
            signing.accept(&config, verified(source, 1));
            assert!(signing.marks.len() <= SENDERS);
        }
        assert_eq!(signing.marks.len(), SENDERS);
        let kept = |source: u32| {
            signing.marks.iter().any(|mark| mark.source == IpAddr::from(Ipv4Addr::from_bits(source)))
        };
        assert!(kept(1_000_000) && kept(9_999) && !kept(0));
    }

    #[test]
    fn peers_have_one_mark_each() {
        let mut signing = Signing::default();
        let peers = vec![Ipv4Addr::from_bits(1).into(), Ipv4Addr::from_bits(2).into()];
        let config = Config { delivery: Delivery::Unicast { peers, ttl: 255, min_ttl: 255 }, ..config() };
        for turn in 0..100 {
            signing.accept(&config, verified(1 + turn % 2, u64::from(turn)));
        }
        assert_eq!(signing.marks.len(), 2);
    }
}
