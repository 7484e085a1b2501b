//! IPVS messages as bytes, both ways (`linux/ip_vs.h`, `linux/genetlink.h`).
//!
//! Attributes that are not known are skipped; those that are missing or do not fit are errors.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use evenkeel_converge::{
    Destination, DestinationKey, Encapsulation, Forward, GueChecksum, Op, Service, ServiceKey,
};

use super::numbers::{command, dest, svc, top};
use crate::address::{AF_INET, AF_INET6, family};
use crate::generic::{message, nested};
use crate::wire::{Attribute, Batch, Malformed, Writer, attributes};

/// Asks for all services.
pub(super) fn get_services(batch: &mut Batch, number: u16) {
    message(batch, number, command::GET_SERVICE, libc::NLM_F_DUMP, |_| {});
}

/// Asks for one service.
pub(super) fn get_service(batch: &mut Batch, number: u16, key: &ServiceKey) {
    message(batch, number, command::GET_SERVICE, 0, |w| write_service(w, key, None));
}

/// Asks for the destinations of a service.
pub(super) fn get_destinations(batch: &mut Batch, number: u16, key: &ServiceKey) {
    message(batch, number, command::GET_DEST, libc::NLM_F_DUMP, |w| write_service(w, key, None));
}

/// Appends the message of an operation on a service or destination; `false` when it is about something else.
pub(super) fn encode(batch: &mut Batch, number: u16, op: &Op) -> bool {
    let (command, service, properties, destination) = match op {
        Op::AddService(key, value) => (command::NEW_SERVICE, key, Some(value), None),
        Op::SetService(key, value) => (command::SET_SERVICE, key, Some(value), None),
        Op::DelService(key) => (command::DEL_SERVICE, key, None, None),
        Op::AddDestination(service, key, value) => {
            (command::NEW_DEST, service, None, Some((key, Some(value))))
        }
        Op::SetDestination { service, key, value, .. } => {
            (command::SET_DEST, service, None, Some((key, Some(value))))
        }
        Op::DelDestination(service, key) => (command::DEL_DEST, service, None, Some((key, None))),
        _ => return false,
    };
    message(batch, number, command, 0, |w| {
        write_service(w, service, properties);
        if let Some((key, value)) = destination {
            write_destination(w, key, value);
        }
    });
    true
}

fn write_service(w: &mut Writer<'_>, key: &ServiceKey, properties: Option<&Service>) {
    w.nest(top::SERVICE, |w| {
        match *key {
            ServiceKey::Transport { protocol, address, port } => {
                w.u16(svc::AF, u16::from(family(address)));
                w.u16(svc::PROTOCOL, u16::from(protocol));
                write_address(w, svc::ADDR, address);
                w.be16(svc::PORT, port);
            }
            ServiceKey::Mark { v6, mark } => {
                w.u16(svc::AF, u16::from(if v6 { AF_INET6 } else { AF_INET }));
                w.u32(svc::FWMARK, mark);
            }
        }
        let Some(service) = properties else { return };
        w.text(svc::SCHED_NAME, &service.scheduler);
        let mut flags = service.flags.to_ne_bytes().to_vec();
        flags.extend(u32::MAX.to_ne_bytes());
        w.attribute(svc::FLAGS, &flags);
        w.u32(svc::TIMEOUT, service.timeout_secs);
        // A mask is of network byte order, a prefix length is not.
        w.u32(svc::NETMASK, if key.is_v6() { service.netmask } else { service.netmask.to_be() });
        if let Some(engine) = &service.persistence_engine {
            w.text(svc::PE_NAME, engine);
        }
    });
}

fn write_destination(w: &mut Writer<'_>, key: &DestinationKey, value: Option<&Destination>) {
    w.nest(top::DEST, |w| {
        w.u16(dest::ADDR_FAMILY, u16::from(family(key.address)));
        write_address(w, dest::ADDR, key.address);
        w.be16(dest::PORT, key.port);
        let Some(value) = value else { return };
        w.u32(dest::FWD_METHOD, forward_number(value.forward));
        w.u32(dest::WEIGHT, value.weight);
        w.u32(dest::U_THRESH, value.upper_threshold);
        w.u32(dest::L_THRESH, value.lower_threshold);
        let (kind, port, flags) = match value.encapsulation {
            // IPIP is the default: kernels before 5.2 know no attribute for it.
            Encapsulation::Ipip => return,
            Encapsulation::Gue { port, checksum } => (dest::TUNNEL_GUE, port, gue_flags(checksum)),
            Encapsulation::Gre { checksum } => {
                (dest::TUNNEL_GRE, 0, if checksum { dest::CHECKSUM } else { 0 })
            }
        };
        w.u8(dest::TUN_TYPE, kind);
        w.be16(dest::TUN_PORT, port);
        w.u16(dest::TUN_FLAGS, flags);
    });
}

