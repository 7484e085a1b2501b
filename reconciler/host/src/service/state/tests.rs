//! Virtual servers in virtual time.

use super::*;

fn server(weights: &[u16], more: &str) -> VirtualServer {
    let mut text = format!(
        "name = \"web\"\naddress = \"192.0.2.9\"\nport = 80\nprotocol = \"tcp\"\nscheduler = \"wlc\"\n\
         one_packet = false\n{more}"
    );
    for (n, weight) in (1..).zip(weights) {
        text += &format!(
            "[[destination]]\nhost = \"rs{n}\"\naddress = \"192.0.2.{n}\"\nport = 80\n\
             weight = {weight}\nforwarding = \"dr\"\n"
        );
    }
    toml::from_str(&text).expect("a virtual server")
}

const AT: MonoTime = MonoTime::from_millis(60_000);
const SORRY: &str = "sorry_server = { address = \"192.0.2.99\", port = 80, forwarding = \"dr\" }\n";

/// Looks at destinations: `+` healthy, `-` failed, `?` healthy so far, `d` drains.
fn look(text: &str) -> impl Fn(usize) -> Look + '_ {
    |number| {
        let up =
            Look { verdict: Some(Verdict::Up), settled: true, drains: false, weight: None, excused: false };
        match text.as_bytes()[number] {
            b'+' => up,
            b'-' => Look { verdict: Some(Verdict::Down), ..up },
            b'x' => Look { verdict: Some(Verdict::Down), settled: false, ..up },
            b'?' => Look { settled: false, ..up },
            b'd' => Look { drains: true, ..up },
            b' ' => Look { verdict: None, settled: false, ..up },
            b'w' => Look { weight: Some(3), ..up },
            other => panic!("{other}"),
        }
    }
}

fn run(server: &VirtualServer, begin: &str, steps: &[(&str, &[News])]) -> ServerState {
    let mut state = ServerState::new(server, false, &look(begin), AT);
    for (text, news) in steps {
        assert_eq!(state.judge(server, &look(text), AT), *news, "{text}");
    }
    state
}

#[test]
fn the_quorum_goes_below_weight_less_hysteresis_and_comes_at_weight_plus_hysteresis() {
    use News::{Failed, Healthy, QuorumDown, QuorumUp};
    let five = server(&[10; 5], "quorum = { weight = 30, hysteresis = 10 }\n");
    let state = run(
        &five,
        "?????",
        &[
            ("++++-", &[Failed(4)]),
            ("++---", &[Failed(2), Failed(3)]),
            ("+----", &[Failed(1), QuorumDown]),
            ("++---", &[Healthy(1)]),
            ("+++--", &[Healthy(2)]),
            ("++++-", &[Healthy(3), QuorumUp]),
        ],
    );
    assert_eq!((state.is_up(), state.have()), (true, 40));
    // A quorum begins up only with the hysteresis on top, as keepalived does.
    assert!(!run(&five, "+++--", &[]).is_up());
    assert!(run(&five, "++++-", &[]).is_up());
}

#[test]
fn without_a_quorum_one_is_enough_and_none_of_any_weight_is_not() {
    let two = server(&[10, 0], "");
    run(
        &two,
        "++",
        &[("-+", &[News::Failed(0), News::QuorumDown]), ("++", &[News::Healthy(0), News::QuorumUp])],
    );
    // A destination without a check is healthy for ever; one that drains counts for nothing.
    run(&server(&[1, 1], ""), " +", &[(" -", &[News::Failed(1)]), ("d-", &[News::QuorumDown])]);
}

#[test]
fn real_servers_make_way_for_the_sorry_server() {
    let standings = |more: &str, quorum: &str, text: &str| {
        let server = server(&[1; 3], &format!("{SORRY}{more}quorum = {{ weight = {quorum} }}\n"));
        let state = run(&server, text, &[]);
        [0, 1, 2].map(|number| state.standing(&server, number, look(text)(number).verdict, None))
    };
    use Standing::{Draining, Out, Quiet, Serving};
    assert_eq!(standings("", "1", "+--"), [Serving, Out, Out]);
    assert_eq!(standings("", "2", "+--"), [Out, Out, Out]);
    assert_eq!(standings("on_failure = \"quiesce\"\n", "2", "+--"), [Quiet, Quiet, Quiet]);
    let limit = Some(std::time::Duration::from_secs(60));
    assert_eq!(standings("drain = \"60s\"\n", "2", "+--"), [Draining(limit), Out, Out]);
}

#[test]
fn after_a_restart_a_lost_quorum_returns_only_by_checks_that_have_spoken() {
    let three = server(&[1; 3], &format!("{SORRY}quorum = {{ weight = 2 }}\n"));
    let mut state = ServerState::new(&three, true, &look("???"), AT);
    assert!(!state.is_up() && state.waits());
    assert_eq!(state.judge(&three, &look("+??"), AT), []);
    // The destination may have failed before.
    assert_eq!(state.judge(&three, &look("+-?"), AT), [News::FoundFailed(1)]);
    assert_eq!(state.judge(&three, &look("+-+"), AT), [News::QuorumUp]);
    assert!(!state.waits());
    assert_eq!(state.judge(&three, &look("+++"), AT), [News::Healthy(1)]);
}

