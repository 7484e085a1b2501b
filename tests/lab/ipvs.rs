//! The IPVS table as a host's `/proc/net/ip_vs` prints it. Reading only: tests change it with `ipvsadm` or
//! not at all.

use std::net::{IpAddr, SocketAddr};

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpvsService {
    /// `TCP`, `UDP`, `SCTP` or `FWM`.
    pub protocol: String,
    /// Where it listens; `None` for a firewall mark.
    pub address: Option<SocketAddr>,
    /// The firewall mark; 0 when it has an address.
    pub firewall_mark: u32,
    /// The scheduler's name.
    pub scheduler: String,
    /// Flags and persistence, as printed.
    pub flags: String,
    /// In the kernel's order.
    pub destinations: Vec<IpvsDestination>,
}

/// A real server of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpvsDestination {
    /// Where packets go.
    pub address: SocketAddr,
    /// `Route`, `Tunnel`, `Masq` or `Local`.
    pub forward: String,
    /// Its weight.
    pub weight: u32,
    /// Established connections.
    pub active: u32,
    /// Connections in any other state.
    pub inactive: u32,
}

/// Reads the file; the error is the line not understood.
pub(crate) fn parse_proc(text: &str) -> Result<Vec<IpvsService>, String> {
    let mut services: Vec<IpvsService> = Vec::new();
    // Three lines of headings.
    for line in text.lines().skip(3) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let understood = match words.as_slice() {
            ["->", address, forward, weight, active, inactive] => {
                destination(address, forward, [weight, active, inactive])
                    .zip(services.last_mut())
                    .map(|(destination, service)| service.destinations.push(destination))
            }
            [protocol, address, scheduler, flags @ ..] => {
                service(protocol, address, scheduler, flags).map(|service| services.push(service))
            }
            _ => None,
        };
        understood.ok_or_else(|| line.to_owned())?;
    }
    Ok(services)
}

fn service(protocol: &str, address: &str, scheduler: &str, flags: &[&str]) -> Option<IpvsService> {
    let mark = protocol == "FWM";
    Some(IpvsService {
        protocol: protocol.to_owned(),
        address: if mark { None } else { Some(socket_address(address)?) },
        firewall_mark: if mark { u32::from_str_radix(address, 16).ok()? } else { 0 },
        scheduler: scheduler.to_owned(),
        flags: flags.join(" "),
        destinations: Vec::new(),
    })
}

fn destination(address: &str, forward: &str, numbers: [&str; 3]) -> Option<IpvsDestination> {
    let [weight, active, inactive] = numbers.map(|number| number.parse().ok());
    Some(IpvsDestination {
        address: socket_address(address)?,
        forward: forward.to_owned(),
        weight: weight?,
        active: active?,
        inactive: inactive?,
    })
}

/// `C0A8BC78:0050` or `[2001:0db8:…]:0050`.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    let ip = match ip.strip_prefix('[') {
        Some(v6) => IpAddr::V6(v6.strip_suffix(']')?.parse().ok()?),
        None => IpAddr::V4(u32::from_str_radix(ip, 16).ok()?.into()),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let text = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
                    -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
                    TCP  C0A8BC78:0050 wlc persistent 50 FFFFFFFF\n  \
                    -> C0A8BC6B:0050      Route   100    1          2\n\
                    TCP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0050 rr \n\
                    FWM  0000000A rr \n";
        let services = parse_proc(text).unwrap();
        assert_eq!(services.len(), 3);
        assert_eq!(services[0].address, Some("192.168.188.120:80".parse().unwrap()));
        assert_eq!(services[0].flags, "persistent 50 FFFFFFFF");
        assert_eq!(services[0].destinations[0].address, "192.168.188.107:80".parse().unwrap());
        assert_eq!(services[0].destinations[0].weight, 100);
        assert_eq!(services[1].address, Some("[2001:db8::1]:80".parse().unwrap()));
        assert_eq!(services[2].firewall_mark, 10);
        assert!(parse_proc("\n\n\n  -> nonsense").is_err());
    }
}
