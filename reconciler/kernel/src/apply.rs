//! From operations to netlink requests and back to verdicts: the part that all kinds share.

use evenkeel_converge::Op;

use crate::error::{ApplyError, Refusal};
use crate::netlink::{Failure, MAX_WINDOW_MESSAGES, Requester};
use crate::wire::Batch;

/// Most operations that are messages at the same time: as many as are sent at once. More would only be memory.
const CHUNK: usize = MAX_WINDOW_MESSAGES;

/// Sends what `encode` makes of each operation, many in one go, and gives one verdict an operation.
/// `encode` appends no message when nothing needs to be done. `settle` decides what a refusal means.
pub(crate) fn carry_out(
    socket: &mut Requester,
    ops: &[Op],
    mut encode: impl FnMut(&mut Batch, &Op) -> Result<(), ApplyError>,
    mut settle: impl FnMut(&mut Requester, &Op, &Refusal) -> Result<(), ApplyError>,
) -> Vec<Result<(), ApplyError>> {
    let mut results = Vec::with_capacity(ops.len());
    let mut lost: Option<ApplyError> = None;
    let mut batch = Batch::default();
    for ops in ops.chunks(CHUNK) {
        if let Some(error) = &lost {
            // The rest is not tried: each window would wait as long again.
            results.extend(ops.iter().map(|_| Err(error.clone())));
            continue;
        }
        batch.clear();
        let encoded: Vec<Result<bool, ApplyError>> = ops
            .iter()
            .map(|op| {
                let before = batch.len();
                encode(&mut batch, op).map(|()| batch.len() > before)
            })
            .collect();
        let verdicts = socket.transact(&mut batch);
        if let Some(Err(Failure::Unknown(error))) = verdicts.last() {
            lost = Some(error.clone());
        }
        let mut verdicts = verdicts.into_iter();
        for (op, encoded) in ops.iter().zip(encoded) {
            let sent = match encoded {
                Ok(true) => verdicts.next().unwrap_or(Ok(())),
                Ok(false) => Ok(()),
                Err(error) => Err(Failure::Unknown(error)),
            };
            results.push(match sent {
                Ok(()) => Ok(()),
                Err(Failure::Refused(refusal)) => settle(socket, op, &refusal),
                Err(Failure::Unknown(error)) => Err(error),
            });
        }
    }
    results
}
