//! IP addresses of interfaces.
//!
//! `struct ifaddrmsg` and `IFA_*` (`linux/if_addr.h`, rtnetlink(7)). An address is added without a
//! broadcast address and with our tag.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_converge::diff::same_address;
use evenkeel_converge::model::PROTOCOL_TAG;
use evenkeel_converge::{Address, AddressKey, Op};
use evenkeel_schemas::plan::Scope;
use evenkeel_schemas::scalars::Cidr;
use nix::errno::Errno;

use crate::apply::carry_out;
use crate::error::{ApplyError, Class, KernelError, Refusal};
use crate::link::{self, Resolved};
use crate::netlink::Requester;
use crate::wire::{Batch, Malformed, Writer, attributes, u8_at, u32_at};

/// Length of `struct ifaddrmsg`.
const HEADER_LEN: usize = 8;
/// `IFA_FLAGS` (`linux/if_addr.h`): flags of 32 bits.
const IFA_FLAGS: u16 = 8;
/// `IFA_PROTO` (`linux/if_addr.h`, since Linux 5.18).
const IFA_PROTO: u16 = 11;
/// `struct ifa_cacheinfo` of an address that is never a source and never ends: preferred lifetime 0,
/// valid for ever, two times that the kernel fills in.
const DEPRECATED_FOR_EVER: [u32; 4] = [0, u32::MAX, 0, 0];
/// Address families that are observed.
pub(crate) const FAMILIES: [u8; 2] = [AF_INET, AF_INET6];
/// `AF_INET` in a netlink header.
pub(crate) const AF_INET: u8 = 2;
/// `AF_INET6` in a netlink header.
pub(crate) const AF_INET6: u8 = 10;

/// Why objects of an address family cannot be made.
pub(crate) const NO_FAMILY: &str =
    "the kernel lacks this address family (ipv6.disable=1 on its command line?)";

/// Whether a message is of the family that was asked for. A kernel without a family answers a question about
/// it with what it has of all the others.
pub(crate) fn is_of(family: u8, body: &[u8]) -> bool {
    body.first() == Some(&family)
}

/// The family of an address as a netlink header has it.
pub(crate) const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

/// A scope in the kernel's numbers (`RT_SCOPE_*`).
pub(crate) const fn scope_number(scope: Scope) -> u8 {
    match scope {
        Scope::Global => libc::RT_SCOPE_UNIVERSE,
        Scope::Link => libc::RT_SCOPE_LINK,
        Scope::Host => libc::RT_SCOPE_HOST,
    }
}

/// A scope from the kernel's numbers. Those without a name of ours (site, or made by the
/// administrator) count as the nearest wider of `link`.
pub(crate) const fn scope_of(number: u8) -> Scope {
    match number {
        libc::RT_SCOPE_UNIVERSE => Scope::Global,
        libc::RT_SCOPE_HOST | libc::RT_SCOPE_NOWHERE => Scope::Host,
        _ => Scope::Link,
    }
}

/// An address as in a message of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddressMessage {
    /// Interface.
    pub(crate) index: u32,
    /// Address and prefix length.
    pub(crate) address: Cidr,
    /// Label, the interface's name by default; IPv4 only.
    pub(crate) label: Option<String>,
    /// Scope.
    pub(crate) scope: Scope,
    /// Whether it carries our tag.
    pub(crate) tagged: bool,
    /// `IFA_F_*`.
    flags: u32,
}

impl AddressMessage {
    /// As a model has it, on an interface of this name.
    fn model(self, interface: &str) -> Address {
        let v6 = self.address.address().is_ipv6();
        let flag = |flags: u32| v6 && self.flags & flags != 0;
        Address {
            no_dad: flag(libc::IFA_F_NODAD),
            deprecated: flag(libc::IFA_F_DEPRECATED),
            tentative: flag(libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED),
            label: self.label.filter(|label| label != interface),
            tagged: self.tagged,
            ..Address::plain(self.scope)
        }
    }
}

