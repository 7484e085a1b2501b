//! Probes that go through IPVS, to the VIP, as a client's packets do: whether IPVS sends them where they
//! belong, from which port they come, and what a failure means when the real server answers otherwise.
//!
//! The mark of a probe's packets leads to an IPVS service with the real server as its only destination. Where
//! that service is missing, packets would go the way of clients, to whatever real server the scheduler chose,
//! or to another director. So nothing is asked before it is seen.

use std::time::Duration;

use evenkeel_converge::{Forward, paths};
use evenkeel_health::{Fault, FaultLabel, Found};
use evenkeel_schemas::plan::{Check, Target, Through};
use tokio::time::{Instant, sleep, timeout};

use super::tools::Tools;
use super::{Whom, Wire, ask, unprepared};

/// Time between two looks for a service that is still to be made.
const LOOK: Duration = Duration::from_millis(25);
/// Longest wait for it. It is made within milliseconds after a daemon starts, or a plan comes.
const MOST_WAIT: Duration = Duration::from_secs(2);
/// Longest ordinary probe after a failure.
const MOST_EXPLAINING: Duration = Duration::from_secs(2);

/// Makes one probe through IPVS: `attempt`, once that is seen to send it to the target.
pub(super) async fn run(
    check: &Check,
    through: &Through,
    tools: &Tools,
    attempt: impl Future<Output = (Found, Option<Wire>)>,
) -> (Found, Option<Wire>) {
    let limit = check.times.timeout.as_duration();
    let Some(target) = check.target else { return (unprepared("the check has no address".to_owned()), None) };
    let forward = match ready(target, through, limit, tools).await {
        Ok(forward) => forward,
        Err(found) => return (found, None),
    };
    let began = Instant::now();
    let half = limit / 2;
    let mut attempt = std::pin::pin!(attempt);
    let (found, wire, besides) = match timeout(half, &mut attempt).await {
        Ok((found, wire)) => {
            let besides = match &found {
                Found::Failed(fault) if !fault.label.is_an_answer() => {
                    let left = limit.saturating_sub(began.elapsed()).min(MOST_EXPLAINING);
                    Some(straight(check, target, left, tools).await)
                }
                _ => None,
            };
            (found, wire, besides)
        }
        // What will probably fail is explained meanwhile: a verdict is not to be later for it.
        Err(_) => {
            let straight = straight(check, target, half.min(MOST_EXPLAINING), tools);
            let ((found, wire), besides) = tokio::join!(attempt, straight);
            (found, wire, Some(besides))
        }
    };
    match (found, besides) {
        (Found::Failed(fault), Some(Found::Healthy(_))) if !fault.label.is_an_answer() => {
            (explained(&fault, target, through, forward).into(), wire)
        }
        (found, _) => (found, wire),
    }
}

/// Waits until IPVS sends packets with the mark to the target: how.
async fn ready(target: Target, through: &Through, limit: Duration, tools: &Tools) -> Result<Forward, Found> {
    let key = paths::key(through);
    let until = Instant::now() + limit.min(MOST_WAIT);
    loop {
        if let Some(forward) = tools.paths.forward(key, target)? {
            return Ok(forward);
        }
        if Instant::now() + LOOK > until {
            let mark = through.mark;
            return Err(unprepared(format!("IPVS has no service for mark {mark} of checks of {target}")));
        }
        sleep(LOOK).await;
    }
}

/// Makes one ordinary probe of the same kind, to the target's own address.
async fn straight(check: &Check, target: Target, limit: Duration, tools: &Tools) -> Found {
    let origin = evenkeel_schemas::plan::CheckOrigin::default();
    let whom = Whom { target: target.socket_address(), origin: &origin, mark: None, limit };
    timeout(limit, ask(check, whom, tools)).await.unwrap_or_else(|_| Fault::no_answer(limit).into())
}

