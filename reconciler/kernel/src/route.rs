//! Unicast routes.
//!
//! `struct rtmsg` and `RTA_*` (`linux/rtnetlink.h`, rtnetlink(7)). Only routes that a plan can name are
//! compared: to a network, by one next hop. Those with several next hops, or that depend on more than
//! the destination, are the administrator's: told as text, never compared. Those that the kernel makes
//! itself for addresses, and from router advertisements, are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use evenkeel_converge::diff::same_route;
use evenkeel_converge::model::{PROTOCOL_TAG, TABLE_MAIN};
use evenkeel_converge::{Op, Route, RouteKey};
use evenkeel_schemas::scalars::Cidr;
use nix::errno::Errno;

use crate::address::{AF_INET, AF_INET6, FAMILIES, NO_FAMILY, family, is_of, scope_number, scope_of};
use crate::apply::carry_out;
use crate::error::{ApplyError, Class, KernelError, Refusal};
use crate::link::{self, Resolved};
use crate::netlink::Requester;
use crate::wire::{Batch, Malformed, Writer, attributes, u8_at};

/// Length of `struct rtmsg`.
const HEADER_LEN: usize = 12;
/// `RTPROT_RA` (`linux/rtnetlink.h`): made from a router advertisement.
const RTPROT_RA: u8 = 9;
/// `RTA_NH_ID` (`linux/rtnetlink.h`): the route uses a next hop object.
const RTA_NH_ID: u16 = 30;

/// A route as in a message of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RouteMessage {
    key: RouteKey,
    index: u32,
    /// All but the interface's name.
    route: Route,
    /// Whether a plan can name it.
    plain: bool,
}

/// Routes that a dump asks for.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// Routes with our tag, whatever the table and the interface.
    Ours,
    /// Routes of others in a table, out of an interface.
    Others { table: u32, index: u32 },
}

/// Observed routes.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Routes that a plan can name.
    pub(crate) plain: BTreeMap<RouteKey, Route>,
    /// The others, as ip-route(8) would name them.
    pub(crate) others: BTreeSet<String>,
}

impl Routes {
    fn take(&mut self, told: RouteMessage, interface: &str) {
        let RouteMessage { key, route, plain, .. } = told;
        let route = Route { interface: Some(interface.to_owned()), ..route };
        // A second one of the same key was appended behind the first (`ip route append`).
        if plain && !self.plain.contains_key(&key) {
            self.plain.insert(key, route);
        } else {
            self.others.insert(format!("{key} {route}"));
        }
    }
}

/// All routes with our tag, and those of others out of these interfaces in `main` and these tables.
pub(crate) fn observe(
    socket: &mut Requester,
    links: &BTreeMap<String, Resolved>,
    tables: &BTreeSet<u32>,
) -> Result<Routes, KernelError> {
    let mut routes = Routes::default();
    let mut names: BTreeMap<u32, String> =
        links.iter().map(|(name, link)| (link.index, name.clone())).collect();
    for family in FAMILIES {
        let told = dump(socket, family, Wanted::Ours)?;
        if told.iter().any(|told| !names.contains_key(&told.index)) {
            for link in link::observe(socket)? {
                names.entry(link.index).or_insert(link.name);
            }
        }
        for told in told {
            // An interface without a name is gone meanwhile.
            if let Some(name) = names.get(&told.index) {
                routes.take(told, name);
            }
        }
    }
    let tables: BTreeSet<u32> = tables.iter().copied().chain([TABLE_MAIN]).collect();
    for (name, link) in links {
        for &table in &tables {
            for family in FAMILIES {
                for told in dump(socket, family, Wanted::Others { table, index: link.index })? {
                    routes.take(told, name);
                }
            }
        }
    }
    Ok(routes)
}

