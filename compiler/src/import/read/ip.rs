//! IP addresses, networks and netmasks as keepalived reads them in a word. Nothing here knows a keyword.

use std::net::{IpAddr, Ipv4Addr};

use evenkeel_schemas::scalars::Cidr;

/// An address, and nothing else.
pub(super) fn exact(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// An address; a range or a prefix length after it is dropped, as keepalived does where it wants none.
pub(super) fn plain(text: &str) -> Option<IpAddr> {
    exact(text.split_once('-').or_else(|| text.split_once('/')).map_or(text, |(address, _)| address))
}

/// An address and its prefix length.
pub(super) fn network(text: &str) -> Option<(IpAddr, Option<u8>)> {
    match text.split_once('/') {
        None => Some((text.parse().ok()?, None)),
        Some((address, prefix)) => {
            let address = address.parse().ok()?;
            let prefix = match prefix.parse::<Ipv4Addr>() {
                Ok(mask) => length(mask)?,
                Err(_) => prefix.parse().ok()?,
            };
            Cidr::new(address, prefix).ok()?;
            Some((address, Some(prefix)))
        }
    }
}

/// The prefix length of a netmask.
pub(super) fn length(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let ones = bits.leading_ones();
    (bits.checked_shl(ones).unwrap_or(0) == 0).then(|| u8::try_from(ones).ok()).flatten()
}

/// A network as the cluster file writes it, its host bits gone.
pub(super) fn network_text(text: &str) -> String {
    if text == "default" {
        return "0.0.0.0/0".to_owned();
    }
    let Some((address, prefix)) = network(text) else {
        return text.to_owned();
    };
    let prefix = prefix.unwrap_or(if address.is_ipv4() { 32 } else { 128 });
    Cidr::new(address, prefix).map_or_else(|_| text.to_owned(), |cidr| format!("{}/{prefix}", cidr.network()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_with_prefix_mask_or_neither() {
        for (text, prefix) in [
            ("10.0.0.1", Some(None)),
            ("10.0.0.1/24", Some(Some(24))),
            ("10.0.0.1/255.255.0.0", Some(Some(16))),
            ("10.0.0.1/33", None),
            ("10.0.0.1/255.0.255.0", None),
            ("x", None),
            ("::1/64", Some(Some(64))),
        ] {
            assert_eq!(network(text).map(|(_, prefix)| prefix), prefix, "{text}");
        }
        assert_eq!(network_text("10.1.2.3/8"), "10.0.0.0/8");
        assert_eq!(network_text("default"), "0.0.0.0/0");
    }
}