/// `union nf_inet_addr`: 16 bytes whatever the family.
fn write_address(w: &mut Writer<'_>, kind: u16, address: IpAddr) {
    let mut bytes = [0; 16];
    match address {
        IpAddr::V4(v4) => bytes[..4].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => bytes = v6.octets(),
    }
    w.attribute(kind, &bytes);
}

fn read_address(attribute: Attribute<'_>, v6: bool) -> Result<IpAddr, Malformed> {
    if v6 {
        let bytes = attribute.value.first_chunk::<16>().ok_or(Malformed)?;
        return Ok(Ipv6Addr::from(*bytes).into());
    }
    let bytes = attribute.value.first_chunk::<4>().ok_or(Malformed)?;
    Ok(Ipv4Addr::from(*bytes).into())
}

/// `IP_VS_CONN_F_*`.
const fn forward_number(forward: Forward) -> u32 {
    match forward {
        Forward::Masquerade => 0,
        Forward::Local => 1,
        Forward::Tunnel => 2,
        Forward::DirectRoute => 3,
        Forward::Bypass => 4,
    }
}

pub(super) const fn forward_of(number: u32) -> Result<Forward, Malformed> {
    match number & dest::FORWARD_MASK {
        0 => Ok(Forward::Masquerade),
        1 => Ok(Forward::Local),
        2 => Ok(Forward::Tunnel),
        3 => Ok(Forward::DirectRoute),
        4 => Ok(Forward::Bypass),
        _ => Err(Malformed),
    }
}

const fn gue_flags(checksum: GueChecksum) -> u16 {
    match checksum {
        GueChecksum::None => 0,
        GueChecksum::Udp => dest::CHECKSUM,
        GueChecksum::Remote => dest::REMOTE_CHECKSUM,
    }
}

/// Encapsulation from a destination's tunnel attributes. An unknown type counts as a GUE that nobody wants
/// (port 0), so that it differs from whatever is wanted.
const fn encapsulation(forward: Forward, kind: u8, port: u16, flags: u16) -> Encapsulation {
    match (forward, kind) {
        (Forward::Tunnel, dest::TUNNEL_GRE) => Encapsulation::Gre { checksum: flags & dest::CHECKSUM != 0 },
        (Forward::Tunnel, 1..) => {
            let checksum = match flags {
                0 => GueChecksum::None,
                flags if flags & dest::REMOTE_CHECKSUM != 0 => GueChecksum::Remote,
                _ => GueChecksum::Udp,
            };
            let port = if kind == dest::TUNNEL_GUE { port } else { 0 };
            Encapsulation::Gue { port, checksum }
        }
        _ => Encapsulation::Ipip,
    }
}

const fn is_v6(family: u16) -> Result<bool, Malformed> {
    match family {
        2 => Ok(false),
        10 => Ok(true),
        _ => Err(Malformed),
    }
}

