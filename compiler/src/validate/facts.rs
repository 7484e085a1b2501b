//! Facts about services and their real servers that rules ask for. No rule is here.

use evenkeel_schemas::cluster::{Forwarding, RealServer, Service};
use evenkeel_schemas::scalars::Name;

use super::Context;
use super::written_checks::{self, WrittenCheck};
use crate::members::{self, Member};
use crate::path::at;

/// Facts about a service, found out once: a cluster may have a hundred thousand real servers, and to go
/// through all of them takes longer than most rules.
pub(super) struct ServiceFacts<'a> {
    pub(super) name: &'a Name,
    /// The real servers that exist and are known.
    members: Vec<Member<'a>>,
    /// Whether those that exist are all known.
    complete: bool,
    /// Whether each entry of its list is a host that exists, and neither chooses others nor has an address.
    pub(super) plain: bool,
    /// The forwarding methods of its members.
    methods: Vec<Forwarding>,
    /// The checks that stand in it and in its list.
    pub(super) checks: Vec<WrittenCheck<'a>>,
    /// The pools that its list names.
    pub(super) pools: Vec<&'a str>,
}

impl<'a> ServiceFacts<'a> {
    pub(super) fn new(name: &'a Name, service: &'a Service, members: Vec<Member<'a>>) -> Self {
        let entries = &service.real_servers;
        let pools: Vec<&str> = entries.iter().filter_map(|entry| entry.pool.as_deref()).collect();
        let alone = |entry: &RealServer| entry.label.is_none() && entry.address.is_none();
        // An entry with a host that does not exist has no member.
        let plain = pools.is_empty() && members.len() == entries.len() && entries.iter().all(alone);
        let checks = written_checks::of_service(name, service).chain(written_checks::of_entries(
            written_checks::SERVICES,
            name,
            entries,
        ));
        Self { name, complete: true, plain, methods: Vec::new(), checks: checks.collect(), pools, members }
    }

    /// The same with the members that are known.
    pub(super) fn with_known(mut self, service: &Service, known: impl Fn(&Member<'a>) -> bool) -> Self {
        let all = self.members.len();
        self.members.retain(known);
        self.complete = self.members.len() == all;
        for method in self.members.iter().map(|member| member.forwarding(service)) {
            if !self.methods.contains(&method) {
                self.methods.push(method);
            }
        }
        self
    }
}

impl<'a> Context<'a> {
    pub(super) fn facts(&self, service: &Name) -> Option<&'a ServiceFacts<'a>> {
        let services = &self.world.services;
        let is = |at: &usize| services.get(*at).is_some_and(|facts| facts.name == service);
        // Rules go through the services in their order.
        let at = self.at.get();
        let at = [at, at + 1]
            .into_iter()
            .find(is)
            .or_else(|| services.binary_search_by(|facts| facts.name.cmp(service)).ok())?;
        self.at.set(at);
        services.get(at)
    }

    /// The real servers of a service that exist and are known.
    pub(super) fn members(&self, service: &Name) -> &'a [Member<'a>] {
        self.facts(service).map_or(&[], |facts| &facts.members)
    }

    /// Whether a known real server of a service is reached by one of these methods.
    pub(super) fn reaches_by(&self, service: &Name, methods: &[Forwarding]) -> bool {
        self.facts(service).is_some_and(|facts| facts.methods.iter().any(|method| methods.contains(method)))
    }

    /// The real servers of a service when every one is known and every entry leads to some: only
    /// then can anything be said of all.
    pub(super) fn all_members(&self, name: &Name, service: &Service) -> Option<&'a [Member<'a>]> {
        let ServiceFacts { members, complete, plain, .. } = self.facts(name)?;
        let mut expected = service.real_servers.len();
        for entry in service.real_servers.iter().filter(|_| !plain) {
            expected -= usize::from(entry.host.is_none() && entry.label.is_none());
            if let Some(pool) = &entry.pool {
                expected += self.cluster.pools.get(pool.as_str())?.real_servers.len();
            }
            let labels = entry.label.is_some() || entry.pool.is_some();
            if (labels && !self.knows_labels) || members::naming(entry).count() != 1 {
                return None;
            }
        }
        let found = members.chunk_by(|a, b| a.source() == b.source()).count();
        let known = *complete
            && found == expected
            && self.knows_all(at!["services", name, "real_servers"])
            && (*plain
                || service.real_servers.iter().all(|entry| {
                    entry.pool.as_ref().is_none_or(|pool| self.knows_all(at!["pools", pool.as_str()]))
                }));
        known.then_some(members.as_slice())
    }
}