/// The same fault, with what it means that the target answers on its own address.
fn explained(fault: &Fault, target: Target, through: &Through, forward: Forward) -> Fault {
    let vip = through.socket_address();
    let family = if vip.is_ipv6() { "-6" } else { "-4" };
    let (cause, look) = match (forward, fault.label) {
        (Forward::Tunnel, _) => (
            "no tunnel end, no VIP on lo, or rp_filter of the tunnel end",
            format!("`ip -d link`, `ip {family} address show lo`, `sysctl net.ipv4.conf`"),
        ),
        (Forward::Masquerade, _) => {
            ("its answers do not come back through this director", format!("`ip {family} route`"))
        }
        (_, FaultLabel::Refused) => ("nothing listens there on the VIP or its port", "`ss -ltn`".to_owned()),
        (_, _) if vip.is_ipv6() => ("no VIP on lo", "`ip -6 address show lo`".to_owned()),
        (_, _) => (
            "no VIP on lo, or wrong ARP settings",
            "`ip -4 address show lo`, `sysctl net.ipv4.conf.all.arp_announce`".to_owned(),
        ),
    };
    let reason = format!(
        "{}; answers on its own address {target} and not on the VIP {vip}: {cause}; look there at {look}",
        fault.reason
    );
    // The way to the target works.
    fault.clone().worded(reason).after_an_answer()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The VIP may be anybody's, and so is an answer from it.
    #[tokio::test]
    async fn nobody_is_asked_before_ipvs_sends_packets_to_the_target() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
        listener.set_nonblocking(true).expect("an option");
        let port = listener.local_addr().expect("an address").port();
        let check = format!(
            "type = \"tcp\"\naddress = \"127.0.0.1\"\nport = {port}\nsource = \"127.0.0.1\"\n\
             through = {{ vip = \"127.0.0.1\", port = {port}, mark = 4294967295 }}\ninterval = \"5s\"\n\
             timeout = \"200ms\"\nretries = 0\nretry_delay = \"1s\"\n"
        );
        let check: Check = toml::from_str(&check).expect("a check");
        let found = super::super::run(&check, &Tools::new()).await;
        let Found::Ails(ailment) = found else { panic!("{found:?}") };
        let words = ailment.to_string();
        assert!(
            words.starts_with("IPVS has no service for mark 4294967295 of checks of 127.0.0.1:"),
            "{words}"
        );
        assert!(listener.accept().is_err(), "nobody was asked");
    }

    #[test]
    fn a_fault_says_what_to_look_at_for_each_way_to_forward() {
        let target = Target { address: "192.0.2.7".parse().expect("an address"), port: None };
        let said = |vip: &str, forward, label| {
            let through: Through =
                toml::from_str(&format!("vip = \"{vip}\"\nport = 80\nmark = 1")).expect("a way");
            let fault = explained(&Fault::new(label, "no answer in 1 s"), target, &through, forward);
            assert!(!fault.silent, "it answers on its own address: the way to it works");
            fault.reason
        };
        let v4 = |forward, label| said("192.0.2.9", forward, label);
        assert_eq!(
            &*v4(Forward::DirectRoute, FaultLabel::Timeout),
            "no answer in 1 s; answers on its own address 192.0.2.7 and not on the VIP 192.0.2.9:80: no VIP \
             on lo, or wrong ARP settings; look there at `ip -4 address show lo`, `sysctl \
             net.ipv4.conf.all.arp_announce`"
        );
        assert!(v4(Forward::DirectRoute, FaultLabel::Refused).contains("nothing listens there on the VIP"));
        assert!(v4(Forward::Tunnel, FaultLabel::Refused).contains(": no tunnel end, no VIP on lo"));
        assert!(v4(Forward::Masquerade, FaultLabel::Timeout).ends_with("look there at `ip -4 route`"));
        let v6 = said("2001:db8::9", Forward::DirectRoute, FaultLabel::Timeout);
        assert!(v6.contains("VIP [2001:db8::9]:80: no VIP on lo; look there at `ip -6 address"), "{v6}");
        let longest = said("2001:db8:1111:2222:3333:4444:5555:6666", Forward::Tunnel, FaultLabel::Timeout);
        assert!(!longest.ends_with('…'), "{longest}");
    }
}
