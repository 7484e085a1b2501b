//! EK04xx, fifth part: who advertises to whom by unicast, and whose advertisements count.

use std::collections::BTreeSet;

use evenkeel_schemas::cluster::{Strangers, Unicast, VirtualRouter};
use evenkeel_schemas::scalars::Name;

use super::{Context, Findings, Rule};
use crate::attach::{Family, is_link_local};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::{Step, at};
use crate::resolve::DEFAULT_TTL;
use crate::suggest::list;

pub(super) const RULES: &[Rule] =
    &[own_peer, one_way, strangers, ttl_too_low, strangers_by_unicast, unknown_director];

fn unicasts<'a>(cx: &Context<'a>) -> impl Iterator<Item = (&'a Name, &'a VirtualRouter, &'a Unicast)> {
    let routers = cx.cluster.virtual_routers.iter();
    routers.filter_map(|(name, router)| Some((name, router, router.unicast.as_ref()?)))
}

fn peer<'p>(name: &'p Name, from: &'p str, index: usize) -> [Step<'p>; 6] {
    let [routers, unicast, peers] = ["virtual_routers", "unicast", "peers"].map(Step::Key);
    [routers, Step::Key(name.as_str()), unicast, peers, Step::Key(from), Step::Index(index)]
}

fn own_peer(cx: &Context<'_>, out: &mut Findings) {
    for (name, _, unicast) in unicasts(cx) {
        for (from, peers) in &unicast.peers {
            let Some(index) = peers.iter().position(|peer| peer == from) else {
                continue;
            };
            if !cx.knows(&peer(name, from, index)) {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::OWN_PEER,
                    cx.value(&peer(name, from, index)),
                    format!("director `{}` of `{name}` is its own unicast peer", from.escape_debug()),
                    "itself",
                )
                .hint("list the other directors only"),
            );
        }
    }
}

/// Pairs of directors of which one lists the other.
fn pairs(unicast: &Unicast) -> BTreeSet<(&str, &str)> {
    let peers = unicast.peers.iter();
    peers.flat_map(|(from, peers)| peers.iter().map(move |to| (from.as_str(), to.as_str()))).collect()
}

fn one_way(cx: &Context<'_>, out: &mut Findings) {
    for (name, router, unicast) in unicasts(cx) {
        let table = at!["virtual_routers", name, "unicast", "peers"];
        if !cx.knows_directors(name, router) || !cx.knows_all(table) {
            continue;
        }
        let pairs = pairs(unicast);
        let directors: BTreeSet<&str> = router.directors.iter().map(String::as_str).collect();
        for (from, peers) in &unicast.peers {
            for (index, to) in peers.iter().enumerate() {
                let both = directors.contains(from.as_str()) && directors.contains(to.as_str());
                if !both || from == to || pairs.contains(&(to.as_str(), from.as_str())) {
                    continue;
                }
                let answer = match unicast.peers.contains_key(to) {
                    true => cx.key(at!["virtual_routers", name, "unicast", "peers", to]),
                    false => cx.key(table),
                };
                out.push(
                    Diagnostic::new(
                        &codes::ONE_WAY,
                        cx.value(&peer(name, from, index)),
                        format!(
                            "`{from}` advertises `{name}` to `{to}`, but `{to}` does not advertise to \
                            `{from}`"
                        ),
                        "one way only",
                    )
                    .also(answer, format!("`{from}` is not among the peers of `{to}`"))
                    .hint(format!(
                        "add \"{from}\" to the peers of `{to}`, or remove `peers`: then each advertises to \
                        all others"
                    )),
                );
            }
        }
    }
}

