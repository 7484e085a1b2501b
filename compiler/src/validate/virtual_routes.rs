//! EK04xx, ninth part: routes and policy rules that the Master has.

use evenkeel_schemas::cluster::{VirtualRoute, VirtualRouter, VirtualRule};
use evenkeel_schemas::scalars::{Cidr, Name, RouteTable};

use super::{Context, Findings, Rule, duplicates};
use crate::attach::Family;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::{Step, at};

pub(super) const RULES: &[Rule] = &[
    route_twice,
    families_mixed,
    host_bits,
    via_is_vip,
    rule_for_everything,
    preference_twice,
    table_of_the_kernel,
];

/// The routing table `main` (rtnetlink(7)).
const MAIN: u32 = 254;

fn routers<'a>(cx: &Context<'a>) -> impl Iterator<Item = (&'a Name, &'a VirtualRouter)> {
    cx.cluster.virtual_routers.iter()
}

fn routes<'a>(cx: &Context<'a>) -> impl Iterator<Item = (&'a Name, usize, &'a VirtualRoute)> {
    routers(cx)
        .flat_map(|(name, router)| router.routes.iter().enumerate().map(move |(i, route)| (name, i, route)))
}

fn rules<'a>(cx: &Context<'a>) -> impl Iterator<Item = (&'a Name, usize, &'a VirtualRule)> {
    routers(cx)
        .flat_map(|(name, router)| router.rules.iter().enumerate().map(move |(i, rule)| (name, i, rule)))
}

/// Path of a key of a route or rule.
fn entry<'p>(name: &'p Name, list: &'p str, index: usize, key: &'p str) -> [Step<'p>; 5] {
    let [section, list, key] = ["virtual_routers", list, key].map(Step::Key);
    [section, Step::Key(name.as_str()), list, Step::Index(index), key]
}

/// The kernel knows a route by destination, table and metric.
fn route_twice(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in routers(cx) {
        let known = |index: &usize| cx.knows_all(at!["virtual_routers", name, "routes", *index]);
        let routes = router.routes.iter().enumerate().filter(|(index, _)| known(index));
        duplicates(
            routes.map(|(index, route)| {
                let network = (route.destination.network(), route.destination.prefix());
                let table = route.table.map_or(MAIN, RouteTable::get);
                ((network, table, route.metric.unwrap_or(0)), (index, route.destination))
            }),
            |(index, _)| cx.value(&entry(name, "routes", index, "destination")),
            |(_, first), ((_, destination), again)| {
                out.push(
                    Diagnostic::new(
                        &codes::ROUTE_TWICE,
                        again,
                        format!("`{name}` has two routes to {destination}"),
                        "the same destination, table and metric",
                    )
                    .also(first, "first here")
                    .hint("remove one of them, or give one a higher `metric`"),
                );
            },
        );
    }
}

fn families_mixed(cx: &Context<'_>, out: &mut Findings) {
    let mut look = |name: &Name, list: &str, index: usize, what: &str, a: (&str, Cidr), b: (&str, Cidr)| {
        let known = |key| cx.knows(&entry(name, list, index, key));
        let (first, second) = (Family::of(a.1.address()), Family::of(b.1.address()));
        if first == second || !known(a.0) || !known(b.0) {
            return;
        }
        out.push(
            Diagnostic::new(
                &codes::FAMILIES_MIXED,
                cx.value(&entry(name, list, index, b.0)),
                format!("a {what} of `{name}` mixes {first} and {second}"),
                format!("{second}"),
            )
            .also(cx.value(&entry(name, list, index, a.0)), format!("{first}"))
            .hint(format!("make a {what} of its own for each family")),
        );
    };
    for (name, index, route) in routes(cx) {
        for (key, address) in [("via", route.via), ("source", route.source)] {
            if let Some(address) = address {
                let other = (key, Cidr::host(address.0));
                look(name, "routes", index, "route", ("destination", route.destination), other);
            }
        }
    }
    for (name, index, rule) in rules(cx) {
        if let (Some(from), Some(to)) = (rule.from, rule.to) {
            look(name, "rules", index, "rule", ("from", from), ("to", to));
        }
    }
}

