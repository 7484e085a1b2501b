//! What all generic netlink families share (`linux/genetlink.h`): their numbers and their header.

use crate::error::{KernelError, Refusal};
use crate::netlink::Requester;
use crate::wire::{Batch, Malformed, Writer, attributes};

/// Length of `struct genlmsghdr`.
pub(crate) const HEADER_LEN: usize = 4;
/// Version of all families that are spoken here.
const VERSION: u8 = 1;

/// The number of a family, loading its module when need be. `Ok(Err(_))` is the kernel's refusal.
pub(crate) fn family(socket: &mut Requester, name: &str) -> Result<Result<u16, Refusal>, KernelError> {
    let mut request = Batch::default();
    let controller = u16::try_from(libc::GENL_ID_CTRL).unwrap_or_default();
    let ask = u8::try_from(libc::CTRL_CMD_GETFAMILY).unwrap_or_default();
    message(&mut request, controller, ask, 0, |w| {
        w.text(u16::try_from(libc::CTRL_ATTR_FAMILY_NAME).unwrap_or_default(), name);
    });
    Ok(match socket.get(&mut request, parse_family)? {
        Ok(numbers) => {
            let what = format!("the generic netlink family {name}");
            Ok(numbers.first().copied().ok_or_else(|| KernelError::malformed(&what))?)
        }
        Err(refusal) => Err(refusal),
    })
}

fn parse_family(_: u16, body: &[u8]) -> Result<Option<u16>, Malformed> {
    for attribute in attributes(body.get(HEADER_LEN..).ok_or(Malformed)?) {
        let attribute = attribute?;
        if i32::from(attribute.kind) == libc::CTRL_ATTR_FAMILY_ID {
            return attribute.u16().map(Some);
        }
    }
    Ok(None)
}

/// Appends a message of a family.
pub(crate) fn message(
    batch: &mut Batch,
    number: u16,
    command: u8,
    flags: i32,
    body: impl FnOnce(&mut Writer<'_>),
) {
    batch.message(number, flags, |w| {
        w.raw(&[command, VERSION, 0, 0]);
        body(w);
    });
}

/// The attributes nested in the attribute `outer` of a message, if it is there.
///
/// # Errors
/// When the message is not well-formed up to there.
pub(crate) fn nested(body: &[u8], outer: u16) -> Result<Option<&[u8]>, Malformed> {
    for attribute in attributes(body.get(HEADER_LEN..).ok_or(Malformed)?) {
        let attribute = attribute?;
        if attribute.kind == outer {
            return Ok(Some(attribute.value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_family(0, &bytes);
        }
    }
}
