//! A small model of a cluster from which the text of `cluster.toml` is written.
//!
//! Every decision has a byte of its own, so that two inputs that differ in one byte give two
//! clusters that differ in one decision. What is not valid together is left out, not mended later.
//! To let a new part of the language take part, give it a byte and write it.

use std::fmt::Write;

pub(crate) const BYTES: usize = 80;

/// Hosts on the first segment, and on the second.
const FRONT: usize = 5;
const HOSTS: usize = 7;

/// VIPs on the first segment, and on the second.
const FRONT_VIPS: usize = 4;
const VIPS: usize = 5;

/// Virtual routers on the first segment, and on the second.
const FRONT_ROUTERS: usize = 3;
const ROUTERS: usize = 4;

const SERVICES: usize = 5;

struct Router {
    name: String,
    vrid: usize,
    vips: Vec<usize>,
    directors: Vec<usize>,
    at: usize,
}

/// The text that `bytes` stand for.
pub(crate) fn text(bytes: &[u8; BYTES]) -> String {
    let byte = |at: usize| usize::from(bytes[at]);
    let present: Vec<bool> = (0..HOSTS).map(|host| byte(host) % 8 != 0).collect();
    let routers = routers(bytes, &present);
    let mut text = String::from(
        "version = 1\nname = \"pair\"\n[segments.front]\nsubnets = [\"192.0.2.0/24\"]\n\
         [segments.back]\nsubnets = [\"198.51.100.0/24\"]\n[hosts]\n",
    );
    for host in (0..HOSTS).filter(|host| present[*host]) {
        let moved = if byte(7 + host) % 16 == 1 { 100 } else { 0 };
        let protected = if byte(7 + host) % 16 == 2 { ", prevent_removal = true" } else { "" };
        let _ = writeln!(
            text,
            "h{host} = {{ address = \"{}{}\", interface = \"eth{}\"{protected} }}",
            net(host >= FRONT),
            10 + host + moved,
            usize::from(byte(7 + host) % 16 == 3),
        );
    }
    for router in &routers {
        let vips: Vec<String> = router.vips.iter().map(|vip| format!("\"{}\"", vip_address(*vip))).collect();
        let directors: Vec<String> = router.directors.iter().map(|host| format!("\"h{host}\"")).collect();
        let _ = writeln!(
            text,
            "[virtual_routers.{}]\nvrid = {}\nvips = [{}]\ndirectors = [{}]",
            router.name,
            router.vrid,
            vips.join(", "),
            directors.join(", ")
        );
        let version = 2 + byte(router.at) % 2;
        let _ = writeln!(text, "version = {version}");
        let _ = writeln!(text, "advert_interval = \"{}s\"", 1 + byte(router.at + 1) % 2);
        if version == 2 && byte(router.at + 2) % 3 > 0 {
            let secret = ["", "literal = \"one\"", "literal = \"two\"", "file = \"/etc/pass\""]
                [1 + byte(router.at + 2) / 3 % 3];
            let _ = writeln!(text, "auth = {{ type = \"pass\", secret = {{ {secret} }} }}");
        }
        if byte(router.at + 3) % 4 == 0 {
            text.push_str("preempt = false\n");
        }
    }
    services(bytes, &present, &routers, &mut text);
    let _ = writeln!(text, "[policy]\nresync = \"{}s\"", 5 + byte(BYTES - 1) % 2);
    text
}

fn net(back: bool) -> &'static str {
    if back { "198.51.100." } else { "192.0.2." }
}

fn vip_address(vip: usize) -> String {
    format!("{}{}", net(vip >= FRONT_VIPS), 200 + vip)
}

fn routers(bytes: &[u8; BYTES], present: &[bool]) -> Vec<Router> {
    let byte = |at: usize| usize::from(bytes[at]);
    let mut vrids: [usize; ROUTERS] = [51, 52, 53, 54];
    vrids.rotate_left(byte(14) % 4);
    if byte(14) / 4 % 2 == 1 {
        vrids.swap(0, 1);
    }
    let mut routers = Vec::new();
    for (index, vrid) in vrids.into_iter().enumerate() {
        let back = index >= FRONT_ROUTERS;
        let vips: Vec<usize> =
            (0..VIPS)
                .filter(|vip| {
                    if back { *vip >= FRONT_VIPS } else { *vip < FRONT_VIPS && byte(15 + vip) % 4 == index }
                })
                .collect();
        let at = 20 + index * 7;
        let hosts = if back { FRONT..HOSTS } else { 0..FRONT };
        let mut directors: Vec<usize> =
            hosts.filter(|host| present[*host] && byte(at + 4) >> (host % FRONT) & 1 == 1).collect();
        if vips.is_empty() || directors.is_empty() {
            continue;
        }
        let turn = byte(at + 5) % directors.len();
        directors.rotate_left(turn);
        let name = format!("VI_{index}{}", if byte(at + 6) % 8 == 0 { "_renamed" } else { "" });
        let vrid = if back { 51 + byte(at + 6) / 8 % 3 } else { vrid };
        routers.push(Router { name, vrid, vips, directors, at });
    }
    routers
}

fn services(bytes: &[u8; BYTES], present: &[bool], routers: &[Router], text: &mut String) {
    let byte = |at: usize| usize::from(bytes[at]);
    let mut taken = Vec::new();
    for service in 0..SERVICES {
        let at = 48 + service * 6;
        let vip = byte(at) % VIPS;
        let port = 80 + byte(at + 1) % 2;
        let Some(router) = routers.iter().find(|router| router.vips.contains(&vip)) else {
            continue;
        };
        let hosts = if vip >= FRONT_VIPS { FRONT..HOSTS } else { 0..FRONT };
        let servers: Vec<String> = hosts
            .filter(|host| present[*host] && !router.directors.contains(host))
            .filter(|host| byte(at + 2) >> (host % FRONT) & 1 == 1)
            .map(|host| {
                format!("{{ host = \"h{host}\", weight = {} }}", (byte(at + 3) >> (host % FRONT)) % 3)
            })
            .collect();
        if servers.is_empty() || taken.contains(&(vip, port)) {
            continue;
        }
        taken.push((vip, port));
        let _ = writeln!(
            text,
            "[services.s{service}]\nrouter = \"{}\"\nvip = \"{}\"\nprotocol = \"tcp\"\nport = {port}\nscheduler = \"{}\"\n\
             real_servers = [{}]",
            router.name,
            vip_address(vip),
            ["wlc", "rr"][byte(at + 4) % 2],
            servers.join(", ")
        );
        if byte(at + 5) % 2 == 0 {
            text.push_str("check = { type = \"tcp\" }\n");
        }
        if byte(at + 5) % 16 == 1 {
            text.push_str("prevent_removal = true\n");
        }
    }
}
