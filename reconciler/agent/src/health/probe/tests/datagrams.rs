//! UDP and DNS against servers that behave, and that do not, and ping.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::{Tools, check, probe};

/// A server that answers each datagram with these, and the pauses before each. It ends with the test.
fn server(answers: impl Fn(&[u8]) -> Vec<(Duration, Vec<u8>)> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut bytes = [0; 65536];
        while let Ok((length, peer)) = socket.recv_from(&mut bytes) {
            for (pause, answer) in answers(&bytes[..length]) {
                std::thread::sleep(pause);
                // A peer that has gone refuses what is sent to it.
                socket.send_to(&answer, peer).ok();
            }
        }
    });
    address
}

/// Answers at once.
fn at_once(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    server(move |asked| answers(asked).into_iter().map(|answer| (Duration::ZERO, answer)).collect())
}

/// A port that nobody listens on.
fn closed() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").expect("a socket").local_addr().expect("an address")
}

const TIMEOUT: &str = "timeout: no answer in 400 ms";

#[tokio::test]
async fn udp_is_up_unless_refused_and_where_an_answer_is_needed_it_must_be_right() {
    let tools = Tools::new();
    let silent = || at_once(|_| Vec::new());
    let says = |text: &'static str| at_once(move |_| vec![text.as_bytes().to_vec()]);
    let plain = "type = \"udp\"\nsend = \"x\"\n";
    let reply = "type = \"udp\"\nsend = \"x\"\nrequire_reply = true\n";
    let exact = "type = \"udp\"\npayload = \"00ff\"\nrequire_reply = true\nexpect = \"^pong$\"\n\
                 min_reply_length = 2\nmax_reply_length = 6\n";
    for (target, keys, said) in [
        (silent(), plain, "up"),
        (silent(), "type = \"udp\"\n", "up"),
        (says("anything"), plain, "up"),
        (closed(), plain, "refused: connection refused"),
        (silent(), reply, TIMEOUT),
        (says(""), reply, "up"),
        (closed(), reply, "refused: connection refused"),
        (says("pong"), exact, "up"),
        (says("ping"), exact, "body: answer `ping` does not match"),
        (says("p"), exact, "body: answer of 1 bytes, wanted at least 2"),
        (says("ponggggg"), exact, "too_long: answer of 8 bytes, wanted at most 6"),
        (server(|_| vec![(Duration::from_secs(1), b"pong".to_vec())]), exact, TIMEOUT),
        (at_once(|_| vec![vec![0xff; 60_000]]), exact, "too_long: answer of 60000 bytes, wanted at most 6"),
        (at_once(|_| vec![b"pong".to_vec(); 1000]), exact, "up"),
    ] {
        assert_eq!(probe(&check(target, keys), &tools).await, said, "{keys}");
    }
}

/// The question with this put in: an answer with these flags and counts.
fn answer(asked: &[u8], flags: u16, answers: u16, records: &[u8]) -> Vec<u8> {
    let mut message = asked.to_vec();
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    message[6..8].copy_from_slice(&answers.to_be_bytes());
    message.extend(records);
    message
}

#[tokio::test]
async fn a_name_server_is_up_when_it_answers_and_a_liar_is_not_believed() {
    let tools = Tools::new();
    let keys = "type = \"dns\"\nname = \"www.example.com\"\nrecord = \"A\"\n";
    let loops = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 0x2c];
    let with = |flags: u16| at_once(move |asked| vec![answer(asked, flags, 0, &[])]);
    let other_id = |asked: &[u8]| {
        let mut message = answer(asked, 0x8180, 0, &[]);
        message[0] ^= 1;
        message
    };
    let other_name = |asked: &[u8]| {
        let mut message = answer(asked, 0x8180, 0, &[]);
        message[13] = b'x';
        message
    };
    for (target, said) in [
        (with(0x8180), "up"),
        (with(0x8380), "up"),
        (at_once(move |asked| vec![answer(asked, 0x8180, 1, &loops)]), "up"),
        (with(0x8183), "status: name server answered NXDOMAIN"),
        (with(0x8182), "status: name server answered SERVFAIL"),
        (with(0x8185), "status: name server answered REFUSED"),
        (closed(), "refused: connection refused"),
        (at_once(|_| Vec::new()), TIMEOUT),
        (server(|asked| vec![(Duration::from_secs(1), answer(asked, 0x8180, 0, &[]))]), TIMEOUT),
        (
            at_once(move |asked| vec![other_id(asked); 3]),
            "answer: no answer in 400 ms, but 3 datagrams with the number of another question",
        ),
        (
            at_once(move |asked| vec![other_name(asked)]),
            "answer: no answer in 400 ms, but 1 datagram to another question",
        ),
        // A sender who guesses does not keep the right answer away.
        (at_once(move |asked| vec![other_id(asked), other_name(asked), answer(asked, 0x8180, 0, &[])]), "up"),
        (
            at_once(|asked| vec![asked.to_vec()]),
            "answer: no answer in 400 ms, but 1 datagram with a question instead",
        ),
        (
            at_once(|_| vec![b"garbage".to_vec()]),
            "answer: no answer in 400 ms, but 1 datagram too short for one",
        ),
        (
            at_once(|asked| vec![answer(asked, 0x8180, 0xffff, &vec![0xc0; 60_000])]),
            "answer: answer of the name server breaks off in record 2 of 65535",
        ),
        // A flood that is not the answer costs no more than its time.
        (
            at_once(|_| vec![vec![0; 1000]; 1000]),
            "answer: no answer in 400 ms, but _ datagrams with the number of another question",
        ),
    ] {
        let found = probe(&check(target, keys), &tools).await;
        match said.split_once(" _ ") {
            Some((begin, end)) => {
                assert!(found.starts_with(begin) && found.ends_with(end), "{found}");
            }
            None => assert_eq!(found, said),
        }
    }
}

#[tokio::test]
async fn ping_is_up_where_somebody_is_and_says_what_a_router_says() {
    let tools = Tools::new();
    let ping = |address: &str, more: &str| {
        let text = format!(
            "type = \"ping\"\naddress = \"{address}\"\ninterval = \"5s\"\ntimeout = \"400ms\"\nretries = 0\n\
             retry_delay = \"1s\"\n{more}"
        );
        toml::from_str(&text).expect("a check")
    };
    assert_eq!(probe(&ping("127.0.0.77", ""), &tools).await, "up");
    assert_eq!(
        probe(&ping("127.0.0.77", "source = \"127.0.0.9\"\ninterface = \"lo\"\n"), &tools).await,
        "up"
    );
    assert_eq!(probe(&ping("::1", ""), &tools).await, "up");
    let foreign = probe(&ping("127.0.0.77", "source = \"192.0.2.77\"\n"), &tools).await;
    assert_eq!(foreign, "ails: this host has no address 192.0.2.77 to check from");
}
