//! evenkeeld and keepalived 2.2.7 share every kind of router between them, all at once: after each event
//! every router has the right Master, one only while the link is up, and neither side has rejected anything.

mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use lab::{Daemon, Host, Lab, Options, Plans, VrrpCapture, guest_with, mark, rejected};

use cases::{Case, Director, PENALTY};

/// An event is followed by the right Masters within this: a start takes up to four intervals.
const SETTLED: Duration = Duration::from_secs(20);
/// How long they must then stay so.
const WATCHED: Duration = Duration::from_millis(3_500);
const PATIENCE: Duration = Duration::from_secs(30);
/// Words of keepalived's log when it rejects an advertisement.
const REJECTIONS: [&str; 6] = ["invalid", "mismatch", "expected", "rejected", "bad ", "ignored"];

struct Matrix<'l> {
    lab: &'l Lab,
    cases: Vec<Case>,
    hosts: BTreeMap<Director, Host>,
    plans: Plans<'l>,
    adverts: VrrpCapture,
    daemons: BTreeMap<Director, Daemon>,
    linked: BTreeSet<Director>,
    failing: BTreeSet<Director>,
    /// Master of each VRID.
    masters: BTreeMap<u8, Director>,
    /// Log of keepalived before it was last stopped.
    said: String,
}

#[test]
fn every_kind_of_router_is_shared_with_keepalived_through_every_event() {
    guest_with(Options { time_limit: Duration::from_secs(600), ..Options::default() }, |lab| {
        let mut matrix = Matrix::new(lab);
        use Director::{Ours, Theirs};
        matrix.event("ours starts first", |matrix| matrix.start(Ours));
        matrix.event("theirs starts second", |matrix| matrix.start(Theirs));
        for director in [Ours, Theirs] {
            let name = director.name();
            matrix.event(&format!("{name} stops"), |matrix| matrix.stop(director));
            matrix.event(&format!("{name} returns"), |matrix| matrix.start(director));
            matrix.event(&format!("the link of {name} is cut"), |matrix| matrix.cut(director));
            matrix.event(&format!("the link of {name} is back"), |matrix| matrix.reconnect(director));
            matrix.event(&format!("a tracker of {name} fails"), |matrix| matrix.track(director, true));
            matrix.event(&format!("it succeeds again at {name}"), |matrix| matrix.track(director, false));
        }
    });
}

impl<'l> Matrix<'l> {
    fn new(lab: &'l Lab) -> Self {
        let cases = cases::all();
        let hosts: BTreeMap<Director, Host> = [Director::Ours, Director::Theirs]
            .map(|director| {
                let host = lab.host(director.name(), &format!("{}/16", director.v4()));
                host.add_address("eth0", &format!("{}/64", director.v6()));
                lab.write(track(director), "0\n");
                (director, host)
            })
            .into();
        let plans = lab.plans("matrix");
        plans.compile_text(&cases::cluster_file(&cases, &lab.path(track(Director::Ours))));
        for case in &cases {
            lab.log(case.what());
        }
        Self {
            lab,
            cases,
            hosts,
            plans,
            adverts: lab.capture_vrrp(),
            daemons: BTreeMap::new(),
            linked: [Director::Ours, Director::Theirs].into(),
            failing: BTreeSet::new(),
            masters: BTreeMap::new(),
            said: String::new(),
        }
    }

    fn start(&mut self, director: Director) {
        let host = &self.hosts[&director];
        let daemon = match director {
            Director::Ours => self.plans.start(host),
            Director::Theirs => {
                host.keepalived(&cases::keepalived_file(&self.cases, &self.lab.path(track(director))))
            }
        };
        self.daemons.insert(director, daemon);
    }

    fn stop(&mut self, director: Director) {
        let daemon = self.daemons.remove(&director).expect("a running daemon");
        if director == Director::Ours {
            self.ours_rejected_nothing();
        }
        daemon.stop(PATIENCE);
        if director == Director::Theirs {
            self.said += &daemon.log();
        }
    }

    fn cut(&mut self, director: Director) {
        self.hosts[&director].cut();
        self.linked.remove(&director);
    }

    fn reconnect(&mut self, director: Director) {
        self.hosts[&director].reconnect();
        self.linked.insert(director);
    }

    fn track(&mut self, director: Director, fails: bool) {
        self.lab.write(track(director), if fails { "-1\n" } else { "0\n" });
        if fails {
            self.failing.insert(director)
        } else {
            self.failing.remove(&director)
        };
    }

    /// Lets something happen and looks what becomes of it.
    fn event(&mut self, what: &str, cause: impl FnOnce(&mut Self)) {
        cause(self);
        let expected: BTreeMap<u8, Director> =
            self.cases.iter().filter_map(|case| Some((case.vrid, self.expected(case)?))).collect();
        let took = self.wait_for(what, &expected);
        let settled = mark();
        std::thread::sleep(WATCHED);
        self.still(what, &expected);
        self.heard(what, &expected, settled);
        if self.daemons.contains_key(&Director::Ours) {
            self.ours_rejected_nothing();
        }
        self.theirs_rejected_nothing();
        self.masters = expected;
        self.lab.log(format!("{what}: {} routers right after {took:?}", self.cases.len()));
    }

