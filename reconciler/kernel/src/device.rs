//! Interfaces of our making: virtual MACs and tunnels.
//!
//! `struct ifinfomsg`, `IFLA_*` (`linux/if_link.h`), `IFLA_IPTUN_*` and `IFLA_GRE_*` (`linux/if_tunnel.h`),
//! ip-link(8). An interface is made first, then tagged, then set up: an interface that someone else
//! has made meanwhile is never tagged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_converge::model::ALIAS_TAG;
use evenkeel_converge::{Link, LinkKind, Op, Tunnel, TunnelMode};
use nix::errno::Errno;

use crate::error::{ApplyError, Class, KernelError, Refusal};
use crate::link;
use crate::module;
use crate::netlink::{Failure, Requester};
use crate::wire::{Batch, Malformed, Writer, attributes, u8_at, u32_at};

/// Length of `struct ifinfomsg`.
const HEADER_LEN: usize = 16;
/// `MACVLAN_MODE_PRIVATE` (`linux/if_link.h`): nothing that comes out of one goes into another, so that
/// a router never hears itself.
const MACVLAN_PRIVATE: u32 = 1;
/// `IN6_ADDR_GEN_MODE_NONE` (`linux/if_link.h`).
const ADDRESS_NONE: u8 = 1;
/// `AF_INET6` as the type of an attribute.
const INET6: u16 = 10;
/// `IFLA_*` and what is nested in them (`linux/if_link.h`).
mod ifla {
    pub(super) const IFNAME: u16 = 3;
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const LINK: u16 = 5;
    pub(super) const LINKINFO: u16 = 18;
    pub(super) const IFALIAS: u16 = 20;
    pub(super) const AF_SPEC: u16 = 26;
    pub(super) const LINK_NETNSID: u16 = 37;
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
    pub(super) const MACVLAN_MODE: u16 = 1;
    pub(super) const INET6_ADDR_GEN_MODE: u16 = 8;
}

/// Types of a tunnel's local and remote address in `IFLA_INFO_DATA`: `IFLA_IPTUN_LOCAL`, `_REMOTE`, and
/// `IFLA_GRE_LOCAL`, `_REMOTE` (`linux/if_tunnel.h`).
const fn tunnel_ends(mode: TunnelMode) -> (u16, u16) {
    match mode {
        TunnelMode::Ipip | TunnelMode::Sit | TunnelMode::Ip6tnl => (2, 3),
        TunnelMode::Gre | TunnelMode::Ip6gre => (6, 7),
    }
}

/// `IFLA_GRE_IFLAGS`, `IFLA_GRE_OFLAGS`.
const GRE_FLAGS: [u16; 2] = [2, 3];
/// `GRE_CSUM` (`linux/if_tunnel.h`), as it is in the header and in the attributes.
const GRE_CSUM: [u8; 2] = [0x80, 0];

/// `IFLA_IPTUN_PROTO`.
const TUNNEL_PROTOCOL: u16 = 9;

/// An interface as in a message of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DeviceMessage {
    index: u32,
    name: String,
    /// The interface below, by index; none in another network namespace.
    parent: Option<u32>,
    mac: Option<[u8; 6]>,
    mode: Option<u32>,
    tunnel: Option<Tunnel>,
    /// `IFLA_INFO_KIND`; empty for hardware.
    kind: String,
    up: bool,
    no_own_address: bool,
    tagged: bool,
}