/// Reads a service; its destinations are asked for separately.
pub(super) fn parse_service(_: u16, body: &[u8]) -> Result<Option<(ServiceKey, Service)>, Malformed> {
    let Some(inner) = nested(body, top::SERVICE)? else { return Ok(None) };
    let (mut family, mut protocol, mut address, mut port, mut mark) = (None, None, None, None, None);
    let (mut scheduler, mut flags, mut timeout, mut netmask, mut engine) = (None, None, None, None, None);
    for attribute in attributes(inner) {
        let attribute = attribute?;
        match attribute.kind {
            svc::AF => family = Some(attribute.u16()?),
            svc::PROTOCOL => protocol = Some(attribute.u16()?),
            svc::ADDR => address = Some(attribute),
            svc::PORT => port = Some(attribute.be16()?),
            svc::FWMARK => mark = Some(attribute.u32()?),
            svc::SCHED_NAME => scheduler = Some(attribute.text()?),
            svc::FLAGS => flags = Some(attribute.u32()?),
            svc::TIMEOUT => timeout = Some(attribute.u32()?),
            svc::NETMASK => netmask = Some(attribute.u32()?),
            svc::PE_NAME => engine = Some(attribute.text()?),
            _ => {}
        }
    }
    let v6 = is_v6(family.ok_or(Malformed)?)?;
    let key = match mark {
        Some(mark) if mark != 0 => ServiceKey::Mark { v6, mark },
        Some(_) | None => ServiceKey::Transport {
            protocol: protocol.and_then(|p| u8::try_from(p).ok()).ok_or(Malformed)?,
            address: read_address(address.ok_or(Malformed)?, v6)?,
            port: port.ok_or(Malformed)?,
        },
    };
    let netmask = netmask.ok_or(Malformed)?;
    let service = Service {
        flags: flags.ok_or(Malformed)? & !svc::FLAG_HASHED,
        timeout_secs: timeout.ok_or(Malformed)?,
        netmask: if v6 { netmask } else { u32::from_be(netmask) },
        persistence_engine: engine.map(Into::into),
        ..Service::plain(scheduler.ok_or(Malformed)?, v6)
    };
    Ok(Some((key, service)))
}

/// Reads a destination of the service `key`.
pub(super) fn parse_destination(
    key: &ServiceKey,
    body: &[u8],
) -> Result<Option<(DestinationKey, Destination)>, Malformed> {
    let Some(inner) = nested(body, top::DEST)? else { return Ok(None) };
    let (mut address, mut port, mut forward, mut weight) = (None, None, None, None);
    // Kernels before 3.18 send no family: there it is the service's.
    let (mut upper, mut lower, mut v6) = (None, None, key.is_v6());
    let (mut tunnel, mut tunnel_port, mut tunnel_flags) = (0, 0, 0);
    for attribute in attributes(inner) {
        let attribute = attribute?;
        match attribute.kind {
            dest::ADDR => address = Some(attribute),
            dest::PORT => port = Some(attribute.be16()?),
            dest::FWD_METHOD => forward = Some(forward_of(attribute.u32()?)?),
            dest::WEIGHT => weight = Some(attribute.u32()?),
            dest::U_THRESH => upper = Some(attribute.u32()?),
            dest::L_THRESH => lower = Some(attribute.u32()?),
            dest::TUN_TYPE => tunnel = attribute.u8()?,
            dest::TUN_PORT => tunnel_port = attribute.be16()?,
            dest::TUN_FLAGS => tunnel_flags = attribute.u16()?,
            dest::ADDR_FAMILY => v6 = is_v6(attribute.u16()?)?,
            _ => {}
        }
    }
    let address = read_address(address.ok_or(Malformed)?, v6)?;
    let key = DestinationKey { address, port: port.ok_or(Malformed)? };
    let forward = forward.ok_or(Malformed)?;
    let value = Destination {
        forward,
        encapsulation: encapsulation(forward, tunnel, tunnel_port, tunnel_flags),
        weight: weight.ok_or(Malformed)?,
        upper_threshold: upper.ok_or(Malformed)?,
        lower_threshold: lower.ok_or(Malformed)?,
    };
    Ok(Some((key, value)))
}

#[cfg(test)]
mod tests {
    use evenkeel_converge::Destinations;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::messages;

