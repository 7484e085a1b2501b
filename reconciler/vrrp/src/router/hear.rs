//! What a router makes of the packets that it hears: the receiving half of RFC 9568 §6.4.2 and §6.4.3.
//!
//! Which packets count is in `admission`; what is sent, and how, in `send`.

use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::scalars::AdvertInterval;
use evenkeel_schemas::time::MonoTime;

use super::admission::{admit, read};
use super::notice::Notice;
use super::phase::{Phase, Wait};
use super::signing::Verified;
use super::speakers::{Speaker, Vips};
use super::{AdvertKind, Cause, Received, VirtualRouter, master_down_interval, skew_time};
use crate::packet::Advert;
use crate::rejection::{RejectKind, Rejection};
use crate::wire::Version;

/// Least time between two immediate advertisements against rivals. Ours: the protocol's smallest
/// interval, so that a flood of lower adverts, or of priority 0, is not answered packet by packet.
const ASSERT_GAP: Duration = Duration::from_millis(10);
/// Most time between two announcements against rivals while they go on; less if the interval is.
const RIVAL_BURST_GAP: Duration = Duration::from_secs(1);

impl VirtualRouter {
    pub(super) fn packet(&mut self, received: &Received<'_>, now: MonoTime) {
        let src = received.src;
        // RFC 9568 §6.4.1: Initialize knows the Startup event only. Ours: it listens for its VRID.
        let takes_part = !matches!(self.phase, Phase::Initialize);
        let advert = match read(&self.config, &self.signing, received, self.wall.at(now)) {
            Ok((advert, verified)) => {
                self.accept_trailer(verified, now);
                advert
            }
            Err(rejection) if takes_part => return self.reject(rejection, src, now),
            Err(_) => return,
        };
        let vips = Vips::compare(&advert.addresses, &self.sorted_vips);
        let foreign = self.is_foreign(vips, src);
        self.counters.vrid_in_use += u64::from(foreign);
        let admitted = admit(&self.config, &advert, src);
        let speaker = match &admitted {
            Ok(_) => self.speakers.speaker(&self.config, src, vips, now),
            // Rejected for another reason: its source is not judged.
            Err(_) => Speaker::Director,
        };
        let known =
            self.config.directors.as_ref().is_some_and(|directors| directors.addresses.contains(&src));
        let in_use = match speaker {
            Speaker::Taken | Speaker::Stranger => true,
            Speaker::Director => (foreign && !known) || matches!(admitted, Err(Rejection::UnknownPeer)),
        };
        if in_use {
            let counts = admitted.is_ok() && speaker != Speaker::Stranger;
            self.record_stranger(src, vips, counts, now);
        }
        if !takes_part {
            return;
        }
        match admitted {
            Ok(_) if speaker == Speaker::Stranger => {
                self.counters.count_rejected(RejectKind::Stranger);
                self.counters.vip_list_mismatch += u64::from(!foreign && !vips.same);
            }
            Ok(interval) => {
                if !foreign {
                    self.observe_other(&advert, now);
                }
                if !in_use || !foreign {
                    self.compare_vips(&advert, vips, src, now);
                }
                self.advert(&advert, interval, src, now);
            }
            Err(Rejection::UnknownPeer) => self.counters.count_rejected(RejectKind::UnknownPeer),
            Err(rejection) => self.reject(rejection, src, now),
        }
    }

    /// Moves the mark of a sender, whose trailer was right.
    fn accept_trailer(&mut self, verified: Option<Verified>, now: MonoTime) {
        let Some(verified) = verified else {
            self.counters.hmac_absent += u64::from(self.config.hmac.is_some());
            return;
        };
        self.counters.hmac_verified += 1;
        self.signing.accept(&self.config, verified);
        let skew = verified.skew;
        if skew.is_wide() {
            self.notice(Notice::ClockSkew(skew), skew.source, now);
        }
    }

    fn reject(&mut self, rejection: Rejection, src: IpAddr, now: MonoTime) {
        self.counters.count_rejected(rejection.kind());
        self.notice(Notice::Rejected(rejection), src, now);
    }

    /// Whether an advertisement is of another virtual router with our VRID: none of its VIPs is ours. A list
    /// without VIPs decides nothing, nor does a packet with our own address, perhaps one from before our VIPs
    /// changed.
    fn is_foreign(&self, vips: Vips, src: IpAddr) -> bool {
        src != self.config.source && !self.sorted_vips.is_empty() && vips.all > 0 && vips.ours == 0
    }

    fn record_stranger(&mut self, src: IpAddr, vips: Vips, counts: bool, now: MonoTime) {
        self.speakers.record(src, vips, counts, now);
        let Vips { all, ours, same } = vips;
        let vrid = self.config.vrid.get();
        let notice = Notice::VridInUse { vrid, source: src, mac: None, vips: all, ours, same, counts };
        self.notice(notice, src, now);
    }

