//! From operations to netlink requests and back to verdicts: the part that all kinds share.

use std::borrow::Cow;

use evenkeel_converge::Op;

use crate::error::{ApplyError, Refusal};
use crate::netlink::{Failure, MAX_WINDOW_MESSAGES, Requester};
use crate::wire::Batch;

/// Most operations that are messages at the same time: as many as are sent at once. More would only be
/// memory.
const CHUNK: usize = MAX_WINDOW_MESSAGES;

/// Sends the messages that `encode` makes of operations, many in one go, and returns one outcome an
/// operation: of one that stands for many the first that is not good. `encode` gets single operations only
/// and appends no message when nothing needs to be done. `meaning` decides what a refusal means.
pub(crate) fn carry_out(
    socket: &mut Requester,
    ops: &[Op],
    mut encode: impl FnMut(&mut Batch, &Op) -> Result<(), ApplyError>,
    mut meaning: impl FnMut(&mut Requester, &Op, &Refusal) -> Result<(), ApplyError>,
) -> Vec<Result<(), ApplyError>> {
    let mut results = Vec::new();
    results.resize_with(ops.len(), || Ok(()));
    let mut lost: Option<ApplyError> = None;
    let mut batch = Batch::default();
    let mut singles =
        ops.iter().enumerate().flat_map(|(at, op)| op.singles().map(move |single| (at, single)));
    // In chunks: the messages of a hundred thousand destinations are never in memory all at once.
    let mut chunk: Vec<(usize, Cow<'_, Op>)> = Vec::with_capacity(CHUNK);
    loop {
        chunk.clear();
        chunk.extend(singles.by_ref().take(CHUNK));
        if chunk.is_empty() {
            return results;
        }
        let mut record = |at: usize, verdict: Result<(), ApplyError>| {
            // Of an operation that stands for many the first failure counts.
            if let Some(result) = results.get_mut(at).filter(|result| result.is_ok()) {
                *result = verdict;
            }
        };
        if let Some(error) = &lost {
            // The other requests are not sent: each window would wait as long again.
            chunk.iter().for_each(|(at, _)| record(*at, Err(error.clone())));
            continue;
        }
        batch.clear();
        let mut encode = |op: &Op| {
            let before = batch.len();
            encode(&mut batch, op).map(|()| batch.len() > before)
        };
        let encoded: Vec<Result<bool, ApplyError>> = chunk.iter().map(|(_, op)| encode(op)).collect();
        let verdicts = socket.transact(&mut batch);
        if let Some(Err(Failure::Unknown(error))) = verdicts.last() {
            lost = Some(error.clone());
        }
        let mut verdicts = verdicts.into_iter();
        for ((at, op), encoded) in chunk.iter().zip(encoded) {
            let sent = match encoded {
                Ok(true) => verdicts.next().unwrap_or(Ok(())),
                Ok(false) => Ok(()),
                Err(error) => Err(Failure::Unknown(error)),
            };
            match sent {
                Ok(()) => {}
                Err(Failure::Refused(refusal)) => record(*at, meaning(socket, op, &refusal)),
                Err(Failure::Unknown(error)) => record(*at, Err(error)),
            }
        }
    }
}
