//! Counters of one virtual router, without allocation.

use std::time::Duration;

use evenkeel_schemas::status::RouterCounters;

use crate::rejection::RejectKind;

/// An advertisement that is sent later than this after it was due counts as late.
pub(super) const LATE: Duration = Duration::from_millis(50);

/// Counters since the router was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Times it became Master.
    pub became_master: u64,
    /// Advertisements sent, priority 0 included; by unicast one, however many peers get it.
    pub adverts_sent: u64,
    /// Advertisements received and accepted.
    pub adverts_received: u64,
    /// Of the received, those with priority 0.
    pub priority_zero_received: u64,
    /// Advertisements whose HMAC was right.
    pub hmac_verified: u64,
    /// Advertisements without a trailer that were let through.
    pub hmac_absent: u64,
    /// Advertisements whose VIPs are not ours, accepted or from a stranger that has some of ours.
    pub vip_list_mismatch: u64,
    /// Times another Master appeared beside us while we were one; not the advertisements it sent.
    pub rival_masters: u64,
    /// Advertisements of our VRID, accepted or not, for VIPs none of which is ours.
    pub vrid_in_use: u64,
    /// Periodic advertisements that were made over 50 ms after they were due.
    pub late_adverts: u64,
    /// Largest lateness of a periodic advertisement.
    pub max_lateness: Duration,
    /// Times that VIPs were put back.
    pub vip_repairs: u64,
    rejected: [u64; RejectKind::ALL.len()],
}

impl Counters {
    /// Discarded advertisements of one kind.
    #[must_use]
    pub const fn rejected(&self, kind: RejectKind) -> u64 {
        self.rejected[kind as usize]
    }

    /// Discarded advertisements.
    #[must_use]
    pub fn rejected_total(&self) -> u64 {
        self.rejected.iter().sum()
    }

    /// As the status document has them; only kinds that occurred.
    #[must_use]
    pub fn to_status(&self) -> RouterCounters {
        RouterCounters {
            became_master: self.became_master,
            adverts_sent: self.adverts_sent,
            adverts_received: self.adverts_received,
            priority_zero_received: self.priority_zero_received,
            rejected: RejectKind::ALL
                .into_iter()
                .filter(|kind| self.rejected(*kind) > 0)
                .map(|kind| (kind.name().to_owned(), self.rejected(kind)))
                .collect(),
            hmac_verified: self.hmac_verified,
            hmac_absent: self.hmac_absent,
            vip_list_mismatch: self.vip_list_mismatch,
            rival_masters: self.rival_masters,
            vrid_in_use: self.vrid_in_use,
            duplicate_addresses: 0,
            late_adverts: self.late_adverts,
            max_lateness_us: u64::try_from(self.max_lateness.as_micros()).unwrap_or(u64::MAX),
            vip_repairs: self.vip_repairs,
        }
    }

    pub(super) const fn count_rejected(&mut self, kind: RejectKind) {
        self.rejected[kind as usize] += 1;
    }

    pub(super) fn count_lateness(&mut self, lateness: Duration) {
        self.late_adverts += u64::from(lateness > LATE);
        self.max_lateness = self.max_lateness.max(lateness);
    }
}
