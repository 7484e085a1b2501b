//! EK08xx: what the language has and the daemon of this version cannot do.
//!
//! Refused rather than left out of the plan: nothing that is written is ever ignored. What a later
//! version learns leaves this list, and nothing else changes.

use evenkeel_schemas::cluster::{CheckType, DriftMode, Forwarding, OnFailure, RealServer, ServiceHooks};
use evenkeel_schemas::scalars::Name;

use super::checks::checks;
use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::parse::{OwnedStep, Step, at};

pub(super) const RULES: &[Rule] =
    &[sections, hosts, services, ipv6_services, real_servers, check_options, policy];

fn refuse(cx: &Context<'_>, out: &mut Findings, path: &[Step<'_>], what: &str, instead: &str) {
    if !cx.knows(path) {
        return;
    }
    let dotted: Vec<String> = path
        .iter()
        .map(|step| match OwnedStep::from(step) {
            OwnedStep::Key(key) => key,
            OwnedStep::Index(index) => index.to_string(),
        })
        .collect();
    let name = dotted.join(".");
    out.push(
        Diagnostic::new(
            &codes::UNSUPPORTED,
            cx.key(path),
            format!("{what} cannot be done yet by the evenkeeld of this version"),
            "understood, but not supported",
        )
        .note(format!("`{}` would be ignored, so nothing is compiled", name.escape_debug()))
        .hint(instead),
    );
}

fn sections(cx: &Context<'_>, out: &mut Findings) {
    let mut each = |section: &str, names: Vec<&Name>, what: &str, instead: &str| {
        for name in names {
            refuse(cx, out, at![section, name], what, instead);
        }
    };
    let cluster = cx.cluster;
    each(
        "connection_sync",
        cluster.connection_sync.keys().collect(),
        "connection synchronisation",
        "remove it; clients reconnect after a failover",
    );
    let timeouts = &cluster.ipvs.timeouts;
    for (key, given) in [
        ("tcp", timeouts.tcp.is_some()),
        ("tcp_fin", timeouts.tcp_fin.is_some()),
        ("udp", timeouts.udp.is_some()),
    ] {
        if given {
            let instead = "set it with `ipvsadm --set` at boot";
            refuse(cx, out, at!["ipvs", "timeouts", key], "setting time-outs of IPVS", instead);
        }
    }
}

fn hosts(cx: &Context<'_>, out: &mut Findings) {
    for (name, host) in &cx.cluster.hosts {
        if host.gateway.is_some() {
            let instead = "set the default route with the host's own network configuration";
            refuse(cx, out, at!["hosts", name, "gateway"], "setting a default gateway", instead);
        }
    }
}

fn services(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let mut no = |given: bool, key: &str, what: &str, instead: &str| {
            if given {
                refuse(cx, out, at!["services", name, key], what, instead);
            }
        };
        no(
            service.firewall_mark.is_some(),
            "firewall_mark",
            "a service by firewall mark",
            "write `protocol` and `ports`",
        );
        no(
            service.forwarding == Forwarding::Tun,
            "forwarding",
            "forwarding by tunnel",
            "use direct routing, `forwarding = \"dr\"`",
        );
        no(
            service.forwarding == Forwarding::Nat,
            "forwarding",
            "forwarding by masquerade",
            "use direct routing, `forwarding = \"dr\"`",
        );
        no(
            !service.checks.is_empty(),
            "checks",
            "several checks of one service",
            "write the most telling one as `check`",
        );
        no(
            service.on_failure == OnFailure::Quiesce,
            "on_failure",
            "keeping the connections of failed real servers",
            "remove `on_failure`",
        );
        no(service.quorum.is_some(), "quorum", "a quorum", "remove `quorum`");
        no(service.sorry_server.is_some(), "sorry_server", "a sorry server", "remove `sorry_server`");
        no(
            service.drain.is_some(),
            "drain",
            "draining with a deadline",
            "give the real server weight 0 in one change and remove it in a later one",
        );
        no(
            service.hooks != ServiceHooks::default(),
            "hooks",
            "hooks",
            "remove `hooks`, and read `evenkeeld status` or the log",
        );
    }
}

/// A real server would need the VIP on `lo` without duplicate address detection, and the director its
/// IPVS part for IPv6.
fn ipv6_services(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let vips = cx.vips_of_service(name, service);
        let Some(vip) = vips.iter().find(|vip| vip.0.is_ipv6()) else {
            continue;
        };
        let position = service.vips.iter().position(|listed| listed == vip);
        let path = match (&service.vip, position) {
            (Some(_), _) => at!["services", name, "vip"].to_vec(),
            (None, Some(index)) => at!["services", name, "vips", index].to_vec(),
            (None, None) => at!["services", name, "router"].to_vec(),
        };
        out.push(
            Diagnostic::new(
                &codes::UNSUPPORTED,
                cx.value(&path),
                format!("service `{name}` balances the IPv6 VIP {vip}, which the evenkeeld of this version cannot do yet"),
                "understood, but not supported",
            )
            .note("virtual routers can have IPv6 VIPs: they move from director to director as those of IPv4 do")
            .hint("balance the IPv4 VIPs, and leave the IPv6 ones to the virtual router"),
        );
    }
}

fn real_servers(cx: &Context<'_>, out: &mut Findings) {
    let mut look = |section: &str, name: &Name, servers: &[RealServer]| {
        for (index, server) in servers.iter().enumerate() {
            if server.forwarding.is_some_and(|forwarding| forwarding != Forwarding::Dr) {
                let path = at![section, name, "real_servers", index, "forwarding"];
                refuse(cx, out, path, "forwarding by tunnel or masquerade", "use direct routing");
            }
        }
    };
    cx.cluster.services.iter().for_each(|(name, service)| look("services", name, &service.real_servers));
    cx.cluster.pools.iter().for_each(|(name, pool)| look("pools", name, &pool.real_servers));
}

fn check_options(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        for (at, check) in checks(service) {
            let mut no = |given: bool, key: &str, what: &str, instead: &str| {
                if given {
                    refuse(cx, out, &at.path(name, key), what, instead);
                }
            };
            no(
                check.kind != CheckType::Tcp,
                "type",
                &format!("a check of type {}", check.kind.as_str()),
                "use `type = \"tcp\"`",
            );
            no(
                check.warmup.is_some(),
                "warmup",
                "a random wait before the first check",
                "remove `warmup`: first checks are spread over the interval",
            );
            no(
                check.initially_down,
                "initially_down",
                "counting a new real server as failing",
                "remove `initially_down`",
            );
            no(check.source.is_some(), "source", "checking from an address of choice", "remove `source`");
            no(
                check.interface.is_some(),
                "interface",
                "checking through an interface of choice",
                "remove `interface`",
            );
        }
    }
}

fn policy(cx: &Context<'_>, out: &mut Findings) {
    let drift = &cx.cluster.policy.drift;
    for (key, mode) in [
        ("addresses", drift.addresses),
        ("routes", drift.routes),
        ("sysctls", drift.sysctls),
        ("ipvs", drift.ipvs),
    ] {
        if mode == DriftMode::Report {
            refuse(
                cx,
                out,
                at!["policy", "drift", key],
                "only reporting drift",
                "remove it: drift is repaired",
            );
        }
    }
}
