//! A synchronous netlink socket for requests: many in one system call, an outcome for each.
//!
//! Knows sequence numbers, acknowledgements, dumps and time-outs; not what messages mean.
//!
//! ```text
//! window of <= 200 messages --sendmsg--> kernel handles each, goes on after a failed one
//!    seq 1 … 199: silent when it succeeded, an error with its own seq when not
//!    seq 200:     acknowledged or refused, always: the end of the window
//! ```
//! The kernel handles a whole window before `sendmsg` returns, and 200 replies fit the smallest usual
//! receive buffer (212,992 bytes; from about 250 on replies were seen lost).

use std::io;
use std::time::Duration;

use netlink_sys::protocols;

use crate::clock;
use crate::error::{Class, KernelError, Refusal};
use crate::inbox::{ANSWER_TIMEOUT_MS, Inbox};
use crate::wire::{Batch, HEADER_LEN, Malformed, Message, attributes, messages, u32_at};

/// Most messages in one send: see the module's text.
pub(crate) const MAX_WINDOW_MESSAGES: usize = 200;
/// Fewest messages in one send that is as long as it may be.
const MIN_WINDOW_MESSAGES: usize = 8;
/// Longest time for which the kernel should be busy with one send. Many kernels let nobody else run on that
/// processor meanwhile, an election neither; so windows are as large as this machine allows.
const MAX_BITE: Duration = Duration::from_millis(1);
/// Most bytes in one send: below the default send buffer of 212,992 with room for the kernel's
/// bookkeeping.
const MAX_WINDOW_BYTES: usize = 128 * 1024;
/// Most datagrams read for one window: its replies and some stale ones.
const MAX_WINDOW_DATAGRAMS: usize = 2 * MAX_WINDOW_MESSAGES;
/// Most datagrams read for one dump: at 32 KiB each, 2 GiB.
const MAX_DUMP_DATAGRAMS: usize = 65_536;
/// Attempts at a dump that is interrupted, since somebody changes the table all the time.
const MAX_DUMP_TRIES: usize = 5;
/// `NLMSGERR_ATTR_MSG` (`linux/netlink.h`).
const ERROR_ATTRIBUTE_TEXT: u16 = 1;

/// Outcome of one request.
pub(crate) type RequestOutcome = Result<(), Failure>;

/// Why one request did not succeed, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The kernel refused it.
    Refused(Refusal),
    /// Nobody knows: the reply was lost, or the request was never sent.
    Unknown(KernelError),
}

/// Carrier of datagrams: a socket, or the kernel of a test.
pub(crate) trait Wire: std::fmt::Debug + Send {
    /// Sends a datagram.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The next datagram; errors as [`Inbox::receive`] has them.
    fn receive(&mut self) -> io::Result<&[u8]>;
}

impl Wire for Inbox {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        Self::send(self, bytes)
    }

    fn receive(&mut self) -> io::Result<&[u8]> {
        Self::receive(self)
    }
}

/// A request socket that opens itself, and opens anew after it can no longer be trusted.
#[derive(Debug)]
pub(crate) struct Requester {
    protocol: isize,
    inbox: Option<Box<dyn Wire>>,
    sequence: u32,
    /// Most messages in the next send.
    window: usize,
}

impl Requester {
    /// For addresses, routes and links.
    pub(crate) const fn route() -> Self {
        Self::new(protocols::NETLINK_ROUTE)
    }

    /// For generic netlink families.
    pub(crate) const fn generic() -> Self {
        Self::new(protocols::NETLINK_GENERIC)
    }

    /// For packet filters.
    pub(crate) const fn netfilter() -> Self {
        Self::new(protocols::NETLINK_NETFILTER)
    }

    const fn new(protocol: isize) -> Self {
        Self { protocol, inbox: None, sequence: 0, window: MAX_WINDOW_MESSAGES }
    }

    /// One that speaks with the kernel of a test.
    #[cfg(test)]
    pub(crate) fn speaking(wire: Box<dyn Wire>) -> Self {
        Self { inbox: Some(wire), ..Self::route() }
    }

    /// Opens the socket unless it is open.
    pub(crate) fn open(&mut self) -> Result<&mut dyn Wire, KernelError> {
        let inbox = match self.inbox.take() {
            Some(inbox) => inbox,
            None => Inbox::open(self.protocol)
                .map(Box::new)
                .map_err(|error| KernelError::system("cannot open a netlink socket", &error))?,
        };
        Ok(&mut **self.inbox.insert(inbox))
    }

