//! UDP ports at which packets are unwrapped, over generic netlink (`linux/fou.h`, ip-fou(8)).
//!
//! Unlike IPVS, the family does not load its module when it is asked for: where `fou` is not loaded there are
//! no ports, and making one asks for the module by name and says what is missing.

use std::collections::BTreeMap;

use evenkeel_converge::{GuePort, Op, Unwrap};
use nix::errno::Errno;

use crate::address::{AF_INET, AF_INET6, NO_FAMILY};
use crate::error::{ApplyError, Class, KernelError};
use crate::generic::{self, HEADER_LEN};
use crate::module::{self, Pause};
use crate::netlink::{Failure, Requester};
use crate::wire::{Batch, Malformed, Writer, attributes};

/// Name of the family and of its module.
const FAMILY: &str = "fou";
/// Time of the last request for the module.
static ASKED: Pause = Pause::new();

/// `FOU_CMD_*`.
mod command {
    pub(super) const ADD: u8 = 1;
    pub(super) const DEL: u8 = 2;
    pub(super) const GET: u8 = 3;
}

/// `FOU_ATTR_*`.
mod attribute {
    pub(super) const PORT: u16 = 1;
    pub(super) const AF: u16 = 2;
    pub(super) const PROTOCOL: u16 = 3;
    pub(super) const TYPE: u16 = 4;
    pub(super) const PEER_PORT: u16 = 10;
}

/// `FOU_ENCAP_GUE`.
const GUE: u8 = 2;

/// All ports at which this network namespace unwraps packets.
pub(crate) fn observe(socket: &mut Requester) -> Result<BTreeMap<GuePort, Unwrap>, KernelError> {
    let Some(number) = number(socket, "cannot read the GUE ports")? else { return Ok(BTreeMap::new()) };
    let mut request = Batch::default();
    generic::message(&mut request, number, command::GET, libc::NLM_F_DUMP, |_| {});
    let found = socket.dump(&mut request, parse)?;
    Ok(found.map_err(|refusal| refusal.explain("cannot read the GUE ports"))?.into_iter().collect())
}

/// Carries out one operation on a port.
pub(crate) fn apply(socket: &mut Requester, op: &Op) -> Result<(), ApplyError> {
    let (command, key) = match op {
        Op::AddGue(key) => (command::ADD, key),
        Op::DelGue(key) => (command::DEL, key),
        _ => return Ok(()),
    };
    let doing = op.to_string();
    let mut known = number(socket, &doing)?;
    if known.is_none() && matches!(op, Op::AddGue(_)) && ASKED.is_over() {
        module::load(FAMILY);
        known = number(socket, &doing)?;
    }
    let Some(number) = known else {
        if matches!(op, Op::DelGue(_)) {
            return Ok(());
        }
        let message = format!("{doing}: the kernel's module fou is not loaded: {}", module::advice(FAMILY));
        return Err(ApplyError::with_errno(Class::Unsupported, message, Some(libc::ENOENT)));
    };
    let mut batch = Batch::default();
    generic::message(&mut batch, number, command, 0, |w| write(w, *key));
    let refusal = match socket.transact(&mut batch).into_iter().next() {
        None | Some(Ok(())) => return Ok(()),
        Some(Err(Failure::Unknown(error))) => return Err(error),
        Some(Err(Failure::Refused(refusal))) => refusal,
    };
    let is_add = matches!(op, Op::AddGue(_));
    match refusal.code() {
        Errno::EINVAL | Errno::ENOENT if !is_add && !observe(socket)?.contains_key(key) => Ok(()),
        Errno::EADDRINUSE | Errno::EALREADY | Errno::EEXIST if is_add => {
            if observe(socket)?.get(key) == Some(&Unwrap::Gue) {
                return Ok(());
            }
            Err(refusal.because(&doing, Class::Conflict, "something else uses this UDP port"))
        }
        Errno::EAFNOSUPPORT | Errno::EPFNOSUPPORT => {
            Err(refusal.because(&doing, Class::Unsupported, NO_FAMILY))
        }
        _ => Err(refusal.explain(&doing)),
    }
}

/// The family's number; none while its module is not loaded.
fn number(socket: &mut Requester, doing: &str) -> Result<Option<u16>, KernelError> {
    match generic::family(socket, FAMILY)? {
        Ok(number) => Ok(Some(number)),
        Err(refusal) if refusal.code() == Errno::ENOENT => Ok(None),
        Err(refusal) => Err(refusal.explain(doing)),
    }
}

fn write(w: &mut Writer<'_>, key: GuePort) {
    w.be16(attribute::PORT, key.port);
    w.u8(attribute::AF, if key.v6 { AF_INET6 } else { AF_INET });
    w.u8(attribute::TYPE, GUE);
}

fn parse(_: u16, body: &[u8]) -> Result<Option<(GuePort, Unwrap)>, Malformed> {
    let (mut port, mut family, mut sort, mut protocol, mut peer) = (None, None, 0, 0, 0);
    for attribute in attributes(body.get(HEADER_LEN..).ok_or(Malformed)?) {
        let attribute = attribute?;
        match attribute.kind {
            attribute::PORT => port = Some(attribute.be16()?),
            attribute::AF => family = Some(attribute.u8()?),
            attribute::TYPE => sort = attribute.u8()?,
            attribute::PROTOCOL => protocol = attribute.u8()?,
            attribute::PEER_PORT => peer = attribute.be16()?,
            _ => {}
        }
    }
    let (Some(port), Some(family)) = (port, family) else { return Err(Malformed) };
    let value = if sort == GUE && peer == 0 { Unwrap::Gue } else { Unwrap::Other { protocol } };
    Ok(Some((GuePort { v6: family == AF_INET6, port }, value)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::messages;

    fn body(key: GuePort) -> Vec<u8> {
        let mut batch = Batch::default();
        generic::message(&mut batch, 30, command::ADD, 0, |w| write(w, key));
        let bytes = batch.numbered(0, 1, 1, false);
        messages(bytes).next().expect("one").expect("well-formed").body.to_vec()
    }

    #[test]
    fn a_port_is_encoded_as_the_header_says() {
        #[rustfmt::skip]
        let wanted = [
            1, 1, 0, 0,
            6, 0, 1, 0,  0x17, 0xc0, 0, 0,
            5, 0, 2, 0,  2, 0, 0, 0,
            5, 0, 4, 0,  2, 0, 0, 0,
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(body(GuePort { v6: false, port: 6080 }), wanted);
        }
    }

    proptest! {
        #[test]
        fn ports_survive_the_round_trip(v6: bool, port: u16) {
            let key = GuePort { v6, port };
            prop_assert_eq!(parse(0, &body(key)), Ok(Some((key, Unwrap::Gue))));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(0, &bytes);
        }
    }
}
