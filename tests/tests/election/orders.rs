//! Orders of operators to routers: to hand over, to stay out, to go on as before. They last over restarts of
//! the daemon, and do not leave a segment without a Master by accident.

use std::time::Duration;

use lab::{Host, Kind, LogEvent, Pair, Router, guest, mark};

use crate::support::{PATIENCE, TOLERANCE};

const NAME: &str = "r61";
const INTERVAL: Duration = Duration::from_millis(500);

fn order(pair: &Pair<'_>, host: &Host, command: &str, router: &str) -> lab::Output {
    let socket = host.scratch().join("evenkeeld.sock").display().to_string();
    let words: Vec<&str> = router.split(' ').chain(["--socket", &socket]).collect();
    pair.plans.evenkeeld(host, command, &words)
}

#[test]
fn a_router_hands_over_stays_out_and_returns_as_told() {
    guest(|lab| {
        let pair = Pair::new(lab, Kind::Evenkeeld, vec![Router { interval: INTERVAL, ..Router::new(61, 3) }]);
        let watch = pair.watch();
        let [first, second] = pair.serving();
        std::thread::sleep(INTERVAL * 2);

        let told = mark();
        let said = order(&pair, &pair.first, "failover", NAME).expect_success();
        lab.log(said.trim());
        watch.wait_holder(&pair.second, PATIENCE);
        assert!(
            watch.none_since(told) < INTERVAL,
            "handed over within the skew time: {:?}",
            watch.none_since(told)
        );
        assert_eq!(pair.plans.router(&pair.first, NAME)["order"], "yield");
        // It stays back, also over a restart.
        first.stop(PATIENCE);
        let first = pair.start(&pair.first);
        first.wait_told(LogEvent::Backup, PATIENCE);
        std::thread::sleep(INTERVAL * 5);
        assert_eq!(watch.holders(), [pair.second.name()]);
        // But it serves when nobody else does.
        second.stop(PATIENCE);
        watch.wait_holder(&pair.first, PATIENCE);
        let second = pair.start(&pair.second);
        second.wait_told(LogEvent::Backup, PATIENCE);
        std::thread::sleep(INTERVAL * 5);
        assert_eq!(watch.holders(), [pair.first.name()], "the other one has the lower priority");

        order(&pair, &pair.first, "hold", NAME).expect_success();
        watch.wait_holder(&pair.second, PATIENCE);
        let router = pair.plans.router(&pair.first, NAME);
        assert_eq!((router["state"].as_str(), router["order"].as_str()), (Some("initialize"), Some("hold")));
        first.stop(PATIENCE);
        let first = pair.start(&pair.first);
        first.wait_told(LogEvent::Held, PATIENCE);
        second.stop(PATIENCE);
        std::thread::sleep(INTERVAL * 5);
        assert_eq!(watch.holders(), Vec::<String>::new(), "it is held, whatever happens");

        let released = mark();
        order(&pair, &pair.first, "release", NAME).expect_success();
        watch.wait_holder(&pair.first, PATIENCE);
        lab.assert_within("VIP on both", watch.both_since(released), TOLERANCE, released);
        assert!(pair.plans.router(&pair.first, NAME)["order"].is_null());

        // Nobody else lives: it stays, and nobody notices the question.
        let alone = mark();
        for command in ["hold", "failover"] {
            let refused = order(&pair, &pair.first, command, NAME);
            assert!(!refused.status.success(), "{command}");
            for word in ["no other director of r61 was heard within", "--force"] {
                assert!(refused.stderr.contains(word), "{}", refused.stderr);
            }
        }
        assert_eq!(watch.none_since(alone), Duration::ZERO, "it served all the time");
        let router = pair.plans.router(&pair.first, NAME);
        assert_eq!((router["state"].as_str(), router["order"].is_null()), (Some("master"), true));
        order(&pair, &pair.first, "hold", &format!("{NAME} --force")).expect_success();
        assert_eq!(watch.holders(), Vec::<String>::new(), "as it was told");
        order(&pair, &pair.first, "release", NAME).expect_success();
        watch.wait_holder(&pair.first, PATIENCE);

        // A Backup from its start on, never heard: it answers, and the VIP goes from one to the other.
        let second = pair.start(&pair.second);
        second.wait_told(LogEvent::Backup, PATIENCE);
        let told = mark();
        order(&pair, &pair.first, "hold", NAME).expect_success();
        watch.wait_holder(&pair.second, PATIENCE);
        lab.log(format!(
            "held with a Backup: no VIP for {:?}, on both for {:?}",
            watch.none_since(told),
            watch.both_since(told)
        ));
        assert!(watch.none_since(told) < INTERVAL / 2, "less than a skew time: {:?}", watch.none_since(told));
        lab.assert_within("VIP on both", watch.both_since(told), TOLERANCE, told);
        // And the last one that is left stays.
        let refused = order(&pair, &pair.second, "hold", NAME);
        assert!(!refused.status.success());
        assert_eq!(watch.holders(), [pair.second.name()]);

        let wrong = order(&pair, &pair.first, "failover", "r16");
        assert!(!wrong.status.success() && wrong.stderr.contains("r61"), "did you mean: {}", wrong.stderr);
    });
}
