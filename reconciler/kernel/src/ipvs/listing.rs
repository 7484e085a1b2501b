//! Destinations of IPv4 services read by getsockopt(2), the interface that IPVS had before netlink
//! (`IP_VS_SO_GET_*`, `linux/ip_vs.h`): one system call a service, a third of what a dump takes.
//!
//! It tells less: no IPv6, nothing of how tunnels wrap, no destination of the other family. Whatever it may
//! have left out is read by netlink: [`Listing::destinations`] then says nothing.

use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

use evenkeel_converge::{Destination, DestinationKey, Destinations, Encapsulation, Forward, ServiceKey};

use super::codec::forward_of;
use super::numbers::option;
use crate::wire::{Malformed, u16_at, u32_at};

/// `struct ip_vs_getinfo`.
#[repr(C)]
struct Info {
    version: u32,
    size: u32,
    services: u32,
}

/// `struct ip_vs_stats_user`.
#[repr(C)]
struct Stats {
    counts: [u32; 3],
    bytes: [u64; 2],
    rates: [u32; 5],
}

/// `struct ip_vs_service_entry`; its first members name a service in `struct ip_vs_get_dests` as well.
#[repr(C)]
struct ServiceEntry {
    protocol: u16,
    address: u32,
    port: u16,
    mark: u32,
    scheduler: [u8; 16],
    flags: u32,
    timeout: u32,
    netmask: u32,
    destinations: u32,
    stats: Stats,
}

/// `struct ip_vs_get_services`, up to its entries.
#[repr(C)]
struct GetServices {
    count: u32,
    entries: [ServiceEntry; 0],
}

/// `struct ip_vs_dest_entry`.
#[repr(C)]
struct DestinationEntry {
    address: u32,
    port: u16,
    flags: u32,
    weight: u32,
    upper_threshold: u32,
    lower_threshold: u32,
    connections: [u32; 3],
    stats: Stats,
}

/// `struct ip_vs_get_dests`, up to its entries.
#[repr(C)]
struct GetDestinations {
    protocol: u16,
    address: u32,
    port: u16,
    mark: u32,
    count: u32,
    entries: [DestinationEntry; 0],
}

/// Most destinations of a service that is read so. The kernel lists them all in one call, during which many
/// kernels let nobody else run on that processor, an election neither; a dump comes in pieces.
const MAX_LISTED: u32 = 256;

/// An observation of the table by its older interface. The number of destinations of each service is known,
/// those that cannot be listed included.
pub(super) struct Listing {
    socket: UdpSocket,
    counts: BTreeMap<ServiceKey, u32>,
    buffer: Vec<u8>,
    found: Vec<(DestinationKey, Destination)>,
}

impl Listing {
    /// Begins an observation of all IPv4 services; none where the kernel does not offer it.
    pub(super) fn open() -> Option<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        let mut info = [0; size_of::<Info>()];
        get(&socket, option::INFO, &mut info)?;
        let count = u32_at(&info, offset_of!(Info, services)).ok()?;
        let start = offset_of!(GetServices, entries);
        let length =
            usize::try_from(count).ok()?.checked_mul(size_of::<ServiceEntry>())?.checked_add(start)?;
        let mut buffer = vec![0; length];
        put(&mut buffer, 0, &count.to_ne_bytes());
        get(&socket, option::SERVICES, &mut buffer)?;
        let entries = buffer.get(start..)?.chunks_exact(size_of::<ServiceEntry>());
        let counts = entries.map(service).collect::<Result<_, _>>().ok()?;
        Some(Self { socket, counts, buffer: Vec::new(), found: Vec::new() })
    }

    /// The destinations of a service, shared with `like` if they are the same; nothing when they are to be
    /// read by netlink.
    pub(super) fn destinations(
        &mut self,
        key: &ServiceKey,
        like: Option<&Destinations>,
    ) -> Option<Destinations> {
        let count = *self.counts.get(key).filter(|count| **count <= MAX_LISTED)?;
        // Room for one more entry: it stays empty unless there are more destinations by now.
        let room = count.checked_add(1)?;
        let start = offset_of!(GetDestinations, entries);
        let length =
            usize::try_from(room).ok()?.checked_mul(size_of::<DestinationEntry>())?.checked_add(start)?;
        self.buffer.clear();
        self.buffer.resize(length, 0);
        self.name(key);
        put(&mut self.buffer, offset_of!(GetDestinations, count), &room.to_ne_bytes());
        get(&self.socket, option::DESTINATIONS, &mut self.buffer)?;
        let entries = self.buffer.get(start..)?.chunks_exact(size_of::<DestinationEntry>());
        self.found.clear();
        for entry in entries.map(destination) {
            let Some((key, value)) = entry.ok()? else { break };
            if value.forward == Forward::Tunnel {
                return None;
            }
            self.found.push((key, value));
        }
        let count = usize::try_from(count).ok()?;
        let found = (self.found.len() == count).then(|| Destinations::sharing(&mut self.found, like))?;
        (found.len() == count).then_some(found)
    }

    fn name(&mut self, key: &ServiceKey) {
        let mut write = |at, bytes: &[u8]| put(&mut self.buffer, at, bytes);
        match *key {
            ServiceKey::Transport { protocol, address: IpAddr::V4(address), port } => {
                write(offset_of!(GetDestinations, protocol), &u16::from(protocol).to_ne_bytes());
                write(offset_of!(GetDestinations, address), &address.octets());
                write(offset_of!(GetDestinations, port), &port.to_be_bytes());
            }
            ServiceKey::Mark { mark, .. } => {
                write(offset_of!(GetDestinations, mark), &mark.to_ne_bytes());
            }
            // Not listed: it has no count.
            ServiceKey::Transport { .. } => {}
        }
    }
}

