//! Who claims which VIP, how it speaks to its peers, and what that means for moving it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_schemas::plan::{Auth, HmacMode, Plan, Router, SecretReference, Strangers};
use evenkeel_schemas::scalars::{Ip, Name};

use super::super::{Fleet, HostState};
use crate::attach::is_link_local;

/// Settings on which the directors of a VIP must agree, or else they reject each other and both become
/// Master.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Wire {
    pub(in super::super) vrid: u8,
    pub(in super::super) version: u8,
    /// In version 2 only; with version 3 Backups follow the Master.
    pub(in super::super) interval: Option<String>,
    /// Password, and the secret if it is known. Keys are no part of it: directors whose keys differ may
    /// accept each other all the same ([`Claim::accepts`]).
    auth: Option<(String, Option<String>)>,
}

impl Wire {
    pub(in super::super) fn new(router: &Router, state: &HostState) -> Self {
        Self::with(router, |name| state.secrets.get(name).map(String::as_str))
    }

    fn with<'s>(router: &Router, secret: impl Fn(&str) -> Option<&'s str>) -> Self {
        let secret = compiled_secret(router).and_then(secret).map(str::to_owned);
        let password = router.auth.as_ref().filter(|auth| matches!(auth, Auth::Pass { .. }));
        let auth = password.map(|auth| {
            // A compiled secret is named after its router, which may be renamed.
            let how = if secret.is_some() { "compiled".to_owned() } else { format!("{auth:?}") };
            (how, secret)
        });
        Self {
            vrid: router.vrid.get(),
            version: router.version,
            interval: (router.version == 2).then(|| router.advert_interval.to_string()),
            auth,
        }
    }

    /// Differences, in words.
    pub(in super::super) fn difference(&self, other: &Self) -> Vec<&'static str> {
        [
            ("VRID", self.vrid != other.vrid),
            ("version", self.version != other.version),
            ("advertisement interval", self.version == other.version && self.interval != other.interval),
            ("authentication", self.auth != other.auth),
        ]
        .into_iter()
        .filter_map(|(word, differs)| differs.then_some(word))
        .collect()
    }
}

/// Every address that the Master holds, advertised or not.
pub(in super::super) fn held(router: &Router) -> impl Iterator<Item = IpAddr> + '_ {
    router.vips.iter().chain(&router.unadvertised_vips).map(|vip| vip.address())
}

/// TTL of multicast advertisements, and the lowest that is accepted without unicast (RFC 9568 §5.1.1.3).
const TTL: u8 = 255;

/// The secret of a router that is in the file beside the plan.
pub(super) fn compiled_secret(router: &Router) -> Option<&str> {
    match router.auth.as_ref()? {
        Auth::Pass { secret: SecretReference::Compiled(name) } => Some(name.as_str()),
        Auth::Pass { secret: SecretReference::File(_) | SecretReference::Credential(_) } => None,
        // Its keys are never compiled.
        Auth::Hmac { .. } => None,
    }
}

/// Identity of a virtual router in advertisements of a segment.
pub(in super::super) fn family_and_vrid(router: &Router) -> (bool, u8) {
    (router.source.0.is_ipv6(), router.vrid.get())
}

/// A director's claim to a VIP.
#[derive(Debug, Clone)]
pub(in super::super) struct Claim<'a> {
    pub(in super::super) host: &'a Name,
    pub(in super::super) router: &'a Router,
    pub(in super::super) wire: Wire,
    /// Whether the host takes no part in its elections.
    pub(in super::super) in_maintenance: bool,
    /// All addresses of the host.
    addresses: &'a [Ip],
}

