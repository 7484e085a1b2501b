//! The real servers of a service, after its pools and labels are looked up.
//!
//! Used by the rules and by `resolve`, so that both mean the same. What a member has may be written
//! in the service's list or in the pool's: `Member` knows where.

use std::collections::BTreeMap;

use evenkeel_schemas::cluster::{Check, Cluster, Forwarding, Host, RealServer, Service};
use evenkeel_schemas::scalars::{ConnectionLimit, Ip, Name, Port, Weight};

use crate::attach::Subnets;
use crate::path::Step;

/// A host in its role as real server of a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    /// Name as it is known in `hosts`.
    pub(crate) name: &'a Name,
    pub(crate) host: &'a Host,
    /// The entry of the service.
    pub(crate) entry: &'a RealServer,
    /// Index of the entry.
    pub(crate) index: usize,
    /// The pool that the entry names, and the pool's entry.
    pub(crate) pool: Option<(&'a Name, usize, &'a RealServer)>,
}

/// Path of a member's value.
pub(crate) type Path<'p> = Vec<Step<'p>>;

impl<'a> Member<'a> {
    /// Setting of the service's entry, or else of the pool.
    fn setting<T>(&self, of: impl Fn(&RealServer) -> Option<T>) -> Option<T> {
        of(self.entry).or_else(|| of(self.pool?.2))
    }

    /// Entry and list that it comes from: equal for the hosts of one label.
    pub(crate) fn source(&self) -> (usize, Option<usize>) {
        (self.index, self.pool.map(|(_, index, _)| index))
    }

    /// Weight; 1 where none is written.
    pub(crate) fn weight(&self) -> Weight {
        self.setting(|entry| entry.weight).unwrap_or(Weight::ONE)
    }

    /// Port, where one is written.
    pub(crate) fn port(&self) -> Option<Port> {
        self.setting(|entry| entry.port)
    }

    /// Forwarding method.
    pub(crate) fn forwarding(&self, service: &Service) -> Forwarding {
        self.setting(|entry| entry.forwarding).unwrap_or(service.forwarding)
    }

    /// The connection counts at which it stops and resumes taking new ones.
    pub(crate) fn thresholds(&self) -> (Option<ConnectionLimit>, Option<ConnectionLimit>) {
        (self.setting(|entry| entry.upper_threshold), self.setting(|entry| entry.lower_threshold))
    }

    /// The checks that are written for it, in the service's entry, or else in the pool's; none where it has
    /// those of the service.
    pub(crate) fn own_checks(&self) -> impl Iterator<Item = &'a Check> + use<'a> {
        let has = |entry: &&'a RealServer| entry.check.is_some() || !entry.checks.is_empty();
        let entry = Some(self.entry).filter(has).or_else(|| self.pool.map(|(.., entry)| entry));
        entry.into_iter().flat_map(|entry| entry.check.as_deref().into_iter().chain(&entry.checks))
    }

    /// The address that is written for it.
    pub(crate) fn given_address(&self) -> Option<Ip> {
        self.setting(|entry| entry.address)
    }

    /// Address for a VIP: the one that is written, else the host's on the VIP's segment, else its first of
    /// the VIP's family.
    pub(crate) fn address(&self, subnets: &Subnets<'_>, vip: Ip) -> Ip {
        if let Some(address) = self.given_address() {
            return address;
        }
        address_of(self.host, subnets, vip)
    }

    /// Path of `key` where it is written: in the service's entry, or else in the pool's.
    pub(crate) fn path<'p>(&self, service: &'p Name, key: &'p str) -> Path<'p>
    where
        'a: 'p,
    {
        let written = |entry: &RealServer| match key {
            "host" => entry.host.is_some(),
            "label" => entry.label.is_some(),
            "pool" => entry.pool.is_some(),
            "address" => entry.address.is_some(),
            "weight" => entry.weight.is_some(),
            "port" => entry.port.is_some(),
            "forwarding" => entry.forwarding.is_some(),
            "upper_threshold" => entry.upper_threshold.is_some(),
            "lower_threshold" => entry.lower_threshold.is_some(),
            "check" => entry.check.is_some(),
            "checks" => !entry.checks.is_empty(),
            _ => false,
        };
        match (self.pool, self.pool_path(key)) {
            (Some((_, _, entry)), Some(path)) if written(entry) && !written(self.entry) => path,
            _ => self.entry_path(service, key),
        }
    }

