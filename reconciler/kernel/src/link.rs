//! Network interfaces: reading only.
//!
//! `struct ifinfomsg` and `IFLA_*` (`linux/rtnetlink.h`, `linux/if_link.h`, rtnetlink(7)).

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;

use crate::error::KernelError;
use crate::netlink::Requester;
use crate::wire::{Batch, Malformed, attributes, u8_at, u32_at};

/// Length of `struct ifinfomsg`.
const HEADER_LEN: usize = 16;
/// `AF_UNSPEC` in a netlink header.
const AF_UNSPEC: u8 = 0;
/// Longest interface name, `IFNAMSIZ` less the terminator.
const NAME_MAX: usize = 15;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Index, never reused while the interface exists.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Whether it is set up (`IFF_UP`): the administrator's wish.
    pub up: bool,
    /// Whether it can carry packets (`IFF_RUNNING`: set up, and its operational state is up or
    /// unknown, RFC 2863).
    pub running: bool,
    /// Whether there is a carrier (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// Largest packet, bytes.
    pub mtu: u32,
    /// Hardware address, for interfaces with one of 6 bytes (Ethernet; all zero on `lo`).
    pub mac: Option<[u8; 6]>,
}

/// All interfaces, by index.
pub(crate) fn observe(socket: &mut Requester) -> Result<Vec<Link>, KernelError> {
    let mut request = request(libc::NLM_F_DUMP, None);
    let mut links =
        socket.dump(&mut request, parse)?.map_err(|refusal| refusal.explain("cannot read the interfaces"))?;
    links.sort_by_key(|link| link.index);
    Ok(links)
}

/// The interface of this index; none when there is none.
pub(crate) fn find(socket: &mut Requester, index: u32) -> Result<Option<Link>, KernelError> {
    let mut batch = Batch::default();
    batch.message(libc::RTM_GETLINK, 0, |w| {
        w.raw(&[0; 4]);
        w.raw(&index.to_ne_bytes());
        w.raw(&[0; 8]);
        w.u32(libc::IFLA_EXT_MASK, u32::try_from(libc::RTEXT_FILTER_SKIP_STATS).unwrap_or_default());
    });
    match socket.get(&mut batch, parse)? {
        Ok(links) => Ok(links.into_iter().next()),
        Err(refusal) if refusal.code() == Errno::ENODEV => Ok(None),
        Err(refusal) => Err(refusal.explain(&format!("cannot read interface {index}"))),
    }
}

/// An interface that was asked for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// Index.
    pub(crate) index: u32,
    /// The kernel's name for it; another one when the name asked for is an alternative name.
    pub(crate) kernel_name: String,
}

/// The interfaces of these names that are there.
pub(crate) fn resolve(
    socket: &mut Requester,
    names: &BTreeSet<String>,
) -> Result<BTreeMap<String, Resolved>, KernelError> {
    let mut found = BTreeMap::new();
    for name in names.iter().filter(|name| (1..=NAME_MAX).contains(&name.len())) {
        let doing = || format!("cannot read interface {name}");
        match socket.get(&mut request(0, Some(name)), parse)? {
            Ok(links) => {
                let link = links.into_iter().next().ok_or_else(|| KernelError::malformed(name))?;
                found.insert(name.clone(), Resolved { index: link.index, kernel_name: link.name });
            }
            Err(refusal) if refusal.code() == Errno::ENODEV => {}
            Err(refusal) => return Err(refusal.explain(&doing())),
        }
    }
    Ok(found)
}

fn request(flags: i32, name: Option<&str>) -> Batch {
    let mut batch = Batch::default();
    batch.message(libc::RTM_GETLINK, flags, |w| {
        w.raw(&[0; HEADER_LEN]);
        // Counters are most of an answer's bytes and nobody here reads them.
        w.u32(libc::IFLA_EXT_MASK, u32::try_from(libc::RTEXT_FILTER_SKIP_STATS).unwrap_or_default());
        if let Some(name) = name {
            w.text(libc::IFLA_IFNAME, name);
        }
    });
    batch
}

/// Reads an `RTM_NEWLINK` or `RTM_DELLINK` message.
pub(crate) fn parse(kind: u16, body: &[u8]) -> Result<Option<Link>, Malformed> {
    // A bridge tells of its ports in messages of its own family: a port that leaves is not a link
    // that goes.
    if !matches!(kind, libc::RTM_NEWLINK | libc::RTM_DELLINK) || u8_at(body, 0)? != AF_UNSPEC {
        return Ok(None);
    }
    let flags = u32_at(body, 8)?.cast_signed();
    let mut link = Link {
        index: u32_at(body, 4)?,
        name: String::new(),
        up: flags & libc::IFF_UP != 0,
        running: flags & libc::IFF_RUNNING != 0,
        carrier: flags & libc::IFF_LOWER_UP != 0,
        mtu: 0,
        mac: None,
    };
    for attribute in attributes(body.get(HEADER_LEN..).ok_or(Malformed)?) {
        let attribute = attribute?;
        match attribute.kind {
            libc::IFLA_IFNAME => attribute.text()?.clone_into(&mut link.name),
            libc::IFLA_MTU => link.mtu = attribute.u32()?,
            libc::IFLA_ADDRESS => link.mac = attribute.value.try_into().ok(),
            _ => {}
        }
    }
    if link.name.is_empty() { Ok(None) } else { Ok(Some(link)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::messages;

    #[test]
    fn a_link_is_read() {
        let flags = (libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_LOWER_UP).cast_unsigned();
        let mut batch = Batch::default();
        batch.message(libc::RTM_NEWLINK, 0, |w| {
            w.raw(&[0, 0, 1, 0]);
            w.raw(&2_u32.to_ne_bytes());
            w.raw(&flags.to_ne_bytes());
            w.raw(&[0; 4]);
            w.text(libc::IFLA_IFNAME, "eth0");
            w.u32(libc::IFLA_MTU, 1500);
            w.attribute(libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1]);
            w.attribute(9999, &[1, 2, 3]);
        });
        let bytes = batch.numbered(0, 1, 1, false);
        let message = messages(bytes).next().expect("one").expect("well-formed");
        let link = parse(message.kind, message.body).expect("well-formed").expect("a link");
        let wanted = Link {
            index: 2,
            name: "eth0".to_owned(),
            up: true,
            running: true,
            carrier: true,
            mtu: 1500,
            mac: Some([2, 0, 0, 0, 0, 1]),
        };
        assert_eq!(link, wanted);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(libc::RTM_NEWLINK, &bytes);
        }
    }
}
