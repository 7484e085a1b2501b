//! From operations to netlink requests and back to verdicts: the part that all kinds share.

use evenkeel_converge::Op;

use crate::error::{ApplyError, Refusal};
use crate::netlink::{Failure, Requester};
use crate::wire::Batch;

/// Sends what `encode` makes of each operation in one go and gives one verdict an operation.
/// `encode` appends no message when nothing needs to be done. `settle` decides what a refusal means.
pub(crate) fn carry_out(
    socket: &mut Requester,
    ops: &[Op],
    mut encode: impl FnMut(&mut Batch, &Op) -> Result<(), ApplyError>,
    mut settle: impl FnMut(&mut Requester, &Op, &Refusal) -> Result<(), ApplyError>,
) -> Vec<Result<(), ApplyError>> {
    let mut batch = Batch::default();
    let encoded: Vec<Result<bool, ApplyError>> = ops
        .iter()
        .map(|op| {
            let before = batch.len();
            encode(&mut batch, op).map(|()| batch.len() > before)
        })
        .collect();
    let mut verdicts = socket.transact(&mut batch).into_iter();
    let mut results = Vec::with_capacity(ops.len());
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
    results
}
