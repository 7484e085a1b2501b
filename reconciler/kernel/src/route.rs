//! Unicast routes of interfaces.
//!
//! `struct rtmsg` and `RTA_*` (`linux/rtnetlink.h`, rtnetlink(7)). Only routes that a plan can name are
//! compared: to a network, out of an interface, nothing else. Those with a gateway, several next
//! hops or a metric of their own are the administrator's: told as text, never compared. Those that
//! the kernel makes itself for addresses, and from router advertisements, are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use evenkeel_converge::model::PROTOCOL_TAG;
use evenkeel_converge::{Op, Route, RouteKey};
use evenkeel_schemas::scalars::Cidr;
use nix::errno::Errno;

use crate::address::{AF_INET, AF_INET6, FAMILIES, family, scope_number, scope_of};
use crate::apply::carry_out;
use crate::error::{ApplyError, Class, KernelError, Refusal};
use crate::link::{self, Resolved};
use crate::netlink::Requester;
use crate::wire::{Batch, Malformed, Writer, attributes, u8_at};

/// Length of `struct rtmsg`.
const HEADER_LEN: usize = 12;
/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;
/// `IP6_RT_PRIO_USER` (`net/ip6_route.h`): the metric of an IPv6 route that is made without one.
const IPV6_METRIC: u32 = 1024;
/// `RTPROT_RA` (`linux/rtnetlink.h`): made from a router advertisement.
const RTPROT_RA: u8 = 9;
/// `RTA_NH_ID` (`linux/rtnetlink.h`): the route uses a next hop object.
const RTA_NH_ID: u16 = 30;

/// A route as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    table: u32,
    destination: Cidr,
    index: u32,
    route: Route,
    /// Whether a plan can name it.
    plain: bool,
    gateway: Option<IpAddr>,
}

/// The routes of some interfaces.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Those that a plan can name.
    pub(crate) plain: BTreeMap<RouteKey, Route>,
    /// The others, as ip-route(8) would name them.
    pub(crate) others: BTreeSet<String>,
}

/// The routes of these interfaces in `main` and these tables.
pub(crate) fn observe(
    socket: &mut Requester,
    links: &BTreeMap<String, Resolved>,
    tables: &BTreeSet<u32>,
) -> Result<Routes, KernelError> {
    let mut routes = Routes::default();
    let tables: BTreeSet<u32> = tables.iter().copied().chain([MAIN]).collect();
    for (name, link) in links {
        for &table in &tables {
            for family in FAMILIES {
                for told in dump(socket, family, table, name, link.index)? {
                    let key = RouteKey { table, destination: told.destination, interface: name.clone() };
                    if told.plain {
                        routes.plain.insert(key, told.route);
                    } else {
                        let via = told.gateway.map(|ip| format!(" via {ip}")).unwrap_or_default();
                        routes.others.insert(format!("{}{via} dev {name}", told.destination));
                    }
                }
            }
        }
    }
    Ok(routes)
}

fn dump(
    socket: &mut Requester,
    family: u8,
    table: u32,
    name: &str,
    index: u32,
) -> Result<Vec<Told>, KernelError> {
    let mut request = Batch::default();
    request.message(libc::RTM_GETROUTE, libc::NLM_F_DUMP, |w| {
        w.raw(&[family, 0, 0, 0, 0, 0, 0, libc::RTN_UNICAST, 0, 0, 0, 0]);
        w.u32(libc::RTA_TABLE, table);
        w.u32(libc::RTA_OIF, index);
    });
    match socket.dump(&mut request, parse)? {
        // Kernels before 4.20 do not filter.
        Ok(told) => Ok(told.into_iter().filter(|t| t.index == index && t.table == table).collect()),
        // No such table, no such interface any more, no such family: no routes.
        Err(refusal) if matches!(refusal.code(), Errno::ENOENT | Errno::ENODEV | Errno::EAFNOSUPPORT) => {
            Ok(Vec::new())
        }
        Err(refusal) => Err(refusal.explain(&format!("cannot read the routes of {name}"))),
    }
}

