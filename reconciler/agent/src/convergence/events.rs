//! Kernel events, as hints that something may have drifted. A comparison finds out what.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_converge::Kind;
use evenkeel_converge::model::PROTOCOL_TAG;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::RouteProtocol;
use rtnetlink::MulticastGroup;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::convergence::thread::Mailbox;
use crate::election::Nudge;

const GROUPS: [MulticastGroup; 7] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// Time during which events are collected. The first one is mostly a VIP of the election's, and clients wait
/// for those that follow.
const COLLECT: Duration = Duration::from_millis(20);
/// Time until a subscription that ended is renewed.
const RENEW: Duration = Duration::from_secs(1);

/// Subscribes to address, route, rule and link events in a task of its own. The task marks kinds as dirty for
/// the convergence thread, and asks the election to look at routes and rules that move with VIPs. Must be
/// called within a tokio runtime.
pub(crate) fn watch(mailbox: Mailbox, election: Nudge) {
    tokio::spawn(async move {
        loop {
            match rtnetlink::new_multicast_connection(&GROUPS) {
                Ok((connection, _, mut messages)) => {
                    tokio::spawn(connection);
                    // Events before this subscription were not seen.
                    mailbox.dirty(&Kind::ALL.into());
                    while let Ok((message, _)) = messages.recv().await {
                        let mut found = kinds(&message);
                        if found.is_empty() {
                            continue;
                        }
                        let end = Instant::now() + COLLECT;
                        while Instant::now() < end
                            && let Ok(Ok((message, _))) = timeout_at(end, messages.recv()).await
                        {
                            found.extend(kinds(&message));
                        }
                        if found.contains(&Kind::Routes) || found.contains(&Kind::Rules) {
                            election.send();
                        }
                        mailbox.dirty(&found);
                    }
                }
                Err(error) => warn!(%error, "no kernel events: drift is found at the next resync"),
            }
            tokio::time::sleep(RENEW).await;
        }
    });
}

fn kinds(message: &NetlinkMessage<RouteNetlinkMessage>) -> BTreeSet<Kind> {
    match &message.payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_),
        ) => BTreeSet::from([Kind::Addresses]),
        // A busy router changes routes all day: only the loss of one of ours matters.
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(route))
            if route.header.protocol == RouteProtocol::from(PROTOCOL_TAG) =>
        {
            BTreeSet::from([Kind::Routes])
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_)) => {
            BTreeSet::from([Kind::Rules])
        }
        // Routes over a link that goes down vanish without an event.
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_)) => {
            BTreeSet::from([Kind::Links, Kind::Addresses, Kind::Routes, Kind::Sysctls])
        }
        NetlinkPayload::Overrun(_) => Kind::ALL.into(),
        _ => BTreeSet::new(),
    }
}
