//! Kernel events as hints that something may have drifted. What drifted is found by comparing.

use std::collections::BTreeSet;

use evenkeel_converge::Kind;
use evenkeel_kernel::{Event, Group};

use crate::converger::Mailbox;
use crate::news;

/// Tells the convergence thread what to look at when addresses, routes, rules and links change.
///
/// # Errors
/// When no thread can be made.
pub(crate) fn watch(mailbox: Mailbox) -> std::io::Result<()> {
    news::tell(&Group::ALL, move |events| {
        let kinds: BTreeSet<Kind> = events.iter().flat_map(kinds).copied().collect();
        if !kinds.is_empty() {
            mailbox.dirty(&kinds);
        }
        true
    })
}

const fn kinds(event: &Event) -> &'static [Kind] {
    match event {
        Event::AddressAdded { .. } | Event::AddressRemoved { .. } => &[Kind::Addresses],
        // A busy router changes routes all day: only the loss of ours is worth a look.
        Event::RouteChanged { tagged: true, removed: true } => &[Kind::Routes],
        Event::RouteChanged { .. } => &[],
        Event::RuleChanged => &[Kind::Rules],
        // Routes over a link that goes down vanish without an event.
        Event::LinkChanged { .. } => &[Kind::Links, Kind::Addresses, Kind::Routes, Kind::Sysctls],
        Event::Overrun => &Kind::ALL,
    }
}