impl Claim<'_> {
    /// Whether advertisements of `speaker` count, to a director by multicast. One that nobody has named is
    /// known by any VIP that both have. That exactly the same VIPs count, too, is for faults and not relied
    /// on: on the way to new plans they differ.
    fn counts(&self, speaker: &Self) -> bool {
        let Some(directors) = &self.router.directors else { return true };
        let source = speaker.router.source;
        directors.addresses.contains(&source)
            || directors.strangers == Strangers::Accept
            || (directors.unnamed > 0 && (source.0.is_unspecified() || is_link_local(source)))
    }

    /// Whether the advertisements of `speaker` reach this director and are accepted. By unicast it
    /// accepts its peers only. A link-local source that only the host knows is nobody's peer.
    fn hears(&self, speaker: &Self) -> bool {
        let reached = match &speaker.router.unicast {
            Some(unicast) => {
                let own = |peer: &Ip| *peer == self.router.source || self.addresses.contains(peer);
                unicast.peers.iter().any(own)
            }
            None => true,
        };
        let ttl = speaker.router.unicast.as_ref().map_or(TTL, |unicast| unicast.ttl);
        let accepted = match &self.router.unicast {
            Some(unicast) => unicast.peers.contains(&speaker.router.source) && ttl >= unicast.min_ttl,
            None => ttl == TTL && self.counts(speaker),
        };
        reached && accepted && self.accepts(speaker)
    }

    /// Whether a trailer of `speaker`, or its absence, is accepted here. Passwords are compared as a whole
    /// ([`Wire`]).
    pub(in super::super) fn accepts(&self, speaker: &Self) -> bool {
        let trailer = match &speaker.router.auth {
            Some(Auth::Hmac { keys, active, mode, .. }) if *mode != HmacMode::ReceiveOnly => {
                keys.iter().find(|key| key.id == *active)
            }
            _ => None,
        };
        match (&self.router.auth, trailer) {
            (Some(Auth::Hmac { keys, .. }), Some(sent)) => keys.contains(sent),
            (Some(Auth::Hmac { mode, .. }), None) => *mode != HmacMode::Enforce,
            // Nothing is expected behind an advertisement.
            (_, trailer) => trailer.is_none(),
        }
    }

    /// Whether two directors hear each other, as one of them must be heard to keep the other from
    /// claiming what it holds.
    pub(in super::super) fn hear_each_other(&self, other: &Self) -> bool {
        self.hears(other) && other.hears(self)
    }
}

/// A virtual router as all its directors together have it.
#[derive(Debug, Clone)]
pub(in super::super) struct Logical<'a> {
    pub(in super::super) name: &'a Name,
    /// Advertised or not.
    pub(in super::super) vips: BTreeSet<IpAddr>,
    pub(in super::super) advertised: BTreeSet<IpAddr>,
    wires: BTreeSet<Wire>,
}

/// Whether two virtual routers with one VRID are the same one: of one name, or with a VIP in common.
pub(in super::super) fn related(a: &Logical<'_>, b: &Logical<'_>) -> bool {
    a.name == b.name || !a.vips.is_disjoint(&b.vips)
}

/// Plan and compiled secrets of a host at some time.
#[derive(Debug, Clone)]
pub(in super::super) struct Has<'a> {
    pub(in super::super) plan: &'a Plan,
    pub(in super::super) secrets: BTreeMap<&'a str, &'a str>,
}

impl<'a> Has<'a> {
    pub(in super::super) fn of(state: &'a HostState) -> Self {
        let secrets = state.secrets.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        Self { plan: &state.plan, secrets: secrets.collect() }
    }
}

/// All claims of a fleet.
#[derive(Debug, Default)]
pub(in super::super) struct Side<'a> {
    pub(in super::super) claims: BTreeMap<IpAddr, Vec<Claim<'a>>>,
    /// By family and VRID, then name.
    pub(in super::super) routers: BTreeMap<(bool, u8), BTreeMap<&'a Name, Logical<'a>>>,
    /// By family and name: who is Master when all are well.
    preferred: [BTreeMap<&'a str, Claim<'a>>; 2],
}

impl<'a> Side<'a> {
    pub(in super::super) fn new(fleet: &'a Fleet) -> Self {
        Self::with(fleet, |_, state| state.plan.maintenance)
    }

    /// The same where other hosts are in maintenance.
    fn with(fleet: &'a Fleet, in_maintenance: impl Fn(&Name, &HostState) -> bool) -> Self {
        let mut side = Self::default();
        for (host, state) in fleet {
            side.add_host(host, &Has::of(state), in_maintenance(host, state));
        }
        side
    }

    /// Of hosts on the way from one fleet to another.
    pub(in super::super) fn of(now: &BTreeMap<&'a Name, Has<'a>>) -> Self {
        let mut side = Self::default();
        for (host, has) in now {
            side.add_host(host, has, has.plan.maintenance);
        }
        side
    }

    fn add_host(&mut self, host: &'a Name, has: &Has<'a>, in_maintenance: bool) {
        for router in &has.plan.routers {
            let wire = Wire::with(router, |name| has.secrets.get(name).copied());
            let addresses = &has.plan.host_addresses;
            self.add(&Claim { host, router, wire, in_maintenance, addresses });
        }
    }

