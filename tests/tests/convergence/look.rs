//! Look of a host to `ipvsadm` and `ip`, and to the lab's own eyes where these leave something out: a
//! line an object, sorted, so that two looks can be compared. One process of `ip` and one of `ipvsadm` a
//! look, since each costs 50 ms.

use std::fs::write;

use lab::Host;
use serde_json::Value;

use crate::support::difference;

/// The settings that a test cares for, as paths below `/proc/sys`.
pub(crate) type Settings = Vec<String>;

/// Routes of both families, rules of IPv4.
const IP_COMMANDS: &str = "link show\naddress show\nroute show table all\nrule show\n";

/// Everything on the host that a plan can be about.
#[track_caller]
pub(crate) fn look(host: &Host, settings: &Settings) -> Vec<String> {
    let mut lines = quick_look(host, settings);
    let batch = host.scratch().join("look.ip");
    write(&batch, IP_COMMANDS).expect("a file");
    let printed = host.run(["ip", "-j", "-d", "-batch", &batch.display().to_string()]);
    let documents: Vec<Value> = serde_json::Deserializer::from_str(&printed)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("ip printed no JSON: {error}: {printed}"));
    assert_eq!(documents.len(), IP_COMMANDS.lines().count(), "{printed}");
    for (what, document) in ["link", "address", "route", "rule"].iter().zip(&documents) {
        for object in document.as_array().into_iter().flatten() {
            match *what {
                "link" => lines.extend(link(object)),
                "address" => lines.extend(addresses(object)),
                "route" => lines.extend(route(object)),
                _ => lines.push(format!("rule {object}")),
            }
        }
    }
    lines.extend(host.ipvsadm().into_iter().map(|line| format!("ipvsadm {line}")));
    lines.sort();
    lines
}

/// Lines that need no process: IPVS in full, and settings.
#[track_caller]
pub(crate) fn quick_look(host: &Host, settings: &Settings) -> Vec<String> {
    let ipvs = host.ipvs_exact().into_iter().map(|line| format!("ipvs {line}"));
    let settings = host.enter(|| {
        settings
            .iter()
            .map(|key| {
                let value = std::fs::read_to_string(format!("/proc/sys/{key}"));
                format!("setting {key} = {}", value.as_deref().unwrap_or("(none)").trim_end())
            })
            .collect::<Vec<_>>()
    });
    ipvs.chain(settings).collect()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// Interfaces that somebody made, not those that a host begins with.
fn link(object: &Value) -> Option<String> {
    let info = &object["linkinfo"];
    let kind = text(info, "info_kind");
    let fallback = matches!(
        text(object, "ifname"),
        "tunl0" | "gre0" | "gretap0" | "erspan0" | "sit0" | "ip6tnl0" | "ip6gre0"
    );
    if kind.is_empty() || matches!(kind, "veth" | "nlmon") || fallback {
        return None;
    }
    let up = object["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "UP"));
    let (local, remote) = (text(&info["info_data"], "local"), text(&info["info_data"], "remote"));
    Some(format!(
        "link {} kind {kind} up {up} mac {} alias {} local {local} remote {remote}",
        text(object, "ifname"),
        if kind == "macvlan" { text(object, "address") } else { "" },
        text(object, "ifalias"),
    ))
}

fn addresses(object: &Value) -> Vec<String> {
    let interface = text(object, "ifname").to_owned();
    let every = object["addr_info"].as_array().cloned().unwrap_or_default();
    every
        .iter()
        .filter(|address| !text(address, "local").starts_with("fe80:"))
        .map(|address| {
            let flag = |key: &str| address[key] == true;
            format!(
                "address {}/{} on {interface} label {} scope {} protocol {} deprecated {} nodad {} tentative \
                {}",
                text(address, "local"),
                address["prefixlen"],
                text(address, "label"),
                text(address, "scope"),
                text(address, "protocol"),
                flag("deprecated"),
                flag("nodad"),
                flag("tentative"),
            )
        })
        .collect()
}

/// Routes that somebody made: those that come with an address come with it.
fn route(object: &Value) -> Option<String> {
    let own = matches!(text(object, "type"), "unicast" | "");
    let automatic = matches!(text(object, "protocol"), "kernel" | "ra");
    let link_local = ["fe80::", "ff00::"].iter().any(|prefix| text(object, "dst").starts_with(prefix));
    (own && !automatic && !link_local).then(|| {
        let mut object = object.clone();
        if let Some(properties) = object.as_object_mut() {
            properties.remove("flags");
        }
        format!("route {object}")
    })
}

/// Panics unless both are equal.
#[track_caller]
pub(crate) fn assert_same(wanted: &[String], found: &[String], context: &str) {
    assert!(wanted == found, "{context}:\n{}", difference(wanted, found));
}
