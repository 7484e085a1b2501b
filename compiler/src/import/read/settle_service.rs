//! A virtual server as keepalived has it when all of it is read: defaults, and what does not go together.

use serde_json::{Value, json};

use super::super::model::{Real, Service, Target};
use super::super::notes::{Fate, Finding};
use super::super::source::Spot;
use super::Reader;
use super::service::Whole;
use super::values::span;
use crate::codes;

impl Reader<'_> {
    /// Settles a virtual server as a whole, as keepalived does.
    pub(super) fn settle_service(&mut self, service: &mut Service, whole: &mut Whole) {
        let spot = service.spot;
        let draft = &mut service.draft;
        if draft.get("scheduler").is_none() {
            self.notes.say(Fate::Carried, vec![spot], "no `lb_algo`", "keepalived takes wlc");
            draft.set("scheduler", "wlc", spot);
        }
        if draft.get("forwarding").is_none() {
            self.notes.say(Fate::Carried, vec![spot], "no `lb_kind`", "keepalived takes NAT");
            draft.set("forwarding", "nat", spot);
        }
        let only_marks = service.targets.iter().all(|target| matches!(target, Target::Mark(_)));
        if !only_marks && draft.get("protocol").is_none() {
            let why = "keepalived takes UDP, and so does the import: write `tcp` if that is meant";
            self.notes.say(Fate::Decide, vec![spot], "a virtual server without `protocol`", why);
            draft.set("protocol", "udp", spot);
        }
        if !only_marks
            && draft.get("protocol") != Some(&json!("udp"))
            && let Some(at) = draft.remove("one_packet")
        {
            let why = "keepalived ignores it without UDP";
            self.notes.say(Fate::NotCarried, vec![at.spot], "ops", why);
        }
        if draft.get("persistence.timeout").is_none()
            && let Some(at) = draft.remove("persistence.engine")
        {
            let why = "without `persistence_timeout` there is no persistence in keepalived, and the engine \
                has nothing to do";
            self.notes.say(Fate::NotCarried, vec![at.spot], "persistence_engine", why);
        }
        let portless = service.targets.iter().any(|target| matches!(target, Target::Address(_, None)));
        if portless && draft.get("persistence.timeout").is_none() {
            let why = "without a port keepalived needs persistence, and takes 360 s";
            self.notes.say(Fate::Changed, vec![spot], "persistence", why);
            draft.set("persistence.timeout", span(360_000), spot);
        }
        for real in &mut service.reals {
            if real.draft.get("weight").is_none() {
                real.draft.set("weight", whole.weight, real.spot);
            }
        }
        if service.reals.iter().all(|real| real.checks.is_empty()) {
            for note in std::mem::take(&mut whole.times.notes) {
                self.idle_time(note);
            }
        }
        self.settle_thresholds(service);
        self.settle_quorum(service, whole);
        self.settle_inhibit(service, whole);
        self.settle_sorry(service, whole);
    }

    /// The kernel refuses a real server that stops before it resumes.
    fn settle_thresholds(&mut self, service: &mut Service) {
        for real in &mut service.reals {
            let number = |key: &str| real.draft.get(key).and_then(Value::as_u64);
            let (Some(upper), Some(lower)) = (number("upper_threshold"), number("lower_threshold")) else {
                continue;
            };
            if lower <= upper {
                continue;
            }
            let why = "the kernel refuses such a real server, so that keepalived has it not at all: it was \
                taken without `lthreshold`";
            let spot = real.draft.remove("lower_threshold").map_or(real.spot, |at| at.spot);
            self.notes.say(Fate::Decide, vec![spot], "lthreshold above uthreshold", why);
        }
    }

    fn settle_quorum(&mut self, service: &mut Service, whole: &Whole) {
        let weight = |real: &Real| real.draft.get("weight").and_then(Value::as_u64);
        let total: u64 = service.reals.iter().filter_map(weight).sum();
        let (mut quorum, mut hysteresis) = (whole.quorum.value, whole.hysteresis.value);
        if quorum > total {
            let what = format!("quorum {quorum}");
            let why = format!(
                "the weights of the real servers are {total} together, and keepalived lowers the quorum to \
                that; so does the import"
            );
            self.quorum_finding(whole.quorum.spot, "quorum", &why);
            self.notes.say(Fate::Changed, vec![whole.quorum.spot], what, why);
            quorum = total.max(1);
        }
        if hysteresis >= quorum && hysteresis > 0 {
            let what = format!("hysteresis {hysteresis}");
            hysteresis = quorum - 1;
            let why =
                format!("it must be below the quorum, and keepalived takes {hysteresis}; so does the import");
            self.quorum_finding(whole.hysteresis.spot, "hysteresis", &why);
            self.notes.say(Fate::Changed, vec![whole.hysteresis.spot], what, why);
        }
        if quorum != 1 || hysteresis > 0 {
            service.draft.set("quorum.weight", quorum, whole.quorum.spot);
        }
        if hysteresis > 0 {
            service.draft.set("quorum.hysteresis", hysteresis, whole.hysteresis.spot);
        }
    }

    fn quorum_finding(&mut self, spot: Spot, word: &str, why: &str) {
        let message = format!("`{word}` is too high");
        let finding = Finding::new(&codes::IMPORT_VALUE, spot, message, "keepalived takes less".to_owned());
        self.notes.finding(finding.at(word).hint(why));
    }

    /// One answer to failures for all real servers of a service.
    fn settle_inhibit(&mut self, service: &mut Service, whole: &Whole) {
        let effective: Vec<bool> =
            whole.inhibits.iter().map(|(own, _)| own.unwrap_or(whole.inhibit)).collect();
        let alike = effective.iter().all(|one| Some(one) == effective.first());
        for (own, note) in &whole.inhibits {
            if own.is_some() && alike {
                self.notes.instead_at(*note, Fate::Carried, "all real servers of the service have it");
            } else if own.is_some() {
                let why =
                    "it holds for the whole service, and its real servers differ: make two services of it";
                self.notes.instead_at(*note, Fate::Decide, why);
            }
        }
        if effective.iter().any(|inhibit| *inhibit) || (effective.is_empty() && whole.inhibit) {
            service.draft.set("on_failure", "quiesce", service.spot);
        }
    }

    fn settle_sorry(&mut self, service: &mut Service, whole: &Whole) {
        let Some(sorry) = service.sorry.clone() else { return };
        let way = service.draft.get("sorry_server.forwarding").or(service.draft.get("forwarding")).cloned();
        let of_family = whole.family.is_none_or(|v6| v6 == sorry.value.0.is_ipv6());
        if !of_family && way != Some(json!("tun")) {
            let why = "it is of the other family, and keepalived ignores it";
            self.notes.say(Fate::NotCarried, vec![sorry.spot], "sorry_server", why);
            let message = "the sorry server is of the other family".to_owned();
            self.notes.finding(Finding::new(
                &codes::IMPORT_VALUE,
                sorry.spot,
                message,
                "ignored by keepalived".to_owned(),
            ));
            service.sorry = None;
            service.draft.remove("sorry_server.forwarding");
            return;
        }
        if way == service.draft.get("forwarding").cloned() {
            service.draft.remove("sorry_server.forwarding");
        }
        if way != Some(json!("nat"))
            && !whole.group
            && let (_, Some(port)) = sorry.value
            && Some(port) != whole.port
        {
            let why = "only masquerade translates ports: keepalived takes the service's own port";
            self.notes.say(Fate::Changed, vec![sorry.spot], format!("port {port} of the sorry server"), why);
            if let Some(at) = &mut service.sorry {
                at.value.1 = None;
            }
        }
    }

    /// A virtual server without a port is every port, which the cluster file says by a firewall mark.
    pub(super) fn all_ports(&mut self) {
        for service in &self.config.services {
            if service.targets.iter().any(|target| matches!(target, Target::Address(_, None))) {
                self.notes.say(
                    Fate::Decide,
                    vec![service.spot],
                    "a virtual server without port",
                    "it balances every port: list them in `ports`, or mark the packets and use \
                    `firewall_mark`",
                );
            }
        }
    }
}