fn dump(socket: &mut Requester, family: u8, wanted: Wanted) -> Result<Vec<RouteMessage>, KernelError> {
    let mut request = Batch::default();
    request.message(libc::RTM_GETROUTE, libc::NLM_F_DUMP, |w| {
        let protocol = match wanted {
            Wanted::Ours => PROTOCOL_TAG,
            Wanted::Others { .. } => libc::RTPROT_UNSPEC,
        };
        w.raw(&[family, 0, 0, 0, 0, protocol, 0, libc::RTN_UNICAST, 0, 0, 0, 0]);
        if let Wanted::Others { table, index } = wanted {
            w.u32(libc::RTA_TABLE, table);
            w.u32(libc::RTA_OIF, index);
        }
    });
    // Kernels before 4.20 do not filter.
    let fits = |told: &RouteMessage| match wanted {
        Wanted::Ours => told.route.tagged,
        Wanted::Others { table, index } => {
            !told.route.tagged && told.index == index && told.key.table == table
        }
    };
    let parse = |kind, body: &[u8]| {
        if is_of(family, body) { Ok(parse(kind, body)?.filter(fits)) } else { Ok(None) }
    };
    match socket.dump(&mut request, parse)? {
        Ok(told) => Ok(told),
        // No such table, no such interface any more, no such family: no routes.
        Err(refusal) if matches!(refusal.code(), Errno::ENOENT | Errno::ENODEV | Errno::EAFNOSUPPORT) => {
            Ok(Vec::new())
        }
        Err(refusal) => Err(refusal.explain("cannot read the routes")),
    }
}

/// Reads an `RTM_NEWROUTE` message; `None` for routes that nobody made by hand.
fn parse(kind: u16, body: &[u8]) -> Result<Option<RouteMessage>, Malformed> {
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
    let (mut index, mut metric, mut plain, mut gateway, mut source) = (None, 0, true, None, None);
    for attribute in attributes(attributes_at.ok_or(Malformed)?) {
        let attribute = attribute?;
        match attribute.kind {
            libc::RTA_DST => destination = attribute.ip()?,
            libc::RTA_OIF => index = Some(attribute.u32()?),
            libc::RTA_TABLE => table = attribute.u32()?,
            libc::RTA_PRIORITY => metric = attribute.u32()?,
            libc::RTA_GATEWAY => gateway = Some(attribute.ip()?),
            libc::RTA_PREFSRC => source = Some(attribute.ip()?),
            libc::RTA_VIA | libc::RTA_MULTIPATH | libc::RTA_ENCAP | RTA_NH_ID => {
                plain = false;
            }
            _ => {}
        }
    }
    let automatic = [libc::RTPROT_KERNEL, libc::RTPROT_REDIRECT, RTPROT_RA].contains(&protocol);
    let to_see = route_type == libc::RTN_UNICAST && !automatic;
    let (true, Some(index)) = (to_see, index) else { return Ok(None) };
    let plain = plain && source_prefix == 0 && tos == 0;
    let destination = Cidr::new(destination, prefix).map_err(|_| Malformed)?;
    let tagged = protocol == PROTOCOL_TAG;
    let route = Route { interface: None, gateway, source, scope: scope_of(scope), tagged };
    Ok(Some(RouteMessage { key: RouteKey { table, destination, metric }, index, route, plain }))
}

/// Whether a message is about a route with our tag.
pub(crate) fn is_tagged(body: &[u8]) -> Result<bool, Malformed> {
    u8_at(body, 5).map(|protocol| protocol == PROTOCOL_TAG)
}

/// Carries out route operations, all in one go.
pub(crate) fn apply(socket: &mut Requester, ops: &[Op]) -> Vec<Result<(), ApplyError>> {
    let interface = |op| object(op).and_then(|(_, route)| route.interface.clone());
    let links = match link::resolve(socket, &ops.iter().filter_map(interface).collect()) {
        Ok(links) => links,
        Err(error) => return ops.iter().map(|_| Err(error.clone())).collect(),
    };
    let encode = |batch: &mut Batch, op: &Op| encode(batch, op, &links);
    let meaning =
        |socket: &mut Requester, op: &Op, refusal: &Refusal| meaning_of(socket, op, refusal, &links);
    carry_out(socket, ops, encode, meaning)
}

