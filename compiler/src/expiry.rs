//! When the kernel is to let go of clients whose real server is gone or quiesced: two settings of IPVS
//! that hold for all services of a director, from what the services say.
//!
//! An entry of a UDP client lives as long as the client sends: with a fixed port it stays with a real server
//! that was removed, and each packet is dropped, unless `expire_nodest_conn` is 1. TCP clients give up by
//! themselves; with 1 they are reset at the first packet, and a real server that comes back at once finds
//! none of them. What a firewall marks may be UDP as well as TCP, which only the firewall knows: it counts as
//! UDP.
//!
//! A template of persistence sends a client to its real server even at weight 0, unless
//! `expire_quiescent_template` is 1. That is wrong of one that failed and is quiesced, and right of one
//! that drains: weight 0 does not say which of them it is. So where a persistent service has `drain`,
//! nothing is decided here.

use evenkeel_schemas::cluster::{self, OnFailure, Protocol};

use crate::resolve::{Balanced, Taken};

pub(crate) const NODEST: &str = "expire_nodest_conn";
pub(crate) const QUIESCENT: &str = "expire_quiescent_template";

/// Properties of a service that the two settings follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// UDP whose entries bind clients.
    udp: bool,
    /// Whether the firewall marks its packets, which may be such UDP.
    marked: bool,
    persistent: bool,
    /// Treatment of a real server that fails; `None` when none ever does.
    fails: Option<OnFailure>,
    drains: bool,
}

impl Habits {
    pub(crate) fn of_balanced(service: &Balanced) -> Self {
        let udp = matches!(service.taken, Taken::Transport { protocol: Protocol::Udp, .. });
        let marked = matches!(service.taken, Taken::Mark { .. });
        Self {
            udp: udp && !service.one_packet,
            marked: marked && !service.one_packet,
            persistent: service.persistence.is_some(),
            fails: service.is_checked().then_some(service.on_failure),
            drains: service.drain.is_some(),
        }
    }

    /// `checked`: whether a real server of the service has a check.
    pub(crate) fn of(service: &cluster::Service, checked: bool) -> Self {
        Self {
            udp: service.protocol == Some(Protocol::Udp) && !service.one_packet,
            marked: service.firewall_mark.is_some() && !service.one_packet,
            persistent: service.persistence.is_some(),
            fails: checked.then_some(service.on_failure),
            drains: service.drain.is_some(),
        }
    }

    /// Clients stay with a real server that failed and was removed.
    pub(crate) fn binds_to_removed(self) -> bool {
        self.udp && self.fails == Some(OnFailure::Remove)
    }

    /// Whether that may happen to clients that the file does not distinguish.
    fn may_bind_to_removed(self) -> bool {
        Self { udp: self.udp || self.marked, ..self }.binds_to_removed()
    }

    /// Clients stay with a real server that failed and was quiesced, by persistence.
    pub(crate) fn binds_to_quiesced(self) -> bool {
        self.persistent && self.fails == Some(OnFailure::Quiesce)
    }

    /// The same by their entry, which nothing ends while the real server is there.
    pub(crate) fn keeps_sending_to_quiesced(self) -> bool {
        self.udp && self.fails == Some(OnFailure::Quiesce)
    }

    /// Clients that persistence binds are to stay with a real server that drains.
    pub(crate) const fn keeps_while_draining(self) -> bool {
        self.persistent && self.drains
    }
}

/// The settings of a director with these services. What is not there stays as it is on the host.
pub(crate) fn settings(services: &[Habits]) -> impl Iterator<Item = &'static str> + use<> {
    let any = |of: fn(Habits) -> bool| services.iter().copied().any(of);
    let nodest = any(Habits::may_bind_to_removed);
    let quiescent = any(Habits::binds_to_quiesced) && !any(Habits::keeps_while_draining);
    [(nodest, NODEST), (quiescent, QUIESCENT)].into_iter().filter(|(right, _)| *right).map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_director_sets_follows_all_of_its_services() {
        const PLAIN: Habits = Habits {
            udp: false,
            marked: false,
            persistent: false,
            fails: Some(OnFailure::Remove),
            drains: false,
        };
        const MARKED: Habits = Habits { marked: true, ..PLAIN };
        const UDP: Habits = Habits { udp: true, ..PLAIN };
        const STICKY: Habits = Habits { persistent: true, ..PLAIN };
        const QUIESCED: Habits = Habits { fails: Some(OnFailure::Quiesce), ..STICKY };
        for (services, expected) in [
            (&[][..], &[][..]),
            (&[PLAIN, STICKY], &[]),
            (&[PLAIN, UDP], &[NODEST]),
            (&[PLAIN, MARKED], &[NODEST]),
            (&[Habits { fails: None, ..MARKED }, Habits { fails: Some(OnFailure::Quiesce), ..MARKED }], &[]),
            (&[Habits { fails: None, ..UDP }, Habits { fails: Some(OnFailure::Quiesce), ..UDP }], &[]),
            (&[QUIESCED], &[QUIESCENT]),
            (&[UDP, QUIESCED, Habits { drains: true, ..PLAIN }], &[NODEST, QUIESCENT]),
            (&[Habits { fails: None, ..QUIESCED }], &[]),
            (&[Habits { drains: true, ..QUIESCED }], &[]),
            (&[QUIESCED, Habits { drains: true, ..STICKY }], &[]),
        ] {
            let settings: Vec<&str> = settings(services).collect();
            assert_eq!(settings, expected, "{services:?}");
        }
    }
}