/// The addresses of these interfaces.
pub(crate) fn observe(
    socket: &mut Requester,
    links: &BTreeMap<String, Resolved>,
) -> Result<BTreeMap<AddressKey, Address>, KernelError> {
    let mut addresses = BTreeMap::new();
    for (name, link) in links {
        for family in FAMILIES {
            for entry in dump(socket, family, name, link.index)? {
                let key = AddressKey { interface: name.clone(), address: entry.address };
                addresses.insert(key, entry.model(&link.kernel_name));
            }
        }
    }
    Ok(addresses)
}

/// The addresses of the interfaces that are called so.
pub(crate) fn every(
    socket: &mut Requester,
    called: &BTreeMap<u32, String>,
) -> Result<BTreeSet<AddressKey>, KernelError> {
    let mut all = BTreeSet::new();
    for family in FAMILIES {
        let mut request = Batch::default();
        request.message(libc::RTM_GETADDR, libc::NLM_F_DUMP, |w| w.raw(&[family, 0, 0, 0, 0, 0, 0, 0]));
        let entry = match socket.dump(&mut request, parse)? {
            Ok(entry) => entry,
            Err(refusal) if refusal.code() == Errno::EAFNOSUPPORT => continue,
            Err(refusal) => return Err(refusal.explain("cannot read the addresses")),
        };
        // An interface that came since is seen the next time.
        let key = |entry: AddressMessage| {
            Some(AddressKey { interface: called.get(&entry.index)?.clone(), address: entry.address })
        };
        all.extend(entry.into_iter().filter_map(key));
    }
    Ok(all)
}

/// See [`crate::Kernel::rehearse`].
pub(crate) fn rehearse(socket: &mut Requester) {
    let nowhere = Resolved { index: i32::MAX.cast_unsigned(), kernel_name: String::new() };
    let links = BTreeMap::from([(String::new(), nowhere)]);
    let mut batch = Batch::default();
    for ip in [IpAddr::from([192, 0, 2, 1]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])] {
        let Ok(address) = Cidr::new(ip, if ip.is_ipv6() { 128 } else { 32 }) else { continue };
        let key = AddressKey { interface: String::new(), address };
        let value = Address { no_dad: ip.is_ipv6(), ..Address::ours(address, Scope::Global, None) };
        for op in [Op::AddAddress { key: key.clone(), value, announce: true }, Op::DelAddress(key)] {
            std::hint::black_box(encode(&mut batch, &op, &links)).ok();
        }
    }
    // The numbers stay here, so that requests and refusals are about the same interface.
    batch.clear();
    batch.message(libc::RTM_GETLINK, 0, |w| {
        w.raw(&[0; 4]);
        w.raw(&i32::MAX.to_ne_bytes());
        w.raw(&[0; 8]);
    });
    std::hint::black_box(socket.transact(&mut batch));
}

fn dump(
    socket: &mut Requester,
    family: u8,
    name: &str,
    index: u32,
) -> Result<Vec<AddressMessage>, KernelError> {
    let mut request = Batch::default();
    request.message(libc::RTM_GETADDR, libc::NLM_F_DUMP, |w| {
        w.raw(&[family, 0, 0, 0]);
        w.raw(&index.to_ne_bytes());
    });
    let parse = |kind, body: &[u8]| if is_of(family, body) { parse(kind, body) } else { Ok(None) };
    match socket.dump(&mut request, parse)? {
        // Kernels before 4.20 do not filter.
        Ok(entry) => Ok(entry.into_iter().filter(|entry| entry.index == index).collect()),
        Err(refusal) if matches!(refusal.code(), Errno::ENODEV | Errno::EAFNOSUPPORT) => Ok(Vec::new()),
        Err(refusal) => Err(refusal.explain(&format!("cannot read the addresses of {name}"))),
    }
}