const fn object(op: &Op) -> Option<(&RouteKey, &Route)> {
    match op {
        Op::DelRoute(key, value) | Op::AddRoute { key, value, .. } => Some((key, value)),
        _ => None,
    }
}

/// Appends the operation's message, unless there is nothing to be sent.
fn encode(batch: &mut Batch, op: &Op, links: &BTreeMap<String, Resolved>) -> Result<(), ApplyError> {
    let Some((key, value)) = object(op) else { return Ok(()) };
    let adds = matches!(op, Op::AddRoute { .. });
    let mut index = None;
    if let Some(interface) = &value.interface {
        index = links.get(interface).map(|link| link.index);
        match index {
            Some(_) => {}
            None if adds => {
                let message = format!("{op}: there is no interface {interface}");
                return Err(ApplyError::with_errno(Class::Transient, message, Some(libc::ENODEV)));
            }
            // Routes go with their interface.
            None => return Ok(()),
        }
    }
    if key.destination.network() != key.destination.address() {
        let message = format!("{op}: the destination has bits set beyond its prefix length");
        return Err(ApplyError::new(Class::Permanent, message));
    }
    if adds {
        // Never `REPLACE`: it would take the place of someone else's route.
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        batch.message(libc::RTM_NEWROUTE, flags, |w| write(w, key, value, index, true));
    } else {
        batch.message(libc::RTM_DELROUTE, 0, |w| write(w, key, value, index, false));
    }
    Ok(())
}

fn write(w: &mut Writer<'_>, key: &RouteKey, value: &Route, index: Option<u32>, adds: bool) {
    let ip = key.destination.address();
    let family = family(ip);
    // For a removal the kernel compares what is given: any scope, and any protocol unless it is ours.
    let protocol = if adds || value.tagged { PROTOCOL_TAG } else { libc::RTPROT_UNSPEC };
    let scope = match (adds, family) {
        (true, AF_INET) => scope_number(value.scope),
        (true, _) => libc::RT_SCOPE_UNIVERSE,
        (false, _) => libc::RT_SCOPE_NOWHERE,
    };
    let table = u8::try_from(key.table).unwrap_or(libc::RT_TABLE_UNSPEC);
    w.raw(&[family, key.destination.prefix(), 0, 0, table, protocol, scope, libc::RTN_UNICAST]);
    w.raw(&[0; 4]);
    w.ip(libc::RTA_DST, ip);
    if let Some(index) = index {
        w.u32(libc::RTA_OIF, index);
    }
    if let Some(gateway) = value.gateway {
        w.ip(libc::RTA_GATEWAY, gateway);
    }
    if let Some(source) = value.source {
        w.ip(libc::RTA_PREFSRC, source);
    }
    w.u32(libc::RTA_TABLE, key.table);
    if key.metric != 0 {
        w.u32(libc::RTA_PRIORITY, key.metric);
    }
}