    fn add(&mut self, claim: &Claim<'a>) {
        let router = claim.router;
        for vip in held(router) {
            self.claims.entry(vip).or_default().push(claim.clone());
        }
        let logical = self.routers.entry(family_and_vrid(router)).or_default().entry(&router.name);
        let logical = logical.or_insert_with(|| Logical {
            name: &router.name,
            vips: BTreeSet::new(),
            advertised: BTreeSet::new(),
            wires: BTreeSet::new(),
        });
        logical.vips.extend(held(router));
        logical.advertised.extend(router.vip_addresses());
        logical.wires.insert(claim.wire.clone());
        let family = &mut self.preferred[usize::from(router.source.0.is_ipv6())];
        let first = family.entry(router.name.as_str()).or_insert_with(|| claim.clone());
        if strength(claim) > strength(first) {
            *first = claim.clone();
        }
    }

    /// Director that should be Master of a VIP.
    pub(in super::super) fn master(&self, vip: IpAddr) -> Option<&Claim<'a>> {
        self.claims.get(&vip)?.iter().max_by_key(|claim| strength(claim))
    }

    /// Director that should be Master of the virtual router of this name.
    pub(in super::super) fn preferred(&self, name: &Name, v6: bool) -> Option<&Claim<'a>> {
        self.preferred[usize::from(v6)].get(name.as_str())
    }
}

/// Higher wins an election. In maintenance a director wins none.
fn strength(claim: &Claim<'_>) -> (bool, u8, IpAddr) {
    (!claim.in_maintenance, claim.router.priority.get(), claim.router.source.0)
}

/// VIPs that move between two fleets.
pub(super) struct Moves<'a> {
    old: Side<'a>,
    new: Side<'a>,
    moved: BTreeSet<IpAddr>,
    /// Moved VIPs whose new VRID somebody else had: nobody may speak with it for a while.
    no_keeper: BTreeSet<IpAddr>,
    /// Hosts with a claim to a VIP that moves.
    concerned: BTreeSet<&'a Name>,
}

impl<'a> Moves<'a> {
    pub(super) fn new(before: &'a Fleet, after: &'a Fleet) -> Self {
        // Who comes back has done so before anything else changes, and who goes has not gone.
        let stays_out = |host: &Name, state: &HostState| {
            state.plan.maintenance && after.get(host).is_none_or(|after| after.plan.maintenance)
        };
        let mut moves = Self {
            old: Side::with(before, stays_out),
            new: Side::new(after),
            moved: BTreeSet::new(),
            no_keeper: BTreeSet::new(),
            concerned: BTreeSet::new(),
        };
        moves.find_changed_claims();
        moves.find_changed_routers();
        for vip in &moves.moved {
            let claims = [&moves.old, &moves.new].into_iter().filter_map(|side| side.claims.get(vip));
            moves.concerned.extend(claims.flatten().map(|claim| claim.host));
        }
        moves
    }

    fn find_changed_claims(&mut self) {
        for (vip, old) in &self.old.claims {
            if let Some(new) = self.new.claims.get(vip) {
                let wires: BTreeSet<&Wire> = old.iter().chain(new).map(|claim| &claim.wire).collect();
                if wires.len() > 1 || deaf(old, new) || speak_elsewhere(old, new) {
                    self.moved.insert(*vip);
                }
            }
        }
    }

    /// Routers that cannot speak with their peers while these are old and those new; and VRIDs that
    /// another virtual router takes over. Plans do not say which segment a router is on. Two that
    /// are there together before or after must be on different ones; of others it is assumed that
    /// they share one, which costs a wait and no more.
    fn find_changed_routers(&mut self) {
        let nobody = BTreeMap::new();
        for (key, old) in &self.old.routers {
            let new = self.new.routers.get(key).unwrap_or(&nobody);
            for before in old.values() {
                for after in new.values() {
                    if related(before, after) {
                        if before.wires.union(&after.wires).count() > 1 {
                            self.moved.extend(before.vips.iter().chain(&after.vips));
                            // Its keeper still speaks the old way.
                            self.no_keeper.extend(after.vips.difference(&before.vips));
                        }
                    } else if !new.values().any(|other| related(before, other))
                        && !old.values().any(|other| related(other, after))
                    {
                        self.moved.extend(before.vips.iter().chain(&after.vips));
                        self.no_keeper.extend(&after.vips);
                    }
                }
            }
        }
    }