/// The interfaces of these names and all with our tag. `asked` are the names by which a plan knows
/// interfaces, which may be alternative ones.
pub(crate) fn observe(
    socket: &mut Requester,
    wanted: &BTreeSet<String>,
    asked: &BTreeSet<String>,
) -> Result<BTreeMap<String, Link>, KernelError> {
    let mut request = Batch::default();
    request.message(libc::RTM_GETLINK, libc::NLM_F_DUMP, |w| {
        w.raw(&[0; HEADER_LEN]);
        w.u32(libc::IFLA_EXT_MASK, u32::try_from(libc::RTEXT_FILTER_SKIP_STATS).unwrap_or_default());
    });
    let entry =
        socket.dump(&mut request, parse)?.map_err(|refusal| refusal.explain("cannot read the interfaces"))?;
    let mut names: BTreeMap<u32, String> =
        entry.iter().map(|entry| (entry.index, entry.name.clone())).collect();
    let is_wanted = |entry: &DeviceMessage| entry.tagged || wanted.contains(&entry.name);
    if entry.iter().any(|entry| is_wanted(entry) && entry.parent.is_some()) {
        names.extend(link::resolve(socket, asked)?.into_iter().map(|(name, link)| (link.index, name)));
    }
    let seen = entry.into_iter().filter(is_wanted);
    Ok(seen.map(|entry| (entry.name.clone(), model(entry, &names))).collect())
}

fn model(entry: DeviceMessage, names: &BTreeMap<u32, String>) -> Link {
    let kind = match (entry.kind.as_str(), entry.mode, entry.mac, entry.tunnel) {
        ("macvlan", Some(MACVLAN_PRIVATE), Some(mac), _) => {
            let parent = entry.parent.and_then(|index| names.get(&index)).cloned().unwrap_or_default();
            LinkKind::Macvlan { parent, mac }
        }
        (_, _, _, Some(tunnel)) => LinkKind::Tunnel(tunnel),
        _ => LinkKind::Other(entry.kind),
    };
    Link { kind, up: entry.up, no_own_address: entry.no_own_address, tagged: entry.tagged }
}

/// Reads an `RTM_NEWLINK` message.
fn parse(kind: u16, body: &[u8]) -> Result<Option<DeviceMessage>, Malformed> {
    if kind != libc::RTM_NEWLINK || u8_at(body, 0)? != 0 {
        return Ok(None);
    }
    let flags = u32_at(body, 8)?.cast_signed();
    let mut entry = DeviceMessage {
        index: u32_at(body, 4)?,
        name: String::new(),
        parent: None,
        mac: None,
        mode: None,
        tunnel: None,
        kind: String::new(),
        up: flags & libc::IFF_UP != 0,
        // Without IPv6 there is no address to make.
        no_own_address: true,
        tagged: false,
    };
    let mut elsewhere = false;
    for attribute in attributes(body.get(HEADER_LEN..).ok_or(Malformed)?) {
        let attribute = attribute?;
        match attribute.kind {
            ifla::IFNAME => attribute.text()?.clone_into(&mut entry.name),
            ifla::ADDRESS => entry.mac = attribute.value.try_into().ok(),
            ifla::LINK => entry.parent = Some(attribute.u32()?),
            ifla::LINK_NETNSID => elsewhere = true,
            ifla::IFALIAS => entry.tagged = attribute.text() == Ok(ALIAS_TAG),
            ifla::LINKINFO => parse_info(attribute.value, &mut entry)?,
            ifla::AF_SPEC => {
                if let Some(inet6) = find(attribute.value, INET6)?
                    && let Some(mode) = find(inet6, ifla::INET6_ADDR_GEN_MODE)?
                {
                    entry.no_own_address = mode.first() == Some(&ADDRESS_NONE);
                }
            }
            _ => {}
        }
    }
    entry.parent = entry.parent.filter(|_| !elsewhere);
    Ok(Some(entry).filter(|entry| !entry.name.is_empty()))
}

