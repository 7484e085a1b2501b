//! Requests against a kernel that answers what a test says: late, twice, for something else, or not at all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;

const ERROR: u16 = libc::NLMSG_ERROR as u16;

/// The body of an error message: code, the request's header, attributes.
fn error_body(code: i32, words: Option<&str>) -> Vec<u8> {
    let mut body = code.to_ne_bytes().to_vec();
    body.extend([0; HEADER_LEN]);
    if let Some(words) = words {
        let length = u16::try_from(words.len() + 5).expect("short");
        body.extend(length.to_ne_bytes());
        body.extend(ERROR_ATTRIBUTE_TEXT.to_ne_bytes());
        body.extend(words.as_bytes());
        body.push(0);
    }
    body
}

fn error(sequence: u32, body: &[u8], flags: i32) -> Message<'_> {
    Message { kind: ERROR, flags: u16::try_from(flags).expect("16 bits"), sequence, body }
}

#[test]
fn a_window_ends_with_the_outcome_of_its_last_request() {
    let mut window = Window::new(10, 3);
    let refusal = error_body(-libc::ESRCH, None);
    window.take(error(11, &refusal, 0)).expect("understood");
    window.take(error(9, &refusal, 0)).expect("a stale answer is not ours");
    assert!(!window.complete);
    window.take(error(12, &error_body(0, None), 0)).expect("understood");
    assert!(window.complete);
    let refused = Err(Failure::Refused(Refusal { errno: libc::ESRCH, text: None }));
    assert_eq!(window.outcomes, [Ok(()), refused, Ok(())]);
}

#[test]
fn lost_answers_leave_only_certain_refusals() {
    let mut window = Window::new(1, 2);
    window.take(error(1, &error_body(-libc::EPERM, None), 0)).expect("understood");
    give_up(&mut window.outcomes, &lost_answers());
    assert!(matches!(window.outcomes[0], Err(Failure::Refused(_))));
    assert!(matches!(&window.outcomes[1], Err(Failure::Unknown(e)) if e.class == Class::Transient));
}

#[test]
fn the_kernels_words_are_found() {
    let body = error_body(-libc::EINVAL, Some("Nexthop has invalid gateway"));
    let flags = libc::NLM_F_ACK_TLVS | libc::NLM_F_CAPPED;
    let refusal = outcome(error(1, &body, flags)).expect("understood").expect_err("refused");
    assert_eq!(refusal.text.as_deref(), Some("Nexthop has invalid gateway"));
    let refusal = outcome(error(1, &body, 0)).expect("understood").expect_err("refused");
    assert_eq!(refusal.text, None);
}

#[test]
fn sequence_numbers_are_never_zero_and_never_wrap_within_a_window() {
    let mut socket = Requester::route();
    assert_eq!(socket.next_sequence(200), 1);
    assert_eq!(socket.next_sequence(1), 201);
    socket.sequence = u32::MAX - 100;
    assert_eq!(socket.next_sequence(200), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(
        body in prop::collection::vec(any::<u8>(), 0..100),
        flags: u16,
        sequence: u32,
        kind in 0_u16..6,
    ) {
        let message = Message { kind, flags, sequence, body: &body };
        let _ = outcome(message);
        let _ = Window::new(5, 3).take(message);
    }
}

/// Answers each datagram that is sent by the datagrams that come next in the script.
#[derive(Debug)]
struct Script {
    answers: VecDeque<Vec<Answer>>,
    pending: VecDeque<Answer>,
    sequence: u32,
    datagram: Vec<u8>,
    sent: Arc<Mutex<usize>>,
}

/// One datagram of an answer, or what comes instead.
#[derive(Debug, Clone)]
enum Answer {
    /// Messages: type, flags, body, how far the sequence number is off.
    Messages(Vec<(u16, i32, Vec<u8>, u32)>),
    /// An error number in place of a datagram.
    Fails(i32),
    /// Silence.
    Nothing,
}

impl Wire for Script {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        *self.sent.lock().expect("one thread") += 1;
        let first = messages(bytes).next().expect("a message").expect("well-formed");
        self.sequence = first.sequence;
        self.pending.extend(self.answers.pop_front().unwrap_or_default());
        Ok(())
    }

    fn receive(&mut self) -> io::Result<&[u8]> {
        match self.pending.pop_front().unwrap_or(Answer::Nothing) {
            Answer::Nothing => Err(io::ErrorKind::TimedOut.into()),
            Answer::Fails(errno) => Err(io::Error::from_raw_os_error(errno)),
            Answer::Messages(list) => {
                self.datagram.clear();
                for (kind, flags, body, off) in list {
                    let length = u32::try_from(body.len() + HEADER_LEN).expect("short");
                    self.datagram.extend(length.to_ne_bytes());
                    self.datagram.extend(kind.to_ne_bytes());
                    self.datagram.extend(u16::try_from(flags).expect("16 bits").to_ne_bytes());
                    self.datagram.extend((self.sequence.wrapping_add(off)).to_ne_bytes());
                    self.datagram.extend([0; 4]);
                    self.datagram.extend(&body);
                    self.datagram.resize(self.datagram.len().next_multiple_of(4), 0);
                }
                Ok(&self.datagram)
            }
        }
    }
}