    /// Directors that must be Master now, going by those that were and RFC 9568.
    fn expected(&self, case: &Case) -> Option<Director> {
        let able: Vec<Director> =
            self.daemons.keys().copied().filter(|director| self.linked.contains(director)).collect();
        let [one, two] = able[..] else { return able.first().copied() };
        let held = self.masters.get(&case.vrid).copied();
        let priority = |director: Director| {
            case.priority(director) - if self.failing.contains(&director) { PENALTY } else { 0 }
        };
        match held {
            Some(held) if !case.preempt || priority(held) >= priority(held.other()) => Some(held),
            Some(held) => Some(held.other()),
            None => Some(if priority(one) >= priority(two) { one } else { two }),
        }
    }

    /// Directors that have the VIP of each router.
    fn holders(&self) -> BTreeMap<u8, BTreeSet<Director>> {
        let mut holders: BTreeMap<u8, BTreeSet<Director>> = BTreeMap::new();
        for (director, host) in &self.hosts {
            let held: BTreeSet<IpAddr> = host.every_address().into_iter().map(|address| address.ip).collect();
            for case in self.cases.iter().filter(|case| held.contains(&case.vip())) {
                holders.entry(case.vrid).or_default().insert(*director);
            }
        }
        holders
    }

    fn wrong(&self, expected: &BTreeMap<u8, Director>) -> Vec<String> {
        let holders = self.holders();
        let none = BTreeSet::new();
        let wrong = |case: &&Case| {
            let wanted: BTreeSet<Director> = expected.get(&case.vrid).copied().into_iter().collect();
            *holders.get(&case.vrid).unwrap_or(&none) != wanted
        };
        let tell = |case: &Case| {
            let (has, wants) = (holders.get(&case.vrid), expected.get(&case.vrid));
            format!("{}: VIP at {has:?}, expected at {wants:?}", case.what())
        };
        self.cases.iter().filter(wrong).map(tell).collect()
    }

    fn wait_for(&self, what: &str, expected: &BTreeMap<u8, Director>) -> Duration {
        let started = mark();
        while started.elapsed() < SETTLED {
            if self.wrong(expected).is_empty() {
                return started.elapsed();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{what}: after {SETTLED:?}\n  {}\n{}", self.wrong(expected).join("\n  "), self.logs());
    }

    fn still(&self, what: &str, expected: &BTreeMap<u8, Director>) {
        let wrong = self.wrong(expected);
        assert!(wrong.is_empty(), "{what}: not for long\n  {}\n{}", wrong.join("\n  "), self.logs());
        if !self.daemons.contains_key(&Director::Ours) {
            return;
        }
        let status = self.plans.status(&self.hosts[&Director::Ours]);
        let routers = status["routers"].as_array().expect("routers");
        for case in &self.cases {
            let name = case.name();
            let own = routers.iter().filter(|router| router["name"].as_str() == Some(&name));
            let states: BTreeSet<&str> = own.filter_map(|router| router["state"].as_str()).collect();
            let master = expected.get(&case.vrid) == Some(&Director::Ours);
            assert_eq!(states.len(), 1, "{what}: {}: {states:?}", case.what());
            assert_eq!(states.contains("master"), master, "{what}: {}: {states:?}", case.what());
        }
    }

    /// Whether only the Master of each router was heard, at the pace of its interval.
    fn heard(&self, what: &str, expected: &BTreeMap<u8, Director>, since: lab::Mark) {
        let source = |director: Director| -> BTreeSet<IpAddr> {
            self.hosts[&director].every_address().into_iter().map(|address| address.ip).collect()
        };
        let (ours, theirs) = (source(Director::Ours), source(Director::Theirs));
        let heard = self.adverts.since(since);
        for case in &self.cases {
            let sources: Vec<IpAddr> = heard
                .iter()
                .filter(|advert| advert.what.vrid == case.vrid)
                .map(|advert| advert.what.source)
                .collect();
            let Some(master) = expected.get(&case.vrid) else {
                assert!(sources.is_empty(), "{what}: {}: {sources:?} heard", case.what());
                continue;
            };
            let strangers = if *master == Director::Ours { &theirs } else { &ours };
            let strange: Vec<_> = sources.iter().filter(|source| strangers.contains(source)).collect();
            assert!(
                strange.is_empty(),
                "{what}: {}: a second Master, {strange:?}\n{}",
                case.what(),
                self.logs()
            );
            // Of a peer that is unplugged the Ethernet address is forgotten, and unicast to it stays at home.
            let audible = self.linked.len() == 2 || !case.unicast;
            assert!(
                sources.len() >= 3 || !audible,
                "{what}: {}: {} adverts in {WATCHED:?}",
                case.what(),
                sources.len()
            );
        }
    }

    fn ours_rejected_nothing(&self) {
        let host = &self.hosts[&Director::Ours];
        let status = self.plans.status(host);
        for router in status["routers"].as_array().expect("routers") {
            let counters = &router["counters"];
            assert_eq!(rejected(router), 0, "{}: {counters}", router["name"]);
            assert_eq!(counters["vip_list_mismatch"], 0, "{}: {counters}", router["name"]);
        }
        assert_eq!(status["routers"].as_array().map(Vec::len), Some(self.cases.len()));
    }

    fn theirs_rejected_nothing(&self) {
        let said =
            self.said.clone() + &self.daemons.get(&Director::Theirs).map(Daemon::log).unwrap_or_default();
        let line = said
            .lines()
            .filter(|line| line.contains("(r"))
            .find(|line| REJECTIONS.iter().any(|word| line.to_lowercase().contains(word)));
        assert_eq!(line, None, "keepalived rejected something");
    }

    fn logs(&self) -> String {
        self.daemons.values().map(Daemon::log).collect()
    }
}

fn track(director: Director) -> String {
    format!("track-{}", director.name())
}