/// Reads an `RTM_NEWADDR` or `RTM_DELADDR` message. Addresses with another address as their peer are
/// left out: they are no object that a plan can name.
pub(crate) fn parse(kind: u16, body: &[u8]) -> Result<Option<AddressMessage>, Malformed> {
    if !matches!(kind, libc::RTM_NEWADDR | libc::RTM_DELADDR) || !FAMILIES.contains(&u8_at(body, 0)?) {
        return Ok(None);
    }
    let (prefix, scope, index) = (u8_at(body, 1)?, u8_at(body, 3)?, u32_at(body, 4)?);
    let mut flags = u32::from(u8_at(body, 2)?);
    let (mut local, mut peer, mut label, mut tagged) = (None, None, None, false);
    for attribute in attributes(body.get(HEADER_LEN..).ok_or(Malformed)?) {
        let attribute = attribute?;
        match attribute.kind {
            libc::IFA_LOCAL => local = Some(attribute.ip()?),
            libc::IFA_ADDRESS => peer = Some(attribute.ip()?),
            libc::IFA_LABEL => label = Some(attribute.text()?.to_owned()),
            IFA_FLAGS => flags = attribute.u32()?,
            IFA_PROTO => tagged = attribute.u8()? == PROTOCOL_TAG,
            _ => {}
        }
    }
    if local.is_some() && peer.is_some() && local != peer {
        return Ok(None);
    }
    let ip = local.or(peer).ok_or(Malformed)?;
    let address = Cidr::new(ip, prefix).map_err(|_| Malformed)?;
    Ok(Some(AddressMessage { index, address, label, scope: scope_of(scope), tagged, flags }))
}

/// Carries out address operations, all in one go.
pub(crate) fn apply(socket: &mut Requester, ops: &[Op]) -> Vec<Result<(), ApplyError>> {
    let names: BTreeSet<String> = ops.iter().filter_map(key).map(|key| key.interface.clone()).collect();
    let links = match link::resolve(socket, &names) {
        Ok(links) => links,
        Err(error) => return ops.iter().map(|_| Err(error.clone())).collect(),
    };
    let encode = |batch: &mut Batch, op: &Op| encode(batch, op, &links);
    let meaning =
        |socket: &mut Requester, op: &Op, refusal: &Refusal| meaning_of(socket, op, refusal, &links);
    carry_out(socket, ops, encode, meaning)
}

const fn key(op: &Op) -> Option<&AddressKey> {
    match op {
        Op::DelAddress(key) | Op::AddAddress { key, .. } => Some(key),
        _ => None,
    }
}

/// Appends the operation's message, unless there is nothing to be sent.
fn encode(batch: &mut Batch, op: &Op, links: &BTreeMap<String, Resolved>) -> Result<(), ApplyError> {
    let Some(key) = key(op) else { return Ok(()) };
    let link = links.get(&key.interface);
    let Op::AddAddress { value, .. } = op else {
        // Addresses go with their interface.
        let Some(link) = link else { return Ok(()) };
        batch.message(libc::RTM_DELADDR, 0, |w| write(w, key, link.index, None));
        return Ok(());
    };
    let Some(link) = link else {
        let message = format!("{op}: there is no interface {}", key.interface);
        return Err(ApplyError::with_errno(Class::Transient, message, Some(libc::ENODEV)));
    };
    if key.address.address().is_ipv6() && value.label.is_some() {
        let message = format!("{op}: an IPv6 address has no label");
        return Err(ApplyError::new(Class::Permanent, message));
    }
    // Never `REPLACE`: it would put our tag on an address that someone else has made meanwhile.
    let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    batch.message(libc::RTM_NEWADDR, flags, |w| write(w, key, link.index, Some(value)));
    Ok(())
}