/// A requester whose kernel answers so, and how many datagrams it has sent.
fn scripted(answers: Vec<Vec<Answer>>) -> (Requester, Arc<Mutex<usize>>) {
    let sent = Arc::new(Mutex::new(0));
    let script = Script {
        answers: answers.into(),
        pending: VecDeque::new(),
        sequence: 0,
        datagram: Vec::new(),
        sent: Arc::clone(&sent),
    };
    (Requester { inbox: Some(Box::new(script)), ..Requester::route() }, sent)
}

const DONE: u16 = libc::NLMSG_DONE as u16;
/// A type of message that carries something.
const DATA: u16 = 20;

fn item(value: u8, flags: i32) -> (u16, i32, Vec<u8>, u32) {
    (DATA, flags, vec![value; 4], 0)
}

fn done(flags: i32) -> (u16, i32, Vec<u8>, u32) {
    (DONE, flags, vec![0; 4], 0)
}

fn ask() -> Batch {
    let mut batch = Batch::default();
    batch.message(22, libc::NLM_F_DUMP, |w| w.raw(&[0; 4]));
    batch
}

fn first_bytes(socket: &mut Requester) -> Result<Result<Vec<u8>, Refusal>, KernelError> {
    socket.dump(&mut ask(), |_, body| Ok(body.first().copied()))
}

#[test]
fn an_interrupted_dump_is_read_again_a_bounded_number_of_times() {
    let interrupted = || vec![Answer::Messages(vec![item(1, libc::NLM_F_DUMP_INTR), done(0)])];
    let whole = || vec![Answer::Messages(vec![item(2, 0), item(3, 0)]), Answer::Messages(vec![done(0)])];
    let (mut socket, sent) = scripted(vec![interrupted(), interrupted(), whole()]);
    assert_eq!(first_bytes(&mut socket), Ok(Ok(vec![2, 3])), "only what the whole one says");
    assert_eq!(*sent.lock().expect("one thread"), 3);
    // The flag may come with the end only.
    let late = vec![Answer::Messages(vec![item(1, 0)]), Answer::Messages(vec![done(libc::NLM_F_DUMP_INTR)])];
    let (mut socket, _) = scripted(vec![late, whole()]);
    assert_eq!(first_bytes(&mut socket), Ok(Ok(vec![2, 3])));
    let (mut socket, sent) = scripted((0..100).map(|_| interrupted()).collect());
    let error = first_bytes(&mut socket).expect_err("never whole");
    assert_eq!(error.class, Class::Transient);
    assert_eq!(*sent.lock().expect("one thread"), MAX_DUMP_TRIES);
}

#[test]
fn answers_to_something_else_are_passed_over() {
    let stale = (DATA, 0, vec![9; 4], u32::MAX);
    let stale_end = (DONE, 0, vec![0; 4], 7);
    let answer = vec![Answer::Messages(vec![stale, stale_end, item(4, 0)]), Answer::Messages(vec![done(0)])];
    let (mut socket, _) = scripted(vec![answer]);
    assert_eq!(first_bytes(&mut socket), Ok(Ok(vec![4])));
}