/// Decides what a refusal means: what is already as it should be is a success.
fn meaning_of(
    socket: &mut Requester,
    op: &Op,
    refusal: &Refusal,
    links: &BTreeMap<String, Resolved>,
) -> Result<(), ApplyError> {
    let doing = op.to_string();
    match (op, refusal.code()) {
        (Op::DelRoute(..), Errno::ESRCH | Errno::ENODEV) => Ok(()),
        (Op::AddRoute { key, value, .. }, Errno::EEXIST) => {
            let there = observe(socket, links, &BTreeSet::from([key.table]))?;
            if there.plain.get(key).is_some_and(|have| same_route(key, value, have)) {
                return Ok(());
            }
            let cause = "another route to this destination, made by something else, is in the way";
            Err(refusal.because(&doing, Class::Conflict, cause))
        }
        (_, Errno::ENETUNREACH | Errno::EHOSTUNREACH) => {
            let cause = "the gateway is in no network of this host, or its interface is down";
            Err(refusal.because(&doing, Class::Transient, cause))
        }
        (Op::AddRoute { value: Route { source: Some(_), .. }, .. }, Errno::EINVAL) => {
            let cause = "perhaps this host does not have the source address now";
            Err(refusal.because(&doing, Class::Transient, cause))
        }
        (Op::AddRoute { key, .. }, Errno::EACCES) if key.destination.address().is_ipv6() => {
            let cause = "IPv6 is disabled on the interface (disable_ipv6)";
            Err(refusal.because(&doing, Class::Unsupported, cause))
        }
        (_, Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) => {
            Err(refusal.because(&doing, Class::Unsupported, NO_FAMILY))
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
        RouteKey::new(254, Cidr::host(Ipv4Addr::new(192, 0, 2, 7).into()), 0)
    }

    fn read(write: impl FnOnce(&mut Writer<'_>)) -> Option<RouteMessage> {
        let mut batch = Batch::default();
        batch.message(libc::RTM_NEWROUTE, 0, write);
        let bytes = batch.numbered(0, 1, 1, false);
        let message = messages(bytes).next().expect("one").expect("well-formed");
        parse(message.kind, message.body).expect("well-formed")
    }

    #[test]
    fn a_route_is_encoded_with_our_tag() {
        let route = Route::out_of("lo", Scope::Link);
        let mut batch = Batch::default();
        batch.message(libc::RTM_NEWROUTE, 0, |w| write(w, &key(), &route, Some(1), true));
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
    }

    /// Any route that a plan can name, out of interface 1.
    fn route() -> impl Strategy<Value = (RouteKey, Route)> {
        let address = |v6: bool, bytes: [u8; 16]| -> IpAddr {
            if v6 { bytes.into() } else { [bytes[0], bytes[1], bytes[2], bytes[3]].into() }
        };
        let bytes = any::<[u8; 16]>;
        let optional = || prop::option::of(any::<[u8; 16]>());
        (any::<bool>(), bytes(), 0_u8..=32, optional(), optional(), 1..=u32::MAX, any::<u32>()).prop_map(
            move |(v6, destination, prefix, gateway, source, table, metric)| {
                let network = Cidr::new(address(v6, destination), prefix).expect("in range").network();
                let value = Route {
                    interface: None,
                    gateway: gateway.map(|bytes| address(v6, bytes)),
                    source: source.map(|bytes| address(v6, bytes)),
                    scope: Scope::Global,
                    tagged: true,
                };
                (RouteKey::new(table, Cidr::new(network, prefix).expect("in range"), metric), value)
            },
        )
    }

    #[test]
    fn several_next_hops_are_no_route_of_a_plan_and_those_of_the_kernel_are_left_out() {
        let told = |protocol, kind, more: fn(&mut Writer<'_>)| {
            read(|w| {
                w.raw(&[AF_INET, 0, 0, 0, 254, protocol, 0, kind, 0, 0, 0, 0]);
                w.u32(libc::RTA_OIF, 2);
                more(w);
            })
        };
        let plain = |told: Option<RouteMessage>| told.map(|told| told.plain);
        assert_eq!(plain(told(3, libc::RTN_UNICAST, |_| {})), Some(true));
        assert_eq!(plain(told(libc::RTPROT_KERNEL, libc::RTN_UNICAST, |_| {})), None);
        assert_eq!(plain(told(RTPROT_RA, libc::RTN_UNICAST, |_| {})), None);
        assert_eq!(plain(told(3, libc::RTN_LOCAL, |_| {})), None);
        assert_eq!(plain(told(3, libc::RTN_UNICAST, |w| w.u32(RTA_NH_ID, 1))), Some(false));
    }

    proptest! {
        #[test]
        fn routes_survive_the_round_trip((key, value) in route()) {
            let told = read(|w| write(w, &key, &value, Some(1), true)).expect("a route");
            prop_assert_eq!(told, RouteMessage { key, index: 1, route: value, plain: true });
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 1..200),
            v6: bool,
        ) {
            let _ = parse(libc::RTM_NEWROUTE, &bytes);
            bytes[0] = if v6 { AF_INET6 } else { AF_INET };
            let _ = parse(libc::RTM_NEWROUTE, &bytes);
        }
    }
}
