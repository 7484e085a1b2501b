//! Routing rules.
//!
//! `struct fib_rule_hdr` and `FRA_*` (`linux/fib_rules.h`, ip-rule(8)). Only rules that a plan can name
//! are looked at: from and to networks, by an interface, with a mark, to a table. Those that the kernel
//! makes itself are left out.

use std::collections::BTreeMap;

use evenkeel_converge::model::PROTOCOL_TAG;
use evenkeel_converge::{Mark, Op, Rule, RuleKey};
use evenkeel_schemas::scalars::Cidr;
use nix::errno::Errno;

use crate::address::{AF_INET, AF_INET6, FAMILIES, is_of};
use crate::apply::carry_out;
use crate::error::{ApplyError, Class, KernelError, Refusal};
use crate::netlink::Requester;
use crate::wire::{Attribute, Batch, Malformed, Writer, attributes, u8_at, u32_at};

/// Length of `struct fib_rule_hdr`.
const HEADER_LEN: usize = 12;
/// `FIB_RULE_INVERT` (`linux/fib_rules.h`).
const INVERT: u32 = 2;
/// `FR_ACT_TO_TBL`.
const ACTION_TABLE: u8 = 1;
/// `FRA_*`.
mod fra {
    pub(super) const DST: u16 = 1;
    pub(super) const SRC: u16 = 2;
    pub(super) const IIFNAME: u16 = 3;
    pub(super) const PRIORITY: u16 = 6;
    pub(super) const FWMARK: u16 = 10;
    pub(super) const SUPPRESS_IFGROUP: u16 = 13;
    pub(super) const SUPPRESS_PREFIXLEN: u16 = 14;
    pub(super) const TABLE: u16 = 15;
    pub(super) const FWMASK: u16 = 16;
    pub(super) const PAD: u16 = 18;
    pub(super) const PROTOCOL: u16 = 21;
}

/// All rules that a plan can name.
pub(crate) fn observe(socket: &mut Requester) -> Result<BTreeMap<RuleKey, Rule>, KernelError> {
    let mut rules = BTreeMap::new();
    for family in FAMILIES {
        let mut request = Batch::default();
        request.message(libc::RTM_GETRULE, libc::NLM_F_DUMP, |w| {
            w.raw(&[family]);
            w.raw(&[0; HEADER_LEN - 1]);
        });
        let of_family = |kind, body: &[u8]| if is_of(family, body) { parse(kind, body) } else { Ok(None) };
        match socket.dump(&mut request, of_family)? {
            Ok(told) => {
                for (key, rule) in told {
                    // Two that differ in nothing but their maker are one: ours, if one is.
                    let known = rules.entry(key).or_insert(rule);
                    known.tagged |= rule.tagged;
                }
            }
            // A kernel without policy routing, or without the family.
            Err(refusal) if matches!(refusal.code(), Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) => {}
            Err(refusal) => return Err(refusal.explain("cannot read the routing rules")),
        }
    }
    Ok(rules)
}

/// Reads an `RTM_NEWRULE` message; `None` for rules that the kernel made or a plan cannot name.
fn parse(kind: u16, body: &[u8]) -> Result<Option<(RuleKey, Rule)>, Malformed> {
    let family = u8_at(body, 0)?;
    if kind != libc::RTM_NEWRULE || !FAMILIES.contains(&family) {
        return Ok(None);
    }
    let (to_len, from_len, tos) = (u8_at(body, 1)?, u8_at(body, 2)?, u8_at(body, 3)?);
    let mut plain = tos == 0 && u8_at(body, 7)? == ACTION_TABLE && u32_at(body, 8)? & INVERT == 0;
    let (mut value, mut mask, mut protocol) = (0, 0, 0);
    let mut key = RuleKey {
        v6: family == AF_INET6,
        preference: 0,
        from: None,
        to: None,
        iif: None,
        mark: None,
        table: u32::from(u8_at(body, 4)?),
    };
    for attribute in attributes(body.get(HEADER_LEN..).ok_or(Malformed)?) {
        let attribute = attribute?;
        match attribute.kind {
            fra::DST => key.to = network(attribute, to_len)?,
            fra::SRC => key.from = network(attribute, from_len)?,
            fra::IIFNAME => key.iif = Some(attribute.text()?.to_owned()),
            fra::PRIORITY => key.preference = attribute.u32()?,
            fra::FWMARK => value = attribute.u32()?,
            fra::FWMASK => mask = attribute.u32()?,
            fra::TABLE => key.table = attribute.u32()?,
            fra::PROTOCOL => protocol = attribute.u8()?,
            // Every rule has this attribute: all bits set is "nothing is suppressed".
            fra::SUPPRESS_PREFIXLEN | fra::SUPPRESS_IFGROUP => {
                plain &= attribute.u32()? == u32::MAX;
            }
            fra::PAD => {}
            // Any other attribute is a condition or an action that a plan cannot name.
            _ => plain = false,
        }
    }
    if mask != 0 {
        key.mark = Some(Mark { value, mask });
    }
    if protocol == libc::RTPROT_KERNEL || !plain {
        return Ok(None);
    }
    Ok(Some((key, Rule { tagged: protocol == PROTOCOL_TAG })))
}

fn network(attribute: Attribute<'_>, prefix: u8) -> Result<Option<Cidr>, Malformed> {
    let network = Cidr::new(attribute.ip()?, prefix).map_err(|_| Malformed)?;
    Ok(Some(network).filter(|network| network.prefix() > 0))
}

