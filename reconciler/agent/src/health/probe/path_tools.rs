//! What probes through IPVS share: a look at IPVS, and the source ports that were used for which mark.
//! It makes no probe.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use evenkeel_converge::{Forward, ServiceKey};
use evenkeel_health::Found;
use evenkeel_kernel::Kernel;
use evenkeel_schemas::plan::Target;
use tokio::time::Instant;

use super::unprepared;

/// Time for which IPVS may remember a connection that has ended, and where it led: `tcp_timeouts` of its
/// `ip_vs_proto_tcp.c`.
const REMEMBERED: Duration = Duration::from_secs(120);
/// PortUses are forgotten when so many more were used.
const SWEEP: usize = 4096;

/// What probes through IPVS share.
#[derive(Default)]
pub(super) struct PathTools {
    /// A way to the kernel, opened with the first probe.
    kernel: Mutex<Option<Kernel>>,
    ports: Mutex<PortUses>,
}

impl PathTools {
    /// How IPVS forwards what has the mark of a check, to its target; none where it does not.
    pub(super) fn forward(&self, key: ServiceKey, target: Target) -> Result<Option<Forward>, Found> {
        let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error| unprepared(format!("the IPVS service of the check cannot be read: {error}"));
        if kernel.is_none() {
            *kernel = Some(Kernel::new().map_err(failed)?);
        }
        let Some(open) = kernel.as_mut() else { return Ok(None) };
        let service = open.ipvs_service(key);
        if service.is_err() {
            // The next probe opens another one.
            *kernel = None;
        }
        let service = service.map_err(failed)?;
        let destinations = service.iter().flat_map(|service| service.destinations.iter());
        let mut found = destinations.filter(|(_, value)| value.weight > 0);
        Ok(match (found.next(), found.next()) {
            (Some((to, value)), None) if to.address == target.address.0 => Some(value.forward),
            _ => None,
        })
    }

    /// Whether a port can be used for a mark: whether no connection from it led elsewhere of late. If so, it
    /// is this mark's from now on.
    pub(super) fn takes(&self, port: u16, v6: bool, mark: u32) -> bool {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).takes((v6, port), mark, Instant::now())
    }
}

/// The marks that ports were used for. IPVS remembers connections by their addresses and ports, and sends a
/// new one between the same where the last one went, whatever its mark.
#[derive(Default)]
struct PortUses {
    used: BTreeMap<(bool, u16), (u32, Instant)>,
    since_sweep: usize,
}

impl PortUses {
    fn takes(&mut self, port: (bool, u16), mark: u32, now: Instant) -> bool {
        let fresh = |at: Instant| now.duration_since(at) < REMEMBERED;
        if self.used.get(&port).is_some_and(|(other, at)| *other != mark && fresh(*at)) {
            return false;
        }
        self.used.insert(port, (mark, now));
        self.since_sweep += 1;
        if self.since_sweep >= SWEEP {
            self.since_sweep = 0;
            self.used.retain(|_, (_, at)| fresh(*at));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_leads_to_one_target_as_long_as_it_is_remembered() {
        let (mut ports, now) = (PortUses::default(), Instant::now());
        assert!(ports.takes((false, 40_000), 7, now));
        assert!(ports.takes((false, 40_000), 7, now), "the same way again");
        assert!(!ports.takes((false, 40_000), 8, now));
        assert!(ports.takes((true, 40_000), 8, now), "of the other family");
        let later = now + REMEMBERED;
        assert!(ports.takes((false, 40_000), 8, later));
        for port in 0..SWEEP {
            let port = u16::try_from(port).expect("a port");
            assert!(ports.takes((false, port), 9, later + REMEMBERED));
        }
        assert!(ports.used.len() <= SWEEP + 2, "{}", ports.used.len());
        assert!(!ports.used.contains_key(&(true, 40_000)), "forgotten");
    }
}