    /// Sends requests and returns their outcomes, in their order.
    pub(crate) fn transact(&mut self, batch: &mut Batch) -> Vec<RequestOutcome> {
        let mut outcomes = Vec::with_capacity(batch.len());
        while outcomes.len() < batch.len() {
            let first = outcomes.len();
            let count = batch.window(first, self.window, MAX_WINDOW_BYTES);
            let mut window = Window::new(self.next_sequence(count), count);
            let begun = clock::now();
            let result = self.run_window(batch, first, &mut window);
            // The kernel works off a whole send before anything else runs on that processor.
            self.window = next_window(self.window, count, clock::now().since(begun));
            outcomes.extend(window.outcomes);
            if let Err(error) = result {
                // Answers still under way would be mistaken for those to a later request. The other requests
                // are not sent: each window would wait as long again.
                self.inbox = None;
                give_up(outcomes.get_mut(first..).unwrap_or_default(), &error);
                outcomes.resize(batch.len(), Err(Failure::Unknown(error)));
            }
        }
        outcomes
    }

    fn run_window(
        &mut self,
        batch: &mut Batch,
        first: usize,
        window: &mut Window,
    ) -> Result<(), KernelError> {
        self.send(batch.numbered(first, window.outcomes.len(), window.sequence, true))?;
        for _ in 0..MAX_WINDOW_DATAGRAMS {
            for message in messages(self.receive()?) {
                window.take(message.map_err(|Malformed| KernelError::malformed("a request"))?)?;
            }
            if window.complete {
                return Ok(());
            }
        }
        Err(KernelError::new(Class::Transient, "the kernel's answers do not match the requests"))
    }

    /// Sends one request and gives the bodies of the answers, for requests that are answered by one
    /// message. `Ok(Err(_))` is the kernel's refusal.
    pub(crate) fn get<T>(
        &mut self,
        request: &mut Batch,
        parse: impl FnMut(u16, &[u8]) -> Result<Option<T>, Malformed>,
    ) -> Result<Result<Vec<T>, Refusal>, KernelError> {
        let result = self.collect(request, true, parse).map(|answer| answer.map(|(items, _)| items));
        if result.is_err() {
            self.inbox = None;
        }
        result
    }

    /// Sends one dump request (`NLM_F_DUMP`) and gives what `parse` makes of its messages; starts anew
    /// when the kernel says that the table changed meanwhile. `Ok(Err(_))` is the kernel's refusal.
    pub(crate) fn dump<T>(
        &mut self,
        request: &mut Batch,
        mut parse: impl FnMut(u16, &[u8]) -> Result<Option<T>, Malformed>,
    ) -> Result<Result<Vec<T>, Refusal>, KernelError> {
        for _ in 0..MAX_DUMP_TRIES {
            match self.collect(request, false, &mut parse) {
                Ok(Ok((items, false))) => return Ok(Ok(items)),
                Ok(Ok((_, true))) => {}
                Ok(Err(refusal)) => return Ok(Err(refusal)),
                Err(error) => {
                    self.inbox = None;
                    return Err(error);
                }
            }
        }
        Err(KernelError::new(Class::Transient, "the kernel's table changes faster than it can be read"))
    }