    fn body(op: &Op) -> Vec<u8> {
        let mut batch = Batch::default();
        assert!(encode(&mut batch, 30, op));
        let bytes = batch.numbered(0, 1, 1, false);
        messages(bytes).next().expect("one").expect("well-formed").body.to_vec()
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(|v4| IpAddr::from(Ipv4Addr::from(v4))),
            any::<[u8; 16]>().prop_map(|v6| IpAddr::from(Ipv6Addr::from(v6))),
        ]
    }

    fn service_key() -> impl Strategy<Value = ServiceKey> {
        prop_oneof![
            (any::<u8>(), address(), any::<u16>())
                .prop_map(|(protocol, address, port)| ServiceKey::Transport { protocol, address, port }),
            (any::<bool>(), 1..=u32::MAX).prop_map(|(v6, mark)| ServiceKey::Mark { v6, mark }),
        ]
    }

    fn service() -> impl Strategy<Value = Service> {
        let engine = prop::option::of("[a-z]{1,8}");
        ("[a-z]{1,15}", any::<u32>(), any::<u32>(), any::<u32>(), engine).prop_map(
            |(scheduler, flags, timeout_secs, netmask, persistence_engine)| Service {
                scheduler: scheduler.into(),
                flags: flags & !svc::FLAG_HASHED,
                timeout_secs,
                netmask,
                persistence_engine: persistence_engine.map(Into::into),
                destinations: Destinations::new(),
            },
        )
    }

    fn destination() -> impl Strategy<Value = Destination> {
        let forward = prop::sample::select(vec![
            Forward::Masquerade,
            Forward::Local,
            Forward::Tunnel,
            Forward::DirectRoute,
            Forward::Bypass,
        ]);
        let checksum = prop::sample::select(vec![GueChecksum::None, GueChecksum::Udp, GueChecksum::Remote]);
        let encapsulation = prop_oneof![
            Just(Encapsulation::Ipip),
            (any::<u16>(), checksum).prop_map(|(port, checksum)| Encapsulation::Gue { port, checksum }),
            any::<bool>().prop_map(|checksum| Encapsulation::Gre { checksum }),
        ];
        (forward, any::<u32>(), any::<u32>(), any::<u32>(), encapsulation).prop_map(
            |(forward, weight, upper_threshold, lower_threshold, encapsulation)| Destination {
                forward,
                weight,
                upper_threshold,
                lower_threshold,
                encapsulation: if forward == Forward::Tunnel { encapsulation } else { Encapsulation::Ipip },
            },
        )
    }

    #[test]
    fn a_virtual_server_is_encoded_as_the_header_says() {
        let address = Ipv4Addr::new(192, 168, 188, 120).into();
        let key = ServiceKey::Transport { protocol: 6, address, port: 80 };
        #[rustfmt::skip]
        let wanted = [
            1, 1, 0, 0,
            84, 0, 1, 0x80,
            6, 0, 1, 0,  2, 0, 0, 0,
            6, 0, 2, 0,  6, 0, 0, 0,
            20, 0, 3, 0,  192, 168, 188, 120, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            6, 0, 4, 0,  0, 80, 0, 0,
            8, 0, 6, 0,  b'w', b'l', b'c', 0,
            12, 0, 7, 0,  0, 0, 0, 0,  255, 255, 255, 255,
            8, 0, 8, 0,  0, 0, 0, 0,
            8, 0, 9, 0,  255, 255, 255, 255,
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(body(&Op::AddService(key, Service::plain("wlc", false))), wanted);
        }
    }

    #[test]
    fn a_hashed_service_is_equal_to_the_one_that_was_wanted() {
        let key = ServiceKey::Mark { v6: false, mark: 7 };
        let told = Service { flags: svc::FLAG_HASHED | 1, ..Service::plain("rr", false) };
        let read = parse_service(0, &body(&Op::AddService(key, told))).expect("well-formed");
        assert_eq!(read.expect("a service").1.flags, 1);
    }

    #[test]
    fn an_unknown_forwarding_method_is_an_error() {
        assert_eq!(forward_of(5), Err(Malformed));
        assert_eq!(forward_of(3 | 0x100), Ok(Forward::DirectRoute));
    }

    proptest! {
        #[test]
        fn services_survive_the_round_trip(key in service_key(), value in service()) {
            let read = parse_service(0, &body(&Op::AddService(key, value.clone())));
            prop_assert_eq!(read, Ok(Some((key, value))));
        }

        #[test]
        fn destinations_survive_the_round_trip(
            service in service_key(),
            address in address(),
            port: u16,
            value in destination(),
        ) {
            let key = DestinationKey { address, port };
            let read = parse_destination(&service, &body(&Op::AddDestination(service, key, value)));
            prop_assert_eq!(read, Ok(Some((key, value))));
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            key in service_key(),
        ) {
            let _ = (parse_service(0, &bytes), parse_destination(&key, &bytes));
        }

        #[test]
        fn damaged_messages_are_read_without_panic(
            key in service_key(),
            value in service(),
            at in any::<prop::sample::Index>(),
            byte: u8,
        ) {
            let mut bytes = body(&Op::AddService(key, value));
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = (parse_service(0, &bytes), parse_service(0, &bytes[..at]));
        }
    }
}