    /// Path of `key` in the pool's entry, when it comes from a pool.
    pub(crate) fn pool_path<'p>(&self, key: &'p str) -> Option<Path<'p>>
    where
        'a: 'p,
    {
        let (pool, index, _) = self.pool?;
        Some(vec![
            Step::Key("pools"),
            Step::Key(pool.as_str()),
            Step::Key("real_servers"),
            Step::Index(index),
            Step::Key(key),
        ])
    }

    /// Path of `key` in the service's entry.
    pub(crate) fn entry_path<'p>(&self, service: &'p Name, key: &'p str) -> Path<'p> {
        vec![
            Step::Key("services"),
            Step::Key(service.as_str()),
            Step::Key("real_servers"),
            Step::Index(self.index),
            Step::Key(key),
        ]
    }

    /// Path of the word that names the host or its label: in the pool, if it comes from one.
    pub(crate) fn written_at<'p>(&self, service: &'p Name) -> Path<'p>
    where
        'a: 'p,
    {
        match self.pool {
            Some((_, _, RealServer { host: Some(_), .. })) => self.path(service, "host"),
            Some(_) => self.path(service, "label"),
            None => self.named_at(service),
        }
    }

    /// Path of the word by which the service names it: host, label or pool.
    pub(crate) fn named_at<'p>(&self, service: &'p Name) -> Path<'p> {
        let key = match self.entry {
            RealServer { host: Some(_), .. } => "host",
            RealServer { label: Some(_), .. } => "label",
            RealServer { .. } => "pool",
        };
        self.entry_path(service, key)
    }
}

/// The keys by which an entry says who it is about, with what they hold: one, when it is right.
pub(crate) fn naming(entry: &RealServer) -> impl Iterator<Item = (&'static str, &str)> {
    let label = entry.label.as_ref().map(Name::as_str);
    [("host", entry.host.as_deref()), ("label", label), ("pool", entry.pool.as_deref())]
        .into_iter()
        .filter_map(|(key, name)| Some((key, name?)))
}

/// Address of a host as a target of a VIP's packets, where none is written: the one on the VIP's segment,
/// else its first of the VIP's family.
pub(crate) fn address_of(host: &Host, subnets: &Subnets<'_>, vip: Ip) -> Ip {
    if host.addresses.is_empty() && host.interfaces.is_empty() {
        return host.address;
    }
    let home = subnets.of(vip).map(|(segment, _)| segment);
    let of_family = || {
        let addresses = host.all_addresses().map(|(ip, _)| ip);
        addresses.filter(|ip| ip.0.is_ipv4() == vip.0.is_ipv4())
    };
    let on_segment = || of_family().find(|ip| home.is_some() && subnets.of(*ip).map(|(at, _)| at) == home);
    on_segment().or_else(|| of_family().next()).unwrap_or(host.address)
}

/// Looks members up.
pub(crate) struct Members<'a> {
    cluster: &'a Cluster,
    labelled: BTreeMap<&'a Name, Vec<&'a Name>>,
}

impl<'a> Members<'a> {
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        let mut labelled: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
        for (name, host) in &cluster.hosts {
            for label in &host.labels {
                labelled.entry(label).or_default().push(name);
            }
        }
        Self { cluster, labelled }
    }

    /// Hosts with a label, by name.
    pub(crate) fn labelled(&self, label: &Name) -> &[&'a Name] {
        self.labelled.get(label).map_or(&[], Vec::as_slice)
    }

    /// The members that exist, in the order of the lists. Names that lead nowhere are left out.
    pub(crate) fn of(&self, service: &'a Service) -> Vec<Member<'a>> {
        let mut members = Vec::with_capacity(service.real_servers.len());
        for (index, entry) in service.real_servers.iter().enumerate() {
            self.hosts_of(entry, &mut |name, host| {
                members.push(Member { name, host, entry, index, pool: None });
            });
            let Some((pool_name, pool)) =
                entry.pool.as_ref().and_then(|pool| self.cluster.pools.get_key_value(pool.as_str()))
            else {
                continue;
            };
            for (inner_index, inner) in pool.real_servers.iter().enumerate() {
                let pool = Some((pool_name, inner_index, inner));
                self.hosts_of(inner, &mut |name, host| {
                    members.push(Member { name, host, entry, index, pool });
                });
            }
        }
        members
    }

    fn hosts_of(&self, entry: &'a RealServer, found: &mut impl FnMut(&'a Name, &'a Host)) {
        let named = entry.host.as_ref().and_then(|host| self.cluster.hosts.get_key_value(host.as_str()));
        named.into_iter().for_each(|(name, host)| found(name, host));
        let labelled = entry.label.as_ref().map_or(&[][..], |label| self.labelled(label));
        let hosts = labelled.iter().filter_map(|name| self.cluster.hosts.get_key_value(name.as_str()));
        hosts.for_each(|(name, host)| found(name, host));
    }
}

/// Every virtual address of a service, as far as it is decided.
pub(crate) fn vips<'s>(service: &'s Service, of_router: &'s [Ip]) -> &'s [Ip] {
    match (&service.vip, service.vips.as_slice(), of_router) {
        (Some(vip), _, _) => std::slice::from_ref(vip),
        (None, vips @ [_, ..], _) => vips,
        (None, [], [_]) => of_router,
        (None, [], _) => &[],
    }
}

/// First and last port of each of a service's ports, with its index in `ports`, if it is there.
pub(crate) fn ports(service: &Service) -> impl Iterator<Item = (Option<usize>, Port, Port)> {
    let single = service.port.map(|port| (None, port, port));
    let ranges = service.ports.iter().enumerate();
    single.into_iter().chain(ranges.map(|(index, range)| (Some(index), range.first(), range.last())))
}