/// Reads an `RTM_NEWROUTE` message; `None` for routes that nobody made by hand.
fn parse(kind: u16, body: &[u8]) -> Result<Option<Told>, Malformed> {
    let attributes_at = body.get(HEADER_LEN..);
    if kind != libc::RTM_NEWROUTE || !FAMILIES.contains(&u8_at(body, 0)?) {
        return Ok(None);
    }
    let v6 = u8_at(body, 0)? == AF_INET6;
    let (prefix, source_prefix, tos) = (u8_at(body, 1)?, u8_at(body, 2)?, u8_at(body, 3)?);
    let (protocol, scope, route_type) = (u8_at(body, 5)?, u8_at(body, 6)?, u8_at(body, 7)?);
    let mut table = u32::from(u8_at(body, 4)?);
    let mut destination: IpAddr =
        if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let (mut index, mut metric, mut plain, mut gateway) = (None, 0, true, None);
    for attribute in attributes(attributes_at.ok_or(Malformed)?) {
        let attribute = attribute?;
        match attribute.kind {
            libc::RTA_DST => destination = attribute.ip()?,
            libc::RTA_OIF => index = Some(attribute.u32()?),
            libc::RTA_TABLE => table = attribute.u32()?,
            libc::RTA_PRIORITY => metric = attribute.u32()?,
            libc::RTA_GATEWAY => {
                gateway = Some(attribute.ip()?);
                plain = false;
            }
            libc::RTA_VIA | libc::RTA_MULTIPATH | libc::RTA_ENCAP | RTA_NH_ID => {
                plain = false;
            }
            _ => {}
        }
    }
    let automatic = [libc::RTPROT_KERNEL, libc::RTPROT_REDIRECT, RTPROT_RA].contains(&protocol);
    let to_see = route_type == libc::RTN_UNICAST && !automatic;
    let (true, Some(index)) = (to_see, index) else { return Ok(None) };
    let plain = plain && source_prefix == 0 && tos == 0 && metric == if v6 { IPV6_METRIC } else { 0 };
    let destination = Cidr::new(destination, prefix).map_err(|_| Malformed)?;
    let route = Route { scope: scope_of(scope), tagged: protocol == PROTOCOL_TAG };
    Ok(Some(Told { table, destination, index, route, plain, gateway }))
}

/// Carries out route operations, all in one go.
pub(crate) fn apply(socket: &mut Requester, ops: &[Op]) -> Vec<Result<(), ApplyError>> {
    let names: BTreeSet<String> = ops.iter().filter_map(key).map(|key| key.interface.clone()).collect();
    let links = match link::resolve(socket, &names) {
        Ok(links) => links,
        Err(error) => return ops.iter().map(|_| Err(error.clone())).collect(),
    };
    let encode = |batch: &mut Batch, op: &Op| encode(batch, op, &links);
    let settle = |socket: &mut Requester, op: &Op, refusal: &Refusal| settle(socket, op, refusal, &links);
    carry_out(socket, ops, encode, settle)
}

const fn key(op: &Op) -> Option<&RouteKey> {
    match op {
        Op::DelRoute(key) | Op::AddRoute(key, _) => Some(key),
        Op::DelAddress(_)
        | Op::AddAddress { .. }
        | Op::SetSysctl { .. }
        | Op::AddService(..)
        | Op::SetService(..)
        | Op::DelService(_)
        | Op::AddDestination(..)
        | Op::SetDestination { .. }
        | Op::DelDestination(..) => None,
    }
}

/// Appends the operation's message; `false` when there is nothing to be sent.
fn encode(batch: &mut Batch, op: &Op, links: &BTreeMap<String, Resolved>) -> Result<bool, ApplyError> {
    let Some(key) = key(op) else { return Ok(false) };
    let link = links.get(&key.interface);
    let Op::AddRoute(_, value) = op else {
        // Routes go with their interface.
        let Some(link) = link else { return Ok(false) };
        batch.message(libc::RTM_DELROUTE, 0, |w| write(w, key, link.index, None));
        return Ok(true);
    };
    let Some(link) = link else {
        let message = format!("{op}: there is no interface {}", key.interface);
        return Err(ApplyError { class: Class::Transient, message, errno: Some(libc::ENODEV) });
    };
    let network = key.destination.network();
    if network != key.destination.address() {
        let message = format!("{op}: the destination has bits set beyond its prefix length");
        return Err(ApplyError::new(Class::Permanent, message));
    }
    // Never `REPLACE`: it would take the place of someone else's route.
    let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    batch.message(libc::RTM_NEWROUTE, flags, |w| write(w, key, link.index, Some(value)));
    Ok(true)
}

fn write(w: &mut Writer<'_>, key: &RouteKey, index: u32, value: Option<&Route>) {
    let ip = key.destination.address();
    let family = family(ip);
    // For a removal: any protocol, any scope.
    let protocol = if value.is_some() { PROTOCOL_TAG } else { libc::RTPROT_UNSPEC };
    let scope = match value {
        Some(value) if family == AF_INET => scope_number(value.scope),
        Some(_) => libc::RT_SCOPE_UNIVERSE,
        None => libc::RT_SCOPE_NOWHERE,
    };
    let table = u8::try_from(key.table).unwrap_or(libc::RT_TABLE_UNSPEC);
    w.raw(&[family, key.destination.prefix(), 0, 0, table, protocol, scope, libc::RTN_UNICAST]);
    w.raw(&[0; 4]);
    w.ip(libc::RTA_DST, ip);
    w.u32(libc::RTA_OIF, index);
    w.u32(libc::RTA_TABLE, key.table);
    if family == AF_INET6 {
        w.u32(libc::RTA_PRIORITY, IPV6_METRIC);
    }
}

