//! The disk of the simulated host: its content, the writings that wait, and whether it takes any now.

use std::sync::Arc;

use evenkeel_converge::Drains;
use evenkeel_host::io::{Content, NotWritten, Urgency, WriteId};
use evenkeel_host::loaded::LoadedPlan;
use evenkeel_host::maintenance::Maintenance;
use evenkeel_host::orders::drains::DrainOrders;
use evenkeel_host::orders::routers::Orders;
use evenkeel_host::probation::Record;

/// Behaviour of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes a writing within milliseconds.
    Well,
    /// Takes a writing within seconds.
    Slow,
    /// Refuses a writing.
    Refuses,
    /// Does not answer.
    Hangs,
}

/// Content of the disk: it outlives the daemon and the boot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    pub(crate) orders: Orders,
    pub(crate) drain_orders: DrainOrders,
    pub(crate) maintenance: Maintenance,
    pub(crate) record: Record,
    pub(crate) last_good: Option<Arc<LoadedPlan>>,
    /// Written by convergence.
    pub(crate) drains: Drains,
}

impl Files {
    fn apply(&mut self, content: &Content) {
        match content {
            Content::Orders(orders) => self.orders = orders.clone(),
            Content::DrainOrders(orders) => self.drain_orders = orders.clone(),
            Content::Maintenance(serving) => self.maintenance = serving.clone(),
            Content::Probation(record) => self.record = (**record).clone(),
            Content::Trial(before, record) => {
                self.last_good = Some(Arc::clone(before));
                self.record = (**record).clone();
            }
            Content::LastGood(loaded) => self.last_good = Some(Arc::clone(loaded)),
        }
    }
}

/// Writings that wait, in order.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) files: Files,
    waiting: Vec<(WriteId, Content, Urgency)>,
}

impl Disk {
    /// Queues a writing.
    pub(crate) fn persist(&mut self, id: WriteId, content: Content, urgency: Urgency) {
        // One of the same file that nobody waits for need not be written any more.
        let same = std::mem::discriminant(&content);
        self.waiting.retain(|(_, other, urgency)| {
            std::mem::discriminant(other) != same || matches!(urgency, Urgency::Answered | Urgency::Attempt)
        });
        self.waiting.push((id, content, urgency));
    }

    /// Withdraws an attempt.
    pub(crate) fn withdraw(&mut self, id: WriteId) {
        self.waiting.retain(|(other, _, _)| *other != id);
    }

    /// Handles all writings that wait, by the disk's behaviour. Returns the answers.
    pub(crate) fn work(&mut self, mood: Mood) -> Vec<(WriteId, Result<(), NotWritten>)> {
        let mut answers = Vec::new();
        let mut left = Vec::new();
        for (id, content, urgency) in std::mem::take(&mut self.waiting) {
            match (mood, urgency) {
                (Mood::Hangs, _) => left.push((id, content, urgency)),
                (Mood::Refuses, Urgency::Attempt) => {
                    answers.push((id, Err(NotWritten::Refused("no space left".to_owned()))));
                }
                (Mood::Refuses, _) => left.push((id, content, urgency)),
                (Mood::Well | Mood::Slow, Urgency::Later | Urgency::First) => self.files.apply(&content),
                (Mood::Well | Mood::Slow, Urgency::Answered | Urgency::Attempt) => {
                    self.files.apply(&content);
                    answers.push((id, Ok(())));
                }
            }
        }
        self.waiting = left;
        answers
    }

    /// The daemon ends: writings that wait are lost. Of a probation that begins, the plan before alone may
    /// have been written.
    pub(crate) fn crash(&mut self, halfway: bool) {
        for (_, content, _) in std::mem::take(&mut self.waiting) {
            if let (Content::Trial(before, _), true) = (content, halfway) {
                self.files.last_good = Some(before);
            }
        }
    }
}