    fn compare_vips(&mut self, advert: &Advert, vips: Vips, src: IpAddr, now: MonoTime) {
        let none = self.sorted_vips.is_empty() && advert.addresses.is_empty();
        if !vips.same && !none {
            self.counters.vip_list_mismatch += 1;
            let (expected, received) = (self.sorted_vips.len(), advert.addresses.len());
            self.notice(Notice::VipListMismatch { expected, received }, src, now);
        }
    }

    fn advert(&mut self, advert: &Advert, interval: AdvertInterval, src: IpAddr, now: MonoTime) {
        self.counters.adverts_received += 1;
        self.counters.priority_zero_received += u64::from(advert.priority == 0);
        match &self.phase {
            Phase::Initialize => {}
            Phase::Backup(_) => self.advert_as_backup(advert, interval, src, now),
            Phase::Master(_) => self.advert_as_master(advert, interval, src, now),
        }
    }

    /// RFC 9568 §6.4.2 (RFC 3768 §6.4.2).
    fn advert_as_backup(&mut self, advert: &Advert, interval: AdvertInterval, src: IpAddr, now: MonoTime) {
        let Phase::Backup(backup) = &mut self.phase else { return };
        if advert.priority == 0 {
            backup.master = None;
            self.notice(Notice::PriorityZero { as_master: false }, src, now);
            if self.damping.is_on(now) {
                return;
            }
            let Phase::Backup(backup) = &mut self.phase else { return };
            let skew = skew_time(
                self.config.version,
                self.config.priority,
                backup.adopted.unwrap_or(self.config.effective_interval()),
            );
            // Ours: it never makes the timer later, or a stream of these would put off the election.
            backup.deadline = backup.deadline.min(now + skew);
            backup.armed = now;
            backup.wait = Wait::Skew;
            backup.waits = false;
            return;
        }
        backup.master = Some(src);
        let mut waits = false;
        if advert.priority < self.config.priority.get() {
            let since = *backup.lower_since.get_or_insert(now);
            // The delay is keepalived's; without one this is §6.4.2: discard.
            if self.config.preempt && now.since(since) >= self.config.preempt_delay {
                if !self.config.unready {
                    return;
                }
                // Ours: the Master serves by destinations that it knows to be alive; we do not know ours yet.
                waits = true;
            }
        } else {
            backup.lower_since = None;
        }
        let begins = waits && !std::mem::replace(&mut backup.waits, waits);
        backup.waits = waits;
        if begins {
            self.notice(Notice::NotReady { master: src, priority: advert.priority }, src, now);
        }
        let adopted = self.adopt_interval(interval, src, now);
        let deadline = now + self.waiting_time(Wait::MasterDown, adopted);
        if let Phase::Backup(backup) = &mut self.phase {
            backup.armed = now;
            backup.wait = Wait::MasterDown;
            backup.deadline = deadline;
            backup.adopted = adopted;
        }
    }

    /// RFC 9568 §6.4.3 (RFC 3768 §6.4.3).
    fn advert_as_master(&mut self, advert: &Advert, interval: AdvertInterval, src: IpAddr, now: MonoTime) {
        let ours = self.config.priority.get();
        let priority = advert.priority;
        if let Some(parting) = self.answered(now) {
            self.accept_answer(parting, interval, src, now);
        } else if self.is_leaving() {
            // Silent, whatever others say: an advertisement of ours would hold the Backups back.
        } else if priority == 0 && self.is_offered() {
            // A Master that leaves does not claim, and an answer would delay the Backups that do.
            self.notice(Notice::PriorityZero { as_master: true }, src, now);
        } else if priority == 0 {
            self.answer_farewell(src, now);
        } else if priority > ours || (priority == ours && is_higher(src, self.config.source)) {
            if !self.has_proved_itself(interval, src, now) {
                return;
            }
            let cause = if priority > ours {
                Cause::HigherPriority { from: src, priority, ours }
            } else {
                Cause::HigherAddress { from: src, priority }
            };
            self.yield_to(cause, interval, src, now);
        } else {
            self.answer_rival(priority, interval, src, now);
        }
    }

    /// Whether to yield to a rival of higher rank: always, but where others have made us yield and were then
    /// silent too often.
    ///
    /// It is not answered at once as a lower one is: it would answer in turn, and so on as fast as packets
    /// travel.
    fn has_proved_itself(&mut self, interval: AdvertInterval, src: IpAddr, now: MonoTime) -> bool {
        let Some(proof) = self.damping.proof(now) else { return true };
        let longest = self.config.longest_interval(self.earlier_interval);
        let quiet = self.quiet(interval.min(longest));
        let Phase::Master(master) = &mut self.phase else { return true };
        let begins = master.rivals.heard(src, quiet, now);
        let proved = master.rivals.lasts(src, now) >= proof;
        self.counters.rival_masters += u64::from(begins);
        if !proved {
            self.announce_against_rival(now);
        }
        proved
    }