/// Directors that never hear of each other are Master at once when the others are down.
fn strangers(cx: &Context<'_>, out: &mut Findings) {
    for (name, router, unicast) in unicasts(cx) {
        let table = at!["virtual_routers", name, "unicast", "peers"];
        if unicast.peers.is_empty() || !cx.knows_directors(name, router) || !cx.knows_all(table) {
            continue;
        }
        let pairs = pairs(unicast);
        let directors: BTreeSet<&str> = router.directors.iter().map(String::as_str).collect();
        let mut found = directors.iter().enumerate().filter_map(|(index, director)| {
            let stranger = |other: &&&str| {
                !pairs.contains(&(**other, *director)) && !pairs.contains(&(*director, **other))
            };
            let others = list(directors.iter().skip(index + 1).filter(stranger))?;
            Some((director, others))
        });
        let Some((director, others)) = found.next() else {
            continue;
        };
        let mut diagnostic = Diagnostic::new(
            &codes::STRANGERS,
            cx.key(table),
            format!("director `{director}` of `{name}` never hears of {others}"),
            "not complete",
        )
        .also(cx.value(at!["virtual_routers", name, "directors"]), "the directors");
        for (director, others) in found {
            diagnostic = diagnostic.note(format!("nor does `{director}` hear of {others}"));
        }
        let hint =
            "list every other director as a peer, or remove `peers`: then each advertises to all others";
        out.push(diagnostic.hint(hint));
    }
}

fn ttl_too_low(cx: &Context<'_>, out: &mut Findings) {
    for (name, _, unicast) in unicasts(cx) {
        let known = |key| cx.knows(at!["virtual_routers", name, "unicast", key]);
        let (ttl, min) = (unicast.ttl.unwrap_or(DEFAULT_TTL), unicast.min_ttl.unwrap_or(DEFAULT_TTL));
        if ttl >= min || !known("ttl") || !known("min_ttl") {
            continue;
        }
        let path = at!["virtual_routers", name, "unicast", "ttl"];
        let mut diagnostic = Diagnostic::new(
            &codes::TTL_TOO_LOW,
            cx.value(path),
            format!("directors of `{name}` send with TTL {ttl} and accept no less than {min}"),
            "every advertisement is rejected",
        );
        if unicast.min_ttl.is_some() {
            let min_path = at!["virtual_routers", name, "unicast", "min_ttl"];
            diagnostic = diagnostic.also(cx.value(min_path), "the lowest that is accepted");
        } else {
            diagnostic = diagnostic.note("without `min_ttl` only TTL 255 is accepted");
        }
        let hint =
            "remove `ttl`; where advertisements are routed, write as `min_ttl` the sent one less the hops";
        out.push(diagnostic.hint(hint));
    }
}

/// `strangers` is about multicast.
fn strangers_by_unicast(cx: &Context<'_>, out: &mut Findings) {
    for (name, router, _) in unicasts(cx) {
        let path = at!["virtual_routers", name, "strangers"];
        let unicast = at!["virtual_routers", name, "unicast"];
        if router.strangers == Strangers::default() || !cx.knows(path) || !cx.knows(unicast) {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::STRANGERS_WITHOUT_EFFECT,
                cx.value(path),
                format!("`{name}` says what counts of strangers, but advertises by unicast"),
                "has no effect",
            )
            .also(cx.value(unicast), "only the peers count")
            .hint("remove `strangers`"),
        );
    }
}

/// Where strangers are rejected, each director must be known by its address.
fn unknown_director(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let path = at!["virtual_routers", name, "strangers"];
        let v6 = router.vips.iter().any(|vip| vip.0.is_ipv6());
        let known = || cx.knows(path) && cx.knows_directors(name, router) && cx.knows_subnets();
        if router.strangers != Strangers::Reject || router.unicast.is_some() || !v6 || !known() {
            continue;
        }
        let Some(home) = cx.home(name, router) else { continue };
        for (index, director) in cx.directors(name, router) {
            let Some((host_name, host)) = cx.cluster.hosts.get_key_value(director.as_str()) else { continue };
            let Some(interface) = cx.subnets.speaks_on(host_name, host, home, Family::V6) else { continue };
            let written = host.all_addresses().any(|(own, at)| is_link_local(own) && at == interface);
            if written || router.directors.len() < 2 || !cx.knows_addresses(host_name) {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::LINK_LOCAL_UNKNOWN,
                    cx.value(at!["virtual_routers", name, "directors", index]),
                    format!(
                        "`{name}` rejects strangers, and the link-local address of director `{director}` \
                        is not written"
                    ),
                    "advertises IPv6 from an address that the others do not know",
                )
                .also(cx.value(path), "rejects whom it does not know")
                .hint(format!(
                    "add the address that `ip -6 address show dev {interface} scope link` shows to \
                    `addresses` of host `{director}`"
                )),
            );
        }
    }
}