fn host_bits(cx: &Context<'_>, out: &mut Findings) {
    let mut look = |name: &Name, list: &str, index: usize, what: &str, key: &str, network: Option<Cidr>| {
        let path = entry(name, list, index, key);
        let Some(written) = network.filter(|net| net.address() != net.network() && cx.knows(&path)) else {
            return;
        };
        let right = format!("{}/{}", written.network(), written.prefix());
        out.push(
            Diagnostic::new(
                &codes::ROUTE_HOST_BITS,
                cx.value(&path),
                format!("`{key}` of a {what} of `{name}` has host bits: {written}"),
                "the kernel refuses it",
            )
            .hint(format!("write \"{right}\"")),
        );
    };
    for (name, index, route) in routes(cx) {
        look(name, "routes", index, "route", "destination", Some(route.destination));
    }
    for (name, index, rule) in rules(cx) {
        look(name, "rules", index, "rule", "from", rule.from);
        look(name, "rules", index, "rule", "to", rule.to);
    }
}

fn via_is_vip(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in routers(cx).filter(|(_, router)| !router.routes.is_empty()) {
        let vips: std::collections::BTreeMap<_, _> =
            cx.all_vips_of(name, router).map(|vip| (vip.ip, vip)).collect();
        for (index, route) in router.routes.iter().enumerate() {
            let path = entry(name, "routes", index, "via");
            let vip = route.via.filter(|_| cx.knows(&path)).and_then(|via| vips.get(&via));
            let Some(vip) = vip else {
                continue;
            };
            out.push(
                Diagnostic::new(
                    &codes::VIA_IS_VIP,
                    cx.value(&path),
                    format!("a route of `{name}` leads through {}, its own VIP", vip.ip),
                    "the Master itself",
                )
                .also(cx.value(&vip.path()), "a VIP")
                .hint("name the next router; for a route to the directly reachable remove `via`"),
            );
        }
    }
}

fn rule_for_everything(cx: &Context<'_>, out: &mut Findings) {
    for (name, index, rule) in rules(cx) {
        let none = rule.from.is_none()
            && rule.to.is_none()
            && rule.input_interface.is_none()
            && rule.firewall_mark.is_none();
        let path = at!["virtual_routers", name, "rules", index];
        if none && cx.knows_all(path) {
            out.push(
                Diagnostic::new(
                    &codes::RULE_FOR_EVERYTHING,
                    cx.value(&entry(name, "rules", index, "preference")),
                    format!("rule {} of `{name}` matches every packet of the director", rule.preference),
                    format!("everything goes by table {}", rule.table),
                )
                .hint(
                    "say which packets are meant with `from`, `to`, `input_interface` or `firewall_mark`; \
                    if all of a family are meant, write its whole network as `from`",
                ),
            );
        }
    }
}

fn preference_twice(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in routers(cx) {
        let known = |index: &usize| cx.knows(&entry(name, "rules", *index, "preference"));
        let rules = router.rules.iter().enumerate().filter(|(index, _)| known(index));
        duplicates(
            rules.map(|(index, rule)| (rule.preference, (index, rule.preference))),
            |(index, _)| cx.value(&entry(name, "rules", index, "preference")),
            |(_, first), ((_, preference), again)| {
                out.push(
                    Diagnostic::new(
                        &codes::PREFERENCE_TWICE,
                        again,
                        format!("`{name}` has two rules with the preference {preference}"),
                        "the same again",
                    )
                    .also(first, "first here")
                    .hint("number them in the order in which they are to be looked at"),
                );
            },
        );
    }
}

fn table_of_the_kernel(cx: &Context<'_>, out: &mut Findings) {
    let mut look = |name: &Name, list: &str, index: usize, table: Option<RouteTable>| {
        let path = entry(name, list, index, "table");
        let which = match table.map(RouteTable::get) {
            Some(253) => "`default`, which nobody fills and the kernel looks at last",
            Some(255) => "`local`, which the kernel fills itself",
            Some(_) | None => return,
        };
        if cx.knows(&path) {
            out.push(
                Diagnostic::new(
                    &codes::TABLE_OF_THE_KERNEL,
                    cx.value(&path),
                    format!("`{list}` of `{name}` use the routing table {which}"),
                    "not for routes of one's own",
                )
                .hint("choose 1 to 252 or a number above 255; 254 is `main`"),
            );
        }
    };
    routes(cx).for_each(|(name, index, route)| look(name, "routes", index, route.table));
    rules(cx).for_each(|(name, index, rule)| look(name, "rules", index, Some(rule.table)));
}