    /// Silence after which a rival is gone: as long as one of its Backups would wait.
    fn quiet(&self, interval: AdvertInterval) -> Duration {
        let interval = interval.max(self.config.effective_interval());
        master_down_interval(self.config.version, self.config.priority, interval)
    }

    fn yield_to(&mut self, cause: Cause, interval: AdvertInterval, src: IpAddr, now: MonoTime) {
        self.speak_last_words(now);
        self.damping.yielded(now);
        let adopted = self.adopt_interval(interval, src, now);
        self.become_backup(cause, adopted, Some(src), now);
    }

    /// See [`AdvertKind::LastWords`]. Whoever hears them as Master answers as to any rival, and that answer
    /// finds a Backup here: they are never answered in kind. At most one an interval, in case adverts from
    /// somewhere make us yield and claim in turn.
    fn speak_last_words(&mut self, now: MonoTime) {
        let interval = self.config.effective_interval().as_duration();
        if self.last_words.is_none_or(|last| now.since(last) >= interval) {
            self.last_words = Some(now);
            self.transmit(AdvertKind::LastWords, now, now);
        }
    }

    /// RFC 9568 §6.4.3: advertise, and reset `Adver_Timer`. Ours: of a flood the first is answered now and
    /// those of the next moment together, at its end.
    fn answer_farewell(&mut self, src: IpAddr, now: MonoTime) {
        let interval = self.config.effective_interval().as_duration();
        let Phase::Master(master) = &mut self.phase else { return };
        match master.last_farewell.filter(|last| now.since(*last) < ASSERT_GAP) {
            Some(last) => master.advert_due = master.advert_due.min(last + ASSERT_GAP),
            None => {
                master.last_farewell = Some(now);
                master.advert_due = now + interval;
                self.transmit(AdvertKind::Immediate, now, now);
            }
        }
        self.notice(Notice::PriorityZero { as_master: true }, src, now);
        // Ours: it was Master beside us, so ARP caches may hold its address.
        self.announce_against_rival(now);
    }

    /// A Master that must yield to us. RFC 9568 §6.4.3: advertise immediately, leaving `Adver_Timer`
    /// alone, which also keeps our adverts on time whatever arrives.
    fn answer_rival(&mut self, priority: u8, interval: AdvertInterval, src: IpAddr, now: MonoTime) {
        let ours = self.config.effective_interval();
        let quiet = self.quiet(interval);
        let Phase::Master(master) = &mut self.phase else { return };
        let answer = master.last_assert.is_none_or(|last| now.since(last) >= ASSERT_GAP);
        // Ours: so soon after our claim these are the last words of the Master before us.
        let new = master.claimed.is_some_and(|claimed| now.since(claimed) < ours.as_duration());
        let begins = !new && master.rivals.heard(src, quiet, now);
        if answer {
            master.last_assert = Some(now);
            self.transmit(AdvertKind::Immediate, now, now);
        }
        if begins {
            self.counters.rival_masters += 1;
            let (address, ours) = (self.config.source, self.config.priority.get());
            self.notice(Notice::RivalMaster { rival: src, priority, address, ours }, src, now);
        }
        self.announce_against_rival(now);
    }

    /// Ours: the rival has announced the VIPs as its own; announce them again, now and, since it may
    /// still be at it, after the delay. While rivals go on, one burst an interval.
    fn announce_against_rival(&mut self, now: MonoTime) {
        let gap = self.config.effective_interval().as_duration().min(RIVAL_BURST_GAP);
        let again = self.second_burst_at(now);
        let Phase::Master(master) = &mut self.phase else { return };
        if master.last_rival_burst.is_some_and(|last| now.since(last) < gap) {
            master.second_burst = again.or(master.second_burst);
        } else {
            master.last_rival_burst = Some(now);
            self.announce(now);
        }
    }

    /// Version 3 uses the Master's interval (RFC 9568 §6.4.2); in version 2 it equals ours. Ours: one that no
    /// director of ours has is not believed.
    pub(super) fn adopt_interval(
        &mut self,
        theirs: AdvertInterval,
        src: IpAddr,
        now: MonoTime,
    ) -> Option<AdvertInterval> {
        let ours = self.config.effective_interval();
        match self.config.version {
            Version::V2 => None,
            Version::V3 => {
                let longest = self.config.longest_interval(self.earlier_interval);
                if theirs > longest {
                    self.notice(Notice::IntervalBounded { theirs, used: longest }, src, now);
                } else if theirs != ours {
                    self.notice(Notice::IntervalAdopted { theirs, ours }, src, now);
                }
                if theirs <= ours {
                    self.earlier_interval = None;
                }
                let shortest = if self.damping.is_on(now) { ours } else { theirs };
                Some(theirs.min(longest).max(shortest.min(longest)))
            }
        }
    }
}

/// RFC 9568 §6.4.3: addresses compare as unsigned integers in network byte order. Of one family,
/// which is checked before, that is what the standard library's order does.
fn is_higher(theirs: IpAddr, ours: IpAddr) -> bool {
    theirs > ours
}
