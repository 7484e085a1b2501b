//! Which checks a service has, and which of its real servers have their own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::super::model::{At, Real, Service};
use super::super::notes::Fate;
use super::Merger;

/// Of checks that another director says otherwise.
const NOT_THESE: &str = "the directors differ in these checks: those of the first were taken";

/// A real server of a service.
pub(super) type Place = (IpAddr, Option<u16>);

/// The checks of a service.
#[derive(Default)]
pub(super) struct Checks {
    /// Of all real servers that have none of their own.
    shared: Vec<Value>,
    own: BTreeMap<Place, Vec<Value>>,
}

impl Checks {
    /// Puts in those of the service.
    pub(super) fn of_service(&self, out: &mut Map<String, Value>) {
        put(&self.shared, out);
    }

    /// Puts in those of a real server.
    pub(super) fn of_real_server(&self, place: Place, out: &mut Map<String, Value>) {
        put(self.own.get(&place).map_or(&[], Vec::as_slice), out);
    }
}

fn put(checks: &[Value], out: &mut Map<String, Value>) {
    let Some((first, more)) = checks.split_first() else { return };
    out.insert("check".to_owned(), first.clone());
    if !more.is_empty() {
        out.insert("checks".to_owned(), json!(more));
    }
}

impl Merger<'_> {
    /// Checks that most real servers have are the service's; the others have their own. Where one has none,
    /// all have their own: the service's would be its, too. `ports` and `mark` are those of the service.
    pub(super) fn checks(
        &mut self,
        what: &str,
        (ports, mark): (&[u16], Option<u32>),
        all: &[Service],
        forwarding: Option<&Value>,
    ) -> Checks {
        let plain = |real: &Real| plain(real, ports, mark, forwarding);
        let mut order: Vec<Place> = Vec::new();
        let mut found: BTreeMap<Place, (&Real, Vec<Value>)> = BTreeMap::new();
        for service in all {
            // Whether a check of this director counts.
            let mut counts = service.reals.is_empty();
            for real in &service.reals {
                let place = (real.address, real.port);
                let checks = plain(real);
                let Some((first, taken)) = found.get(&place) else {
                    order.push(place);
                    counts |= !checks.is_empty();
                    found.insert(place, (real, checks));
                    continue;
                };
                if *taken == checks {
                    counts |= !checks.is_empty();
                } else {
                    let of = |real: &Real| real.checks.first().map_or(real.spot, |check| check.spot);
                    let spots =
                        [of(first), of(real)].into_iter().chain(service.times.iter().copied()).collect();
                    let what = format!("the directors differ in the checks of {} in {what}", real.address);
                    self.notes.say(Fate::Decide, spots, what, "those of the first were taken");
                    for spot in real.checks.iter().map(|check| check.spot).chain(real.times.iter().copied()) {
                        self.notes.dropped(spot, Fate::NotCarried, NOT_THESE);
                    }
                }
            }
            let checked = service.reals.iter().any(|real| !real.checks.is_empty());
            for time in service.times.iter().filter(|_| checked && !counts) {
                self.notes.dropped(*time, Fate::NotCarried, NOT_THESE);
            }
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let key = |checks: &[Value]| json!(checks).to_string();
        for place in &order {
            *counts.entry(key(&found[place].1)).or_default() += 1;
        }
        let unchecked = found.values().any(|(_, checks)| checks.is_empty());
        let most = counts.values().max().copied().unwrap_or_default();
        let mut lists = order.iter().map(|place| &found[place].1);
        let shared = lists.find(|checks| counts.get(&key(checks)) == Some(&most)).filter(|_| !unchecked);
        let shared = shared.cloned().unwrap_or_default();
        let mut own = BTreeMap::new();
        let mut places = BTreeSet::new();
        for (place, (_, checks)) in &found {
            if !checks.is_empty() && *checks != shared {
                own.insert(*place, checks.clone());
                places.insert(*place);
            }
        }
        for service in all {
            if shared.is_empty() && !own.is_empty() {
                self.notes.of_real_servers(service.spot);
            }
            for real in &service.reals {
                if places.contains(&(real.address, real.port)) {
                    self.notes.of_real_servers(real.spot);
                }
            }
        }
        Checks { shared, own }
    }
}

/// The checks of a real server, without the port that they ask anyway.
fn plain(real: &Real, ports: &[u16], mark: Option<u32>, forwarding: Option<&Value>) -> Vec<Value> {
    // The port that a check asks when it says none: a mark has none.
    let nat = real.draft.get("forwarding").or(forwarding) == Some(&json!("nat"));
    let port = real.port.filter(|port| nat || ports == [*port]);
    let own = port.filter(|_| mark.is_none()).map(|port| json!(port));
    let plain = |check: &At<Value>| {
        let mut check = check.value.clone();
        if let Value::Object(table) = &mut check
            && own.is_some()
            && table.get("port") == own.as_ref()
        {
            table.remove("port");
        }
        check
    };
    real.checks.iter().map(plain).collect()
}