#[test]
fn a_plan_that_changes_keeps_the_state_of_destinations_that_stay() {
    let before = server(&[1, 1, 1], "quorum = { weight = 2 }\n");
    let state = run(&before, "-+-", &[]);
    let mut after = server(&[1, 1, 1], "quorum = { weight = 1 }\n");
    after.destinations.remove(0);
    let mut state = state.moved(&before, &after);
    assert_eq!(state.failed().collect::<Vec<_>>(), [1]);
    assert_eq!(state.judge(&after, &look("+-"), AT), [News::QuorumUp]);
}

fn in_table(state: &ServerState, server: &VirtualServer, text: &str) -> String {
    let look = look(text);
    let letter = |number| match state.standing(server, number, look(number).verdict, look(number).weight) {
        Standing::Serving => 's',
        Standing::Weighted(weight) => char::from_digit(u32::from(weight), 36).unwrap_or('*'),
        Standing::Quiet => 'q',
        Standing::Draining(_) => 'd',
        Standing::Out => '.',
    };
    (0..server.destinations.len()).map(letter).collect()
}

#[test]
fn below_the_floor_those_that_failed_last_stay() {
    let six = server(&[1; 6], "floor = { min_healthy = \"50%\" }\n");
    let mut state = ServerState::new(&six, false, &look("??????"), AT);
    let mut step = |text: &str| {
        let news = state.judge(&six, &look(text), AT);
        let floor = news.into_iter().find(|one| matches!(one, News::BelowFloor | News::AboveFloor));
        (in_table(&state, &six, text), floor)
    };
    assert_eq!(step("+++++-"), ("sssss.".to_owned(), None));
    assert_eq!(step("-++++-"), (".ssss.".to_owned(), None));
    assert_eq!(step("-+-++-"), (".s.ss.".to_owned(), None));
    assert_eq!(step("-+--+-"), (".s.ss.".to_owned(), Some(News::BelowFloor)), "the table stays");
    assert_eq!(step("------"), (".s.ss.".to_owned(), None));
    assert_eq!(step("+-----"), ("ss..s.".to_owned(), None), "one that mends takes the place of the first");
    assert_eq!(step("+-+--+"), ("s.s..s".to_owned(), Some(News::AboveFloor)));
    // Drained ones are no part of the whole, and what was never heard of is not held.
    let mut state = ServerState::new(&six, false, &look("xxxxxx"), AT);
    state.judge(&six, &look("xxxxx+"), AT);
    assert_eq!(in_table(&state, &six, "xxxxx+"), ".....s");
    state.judge(&six, &look("dddd-+"), AT);
    assert_eq!(in_table(&state, &six, "dddd-+"), "ssss.s");
    assert_eq!(state.floor().map(|floor| (floor.wanted, floor.have)), Some((1, 1)));
}

#[test]
fn below_the_floor_the_sorry_server_comes_or_the_router_goes() {
    let sorry = server(&[1; 4], &format!("{SORRY}floor = {{ min_healthy = \"2\", below = \"sorry\" }}\n"));
    let state = run(
        &sorry,
        "++--",
        &[
            ("+---", &[News::Failed(1), News::BelowFloor, News::QuorumDown]),
            ("++--", &[News::Healthy(1), News::AboveFloor, News::QuorumUp]),
        ],
    );
    assert_eq!(in_table(&state, &sorry, "++--"), "ss..");
    let goes = server(&[1; 4], "floor = { min_healthy = \"2\", below = \"withdraw\" }\n");
    let mut state = run(&goes, "+---", &[]);
    assert!(state.withdraws(&goes));
    assert_eq!(in_table(&state, &goes, "+---"), "s...");
    state.judge(&goes, &look("++--"), AT);
    assert!(!state.withdraws(&goes));
}

#[test]
fn a_weight_that_is_asked_for_counts_and_stands() {
    let two = server(&[10, 10], "quorum = { weight = 5 }\n");
    let state = run(&two, "ww", &[]);
    assert_eq!((state.have(), in_table(&state, &two, "ww")), (6, "33".to_owned()));
    let state = run(&two, "w-", &[]);
    assert!(!state.is_up());
}

