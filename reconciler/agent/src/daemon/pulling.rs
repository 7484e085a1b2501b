//! Requests about the source of plans: each in a task of its own, since a repository and the disk take time.
//! What is changed is on the disk before it is acknowledged.

use std::time::Duration;

use evenkeel_host::io::OrderError;
use evenkeel_host::orders::Refusal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::info;

use crate::source::kept::{Kept, wall_text};
use crate::source::memory::SourceMemory;
use crate::source::{Look, SourceAnswer, SourceRequest};
use crate::system::moment;

/// Longest pause, seconds. Whoever wants more takes the source away.
const LONGEST_PAUSE: u64 = 24 * 3600;
/// Time for a look: less than a connection has.
const LOOK_LIMIT: Duration = Duration::from_secs(25);

/// Carries a request out and answers it.
pub(super) async fn answer(
    request: SourceRequest,
    reply: oneshot::Sender<Result<SourceAnswer, OrderError>>,
    kept: Kept,
    look: mpsc::Sender<Look>,
) {
    // Whoever asked may have gone.
    reply.send(carry_out(request, kept, look).await).ok();
}

async fn carry_out(
    request: SourceRequest,
    kept: Kept,
    look: mpsc::Sender<Look>,
) -> Result<SourceAnswer, OrderError> {
    match request {
        SourceRequest::Pull => pull(&look).await,
        SourceRequest::Pause { seconds } => {
            if seconds > LONGEST_PAUSE {
                let why = format!("a pause is {} hours at most", LONGEST_PAUSE / 3600);
                return Err(OrderError::Refused(Refusal::NotNow(why)));
            }
            let until = moment::now().wall_ms.saturating_add(seconds.saturating_mul(1000));
            change(&kept, move |memory| memory.paused_until_ms = Some(until)).await?;
            let until = wall_text(until);
            info!(%until, "nothing new is taken until {until}, or `evenkeeld resume`");
            Ok(SourceAnswer::PausedUntil(until))
        }
        SourceRequest::Resume => {
            change(&kept, |memory| memory.paused_until_ms = None).await?;
            info!("what comes is taken again");
            look.send(Look::Now).await.ok();
            Ok(SourceAnswer::Resumed)
        }
        SourceRequest::Accept { commit } => {
            if !kept.is_repository() {
                let why = "the source of plans is no repository, so there are no commits to accept";
                return Err(OrderError::Refused(Refusal::NotNow(why.to_owned())));
            }
            change(&kept, move |memory| memory.record.permitted = Some(commit)).await?;
            pull(&look).await
        }
    }
}

/// Has the source look, and waits for the result for as long as a client would.
async fn pull(look: &mpsc::Sender<Look>) -> Result<SourceAnswer, OrderError> {
    let (reply, pulled) = oneshot::channel();
    let looked = async {
        look.send(Look::Pull(reply)).await.ok()?;
        pulled.await.ok()
    };
    Ok(SourceAnswer::Looked(timeout(LOOK_LIMIT, looked).await.ok().flatten()))
}

async fn change(
    kept: &Kept,
    change: impl FnOnce(&mut SourceMemory) + Send + 'static,
) -> Result<(), OrderError> {
    let kept = kept.clone();
    let done = tokio::task::spawn_blocking(move || kept.change(change)).await;
    match done {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(OrderError::NotKept(error.to_string())),
        Err(error) => Err(OrderError::NotKept(error.to_string())),
    }
}