fn write(w: &mut Writer<'_>, key: &AddressKey, index: u32, value: Option<&Address>) {
    let ip = key.address.address();
    let scope = value.map_or(0, |value| scope_number(value.scope));
    w.raw(&[family(ip), key.address.prefix(), 0, scope]);
    w.raw(&index.to_ne_bytes());
    w.ip(libc::IFA_LOCAL, ip);
    w.ip(libc::IFA_ADDRESS, ip);
    let Some(value) = value else { return };
    if let Some(label) = &value.label {
        w.text(libc::IFA_LABEL, label);
    }
    if value.no_dad {
        w.u32(IFA_FLAGS, libc::IFA_F_NODAD);
    }
    if value.deprecated {
        w.attribute(libc::IFA_CACHEINFO, &DEPRECATED_FOR_EVER.map(u32::to_ne_bytes).concat());
    }
    w.u8(IFA_PROTO, PROTOCOL_TAG);
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
        (Op::DelAddress(_), Errno::EADDRNOTAVAIL | Errno::ENODEV) => Ok(()),
        (Op::AddAddress { key, value, .. }, Errno::EEXIST) => {
            let asked = links.iter().filter(|(name, _)| **name == key.interface);
            let there = observe(socket, &asked.map(|(n, l)| (n.clone(), l.clone())).collect())?;
            if there.get(key).is_some_and(|have| same_address(key, value, have)) {
                return Ok(());
            }
            let cause = "it is there with other properties or another prefix length, made by something else";
            Err(refusal.because(&doing, Class::Conflict, cause))
        }
        (_, Errno::EACCES) if key(op).is_some_and(|key| key.address.address().is_ipv6()) => {
            let cause = "IPv6 is disabled on the interface (disable_ipv6)";
            Err(refusal.because(&doing, Class::Unsupported, cause))
        }
        (_, Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) => {
            Err(refusal.because(&doing, Class::Unsupported, NO_FAMILY))
        }
        (_, Errno::EADDRNOTAVAIL) => {
            Err(refusal.because(&doing, Class::Permanent, "the kernel does not take such an address"))
        }
        _ => Err(refusal.explain(&doing)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::messages;

    fn key(text: &str, prefix: u8) -> AddressKey {
        let address = Cidr::new(text.parse().expect("an address"), prefix).expect("a prefix");
        AddressKey { interface: "lo".to_owned(), address }
    }

    #[test]
    fn a_vip_is_encoded_without_broadcast_and_with_our_tag() {
        let mut batch = Batch::default();
        let value = Address::ours(key("192.0.2.7", 32).address, Scope::Host, Some("lo:0".to_owned()));
        batch.message(libc::RTM_NEWADDR, 0, |w| write(w, &key("192.0.2.7", 32), 1, Some(&value)));
        let bytes = batch.numbered(0, 1, 1, false).to_vec();
        #[rustfmt::skip]
        let wanted = [
            2, 32, 0, 254,  1, 0, 0, 0,
            8, 0, 2, 0,  192, 0, 2, 7,
            8, 0, 1, 0,  192, 0, 2, 7,
            9, 0, 3, 0,  b'l', b'o', b':', b'0', 0, 0, 0, 0,
            5, 0, 11, 0,  0xEE, 0, 0, 0,
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(bytes[16..], wanted);
        }
        let message = messages(&bytes).next().expect("one").expect("well-formed");
        let entry = parse(message.kind, message.body).expect("well-formed").expect("an address");
        assert_eq!(entry.address, key("192.0.2.7", 32).address);
        assert_eq!((entry.label.as_deref(), entry.scope, entry.tagged), (Some("lo:0"), Scope::Host, true));
    }

    #[test]
    fn a_peer_address_is_left_out() {
        let mut batch = Batch::default();
        batch.message(libc::RTM_NEWADDR, 0, |w| {
            w.raw(&[AF_INET, 32, 0, 0, 1, 0, 0, 0]);
            w.attribute(libc::IFA_LOCAL, &[192, 0, 2, 1]);
            w.attribute(libc::IFA_ADDRESS, &[192, 0, 2, 2]);
        });
        let bytes = batch.numbered(0, 1, 1, false);
        let message = messages(bytes).next().expect("one").expect("well-formed");
        assert_eq!(parse(message.kind, message.body), Ok(None));
    }

    #[test]
    fn a_prefix_length_out_of_range_is_an_error() {
        let body = [AF_INET, 77, 0, 0, 1, 0, 0, 0, 8, 0, 2, 0, 192, 0, 2, 1];
        assert_eq!(parse(libc::RTM_NEWADDR, &body), Err(Malformed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 1..200),
            v6: bool,
        ) {
            let _ = parse(libc::RTM_NEWADDR, &bytes);
            bytes[0] = if v6 { AF_INET6 } else { AF_INET };
            let _ = parse(libc::RTM_NEWADDR, &bytes);
        }
    }
}
