//! What a router gives to its driver: advertisements with their leases, announcements, events.
//!
//! When and why they come is decided by the state machine, not here.

use std::net::IpAddr;

use evenkeel_schemas::time::MonoTime;

use super::notice::Notice;
use super::phase::{Phase, Wait};
use super::{AdvertKind, Output, Queued, VirtualRouter};
use crate::packet::{Advert, encode, encode_signed};

impl VirtualRouter {
    /// Advertises to the group or to each peer; by unicast the checksum may differ from peer to peer.
    ///
    /// The lease comes with the first packet. Without any peer nobody can claim, so it is given as if one
    /// had been sent.
    pub(super) fn transmit(&mut self, kind: AdvertKind, due: MonoTime, now: MonoTime) {
        let config = &self.config;
        let (priority, mut lease) = match kind {
            AdvertKind::PriorityZero | AdvertKind::Offer => (0, None),
            AdvertKind::LastWords => (config.priority.get(), None),
            AdvertKind::Claim | AdvertKind::Periodic | AdvertKind::Immediate => {
                (config.priority.get(), Some(now + self.waiting_time(Wait::MasterDown, None)))
            }
        };
        let advert = Advert {
            version: config.version,
            vrid: config.vrid,
            priority,
            interval: config.wire_interval(),
            auth: config.wire_auth(),
            addresses: config.vips.clone(),
        };
        let (src, ttl, before) = (config.source, config.sent_ttl(), self.queue.len());
        let mut message = Vec::new();
        if config.hmac.is_some() {
            encode(&advert, src, src, config.checksum, &mut message);
        }
        // One for all peers: neither the destination nor the checksum is in it.
        let trailer = self.signing.sign(config, &message, self.wall.at(now));
        for dst in config.destinations() {
            let mut bytes = Vec::new();
            encode_signed(&advert, src, dst, config.checksum, trailer.as_ref(), &mut bytes);
            let output = Some(Output::Transmit { bytes, src, dst, ttl, kind, due });
            self.queue.push_back(Queued { output, lease: lease.take() });
        }
        self.counters.adverts_sent += u64::from(self.queue.len() > before);
        if lease.is_some() {
            self.queue.push_back(Queued { output: None, lease });
        }
        if kind == AdvertKind::Periodic {
            self.counters.count_lateness(now.since(due));
        }
    }

    /// Announces the VIPs now and, once, after the delay.
    pub(super) fn announce(&mut self, now: MonoTime) {
        let again = self.second_burst_at(now);
        if let Phase::Master(master) = &mut self.phase {
            master.second_burst = again;
        }
        self.burst();
    }

    pub(super) fn second_burst_at(&self, now: MonoTime) -> Option<MonoTime> {
        (!self.config.garp_delay.is_zero()).then(|| now + self.config.garp_delay)
    }

    /// One burst, whatever else is planned.
    pub(super) fn burst(&mut self) {
        self.push(Output::Announce { repeat: self.config.garp_repeat });
    }

    pub(super) fn notice(&mut self, notice: Notice, source: IpAddr, now: MonoTime) {
        if let Some(event) = self.limiter.admit(notice, source, now) {
            self.push(Output::Event(event));
        }
    }

    pub(super) fn push(&mut self, output: Output) {
        self.queue.push_back(Queued { output: Some(output), lease: None });
    }
}