#[test]
fn the_weight_of_one_that_returns_grows_in_ten_steps_unless_it_is_alone() {
    let two = server(&[30, 20], "slow_start = \"10s\"\n");
    let mut state = ServerState::new(&two, false, &look("??"), AT);
    let at = |ms: u64| AT + Duration::from_millis(ms);
    assert_eq!(state.judge(&two, &look("-+"), AT), [News::Failed(0)]);
    assert_eq!(state.due(&two), None);
    state.judge(&two, &look("++"), AT);
    let mut seen = Vec::new();
    while let Some(due) = state.due(&two) {
        seen.push(in_table(&state, &two, "++"));
        state.judge(&two, &look("++"), due);
        assert!(due <= at(10_000) && seen.len() <= 10, "{due:?}");
    }
    assert_eq!(seen, ["1s", "3s", "6s", "9s", "cs", "fs", "is", "ls", "os", "rs"]);
    assert_eq!(in_table(&state, &two, "++"), "ss");
    // The only one that serves gets all at once, also when the others fail meanwhile.
    state.judge(&two, &look("--"), AT);
    state.judge(&two, &look("+-"), AT);
    assert_eq!(in_table(&state, &two, "+-"), "s.");
    state.judge(&two, &look("++"), AT);
    assert_eq!(in_table(&state, &two, "++"), "s1");
    state.judge(&two, &look("-+"), AT);
    assert_eq!((in_table(&state, &two, "-+"), state.due(&two)), (".s".to_owned(), None));
}

#[test]
fn one_that_flaps_waits_longer_with_each_return_unless_too_few_serve() {
    let two = server(&[30, 20], "damping = { window = \"60s\", delay = \"4s\", max_delay = \"10s\" }\n");
    let mut state = ServerState::new(&two, false, &look("??"), AT);
    let at = |ms: u64| AT + Duration::from_millis(ms);
    // Its check fails for a second and succeeds for two, again and again.
    let (mut returns, mut was_in) = (Vec::new(), true);
    for ms in (0..60_000).step_by(100) {
        let text = if ms % 3_000 < 1_000 { "-+" } else { "++" };
        state.judge(&two, &look(text), at(ms));
        let is_in = in_table(&state, &two, text) == "ss";
        if is_in && !was_in {
            returns.push(ms);
        }
        was_in = is_in;
    }
    assert_eq!(returns, [1_000], "it succeeds for two seconds, and would have to for four");
    // It stays well: it returns after its wait, and the status says until when.
    let mended = 60_000;
    state.judge(&two, &look("++"), at(mended));
    let until = state.damped_until(0).expect("it waits");
    assert!(until > at(mended) && until <= at(mended + 4_000), "{until:?}");
    assert_eq!((state.due(&two), in_table(&state, &two, "++").as_str()), (Some(until), ".s"));
    assert_eq!(state.have(), 20, "it counts for nothing meanwhile");
    assert_eq!(state.judge(&two, &look("++"), until), [News::Healthy(0)]);
    assert_eq!(in_table(&state, &two, "++"), "ss");
    // The other one fails while it waits: it returns at once.
    let later = until + Duration::from_secs(1);
    state.judge(&two, &look("-+"), later);
    state.judge(&two, &look("++"), later);
    assert_eq!(in_table(&state, &two, "++"), ".s");
    assert_eq!(state.judge(&two, &look("+-"), later), [News::Failed(1), News::Healthy(0)]);
    assert_eq!(in_table(&state, &two, "+-"), "s.");
}

#[test]
fn a_floor_calls_those_back_that_wait() {
    let three = server(&[1; 3], "damping = {}\nfloor = { min_healthy = \"2\" }\n");
    let mut state = ServerState::new(&three, false, &look("+++"), AT);
    for text in ["-++", "+++", "-++", "+++"] {
        state.judge(&three, &look(text), AT);
    }
    assert_eq!(in_table(&state, &three, "+++"), ".ss");
    state.judge(&three, &look("+-+"), AT);
    assert_eq!(in_table(&state, &three, "+-+"), "s.s");
}

#[test]
fn one_that_is_quiesced_leaves_after_its_time() {
    let two = server(&[5, 5], "on_failure = \"quiesce\"\nquiesce_for = \"10s\"\n");
    let mut state = ServerState::new(&two, false, &look("++"), AT);
    let at = |ms: u64| AT + Duration::from_millis(ms);
    state.judge(&two, &look("-+"), at(0));
    assert_eq!((in_table(&state, &two, "-+").as_str(), state.due(&two)), ("qs", Some(at(10_000))));
    state.judge(&two, &look("-+"), at(9_999));
    assert_eq!(in_table(&state, &two, "-+"), "qs");
    state.judge(&two, &look("-+"), at(10_000));
    assert_eq!((in_table(&state, &two, "-+").as_str(), state.due(&two)), (".s", None));
    state.judge(&two, &look("++"), at(11_000));
    assert_eq!(in_table(&state, &two, "++"), "ss");
    // What an earlier daemon had taken out is out.
    let mut state = ServerState::new(&two, false, &look("-+"), AT);
    state.was_out(0);
    assert_eq!((in_table(&state, &two, "-+").as_str(), state.due(&two)), (".s", None));
}
