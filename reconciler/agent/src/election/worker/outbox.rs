//! What the election has to say to main: collected in a turn, sent at its end, never waited for.
//!
//! Bounded twice, by the notices of one turn and by the channel. A notice that finds no room is counted; the
//! state that it was about is asked for by whoever sees the count.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_host::election::Notice;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::RouterKey;
use tokio::sync::mpsc;

use super::claim_lines;
use super::routers::Routers;

/// Most notices of one turn.
const MAX_PENDING: usize = 1024;
/// How long after a move of VIPs this thread keeps others from the processor: clients wait for it.
pub(super) const HUSH: Duration = Duration::from_millis(20);

/// The notices on their way to main.
#[derive(Debug)]
pub(super) struct Outbox {
    notices: mpsc::Sender<Notice>,
    /// The notices of this turn, or of the turns since VIPs have moved.
    pending: Vec<Notice>,
    /// Notices that found no room since the start.
    lost: u64,
    /// Until when nothing is sent.
    hushed: Option<MonoTime>,
    /// Whether something is pending that main must act upon at once.
    urgent: bool,
    /// Routers that have claimed and whose announcement is not logged yet.
    claims: BTreeSet<RouterKey>,
    /// Announcements logged, or only counted, since the last sending.
    announced: usize,
}

impl Outbox {
    pub(super) const fn new(notices: mpsc::Sender<Notice>) -> Self {
        Self {
            notices,
            pending: Vec::new(),
            lost: 0,
            hushed: None,
            urgent: false,
            claims: BTreeSet::new(),
            announced: 0,
        }
    }

    /// Notices that found no room since the start.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// Adds a notice. It leaves at the end of the turn: main's work competes with what clients wait for.
    pub(super) fn push(&mut self, notice: Notice) {
        if self.pending.len() < MAX_PENDING {
            self.pending.push(notice);
        } else {
            self.lost += 1;
        }
    }

    /// Adds a problem of the election as a whole.
    pub(super) fn problem(&mut self, text: impl Into<String>) {
        self.push(Notice::Problem(text.into()));
    }

    /// Adds a sentence about a router.
    pub(super) fn about(&mut self, routers: &Routers, key: &RouterKey, text: String) {
        if let Some(setup) = routers.setup(key) {
            self.push(Notice::Router { label: routers.label(setup), text });
        }
    }

    /// A router has claimed: its announcement is logged.
    pub(super) fn claimed(&mut self, key: &RouterKey) {
        self.claims.insert(key.clone());
    }

    /// A router is no longer Master.
    pub(super) fn yielded(&mut self, key: &RouterKey) {
        self.claims.remove(key);
    }

    /// Whether the announcement of a router's claim is not logged yet.
    pub(super) fn awaits_announcement(&self, key: &RouterKey) -> bool {
        self.claims.contains(key)
    }

    /// Adds the lines of a claim's announcement, or counts them when the turn has many.
    pub(super) fn announced(&mut self, key: &RouterKey, lines: Vec<String>) {
        for line in lines {
            self.claims.remove(key);
            self.announced += 1;
            if self.announced <= claim_lines::MAX_LINES {
                self.push(Notice::Announced(line));
            }
        }
    }

    /// VIPs have moved: nothing is sent for [`HUSH`], unless it is urgent, which is when main makes something
    /// follow these routers.
    pub(super) fn hush(&mut self, now: MonoTime, urgent: bool) {
        self.urgent |= urgent;
        // Counted from the first of several moves: its notice must not wait until all have moved.
        let until = self.hushed.unwrap_or(now + HUSH);
        self.hushed = (!self.urgent).then_some(until);
    }

    /// When what waits is sent.
    pub(super) const fn hushed(&self) -> Option<MonoTime> {
        self.hushed
    }

    /// Sends all notices, unless VIPs have just moved.
    pub(super) fn flush(&mut self, now: MonoTime) {
        self.hushed = self.hushed.filter(|until| now < *until);
        if self.hushed.is_none() {
            self.send_all();
        }
    }

    /// Sends all notices. Never waits: a notice that the channel does not take is lost.
    pub(super) fn send_all(&mut self) {
        self.urgent = false;
        let unlogged = std::mem::take(&mut self.announced).saturating_sub(claim_lines::MAX_LINES);
        if unlogged > 0 {
            self.push(Notice::Announced(format!(
                "Sending announcements as well for {unlogged} more routers and interfaces"
            )));
        }
        for notice in self.pending.drain(..) {
            if self.notices.try_send(notice).is_err() {
                self.lost += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::scalars::Vrid;
    use evenkeel_vrrp::Family;

    use super::*;

    fn key(vrid: u8) -> RouterKey {
        let interface = "eth0".parse().expect("interface");
        RouterKey { interface, family: Family::V4, vrid: Vrid::new(vrid).expect("VRID") }
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (notices, mut main) = mpsc::channel(2);
        let mut outbox = Outbox::new(notices);
        for number in 0..MAX_PENDING + 10 {
            outbox.problem(number.to_string());
        }
        assert_eq!(outbox.lost(), 10, "a turn has a limit");
        outbox.flush(MonoTime::ZERO);
        assert_eq!(outbox.lost(), 10 + MAX_PENDING as u64 - 2, "the channel has one, too");
        let got: Vec<String> = std::iter::from_fn(|| main.try_recv().ok())
            .map(|notice| match notice {
                Notice::Problem(text) => text,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(got, ["0", "1"], "the oldest are kept, in order");
    }

    #[test]
    fn a_move_of_vips_holds_notices_back_for_twenty_milliseconds() {
        let (notices, mut main) = mpsc::channel(8);
        let mut outbox = Outbox::new(notices);
        outbox.problem("first");
        outbox.hush(MonoTime::from_millis(100), false);
        outbox.hush(MonoTime::from_millis(110), false);
        assert_eq!(outbox.hushed(), Some(MonoTime::from_millis(120)), "from the first move");
        outbox.flush(MonoTime::from_millis(119));
        assert!(main.try_recv().is_err());
        outbox.flush(MonoTime::from_millis(120));
        assert!(main.try_recv().is_ok());
    }

    #[test]
    fn an_urgent_notice_ends_the_hush_of_others() {
        let (notices, mut main) = mpsc::channel(8);
        let mut outbox = Outbox::new(notices);
        outbox.problem("first");
        outbox.hush(MonoTime::from_millis(100), false);
        outbox.hush(MonoTime::from_millis(101), true);
        outbox.hush(MonoTime::from_millis(102), false);
        outbox.flush(MonoTime::from_millis(103));
        assert!(main.try_recv().is_ok());
    }

    #[test]
    fn of_many_claims_in_a_turn_some_are_logged_and_the_rest_is_counted() {
        let (notices, mut main) = mpsc::channel(1024);
        let mut outbox = Outbox::new(notices);
        for vrid in 1..=255 {
            outbox.claimed(&key(vrid));
            outbox.announced(&key(vrid), vec![format!("line {vrid}")]);
            assert!(!outbox.awaits_announcement(&key(vrid)));
        }
        outbox.flush(MonoTime::ZERO);
        let mut lines = Vec::new();
        while let Ok(Notice::Announced(line)) = main.try_recv() {
            lines.push(line);
        }
        assert_eq!(lines.len(), claim_lines::MAX_LINES + 1);
        assert_eq!(
            lines.last().map(String::as_str),
            Some("Sending announcements as well for 191 more routers and interfaces")
        );
    }
}