/// Decides what a refusal means: what is already as it should be is a success.
fn settle(
    socket: &mut Requester,
    op: &Op,
    refusal: &Refusal,
    links: &BTreeMap<String, Resolved>,
) -> Result<(), ApplyError> {
    let doing = op.to_string();
    match (op, refusal.code()) {
        (Op::DelRoute(_), Errno::ESRCH | Errno::ENODEV) => Ok(()),
        (Op::AddRoute(key, value), Errno::EEXIST) => {
            let asked = links.iter().filter(|(name, _)| **name == key.interface);
            let asked = asked.map(|(name, link)| (name.clone(), link.clone())).collect();
            let there = observe(socket, &asked, &BTreeSet::from([key.table]))?;
            let v6 = key.destination.address().is_ipv6();
            if there.plain.get(key).is_some_and(|have| v6 || have.scope == value.scope) {
                return Ok(());
            }
            let cause = "another route to this destination, made by something else, is in the way";
            Err(refusal.because(&doing, Class::Conflict, cause))
        }
        (_, Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) => {
            Err(refusal.because(&doing, Class::Permanent, "the kernel lacks this address family"))
        }
        _ => Err(refusal.explain(&doing)),
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::plan::Scope;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::messages;

    fn key() -> RouteKey {
        let destination = Cidr::host(Ipv4Addr::new(192, 0, 2, 7).into());
        RouteKey { table: 254, destination, interface: "lo".to_owned() }
    }

    fn read(write: impl FnOnce(&mut Writer<'_>)) -> Option<Told> {
        let mut batch = Batch::default();
        batch.message(libc::RTM_NEWROUTE, 0, write);
        let bytes = batch.numbered(0, 1, 1, false);
        let message = messages(bytes).next().expect("one").expect("well-formed");
        parse(message.kind, message.body).expect("well-formed")
    }

    #[test]
    fn a_route_is_encoded_with_our_tag() {
        let route = Route { scope: Scope::Link, tagged: true };
        let mut batch = Batch::default();
        batch.message(libc::RTM_NEWROUTE, 0, |w| write(w, &key(), 1, Some(&route)));
        #[rustfmt::skip]
        let wanted = [
            2, 32, 0, 0,  254, 0xEE, 253, 1,  0, 0, 0, 0,
            8, 0, 1, 0,  192, 0, 2, 7,
            8, 0, 4, 0,  1, 0, 0, 0,
            8, 0, 15, 0,  254, 0, 0, 0,
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(batch.numbered(0, 1, 1, false)[16..], wanted);
        }
        let told = read(|w| write(w, &key(), 1, Some(&route))).expect("a route");
        assert_eq!(
            told,
            Told { table: 254, destination: key().destination, index: 1, route, plain: true, gateway: None }
        );
    }

    #[test]
    fn a_plan_can_name_plain_routes_only_and_those_of_the_kernel_are_left_out() {
        let told = |protocol, kind, more: fn(&mut Writer<'_>)| {
            read(|w| {
                w.raw(&[AF_INET, 0, 0, 0, 254, protocol, 0, kind, 0, 0, 0, 0]);
                w.u32(libc::RTA_OIF, 2);
                more(w);
            })
        };
        let plain = |told: Option<Told>| told.map(|told| (told.plain, told.gateway.map(|ip| ip.to_string())));
        assert_eq!(plain(told(3, libc::RTN_UNICAST, |_| {})), Some((true, None)));
        assert_eq!(plain(told(libc::RTPROT_KERNEL, libc::RTN_UNICAST, |_| {})), None);
        assert_eq!(plain(told(RTPROT_RA, libc::RTN_UNICAST, |_| {})), None);
        assert_eq!(plain(told(3, libc::RTN_LOCAL, |_| {})), None);
        let gateway = |w: &mut Writer<'_>| w.attribute(libc::RTA_GATEWAY, &[192, 0, 2, 1]);
        let expected = Some((false, Some("192.0.2.1".to_owned())));
        assert_eq!(plain(told(3, libc::RTN_UNICAST, gateway)), expected);
        let metric = |w: &mut Writer<'_>| w.u32(libc::RTA_PRIORITY, 100);
        assert_eq!(plain(told(3, libc::RTN_UNICAST, metric)), Some((false, None)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 1..200), v6: bool) {
            let _ = parse(libc::RTM_NEWROUTE, &bytes);
            bytes[0] = if v6 { AF_INET6 } else { AF_INET };
            let _ = parse(libc::RTM_NEWROUTE, &bytes);
        }
    }
}