fn parse_info(info: &[u8], entry: &mut DeviceMessage) -> Result<(), Malformed> {
    let mut data: &[u8] = &[];
    for attribute in attributes(info) {
        let attribute = attribute?;
        match attribute.kind {
            ifla::INFO_KIND => attribute.text()?.clone_into(&mut entry.kind),
            ifla::INFO_DATA => data = attribute.value,
            _ => {}
        }
    }
    if entry.kind == "macvlan" {
        let mode = find(data, ifla::MACVLAN_MODE)?;
        entry.mode = mode.map(|bytes| u32_at(bytes, 0)).transpose()?;
    } else if let Some(mode) = TunnelMode::ALL.into_iter().find(|mode| mode.name() == entry.kind) {
        let end = |kind| -> Result<Option<IpAddr>, Malformed> {
            let address = find(data, kind)?.map(address).transpose()?;
            Ok(address.filter(|address| !address.is_unspecified()))
        };
        let (local, remote) = tunnel_ends(mode);
        // Only received packets count: nothing is sent through the end of a tunnel.
        let flags = if mode.is_gre() { find(data, GRE_FLAGS[0])? } else { None };
        let checksum = flags.and_then(<[u8]>::first).is_some_and(|flags| flags & GRE_CSUM[0] != 0);
        entry.tunnel = Some(Tunnel { mode, local: end(local)?, remote: end(remote)?, checksum });
    }
    Ok(())
}

fn address(bytes: &[u8]) -> Result<IpAddr, Malformed> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).map_err(|_| Malformed)
}

/// The value of the first attribute of this type.
fn find(nest: &[u8], kind: u16) -> Result<Option<&[u8]>, Malformed> {
    for attribute in attributes(nest) {
        let attribute = attribute?;
        if attribute.kind == kind {
            return Ok(Some(attribute.value));
        }
    }
    Ok(None)
}