    /// Whether a host's gateway is a VIP that no director has yet.
    pub(super) fn is_claimed_late(&self, host: Option<&HostState>) -> bool {
        let routes = host.into_iter().flat_map(|state| &state.plan.routes);
        routes
            .filter_map(|route| route.via)
            .any(|via| self.new.claims.contains_key(&via.0) && !self.old.claims.contains_key(&via.0))
    }

    /// Whether directors of the VIP would reject each other while some are old and some new.
    pub(super) fn moves(&self, vip: IpAddr) -> bool {
        self.moved.contains(&vip)
    }

    /// Whether a VIP of this host moves.
    pub(super) fn concern(&self, host: &Name) -> bool {
        self.concerned.contains(host)
    }

    /// Whether a director that takes up this virtual router must wait until the others have changed:
    /// some do not hear it before, or it does not hear them.
    pub(super) fn waits(&self, host: &Name, router: &Router) -> bool {
        alone(host, router, &self.new, &self.old)
    }

    /// Whether a director that lets go of this virtual router must do so before the others change: some
    /// do not hear it after that, or it does not hear them.
    pub(super) fn goes_first(&self, host: &Name, router: &Router) -> bool {
        alone(host, router, &self.old, &self.new)
    }

    /// Director that alone holds a VIP while it moves.
    pub(super) fn keeper(&self, vip: IpAddr) -> Option<&'a Name> {
        if self.no_keeper.contains(&vip) {
            return None;
        }
        let claim = self.old.master(vip)?;
        let master = claim.host;
        let router = claim.router;
        // A router changes on one director at a time, whatever its VIPs.
        if self.old.preferred(&router.name, router.source.0.is_ipv6())?.host != master {
            return None;
        }
        let stays = self.new.claims.get(&vip)?.iter().any(|claim| claim.host == master);
        stays.then_some(master)
    }

    /// Master of a virtual router before the change; of a new one, after it.
    pub(super) fn preferred(&self, router: &Router) -> Option<&'a Name> {
        let v6 = router.source.0.is_ipv6();
        if let Some(claim) = self.old.preferred(&router.name, v6) {
            return Some(claim.host);
        }
        let renamed = held(router).find_map(|vip| self.old.claims.get(&vip)?.first());
        let old = renamed.and_then(|claim| self.old.preferred(&claim.router.name, v6));
        old.or_else(|| self.new.preferred(&router.name, v6)).map(|claim| claim.host)
    }
}

/// Whether of the directors that claim a VIP before and after some would not hear each other while one
/// has changed and the other has not.
fn deaf(old: &[Claim<'_>], new: &[Claim<'_>]) -> bool {
    let stays = |claim: &&Claim<'_>, others: &[Claim<'_>]| others.iter().any(|c| c.host == claim.host);
    let stayed: Vec<&Claim<'_>> = old.iter().filter(|claim| stays(claim, new)).collect();
    let changed: Vec<&Claim<'_>> = new.iter().filter(|claim| stays(claim, old)).collect();
    stayed.iter().any(|a| changed.iter().any(|b| a.host != b.host && !a.hear_each_other(b)))
}

/// Whether the directors that claim a VIP before and after all speak on another interface: on another
/// segment, most likely, where those that have not changed yet hear nothing.
fn speak_elsewhere(old: &[Claim<'_>], new: &[Claim<'_>]) -> bool {
    let before = |new: &Claim<'_>| old.iter().find(|claim| claim.host == new.host);
    let stay = || new.iter().filter_map(|claim| Some((before(claim)?, claim)));
    stay().count() > 1 && stay().all(|(old, new)| old.router.interface != new.router.interface)
}

/// Whether a director with this router of `own` is not heard by another of the `others`, or does not hear it.
fn alone(host: &Name, router: &Router, own: &Side<'_>, others: &Side<'_>) -> bool {
    held(router).any(|vip| {
        let (Some(mine), Some(theirs)) = (own.claims.get(&vip), others.claims.get(&vip)) else {
            return false;
        };
        let mine = mine.iter().find(|claim| claim.host == host);
        let mut theirs = theirs.iter().filter(|claim| claim.host != host);
        mine.is_some_and(|mine| theirs.any(|other| !mine.hear_each_other(other)))
    })
}
