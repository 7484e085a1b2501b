//! Single stories of one host: what changed verdicts and links at fault do to its destinations, and what its
//! log says of it. Nothing is by chance here; whatever is, is in `world`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use evenkeel_converge::{Desired, ServiceKey};
use evenkeel_health::{CheckId, CheckNews, CheckState, Fault, FaultLabel, Heard, Reach, Verdict};
use evenkeel_host::event::{Effect, Event, HealthEvent};
use evenkeel_host::recall::Recalled;
use evenkeel_host::{Host, Input, Moment, Output, Start};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;

use super::plans::loaded;

struct Bench {
    host: Host,
    now: u64,
    desired: Desired,
    giving_way: BTreeSet<Name>,
    log: Vec<HealthEvent>,
}

impl Bench {
    /// A director with a virtual server of these lines and these real servers, all of which are healthy.
    fn new(more: &str, real_servers: u8) -> Self {
        let mut text = "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = [\"192.0.2.1\"]\n\
                        [policy]\nresync = \"5s\"\nexclusive_ipvs = false\n\
                        [[router]]\nname = \"VI_1\"\ninterface = \"eth0\"\nsource = \"192.0.2.1\"\n\
                        version = 3\nvrid = 1\npriority = 100\nadvert_interval = \"1s\"\n\
                        preempt = true\ngarp_repeat = 1\ngarp_delay = \"0s\"\n\
                        own_fault_weight = 11\nvips = [\"192.0.2.91/32\"]\n\
                        [[virtual_server]]\nname = \"web\"\naddress = \"192.0.2.91\"\nport = 80\n\
                        protocol = \"tcp\"\nscheduler = \"wlc\"\none_packet = false\n"
            .to_owned()
            + more;
        for last in 1..=real_servers {
            text += &format!(
                "[[virtual_server.destination]]\nhost = \"rs{last}\"\naddress = \"192.0.2.1{last}\"\n\
                 port = 80\nweight = 1\nforwarding = \"dr\"\n\
                 check = {{ type = \"tcp\", address = \"192.0.2.1{last}\", port = 80, \
                 interval = \"5s\", timeout = \"1s\", retries = 0, retry_delay = \"1s\" }}\n"
            );
        }
        let start = Start {
            name: "h".parse().expect("a name"),
            orders: Default::default(),
            drain_orders: Default::default(),
            maintenance: Default::default(),
            record: None,
            leases: BTreeSet::new(),
            plan: Ok(Arc::new(loaded(&text))),
            last_good: None,
        };
        let host = Host::new(start, &moment(1_000));
        let mut bench = Self {
            host,
            now: 1_000,
            desired: Desired::default(),
            giving_way: BTreeSet::new(),
            log: Vec::new(),
        };
        bench.carry();
        for id in 0..u32::from(real_servers) {
            bench.check(id, Verdict::Up);
        }
        bench.pass(100);
        bench
    }

    fn carry(&mut self) {
        let mut answers = Vec::new();
        while let Some(output) = self.host.poll_output() {
            match output {
                Output::Persist(id, ..) => answers.push(Input::Persisted(id, Ok(()))),
                Output::ReadLastGood { .. } => answers.push(Input::LastGood(None)),
                Output::Recall(_) => answers.push(Input::Recalled(Recalled::default())),
                Output::Want(wanted, _) => self.desired = wanted.desired.as_ref().clone(),
                Output::Adjust(adjusted) => adjusted.rows.into_iter().for_each(|row| self.desired.put(row)),
                Output::GiveWay(routers) => self.giving_way = routers,
                Output::Log(Event::Health(event)) => self.log.push(event),
                _ => {}
            }
        }
        answers.into_iter().for_each(|answer| self.input(answer));
    }

    fn input(&mut self, input: Input) {
        self.host.handle(input, &moment(self.now));
        self.carry();
    }

