//! EK03xx, fifth part: how VIPs are put on their interfaces.

use std::collections::BTreeSet;

use evenkeel_schemas::cluster::{VipSettings, VirtualRouter};
use evenkeel_schemas::scalars::{Ip, Name};

use super::{Context, Findings, Rule, duplicates};
use crate::attach::Family;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::{Step, at};
use crate::resolve::{is_dual, virtual_mac_interface};
use crate::suggest::list;

pub(super) const RULES: &[Rule] =
    &[settings_of_no_vip, settings_twice, prefix_too_long, label_on_ipv6, label_of_other_interface];

/// Settings, where they are, and the address that they are for if it is one.
struct Settings<'a> {
    router_name: &'a Name,
    router: &'a VirtualRouter,
    key: &'a String,
    settings: &'a VipSettings,
    vip: Option<Ip>,
}

impl<'a> Settings<'a> {
    fn path<'p>(&self, key: &'p str) -> [Step<'p>; 5]
    where
        'a: 'p,
    {
        let Self { router_name, key: vip, .. } = self;
        let [section, settings] = ["virtual_routers", "vip_settings"].map(Step::Key);
        [section, Step::Key(router_name.as_str()), settings, Step::Key(vip), Step::Key(key)]
    }

    fn knows(&self, cx: &Context<'_>, key: &str) -> bool {
        cx.knows(&self.path(key))
    }
}

fn all<'a>(cx: &Context<'a>) -> impl Iterator<Item = Settings<'a>> {
    let routers = cx.cluster.virtual_routers.iter();
    routers.flat_map(|(router_name, router)| {
        router.vip_settings.iter().map(move |(key, settings)| Settings {
            router_name,
            router,
            key,
            settings,
            vip: key.parse().ok(),
        })
    })
}

fn settings_of_no_vip(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        if router.vip_settings.is_empty() || !cx.knows_vips(name) {
            continue;
        }
        let vips: BTreeSet<Ip> = cx.all_vips_of(name, router).map(|vip| vip.ip).collect();
        for key in router.vip_settings.keys() {
            let vip: Option<Ip> = key.parse().ok();
            let known = cx.knows(at!["virtual_routers", name, "vip_settings", key]);
            if !known || vip.is_some_and(|vip| vips.contains(&vip)) {
                continue;
            }
            let vips: Vec<String> = vips.iter().map(ToString::to_string).collect();
            let hint = match cx.suggester.closest(key, vips.iter().map(String::as_str)) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("its VIPs: {}", list(&vips).unwrap_or_default()),
            };
            let label = if vip.is_some() { "not one of its VIPs" } else { "not an address" };
            out.push(
                Diagnostic::new(
                    &codes::SETTINGS_OF_NO_VIP,
                    cx.key(at!["virtual_routers", name, "vip_settings", key]),
                    format!("`{name}` has settings for `{}`, which is no VIP of it", key.escape_debug()),
                    label,
                )
                .also(cx.value(at!["virtual_routers", name, "vips"]), "its VIPs")
                .hint(hint),
            );
        }
    }
}

/// Two spellings of one IPv6 address are two keys.
fn settings_twice(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let parsed = router.vip_settings.keys().filter_map(|key| Some((key.parse::<Ip>().ok()?, key)));
        duplicates(
            parsed.map(|(vip, key)| (vip, (vip, key))),
            |(_, key)| cx.key(at!["virtual_routers", name, "vip_settings", key]),
            |(_, first), ((vip, _), again)| {
                out.push(
                    Diagnostic::new(
                        &codes::SETTINGS_TWICE,
                        again,
                        format!("`{name}` has two settings for VIP {vip}"),
                        "the same address, written in another way",
                    )
                    .also(first, "first written here")
                    .hint(format!("keep one, as \"{vip}\"")),
                );
            },
        );
    }
}

fn prefix_too_long(cx: &Context<'_>, out: &mut Findings) {
    for each in all(cx) {
        let (Some(vip), Some(prefix)) = (each.vip, each.settings.prefix) else {
            continue;
        };
        let family = Family::of(vip.0);
        if prefix <= family.width() || !each.knows(cx, "prefix") {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::PREFIX_TOO_LONG,
                cx.value(&each.path("prefix")),
                format!("VIP {vip} of `{}` has the prefix length {prefix}", each.router_name),
                format!("{family} addresses have {} bits", family.width()),
            )
            .hint(format!("remove it to get /{}, or write that of the subnet", family.width())),
        );
    }
}

fn label_on_ipv6(cx: &Context<'_>, out: &mut Findings) {
    for each in all(cx) {
        let (Some(vip), true) = (each.vip, each.settings.label.is_some()) else {
            continue;
        };
        if vip.0.is_ipv6() && each.knows(cx, "label") {
            out.push(
                Diagnostic::new(
                    &codes::LABEL_ON_IPV6,
                    cx.key(&each.path("label")),
                    format!("VIP {vip} of `{}` has a label", each.router_name),
                    "IPv6 addresses have none",
                )
                .hint("remove `label`"),
            );
        }
    }
}

/// The interfaces that a VIP is put on, by director, as far as they are known.
fn interfaces<'a>(cx: &Context<'a>, each: &Settings<'a>, vip: Ip) -> Vec<(&'a Name, String)> {
    let known = |key| cx.knows_all(at!["virtual_routers", each.router_name, key]);
    if !each.knows(cx, "interface")
        || !known("virtual_mac")
        || !known("vrid")
        || !known("vips")
        || !known("segment")
    {
        return Vec::new();
    }
    let router_home = cx.home(each.router_name, each.router);
    let elsewhere = cx.segment(vip).is_some_and(|on| Some(on) != router_home);
    let macvlan = each
        .router
        .virtual_mac
        .as_ref()
        .filter(|_| !elsewhere)
        .map(|mac| virtual_mac_interface(mac, each.router.vrid, Family::of(vip.0), is_dual(each.router)));
    let home = cx.segment(vip).or(router_home);
    let on = |director: &String| {
        let (name, host) = cx.cluster.hosts.get_key_value(director.as_str())?;
        if let Some(interface) = each.settings.interface.as_ref().map(ToString::to_string) {
            return Some((name, interface));
        }
        if let Some(interface) = &macvlan {
            return Some((name, interface.clone()));
        }
        let addresses = cx.addresses_of(name, host);
        let own = cx.subnets.attachment(addresses, home?, Family::of(vip.0))?;
        let known = cx.knows_addresses(name) && cx.knows_subnets();
        known.then(|| (name, own.interface.to_string()))
    };
    cx.directors(each.router_name, each.router).filter_map(|(_, director)| on(director)).collect()
}

fn label_of_other_interface(cx: &Context<'_>, out: &mut Findings) {
    for each in all(cx) {
        let (Some(vip), Some(label)) = (each.vip.filter(|vip| vip.0.is_ipv4()), &each.settings.label) else {
            continue;
        };
        let begins = |interface: &String| {
            let rest = label.as_str().strip_prefix(interface.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        let wrong = interfaces(cx, &each, vip).into_iter().find(|(_, interface)| !begins(interface));
        let Some((director, interface)) = wrong.filter(|_| each.knows(cx, "label")) else {
            continue;
        };
        out.push(
            Diagnostic::new(
                &codes::LABEL_OF_OTHER_INTERFACE,
                cx.value(&each.path("label")),
                format!(
                    "label `{label}` of VIP {vip} does not begin with `{interface}`, its interface on \
                    `{director}`"
                ),
                "looks like another interface",
            )
            .hint(format!("write a label such as \"{interface}:1\", at most 15 characters")),
        );
    }
}
