//! An instance's settings as keepalived has them when all are read: defaults, and what does not go
//! together.

use evenkeel_schemas::scalars::AdvertInterval;
use serde_json::{Value, json};

use super::super::model::{At, Instance};
use super::super::notes::Fate;
use super::instance::{AuthType, Said};
use super::tracking::Burden;
use super::values::span;
use super::{Reader, shorten};

/// Hop limit of IPv6 unicast as keepalived 2.2.7 sends it, whatever its configuration says.
const KEEPALIVED_HOP_LIMIT: u8 = 64;

/// Priority of the owner of the VIPs.
const OWNER: u8 = 255;

/// Longest interval of version 2 in microseconds, and of version 3.
const LONGEST: (u64, u64) = (255_000_000, 40_950_000);

impl Reader<'_> {
    /// Defaults, and what keepalived makes of settings that do not go together.
    pub(super) fn settle(&mut self, instance: &mut Instance, mut said: Said) {
        instance.v6 = said.family == Some(true);
        let strict = said.strict.unwrap_or(self.strict);
        let version = self.settle_version(instance, &said, strict);
        let priority = said.priority.take();
        let owner = self.settle_priority(instance, &said, priority);
        let master = self.settle_state(&said, owner, strict);
        self.settle_interval(instance, &said, version);
        self.settle_preemption(instance, &said, owner, master, strict);
        self.settle_auth(instance, &said, version, strict);
        self.settle_mac(instance, &mut said, strict);
        self.settle_unicast(instance, &mut said);
        if strict {
            self.settle_strict(instance, &said, owner, version);
        }
        if instance.vips.is_empty() && (version == 3 || strict) {
            self.missing(
                instance.spot,
                format!("the instance `{}` has no VIP", shorten(&instance.name)),
                "keepalived runs no virtual router at all then",
            );
        }
        let pause = instance.interface.as_ref().and_then(|interface| self.garp_groups.get(&interface.value));
        if let Some(pause) = pause.filter(|pause| pause.value != super::values::span(0)) {
            instance.draft.set("garp.interval", pause.value.clone(), pause.spot);
        }
        let burden = match self.in_group.get(&instance.name) {
            Some((_, false)) => Burden::Grouped,
            _ if owner => Burden::Owner,
            _ => Burden::None,
        };
        let own = instance.interface.as_ref().map(|at| at.value.clone());
        self.settle_tracked(&mut instance.draft, said.tracks, burden, own.as_deref());
    }

    fn settle_version(&mut self, instance: &mut Instance, said: &Said, strict: bool) -> u64 {
        let draft = &mut instance.draft;
        let of_all = draft.remove("version");
        let own = said.version.as_ref().map(|at| (at.value, at.spot));
        let all = of_all.and_then(|at| Some((at.value.as_u64()?, at.spot)));
        let (version, place) = match (instance.v6, own) {
            (true, Some((2, spot))) => {
                let why = if strict {
                    "keepalived takes version 3, as IPv6 needs"
                } else {
                    "keepalived sends version 2 with IPv6 addresses, which no RFC has: version 3 was taken, \
                    which it does not understand"
                };
                let fate = if strict { Fate::Changed } else { Fate::Decide };
                self.notes.say(fate, vec![spot], "version 2 with IPv6 addresses", why);
                (3, spot)
            }
            (_, Some(own)) => own,
            (true, None) => (3, instance.spot),
            (false, None) => all.unwrap_or((2, instance.spot)),
        };
        instance.draft.set("version", version, place);
        version
    }

    fn settle_priority(&mut self, instance: &mut Instance, said: &Said, priority: Option<At<u8>>) -> bool {
        let spot = instance.spot;
        instance.priority = match (priority, said.state) {
            (Some(priority), _) => priority,
            (None, Some((true, note))) => {
                let place = self.notes.items.get(note).and_then(|(_, item)| item.spots.first().copied());
                self.notes.say(
                    Fate::Changed,
                    vec![place.unwrap_or(spot)],
                    "state MASTER without `priority`",
                    "keepalived takes priority 255",
                );
                At { value: OWNER, spot: place.unwrap_or(spot) }
            }
            (None, _) => At { value: 100, spot },
        };
        instance.priority.value == OWNER
    }

    /// Whether the instance is to start as Master, to keepalived.
    fn settle_state(&mut self, said: &Said, owner: bool, strict: bool) -> bool {
        match said.state {
            None => owner,
            Some((master, note)) if strict && master != owner => {
                let why = "in strict mode keepalived takes the state from the priority: Master with 255, \
                    Backup below";
                self.notes.instead_at(note, Fate::Changed, why);
                owner
            }
            Some((master, _)) => master,
        }
    }

    fn settle_interval(&mut self, instance: &mut Instance, said: &Said, version: u64) {
        let interval = said.interval.clone().unwrap_or(At { value: 1_000_000, spot: instance.spot });
        let (unit, most) = if version == 2 { (1_000_000, LONGEST.0) } else { (10_000, LONGEST.1) };
        let rounded = ((interval.value + unit / 2) / unit * unit).clamp(unit, most);
        let what = format!("advert_int of {} ms", interval.value / 1000);
        if rounded != interval.value {
            let why = format!("version {version} can say {} ms, which keepalived takes", rounded / 1000);
            self.notes.say(Fate::Changed, vec![interval.spot], &what, why);
        }
        let longest = u64::from(AdvertInterval::MAX_CENTIS) * 10_000 / unit * unit;
        if rounded > longest {
            let why = format!(
                "the longest interval is {} s, which was taken: keepalived rejects advertisements of another \
                interval, \
                 so change it on all directors first",
                longest / 1_000_000
            );
            self.notes.say(Fate::Decide, vec![interval.spot], what, why);
        }
        let millis = u32::try_from(rounded.min(longest) / 1000).unwrap_or(1000);
        instance.draft.set("advert_interval", span(millis), interval.spot);
    }

    fn settle_preemption(
        &mut self,
        instance: &mut Instance,
        said: &Said,
        owner: bool,
        master: bool,
        strict: bool,
    ) {
        let place = |notes: &super::Notes, note: usize| {
            notes.items.get(note).and_then(|(_, item)| item.spots.first().copied()).unwrap_or(instance.spot)
        };
        let mut nopreempt = false;
        if let Some((true, note)) = said.nopreempt {
            if owner || master {
                let why = "keepalived ignores `nopreempt` with state MASTER or priority 255, so that the \
                    instance preempts, here too";
                self.notes.instead_at(note, Fate::NotCarried, why);
            } else {
                nopreempt = true;
                instance.draft.set("preempt", false, place(self.notes, note));
            }
        }
        if let Some((delay, note)) = said.preempt_delay.filter(|(delay, _)| *delay > 0) {
            let why = if master {
                "keepalived ignores the delay with state MASTER"
            } else if strict {
                "keepalived ignores the delay in strict mode"
            } else if nopreempt {
                "keepalived ignores the delay with `nopreempt`"
            } else {
                instance.draft.set("preempt_delay", span(delay), place(self.notes, note));
                return;
            };
            self.notes.instead_at(note, Fate::NotCarried, why);
        }
    }

    fn settle_auth(&mut self, instance: &mut Instance, said: &Said, version: u64, strict: bool) {
        let Some(block) = said.auth else { return };
        let notes: Vec<usize> = [Some(block), said.auth_type.map(|(_, note)| note)]
            .into_iter()
            .chain([said.auth_pass.as_ref().map(|(.., note)| *note)])
            .flatten()
            .collect();
        let why = match (said.auth_type, &said.auth_pass) {
            (None, _) => "there is no `auth_type`, and keepalived sends no password",
            _ if strict => "in strict mode keepalived sends no password",
            _ if version == 3 => "version 3 has no authentication, and keepalived sends none",
            (Some((AuthType::Password, _)), Some((password, spot, _))) if !password.is_empty() => {
                let auth = json!({ "type": "pass", "secret": { "literal": password } });
                instance.draft.set("auth", auth, *spot);
                return;
            }
            (Some((AuthType::Header, _)), Some((password, ..))) if !password.is_empty() => {
                "AH was taken out of VRRP in 2004: use PASS while both daemons run, then no password and \
                version 3"
            }
            _ => {
                let spot = self.notes.items.get(block).and_then(|(_, item)| item.spots.first().copied());
                let spot = spot.unwrap_or(instance.spot);
                self.missing(spot, "an authentication without `auth_pass`", "keepalived sends no password");
                "there is no `auth_pass`, and keepalived sends no password"
            }
        };
        for note in notes {
            let told = self.notes.items.get(note).is_some_and(|(_, item)| item.fate == Fate::NotCarried);
            if !told {
                self.notes.instead_at(note, Fate::NotCarried, why);
            }
        }
    }

    fn settle_mac(&mut self, instance: &mut Instance, said: &mut Said, strict: bool) {
        let Some((mut mac, spot, note)) = said.mac.take() else {
            if let Some(note) = said.xmit_base {
                let why = "keepalived ignores it without `use_vmac`";
                self.notes.instead_at(note, Fate::NotCarried, why);
            }
            return;
        };
        let mut base = said.xmit_base.is_some();
        if said.unicast_said && !base {
            let why = "with unicast keepalived advertises from the interface itself, as with \
                `vmac_xmit_base`; here too";
            self.notes.instead_at(note, Fate::Changed, why);
            base = true;
        }
        if strict && base {
            let why = "in strict mode keepalived advertises from the virtual MAC address; here too";
            self.notes.instead_at(said.xmit_base.unwrap_or(note), Fate::Changed, why);
            base = false;
        }
        if base {
            mac.insert("advertise_from_base".to_owned(), Value::Bool(true));
        }
        instance.draft.set("virtual_mac", Value::Object(mac), spot);
    }

    fn settle_unicast(&mut self, instance: &mut Instance, said: &mut Said) {
        // Without peers keepalived goes on with multicast.
        if instance.peers.is_empty() {
            if let Some(note) = said.ttl {
                let why = "keepalived ignores it without peers, and sends by multicast";
                self.notes.instead_at(note, Fate::NotCarried, why);
            }
            if said.unicast_said {
                let why = "without a peer keepalived sends by multicast; so does the daemon";
                let what = format!("unicast of `{}`", shorten(&instance.name));
                self.notes.say(Fate::Changed, vec![instance.spot], what, why);
            }
            return;
        }
        let mut unicast = std::mem::take(&mut said.unicast);
        if unicast.contains_key("ttl") && !unicast.contains_key("min_ttl") {
            // Who sends with a lower TTL means to be received with one.
            unicast.insert("min_ttl".to_owned(), Value::from(1));
        } else if !unicast.contains_key("min_ttl") {
            let spots = instance.peers.iter().map(|peer| peer.spot).collect();
            let why = if instance.peers.iter().any(|peer| peer.value.is_ipv6()) {
                unicast.insert("min_ttl".to_owned(), Value::from(KEEPALIVED_HOP_LIMIT));
                "keepalived 2.2.7 sends IPv6 unicast with hop limit 64, so `min_ttl = 64` takes it; remove \
                it when \
                 no director runs keepalived any more"
            } else {
                "advertisements with a TTL below 255, which came through a router, are rejected unless \
                 `unicast.min_ttl` allows them; keepalived takes any"
            };
            self.notes.say(Fate::Changed, spots, "unicast_peer without min_ttl", why);
        }
        let place = instance.peers.first().map_or(instance.spot, |peer| peer.spot);
        instance.draft.set("unicast", Value::Object(unicast), place);
    }

    /// Effects of strict mode that have no line of their own.
    fn settle_strict(&mut self, instance: &Instance, said: &Said, owner: bool, version: u64) {
        let what = format!("strict mode of `{}`", shorten(&instance.name));
        if !owner {
            let accepts = said.accept.is_some_and(|(accept, _)| accept);
            if accepts && version == 2 {
                let why = "in strict mode with version 2 keepalived drops packets to the VIPs all the same; \
                    here a VIP always accepts them";
                let note = said.accept.map_or(self.note, |(_, note)| note);
                self.notes.instead_at(note, Fate::Changed, why);
            } else if said.accept.is_none() {
                let why = "keepalived drops packets to its VIPs; here a VIP always accepts them, and a \
                    firewall rule can drop them";
                self.notes.say(Fate::Changed, vec![instance.spot], &what, why);
            }
        }
        let why = "keepalived does not answer a rival of lower priority, nor announces its VIPs again then; \
                   here a Master does both at once";
        self.notes.say(Fate::Changed, vec![instance.spot], &what, why);
    }
}