    /// Reads until the request is done. The flag: whether the answer is inconsistent.
    fn collect<T>(
        &mut self,
        request: &mut Batch,
        acknowledge: bool,
        mut parse: impl FnMut(u16, &[u8]) -> Result<Option<T>, Malformed>,
    ) -> Result<Result<(Vec<T>, bool), Refusal>, KernelError> {
        let malformed = |Malformed| KernelError::malformed("a question");
        let sequence = self.next_sequence(1);
        self.send(request.numbered(0, 1, sequence, acknowledge))?;
        let (mut items, mut interrupted) = (Vec::new(), false);
        for _ in 0..MAX_DUMP_DATAGRAMS {
            for message in messages(self.receive()?) {
                let message = message.map_err(malformed)?;
                if message.sequence != sequence {
                    // An answer to an earlier request that was given up.
                    continue;
                }
                interrupted |= i32::from(message.flags) & libc::NLM_F_DUMP_INTR != 0;
                match i32::from(message.kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                        let end = outcome(message).map_err(malformed)?;
                        return Ok(end.map(|()| (items, interrupted)));
                    }
                    libc::NLMSG_NOOP => {}
                    libc::NLMSG_OVERRUN => return Err(lost_answers()),
                    _ => items.extend(parse(message.kind, message.body).map_err(malformed)?),
                }
            }
        }
        Err(KernelError::new(Class::Transient, "the kernel's table has no end"))
    }

    /// Reserves `count` numbers. 0 is what unsolicited messages carry: it is left out.
    fn next_sequence(&mut self, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let first = match self.sequence.checked_add(count) {
            Some(_) if self.sequence != 0 => self.sequence,
            Some(_) | None => 1,
        };
        self.sequence = first.saturating_add(count);
        first
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), KernelError> {
        self.open()?.send(bytes).map_err(|error| KernelError::system("cannot send to the kernel", &error))
    }

    /// Waits for one datagram.
    fn receive(&mut self) -> Result<&[u8], KernelError> {
        self.open()?.receive().map_err(|error| match (error.kind(), error.raw_os_error()) {
            (_, Some(libc::ENOBUFS)) => lost_answers(),
            (io::ErrorKind::TimedOut, None) => {
                let message = format!("the kernel did not answer within {ANSWER_TIMEOUT_MS} ms");
                KernelError::new(Class::Transient, message)
            }
            (io::ErrorKind::InvalidData, None) => KernelError::malformed("a request: it is too long"),
            _ => KernelError::system("cannot read the kernel's answer", &error),
        })
    }
}

/// Most messages in the next send, after one of `count` that took so long.
fn next_window(window: usize, count: usize, took: Duration) -> usize {
    if took > MAX_BITE {
        window.min(count / 2).max(MIN_WINDOW_MESSAGES)
    } else if count == window && took * 2 < MAX_BITE {
        (window * 2).min(MAX_WINDOW_MESSAGES)
    } else {
        window
    }
}

/// The requests of one send and what is known of them.
#[derive(Debug)]
struct Window {
    sequence: u32,
    outcomes: Vec<RequestOutcome>,
    complete: bool,
}

impl Window {
    fn new(sequence: u32, count: usize) -> Self {
        Self { sequence, outcomes: vec![Ok(()); count], complete: false }
    }

    fn take(&mut self, message: Message<'_>) -> Result<(), KernelError> {
        if i32::from(message.kind) == libc::NLMSG_OVERRUN {
            return Err(lost_answers());
        }
        let index = usize::try_from(message.sequence.wrapping_sub(self.sequence)).unwrap_or(usize::MAX);
        let last = self.outcomes.len() - 1;
        if i32::from(message.kind) != libc::NLMSG_ERROR {
            return Ok(());
        }
        let outcome = outcome(message).map_err(|Malformed| KernelError::malformed("a request"))?;
        if let Some(slot) = self.outcomes.get_mut(index) {
            *slot = outcome.map_err(Failure::Refused);
            self.complete |= index == last;
        }
        Ok(())
    }
}

/// Replies are missing: what has not been refused for certain is not known to have succeeded.
fn give_up(outcomes: &mut [RequestOutcome], error: &KernelError) {
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
        *outcome = Err(Failure::Unknown(error.clone()));
    }
}

fn lost_answers() -> KernelError {
    let message = "the kernel's answers were lost: its buffer was full";
    KernelError::with_errno(Class::Transient, message, Some(libc::ENOBUFS))
}

/// Outcome in an error, acknowledgement or end-of-dump message.
fn outcome(message: Message<'_>) -> Result<Result<(), Refusal>, Malformed> {
    let code = u32_at(message.body, 0)?.cast_signed();
    if code >= 0 {
        return Ok(Ok(()));
    }
    let errno = code.checked_neg().ok_or(Malformed)?;
    Ok(Err(Refusal { errno, text: kernel_words(message) }))
}

/// The kernel's own words, `NLM_F_ACK_TLVS`; whatever cannot be read is no words.
fn kernel_words(message: Message<'_>) -> Option<String> {
    let flags = i32::from(message.flags);
    if flags & libc::NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let skipped = if i32::from(message.kind) == libc::NLMSG_DONE {
        4
    } else if flags & libc::NLM_F_CAPPED != 0 {
        4 + HEADER_LEN
    } else {
        4 + usize::try_from(u32_at(message.body, 4).ok()?).ok()?.checked_next_multiple_of(4)?
    };
    let mut found = attributes(message.body.get(skipped..)?).filter_map(Result::ok);
    let text = found.find(|attribute| attribute.kind == ERROR_ATTRIBUTE_TEXT)?.text().ok()?;
    Some(text.to_owned())
}

#[cfg(test)]
mod tests;
