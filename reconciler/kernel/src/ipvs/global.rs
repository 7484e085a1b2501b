//! What IPVS has once in a network namespace: time-outs and synchronisation daemons, as bytes both ways
//! (`linux/ip_vs.h`).

use std::net::IpAddr;

use evenkeel_converge::{Op, SyncDaemon, SyncRole, Timeouts};

use super::numbers::{command, daemon, state, top};
use crate::generic::{HEADER_LEN, message, nested};
use crate::wire::{Batch, Malformed, Writer, attributes};

/// Asks for the time-outs.
pub(super) fn get_timeouts(batch: &mut Batch, number: u16) {
    message(batch, number, command::GET_CONFIG, 0, |_| {});
}

/// Asks for the daemons that run.
pub(super) fn get_daemons(batch: &mut Batch, number: u16) {
    message(batch, number, command::GET_DAEMON, libc::NLM_F_DUMP, |_| {});
}

/// Appends the operation's message; `false` when it is about something else.
pub(super) fn encode(batch: &mut Batch, number: u16, op: &Op) -> bool {
    match op {
        Op::SetTimeouts { value, .. } => message(batch, number, command::SET_CONFIG, 0, |w| {
            w.u32(top::TIMEOUT_TCP, value.tcp);
            w.u32(top::TIMEOUT_TCP_FIN, value.tcp_fin);
            w.u32(top::TIMEOUT_UDP, value.udp);
        }),
        Op::StartSync(role, value) => {
            message(batch, number, command::NEW_DAEMON, 0, |w| write_daemon(w, *role, Some(value)));
        }
        Op::StopSync(role) => {
            message(batch, number, command::DEL_DAEMON, 0, |w| write_daemon(w, *role, None));
        }
        _ => return false,
    }
    true
}

fn write_daemon(w: &mut Writer<'_>, role: SyncRole, value: Option<&SyncDaemon>) {
    w.nest(top::DAEMON, |w| {
        w.u32(daemon::STATE, state_of(role));
        let Some(value) = value else { return };
        w.text(daemon::MCAST_IFN, &value.interface);
        w.u32(daemon::SYNC_ID, value.id);
        if let Some(maxlen) = value.maxlen {
            w.u16(daemon::SYNC_MAXLEN, maxlen);
        }
        match value.group {
            IpAddr::V4(_) => w.ip(daemon::MCAST_GROUP, value.group),
            IpAddr::V6(_) => w.ip(daemon::MCAST_GROUP6, value.group),
        }
        w.u16(daemon::MCAST_PORT, value.port);
        w.u8(daemon::MCAST_TTL, value.ttl);
    });
}

const fn state_of(role: SyncRole) -> u32 {
    match role {
        SyncRole::Master => state::MASTER,
        SyncRole::Backup => state::BACKUP,
    }
}

/// Reads the time-outs.
pub(super) fn parse_timeouts(_: u16, body: &[u8]) -> Result<Option<Timeouts>, Malformed> {
    let (mut tcp, mut tcp_fin, mut udp) = (None, None, None);
    for attribute in attributes(body.get(HEADER_LEN..).ok_or(Malformed)?) {
        let attribute = attribute?;
        match attribute.kind {
            top::TIMEOUT_TCP => tcp = Some(attribute.u32()?),
            top::TIMEOUT_TCP_FIN => tcp_fin = Some(attribute.u32()?),
            top::TIMEOUT_UDP => udp = Some(attribute.u32()?),
            _ => {}
        }
    }
    // A kernel may lack a protocol; without all three there is nothing to compare.
    let all = (tcp, tcp_fin, udp);
    Ok(if let (Some(tcp), Some(tcp_fin), Some(udp)) = all {
        Some(Timeouts { tcp, tcp_fin, udp })
    } else {
        None
    })
}

/// Reads a daemon that runs.
pub(super) fn parse_daemon(_: u16, body: &[u8]) -> Result<Option<(SyncRole, SyncDaemon)>, Malformed> {
    let Some(inner) = nested(body, top::DAEMON)? else { return Ok(None) };
    let mut role = None;
    let mut value = SyncDaemon::plain("", 0);
    for attribute in attributes(inner) {
        let attribute = attribute?;
        match attribute.kind {
            daemon::STATE => {
                let number = attribute.u32()?;
                role =
                    [SyncRole::Master, SyncRole::Backup].into_iter().find(|role| state_of(*role) == number);
            }
            daemon::MCAST_IFN => attribute.text()?.clone_into(&mut value.interface),
            daemon::SYNC_ID => value.id = attribute.u32()?,
            daemon::SYNC_MAXLEN => value.maxlen = Some(attribute.u16()?),
            daemon::MCAST_GROUP | daemon::MCAST_GROUP6 => value.group = attribute.ip()?,
            daemon::MCAST_PORT => value.port = attribute.u16()?,
            daemon::MCAST_TTL => value.ttl = attribute.u8()?,
            _ => {}
        }
    }
    Ok(role.map(|role| (role, value)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::messages;

    fn body(op: &Op) -> Vec<u8> {
        let mut batch = Batch::default();
        assert!(encode(&mut batch, 30, op));
        let bytes = batch.numbered(0, 1, 1, false);
        messages(bytes).next().expect("one").expect("well-formed").body.to_vec()
    }

    #[test]
    fn a_daemon_is_encoded_as_the_header_says() {
        #[rustfmt::skip]
        let wanted = [
            9, 1, 0, 0,
            56, 0, 3, 0x80,
            8, 0, 1, 0,  2, 0, 0, 0,
            9, 0, 2, 0,  b'e', b't', b'h', b'0', 0, 0, 0, 0,
            8, 0, 3, 0,  51, 0, 0, 0,
            8, 0, 5, 0,  224, 0, 0, 81,
            6, 0, 7, 0,  0x90, 0x22, 0, 0,
            5, 0, 8, 0,  1, 0, 0, 0,
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(body(&Op::StartSync(SyncRole::Backup, SyncDaemon::plain("eth0", 51))), wanted);
        }
    }

    proptest! {
        #[test]
        fn daemons_survive_the_round_trip(
            interface in "[a-z]{1,15}",
            id: u8,
            maxlen: Option<u16>,
            v4: [u8; 4],
            v6: Option<[u8; 16]>,
            port: u16,
            ttl: u8,
            master: bool,
        ) {
            let group = v6.map_or(IpAddr::from(v4), IpAddr::from);
            let value = SyncDaemon { interface, id: u32::from(id), maxlen, group, port, ttl };
            let role = if master { SyncRole::Master } else { SyncRole::Backup };
            let read = parse_daemon(0, &body(&Op::StartSync(role, value.clone())));
            prop_assert_eq!(read, Ok(Some((role, value))));
        }

        #[test]
        fn timeouts_survive_the_round_trip(tcp: u32, tcp_fin: u32, udp: u32) {
            let value = Timeouts { tcp, tcp_fin, udp };
            let read = parse_timeouts(0, &body(&Op::SetTimeouts { value, from: value, restore: false }));
            prop_assert_eq!(read, Ok(Some(value)));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (parse_timeouts(0, &bytes), parse_daemon(0, &bytes));
        }
    }
}