/// Carries out one operation on an interface.
pub(crate) fn apply(socket: &mut Requester, op: &Op) -> Result<(), ApplyError> {
    match op {
        Op::AddLink(name, value) => {
            create(socket, op, name, &value.kind)?;
            set(socket, op, name, value)
        }
        Op::SetLink(name, value) => set(socket, op, name, value),
        Op::DelLink { name, .. } => {
            let mut batch = Batch::default();
            batch.message(libc::RTM_DELLINK, 0, |w| write_name(w, name, 0));
            match transact(socket, &mut batch)? {
                Err(refusal) if refusal.code() != Errno::ENODEV => {
                    let cause = "this interface cannot be removed";
                    Err(match refusal.code() {
                        Errno::EOPNOTSUPP => refusal.because(&op.to_string(), Class::Permanent, cause),
                        _ => refusal.explain(&op.to_string()),
                    })
                }
                Ok(()) | Err(_) => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Sends messages; the first refusal counts.
fn transact(socket: &mut Requester, batch: &mut Batch) -> Result<Result<(), Refusal>, ApplyError> {
    for verdict in socket.transact(batch) {
        match verdict {
            Ok(()) => {}
            Err(Failure::Refused(refusal)) => return Ok(Err(refusal)),
            Err(Failure::Unknown(error)) => return Err(error),
        }
    }
    Ok(Ok(()))
}

fn create(socket: &mut Requester, op: &Op, name: &str, kind: &LinkKind) -> Result<(), ApplyError> {
    let parent = match kind.parent() {
        None => None,
        Some(parent) => {
            let found = link::resolve(socket, &BTreeSet::from([parent.to_owned()]))?;
            let Some(found) = found.get(parent) else {
                let message = format!("{op}: there is no interface {parent}");
                return Err(ApplyError::with_errno(Class::Transient, message, Some(libc::ENODEV)));
            };
            Some(found.index)
        }
    };
    let mut batch = Batch::default();
    let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    batch.message(libc::RTM_NEWLINK, flags, |w| write_kind(w, name, kind, parent));
    let Err(refusal) = transact(socket, &mut batch)? else { return Ok(()) };
    let doing = op.to_string();
    Err(match refusal.code() {
        Errno::EEXIST => {
            let there = observe(socket, &BTreeSet::from([name.to_owned()]), &BTreeSet::new())?;
            let cause = match there.get(name) {
                Some(have) => format!("another interface of this name, {}, is in the way", have.kind),
                None => "another interface with these addresses is in the way".to_owned(),
            };
            refusal.because(&doing, Class::Conflict, &cause)
        }
        // IPv6 tunnels where the kernel has no IPv6 are refused so as well.
        Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT => {
            let module = module_of(kind);
            let cause = format!("the kernel has no {module}: {}", module::advice(module));
            refusal.because(&doing, Class::Unsupported, &cause)
        }
        Errno::EBUSY => {
            let cause =
                "the interface below is part of something else (a bridge, a bond, another virtual one)";
            refusal.because(&doing, Class::Conflict, cause)
        }
        _ => refusal.explain(&doing),
    })
}

/// The kernel module that makes interfaces of a kind.
const fn module_of(kind: &LinkKind) -> &str {
    match kind {
        LinkKind::Tunnel(Tunnel { mode: TunnelMode::Gre, .. }) => "ip_gre",
        LinkKind::Tunnel(Tunnel { mode: TunnelMode::Ip6tnl, .. }) => "ip6_tunnel",
        LinkKind::Tunnel(Tunnel { mode: TunnelMode::Ip6gre, .. }) => "ip6_gre",
        LinkKind::Tunnel(Tunnel { mode: TunnelMode::Ipip, .. }) => "ipip",
        LinkKind::Tunnel(Tunnel { mode: TunnelMode::Sit, .. }) => "sit",
        LinkKind::Macvlan { .. } => "macvlan",
        LinkKind::Other(kind) => kind.as_str(),
    }
}

fn set(socket: &mut Requester, op: &Op, name: &str, value: &Link) -> Result<(), ApplyError> {
    if value.tagged {
        let mut batch = Batch::default();
        batch.message(libc::RTM_SETLINK, 0, |w| {
            write_name(w, name, 0);
            w.attribute(ifla::IFALIAS, ALIAS_TAG.as_bytes());
        });
        transact(socket, &mut batch)?.map_err(|refusal| refusal.explain(&op.to_string()))?;
    }
    if value.no_own_address {
        let mut batch = Batch::default();
        batch.message(libc::RTM_SETLINK, 0, |w| {
            write_name(w, name, 0);
            w.nest(ifla::AF_SPEC, |w| {
                w.nest(INET6, |w| w.u8(ifla::INET6_ADDR_GEN_MODE, ADDRESS_NONE));
            });
        });
        match transact(socket, &mut batch)? {
            // Without IPv6 there is no address to make.
            Err(refusal) if refusal.code() != Errno::EAFNOSUPPORT => {
                return Err(refusal.explain(&op.to_string()));
            }
            Ok(()) | Err(_) => {}
        }
    }
    if value.up {
        let mut batch = Batch::default();
        batch.message(libc::RTM_SETLINK, 0, |w| write_name(w, name, libc::IFF_UP.cast_unsigned()));
        if let Err(refusal) = transact(socket, &mut batch)? {
            let doing = op.to_string();
            return Err(match refusal.code() {
                Errno::EADDRINUSE => {
                    let cause =
                        "another interface has this MAC address: is the VRID used twice on this host?";
                    refusal.because(&doing, Class::Conflict, cause)
                }
                Errno::ENETDOWN => refusal.because(&doing, Class::Transient, "the interface below is down"),
                _ => refusal.explain(&doing),
            });
        }
    }
    Ok(())
}

/// A header that changes these flags, and a name.
fn write_name(w: &mut Writer<'_>, name: &str, flags: u32) {
    w.raw(&[0; 8]);
    w.raw(&flags.to_ne_bytes());
    w.raw(&flags.to_ne_bytes());
    w.text(ifla::IFNAME, name);
}

fn write_kind(w: &mut Writer<'_>, name: &str, kind: &LinkKind, parent: Option<u32>) {
    write_name(w, name, 0);
    if let Some(parent) = parent {
        w.u32(ifla::LINK, parent);
    }
    if let LinkKind::Macvlan { mac, .. } = kind {
        w.attribute(ifla::ADDRESS, mac);
    }
    w.nest(ifla::LINKINFO, |w| {
        w.text(ifla::INFO_KIND, kind.name());
        w.nest(ifla::INFO_DATA, |w| match kind {
            LinkKind::Macvlan { .. } => w.u32(ifla::MACVLAN_MODE, MACVLAN_PRIVATE),
            LinkKind::Tunnel(tunnel) => {
                let (local, remote) = tunnel_ends(tunnel.mode);
                for (kind, end) in [(local, tunnel.local), (remote, tunnel.remote)] {
                    if let Some(end) = end {
                        w.ip(kind, end);
                    }
                }
                if tunnel.checksum && tunnel.mode.is_gre() {
                    for kind in GRE_FLAGS {
                        w.attribute(kind, &GRE_CSUM);
                    }
                }
                if tunnel.mode == TunnelMode::Ip6tnl {
                    // Both families in it; the kernel's own choice is IPv6 only.
                    w.u8(TUNNEL_PROTOCOL, 0);
                }
            }
            LinkKind::Other(_) => {}
        });
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::messages;

    fn read(name: &str, kind: &LinkKind, parent: Option<u32>) -> DeviceMessage {
        let mut batch = Batch::default();
        batch.message(libc::RTM_NEWLINK, 0, |w| write_kind(w, name, kind, parent));
        let bytes = batch.numbered(0, 1, 1, false);
        let message = messages(bytes).next().expect("one").expect("well-formed");
        parse(message.kind, message.body).expect("well-formed").expect("an interface")
    }

    #[test]
    fn values_are_read_as_written() {
        let macvlan = LinkKind::Macvlan { parent: "eth0".to_owned(), mac: [0, 0, 0x5e, 0, 1, 51] };
        let names = BTreeMap::from([(7, "eth0".to_owned())]);
        assert_eq!(model(read("vrrp.51", &macvlan, Some(7)), &names).kind, macvlan);
        let (v4, v6): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [0x20; 16].into());
        for mode in TunnelMode::ALL {
            let end = if mode.is_outer_v6() { v6 } else { v4 };
            for (local, remote) in [(Some(end), None), (None, Some(end)), (Some(end), Some(end))] {
                for checksum in [false, mode.is_gre()] {
                    let kind = LinkKind::Tunnel(Tunnel { mode, local, remote, checksum });
                    assert_eq!(model(read("tun1", &kind, None), &names).kind, kind);
                }
            }
        }
    }

    #[test]
    fn a_macvlan_whose_parent_is_in_another_namespace_has_none() {
        let mut batch = Batch::default();
        let kind = LinkKind::Macvlan { parent: String::new(), mac: [2; 6] };
        batch.message(libc::RTM_NEWLINK, 0, |w| {
            write_kind(w, "m", &kind, Some(7));
            w.u32(ifla::LINK_NETNSID, 0);
        });
        let bytes = batch.numbered(0, 1, 1, false);
        let message = messages(bytes).next().expect("one").expect("well-formed");
        let entry = parse(message.kind, message.body).expect("well-formed").expect("an interface");
        assert_eq!(model(entry, &BTreeMap::from([(7, "eth0".to_owned())])).kind, kind);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            let _ = parse(libc::RTM_NEWLINK, &bytes);
            bytes[0] = 0;
            let _ = parse(libc::RTM_NEWLINK, &bytes);
        }

        #[test]
        fn damaged_messages_are_read_without_panic(at in any::<prop::sample::Index>(), byte: u8) {
            let remote = Some([192, 0, 2, 1].into());
            let kind =
                LinkKind::Tunnel(Tunnel { mode: TunnelMode::Gre, local: None, remote, checksum: true });
            let mut batch = Batch::default();
            batch.message(libc::RTM_NEWLINK, 0, |w| write_kind(w, "gre1", &kind, None));
            let mut body = batch.numbered(0, 1, 1, false)[16..].to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            let _ = parse(libc::RTM_NEWLINK, &body);
        }
    }
}