/// Carries out rule operations, all in one go.
pub(crate) fn apply(socket: &mut Requester, ops: &[Op]) -> Vec<Result<(), ApplyError>> {
    let encode = |batch: &mut Batch, op: &Op| {
        match op {
            Op::AddRule { key, .. } => {
                let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
                batch.message(libc::RTM_NEWRULE, flags, |w| write(w, key));
            }
            Op::DelRule(key) => batch.message(libc::RTM_DELRULE, 0, |w| write(w, key)),
            _ => {}
        }
        Ok(())
    };
    carry_out(socket, ops, encode, meaning_of)
}

fn write(w: &mut Writer<'_>, key: &RuleKey) {
    let length = |network: &Option<Cidr>| network.map_or(0, Cidr::prefix);
    let family = if key.v6 { AF_INET6 } else { AF_INET };
    let table = u8::try_from(key.table).unwrap_or(libc::RT_TABLE_UNSPEC);
    w.raw(&[family, length(&key.to), length(&key.from), 0, table, 0, 0, ACTION_TABLE, 0, 0, 0, 0]);
    if let Some(to) = key.to {
        w.ip(fra::DST, to.address());
    }
    if let Some(from) = key.from {
        w.ip(fra::SRC, from.address());
    }
    if let Some(iif) = &key.iif {
        w.text(fra::IIFNAME, iif);
    }
    w.u32(fra::PRIORITY, key.preference);
    if let Some(mark) = key.mark {
        w.u32(fra::FWMARK, mark.value);
        w.u32(fra::FWMASK, mark.mask);
    }
    w.u32(fra::TABLE, key.table);
    w.u8(fra::PROTOCOL, PROTOCOL_TAG);
}

/// Decides what a refusal means: what is already as it should be is a success.
fn meaning_of(socket: &mut Requester, op: &Op, refusal: &Refusal) -> Result<(), ApplyError> {
    let doing = op.to_string();
    match (op, refusal.code()) {
        (Op::DelRule(_), Errno::ENOENT) => Ok(()),
        (Op::AddRule { key, .. }, Errno::EEXIST) => {
            if observe(socket)?.contains_key(key) {
                return Ok(());
            }
            Err(refusal.because(&doing, Class::Conflict, "another rule is in the way"))
        }
        (_, Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) => {
            let cause = "the kernel lacks policy routing, or this address family";
            Err(refusal.because(&doing, Class::Unsupported, cause))
        }
        _ => Err(refusal.explain(&doing)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::messages;

    fn read(write: impl FnOnce(&mut Writer<'_>)) -> Option<(RuleKey, Rule)> {
        let mut batch = Batch::default();
        batch.message(libc::RTM_NEWRULE, 0, write);
        let bytes = batch.numbered(0, 1, 1, false);
        let message = messages(bytes).next().expect("one").expect("well-formed");
        parse(message.kind, message.body).expect("well-formed")
    }

    fn network(v6: bool) -> impl Strategy<Value = Option<Cidr>> {
        let v4 = (any::<[u8; 4]>(), 1_u8..=32).prop_map(|(ip, prefix)| (IpAddr::from(ip), prefix));
        let six = (any::<[u8; 16]>(), 1_u8..=128).prop_map(|(ip, prefix)| (IpAddr::from(ip), prefix));
        let either = if v6 { six.boxed() } else { v4.boxed() };
        prop::option::of(either.prop_map(|(ip, prefix)| Cidr::new(ip, prefix).expect("in range")))
    }

    fn key() -> impl Strategy<Value = RuleKey> {
        any::<bool>().prop_flat_map(|v6| {
            let mark = (any::<u32>(), 1..=u32::MAX).prop_map(|(value, mask)| Mark { value, mask });
            let (iif, mark) = (prop::option::of("[a-z]{1,15}"), prop::option::of(mark));
            (any::<u32>(), network(v6), network(v6), iif, mark, 1..=u32::MAX).prop_map(
                move |(preference, from, to, iif, mark, table)| RuleKey {
                    v6,
                    preference,
                    from,
                    to,
                    iif,
                    mark,
                    table,
                },
            )
        })
    }

    #[test]
    fn rules_that_a_plan_cannot_name_are_left_out() {
        let told = |tos: u8, action: u8, flags: u32, more: fn(&mut Writer<'_>)| {
            read(|w| {
                w.raw(&[AF_INET, 0, 0, tos, 5, 0, 0, action]);
                w.raw(&flags.to_ne_bytes());
                w.u32(fra::PRIORITY, 100);
                w.u32(fra::SUPPRESS_PREFIXLEN, u32::MAX);
                more(w);
            })
        };
        let plain = told(0, ACTION_TABLE, 0, |_| {}).expect("one that a plan can name");
        assert_eq!((plain.0.to_string().as_str(), plain.1.tagged), ("100: from all lookup 5", false));
        assert_eq!(told(16, ACTION_TABLE, 0, |_| {}), None);
        assert_eq!(told(0, 6, 0, |_| {}), None, "blackhole");
        assert_eq!(told(0, ACTION_TABLE, INVERT, |_| {}), None);
        assert_eq!(told(0, ACTION_TABLE, 0, |w| w.text(17, "eth0")), None, "output interface");
        let kernel = |w: &mut Writer<'_>| w.u8(fra::PROTOCOL, libc::RTPROT_KERNEL);
        assert_eq!(told(0, ACTION_TABLE, 0, kernel), None);
    }

    proptest! {
        #[test]
        fn rules_survive_the_round_trip(key in key()) {
            prop_assert_eq!(read(|w| write(w, &key)), Some((key, Rule { tagged: true })));
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 1..200),
            v6: bool,
        ) {
            let _ = parse(libc::RTM_NEWRULE, &bytes);
            bytes[0] = if v6 { AF_INET6 } else { AF_INET };
            let _ = parse(libc::RTM_NEWRULE, &bytes);
        }
    }
}