/// Overwrites bytes that are there.
fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

#[allow(
    unsafe_code,
    reason = "neither the standard library nor nix has options whose length is chosen by the caller"
)]
fn get(socket: &UdpSocket, option: i32, buffer: &mut [u8]) -> Option<()> {
    let mut length = libc::socklen_t::try_from(buffer.len()).ok()?;
    // SAFETY: the kernel writes at most `length` bytes to `buffer`, which has as many, and `length` itself.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            buffer.as_mut_ptr().cast(),
            std::ptr::from_mut(&mut length),
        )
    };
    (result == 0).then_some(())
}

fn address_at(bytes: &[u8], at: usize) -> Result<Ipv4Addr, Malformed> {
    u32_at(bytes, at).map(|bits| Ipv4Addr::from(bits.to_ne_bytes()))
}

/// A service and how many destinations it has.
fn service(entry: &[u8]) -> Result<(ServiceKey, u32), Malformed> {
    let mark = u32_at(entry, offset_of!(ServiceEntry, mark))?;
    let key = if mark == 0 {
        ServiceKey::Transport {
            protocol: u8::try_from(u16_at(entry, offset_of!(ServiceEntry, protocol))?)
                .map_err(|_| Malformed)?,
            address: IpAddr::V4(address_at(entry, offset_of!(ServiceEntry, address))?),
            port: u16::from_be(u16_at(entry, offset_of!(ServiceEntry, port))?),
        }
    } else {
        ServiceKey::Mark { v6: false, mark }
    };
    Ok((key, u32_at(entry, offset_of!(ServiceEntry, destinations))?))
}

/// A destination; nothing of a place that the kernel left empty.
fn destination(entry: &[u8]) -> Result<Option<(DestinationKey, Destination)>, Malformed> {
    let address = address_at(entry, offset_of!(DestinationEntry, address))?;
    if address.is_unspecified() {
        return Ok(None);
    }
    let port = u16::from_be(u16_at(entry, offset_of!(DestinationEntry, port))?);
    let value = Destination {
        forward: forward_of(u32_at(entry, offset_of!(DestinationEntry, flags))?)?,
        weight: u32_at(entry, offset_of!(DestinationEntry, weight))?,
        upper_threshold: u32_at(entry, offset_of!(DestinationEntry, upper_threshold))?,
        lower_threshold: u32_at(entry, offset_of!(DestinationEntry, lower_threshold))?,
        encapsulation: Encapsulation::Ipip,
    };
    Ok(Some((DestinationKey { address: IpAddr::V4(address), port }, value)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the kernel's header lays them out on machines of 64 bits.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn the_layout_is_the_kernels() {
        assert_eq!(
            (size_of::<Stats>(), size_of::<ServiceEntry>(), size_of::<DestinationEntry>()),
            (56, 104, 96)
        );
        assert_eq!((offset_of!(GetServices, entries), offset_of!(GetDestinations, entries)), (8, 24));
        assert_eq!(offset_of!(ServiceEntry, destinations), 44);
        assert_eq!(offset_of!(DestinationEntry, weight), 12);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = (service(&bytes), destination(&bytes));
        }
    }
}
