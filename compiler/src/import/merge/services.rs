//! Virtual servers of several directors that are one service, their real servers and checks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::super::model::{At, Draft, Real, Service, Target};
use super::super::notes::{Fate, Owner};
use super::super::source::Spot;
use super::checks::Checks;
use super::segments::dashed;
use super::{Merger, nested};

/// Key by which services of several directors are one: targets and protocol.
type Key = (Vec<Target>, String);

/// A service of the cluster file: some of the targets of a virtual server.
struct ServicePart {
    router: String,
    only_vip: bool,
    vips: Vec<IpAddr>,
    ports: Vec<u16>,
    mark: Option<u32>,
    /// The link of its router.
    link: Option<usize>,
}

impl Merger<'_> {
    pub(super) fn services(&mut self) {
        let mut order: Vec<Key> = Vec::new();
        let mut groups: BTreeMap<Key, Vec<(usize, usize)>> = BTreeMap::new();
        for (director, config) in self.configs.iter().enumerate() {
            for (index, service) in config.services.iter().enumerate() {
                let protocol = service.draft.get("protocol").and_then(Value::as_str).unwrap_or_default();
                let key = (service.targets.clone(), protocol.to_owned());
                let members = groups.entry(key.clone()).or_insert_with(|| {
                    order.push(key);
                    Vec::new()
                });
                members.push((director, index));
            }
        }
        let vips: usize = self.routers.iter().map(|router| router.vips.len()).sum();
        for key in order {
            let members = groups.remove(&key).unwrap_or_default();
            self.service(&key, &members, vips == 1);
        }
    }

    fn service(&mut self, (targets, protocol): &Key, members: &[(usize, usize)], short: bool) {
        let all: Vec<Service> = members
            .iter()
            .map(|(director, index)| self.configs[*director].services[*index].clone())
            .collect();
        let Some(first) = all.first() else { return };
        let parts = self.parts(targets, first);
        let hint = first.group.clone();
        let many = parts.len() > 1;
        for part in parts {
            let name = self.service_name(&part, protocol, hint.as_deref().filter(|_| !many), short);
            for (director, index) in members {
                self.merged.names.entry(Owner::Service(*director, *index)).or_insert_with(|| name.clone());
            }
            let what = format!("`{name}`");
            if all.len() < self.configs.len() {
                let why = "only some of the directors have it; all of them will";
                self.notes.say(
                    Fate::Decide,
                    all.iter().map(|service| service.spot).collect(),
                    format!("the service {what}"),
                    why,
                );
            }
            let out = self.service_table(&what, &part, &all);
            self.put("services", &name, out);
        }
    }

    /// The services that a virtual server becomes: one for each mark, and one for each router and set of
    /// ports.
    fn parts(&mut self, targets: &[Target], service: &Service) -> Vec<ServicePart> {
        let mut parts: Vec<ServicePart> = Vec::new();
        let mut by_vip: BTreeMap<IpAddr, Vec<u16>> = BTreeMap::new();
        for target in targets {
            match target {
                Target::Mark(mark) => {
                    let router = self.any_router(service.spot, &format!("firewall mark {mark}"));
                    let link = self.routers.iter().find(|other| other.name == router).map(|other| other.link);
                    parts.push(ServicePart {
                        router,
                        only_vip: true,
                        vips: Vec::new(),
                        ports: Vec::new(),
                        mark: Some(*mark),
                        link,
                    });
                }
                Target::Address(address, port) => by_vip.entry(*address).or_default().extend(*port),
            }
        }
        for (vip, ports) in by_vip {
            let holder = self.holders.get(&vip).and_then(|at| self.routers.get(*at));
            let link = holder.map(|router| router.link);
            let (router, only_vip) = match holder {
                Some(router) => (router.name.clone(), router.vips.len() == 1),
                None => {
                    (self.any_router(service.spot, &format!("the VIP {vip}, which no instance holds")), false)
                }
            };
            match parts
                .iter_mut()
                .find(|part| part.mark.is_none() && part.router == router && part.ports == ports)
            {
                Some(part) => part.vips.push(vip),
                None => {
                    parts.push(ServicePart { router, only_vip, vips: vec![vip], ports, mark: None, link })
                }
            }
        }
        parts
    }

    /// The router of a service that names none of its VIPs.
    fn any_router(&mut self, spot: Spot, what: &str) -> String {
        match self.routers.as_slice() {
            [only] if what.starts_with("firewall") => return only.name.clone(),
            [first, ..] => {
                let name = first.name.clone();
                self.notes.say(
                    Fate::Decide,
                    vec![spot],
                    format!("the virtual router of {what}"),
                    format!("`{name}` was taken"),
                );
                return name;
            }
            [] => {}
        }
        let why = "no instance is there whose directors could have it: import them together, or write \
            `virtual_routers`";
        self.notes.say(Fate::Decide, vec![spot], format!("the virtual router of {what}"), why);
        "decide".to_owned()
    }

    fn service_name(
        &mut self,
        part: &ServicePart,
        protocol: &str,
        group: Option<&str>,
        short: bool,
    ) -> String {
        let port = part.ports.first().copied().unwrap_or_default();
        let given =
            self.request.services.iter().find(|(_, vip, given)| part.vips.contains(vip) && *given == port);
        if let Some((name, ..)) = given {
            return self.free("services", name);
        }
        let protocol = if protocol.is_empty() { "any" } else { protocol };
        let port = if part.ports.is_empty() { "all".to_owned() } else { port.to_string() };
        let name = match (group, part.mark, part.vips.first()) {
            (Some(group), ..) => group.to_owned(),
            (None, Some(mark), _) => format!("mark-{mark}"),
            (None, None, Some(_)) if short => format!("{protocol}-{port}"),
            (None, None, Some(vip)) => {
                format!("{}-{protocol}-{port}", dashed(*vip))
            }
            (None, None, None) => protocol.to_owned(),
        };
        self.free("services", &name)
    }

    fn service_table(&mut self, what: &str, part: &ServicePart, all: &[Service]) -> Map<String, Value> {
        let drafts: Vec<(&Draft, Spot)> = all.iter().map(|service| (&service.draft, service.spot)).collect();
        let mut draft = self.in_agreement(what, &drafts, &[("on_failure", json!("remove"))]);
        let spot = all.first().map_or(Spot { file: 0, line: 0 }, |service| service.spot);
        let mut out = Map::new();
        out.insert("router".to_owned(), json!(part.router));
        match part.vips.as_slice() {
            [] => {}
            [_] if part.only_vip => {}
            [vip] => {
                out.insert("vip".to_owned(), json!(vip));
            }
            vips => {
                out.insert("vips".to_owned(), json!(vips));
            }
        }
        match part.ports.as_slice() {
            [] => {}
            [port] => {
                out.insert("port".to_owned(), json!(port));
            }
            ports => {
                let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
                out.insert("ports".to_owned(), json!(ports));
            }
        }
        if let Some(mark) = part.mark {
            out.insert("firewall_mark".to_owned(), json!(mark));
            draft.remove("protocol");
        } else {
            draft.remove("family");
            if draft.get("protocol").is_none() {
                let why = "keepalived takes UDP or TCP by its version: write `protocol`";
                self.notes.say(Fate::Decide, vec![spot], format!("the protocol of {what}"), why);
            }
        }
        let sorry_forwarding = draft.remove("sorry_server.forwarding");
        let forwarding = draft.get("forwarding").cloned();
        let checks = self.checks(what, (&part.ports, part.mark), all, forwarding.as_ref());
        let reals = self.real_servers(what, part, all, forwarding.as_ref(), &checks);
        out.insert("real_servers".to_owned(), Value::Array(reals));
        checks.of_service(&mut out);
        self.sorry_server(what, part, all, sorry_forwarding, &mut out);
        out.extend(nested(&draft));
        out
    }

    fn real_servers(
        &mut self,
        what: &str,
        part: &ServicePart,
        all: &[Service],
        forwarding: Option<&Value>,
        checks: &Checks,
    ) -> Vec<Value> {
        let mut order: Vec<(IpAddr, Option<u16>)> = Vec::new();
        let mut seen = BTreeSet::new();
        for real in all.iter().flat_map(|service| &service.reals) {
            if seen.insert((real.address, real.port)) {
                order.push((real.address, real.port));
            }
        }
        let mut out = Vec::new();
        for (address, port) in order {
            let find = |service: &Service| -> Option<Real> {
                service.reals.iter().find(|real| (real.address, real.port) == (address, port)).cloned()
            };
            let found: Vec<(Option<Real>, Spot)> =
                all.iter().map(|service| (find(service), service.spot)).collect();
            if found.iter().any(|(real, _)| real.is_none()) {
                let said: Vec<(String, Spot)> = found
                    .iter()
                    .map(|(real, spot)| match real {
                        Some(real) => (address.to_string(), real.spot),
                        None => (super::NOTHING.to_owned(), *spot),
                    })
                    .collect();
                self.disagree(&format!("the real servers of {what}"), &said);
            }
            let reals: Vec<&Real> = found.iter().filter_map(|(real, _)| real.as_ref()).collect();
            let drafts: Vec<(&Draft, Spot)> = reals.iter().map(|real| (&real.draft, real.spot)).collect();
            let mut draft = self.in_agreement(&format!("{address} in {what}"), &drafts, &[]);
            if draft.get("weight") == Some(&json!(1)) {
                draft.remove("weight");
            }
            let method = draft.get("forwarding").or(forwarding).cloned();
            if draft.get("forwarding") == forwarding {
                draft.remove("forwarding");
            }
            match part.link {
                Some(link) if method == Some(json!("dr")) => self.segments.add(link, address, None),
                _ => self.segments.add_anywhere(address),
            }
            let mut real = Map::new();
            real.insert("host".to_owned(), json!(self.real_host(address)));
            if let Some(port) = port.filter(|port| part.ports.as_slice() != [*port]) {
                let spots = reals.iter().map(|real| real.spot).collect();
                if method == Some(json!("nat")) {
                    real.insert("port".to_owned(), json!(port));
                } else if part.mark.is_none() {
                    let why =
                        "only masquerade translates ports: it has the service's own port, in keepalived, too";
                    self.notes.say(Fate::Changed, spots, format!("port {port} of {address} in {what}"), why);
                }
            }
            real.extend(nested(&draft));
            checks.of_real_server((address, port), &mut real);
            out.push(Value::Object(real));
        }
        out
    }

    fn sorry_server(
        &mut self,
        what: &str,
        part: &ServicePart,
        all: &[Service],
        forwarding: Option<At<Value>>,
        out: &mut Map<String, Value>,
    ) {
        let said: Vec<&At<(IpAddr, Option<u16>)>> =
            all.iter().filter_map(|service| service.sorry.as_ref()).collect();
        let Some(first) = said.first() else { return };
        if let Some(other) = said.iter().find(|at| at.value != first.value) {
            let shown = |at: &At<(IpAddr, Option<u16>)>| (at.value.0.to_string(), at.spot);
            self.disagree(&format!("the sorry server of {what}"), &[shown(first), shown(other)]);
        }
        let (address, port) = first.value;
        let mut sorry = Map::new();
        match self.reals.get(&address) {
            Some(name) => sorry.insert("host".to_owned(), json!(name)),
            None => sorry.insert("address".to_owned(), json!(address)),
        };
        if let Some(port) = port.filter(|port| part.ports.as_slice() != [*port]) {
            sorry.insert("port".to_owned(), json!(port));
        }
        if let Some(at) = forwarding {
            sorry.insert("forwarding".to_owned(), at.value);
        }
        out.insert("sorry_server".to_owned(), Value::Object(sorry));
    }
}