    /// Time passes.
    fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.input(Input::Time);
    }

    fn check(&mut self, id: u32, verdict: Verdict) {
        let up = verdict == Verdict::Up;
        let state = CheckState {
            settled: true,
            reach: Reach::Judged(verdict),
            heard: Some(if up { Heard::Success } else { Heard::Failure }),
            fault: (!up).then(|| Fault::new(FaultLabel::Refused, "connection refused")),
            ..CheckState::new(verdict)
        };
        self.input(Input::Checks(vec![CheckNews::State(CheckId(id), state)]));
    }

    fn at_fault(&mut self, links: &[(&str, &[u32])]) {
        let ids = |ids: &[u32]| ids.iter().copied().map(CheckId).collect();
        let links: BTreeMap<_, _> = links.iter().map(|(link, all)| ((*link).to_owned(), ids(all))).collect();
        self.input(Input::Checks(vec![CheckNews::OwnFault(links)]));
        self.pass(20);
    }

    /// Last digits of the destinations in the table, with `q` behind those of weight 0.
    fn table(&self) -> String {
        let web = ServiceKey::Transport { protocol: 6, address: [192, 0, 2, 91].into(), port: 80 };
        let destinations = self.desired.state.services.get(&web).map(|service| &service.destinations);
        let text = destinations.into_iter().flatten().map(|(key, value)| {
            let last = key.to_string().trim_end_matches(":80").chars().last().unwrap_or('?');
            if value.weight == 0 { format!("{last}q") } else { last.to_string() }
        });
        text.collect()
    }

    /// What the last verdict in the log did.
    fn effects(&self) -> Vec<(Effect, usize)> {
        let effects = |event: &HealthEvent| match event {
            HealthEvent::CheckUp { effects, .. } | HealthEvent::CheckDown { effects, .. } => {
                Some(effects.iter().map(|(effect, number)| (*effect, *number)).collect())
            }
            _ => None,
        };
        self.log.iter().rev().find_map(effects).unwrap_or_default()
    }
}

fn moment(now: u64) -> Moment {
    Moment { now: MonoTime::from_millis(now), boot: "b".into(), wall_ms: now }
}

#[test]
fn what_is_cut_off_stays_unless_others_answer_and_routers_give_way() {
    let mut bench = Bench::new("", 3);
    assert_eq!((bench.table().as_str(), bench.giving_way.len()), ("123", 0));
    bench.at_fault(&[("eth0", &[0, 1])]);
    assert_eq!(bench.table(), "3", "the third one answers by another link");
    assert_eq!(bench.giving_way.iter().map(Name::as_str).collect::<Vec<_>>(), ["VI_1"]);
    let told = bench.log.iter().find_map(|event| match event {
        HealthEvent::OwnFault { link, checks, lowered } => Some((link.as_str(), *checks, lowered.len())),
        _ => None,
    });
    assert_eq!(told, Some(("eth0", 2, 1)));
    bench.at_fault(&[("eth0", &[0, 1]), ("eth1", &[2])]);
    assert_eq!(bench.table(), "123", "nobody answers: all stay");
    bench.at_fault(&[]);
    assert_eq!((bench.table().as_str(), bench.giving_way.len()), ("123", 0));
    assert!(matches!(bench.log.last(), Some(HealthEvent::OwnFaultOver { .. })), "{:?}", bench.log);
}

#[test]
fn the_log_says_what_a_verdict_does() {
    let mut plain = Bench::new("", 2);
    plain.check(0, Verdict::Down);
    plain.pass(20);
    assert_eq!((plain.effects(), plain.table().as_str()), (vec![(Effect::TakenOut, 1)], "2"));
    plain.check(0, Verdict::Up);
    plain.pass(20);
    assert_eq!((plain.effects(), plain.table().as_str()), (vec![(Effect::Returns, 1)], "12"));

    let mut floor = Bench::new("floor = { min_healthy = \"2\" }\n", 2);
    floor.check(0, Verdict::Down);
    floor.pass(20);
    assert_eq!((floor.effects(), floor.table().as_str()), (vec![(Effect::StaysByFloor, 1)], "12"));

    let mut quiet = Bench::new("on_failure = \"quiesce\"\nquiesce_for = \"10s\"\n", 2);
    quiet.check(0, Verdict::Down);
    quiet.pass(20);
    assert_eq!((quiet.effects(), quiet.table().as_str()), (vec![(Effect::Quiesced, 1)], "1q2"));
    quiet.pass(9_900);
    assert_eq!(quiet.table(), "1q2");
    quiet.pass(200);
    assert_eq!(quiet.table(), "2", "its time is over");

    let mut damped = Bench::new("damping = { delay = \"4s\" }\n", 2);
    for verdict in [Verdict::Down, Verdict::Up, Verdict::Down, Verdict::Up] {
        damped.check(0, verdict);
        damped.pass(20);
    }
    assert_eq!((damped.effects(), damped.table().as_str()), (vec![(Effect::Waits, 1)], "2"));
    damped.pass(4_000);
    assert_eq!(damped.table(), "12");

    let sorry = "sorry_server = { address = \"192.0.2.19\", port = 80, forwarding = \"dr\" }\n\
                 quorum = { weight = 2 }\n";
    let mut sorry = Bench::new(sorry, 2);
    sorry.check(0, Verdict::Down);
    sorry.pass(20);
    assert_eq!(sorry.table(), "9");
    sorry.check(0, Verdict::Up);
    sorry.pass(20);
    sorry.at_fault(&[("eth0", &[0, 1])]);
    assert_eq!(sorry.table(), "9", "the sorry server may be reached");
    sorry.at_fault(&[]);
    assert_eq!(sorry.table(), "12");
}