#[test]
fn silence_and_a_full_buffer_end_a_dump_and_the_socket() {
    for (answer, words) in
        [(Answer::Nothing, "did not answer"), (Answer::Fails(libc::ENOBUFS), "its buffer was full")]
    {
        let (mut socket, _) = scripted(vec![vec![Answer::Messages(vec![item(1, 0)]), answer]]);
        let error = first_bytes(&mut socket).expect_err("not all of it");
        assert_eq!(error.class, Class::Transient);
        assert!(error.to_string().contains(words), "{error}");
        assert!(socket.inbox.is_none(), "what comes late must not be taken for a later answer");
    }
}

#[test]
fn a_refused_dump_is_a_refusal_with_the_kernels_words() {
    let flags = libc::NLM_F_ACK_TLVS | libc::NLM_F_CAPPED;
    let body = error_body(-libc::EINVAL, Some("Invalid values in header"));
    let (mut socket, _) = scripted(vec![vec![Answer::Messages(vec![(ERROR, flags, body, 0)])]]);
    let refusal = first_bytes(&mut socket).expect("an answer").expect_err("refused");
    assert_eq!(refusal.explain("cannot read").to_string(), "cannot read: Invalid values in header");
}

#[test]
fn after_lost_answers_the_rest_is_not_sent_and_nobody_claims_to_know() {
    let mut batch = Batch::default();
    for _ in 0..3 * MAX_WINDOW_MESSAGES {
        batch.message(20, 0, |w| w.raw(&[0; 4]));
    }
    let last = u32::try_from(MAX_WINDOW_MESSAGES - 1).expect("fits");
    let refused = (ERROR, 0, error_body(-libc::EEXIST, None), 5);
    let whole = vec![Answer::Messages(vec![refused.clone(), (ERROR, 0, error_body(0, None), last)])];
    let lost = vec![Answer::Messages(vec![refused]), Answer::Fails(libc::ENOBUFS)];
    let (mut socket, sent) = scripted(vec![whole, lost]);
    let outcomes = socket.transact(&mut batch);
    assert_eq!(*sent.lock().expect("one thread"), 2, "each further window would wait as long again");
    assert_eq!(outcomes.len(), 3 * MAX_WINDOW_MESSAGES);
    let count = |range: std::ops::Range<usize>, what: fn(&RequestOutcome) -> bool| {
        outcomes[range].iter().filter(|outcome| what(outcome)).count()
    };
    let refused: fn(&RequestOutcome) -> bool = |outcome| matches!(outcome, Err(Failure::Refused(_)));
    let unknown: fn(&RequestOutcome) -> bool = |outcome| matches!(outcome, Err(Failure::Unknown(_)));
    let one = MAX_WINDOW_MESSAGES;
    assert_eq!((count(0..one, refused), count(0..one, unknown)), (1, 0));
    assert_eq!((count(one..2 * one, refused), count(one..2 * one, unknown)), (1, one - 1));
    assert_eq!(count(2 * one..3 * one, unknown), one);
    assert!(matches!(&outcomes[5], Err(Failure::Refused(refusal)) if refusal.errno == libc::EEXIST));
}

#[test]
fn windows_are_as_large_as_the_machine_lets_them_be() {
    let slow = |count: usize| MAX_BITE * u32::try_from(count).unwrap_or(u32::MAX) / 20;
    let mut window = MAX_WINDOW_MESSAGES;
    for _ in 0..10 {
        window = next_window(window, window, slow(window));
    }
    assert!(slow(window) <= MAX_BITE && window >= MIN_WINDOW_MESSAGES, "{window}");
    // Fast again, but only full windows show it.
    assert_eq!(next_window(window, window - 1, Duration::ZERO), window);
    for _ in 0..10 {
        window = next_window(window, window, Duration::ZERO);
    }
    assert_eq!(window, MAX_WINDOW_MESSAGES);
    // However slow, it goes on.
    assert_eq!(next_window(window, 1, MAX_BITE * 100), MIN_WINDOW_MESSAGES);
}
