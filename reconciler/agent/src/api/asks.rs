//! Requests to the daemon's main loop, each with the place for its answer. How they come is not said here.

use evenkeel_host::io::OrderError;
use evenkeel_host::orders::drains::{DrainAnswer, DrainRequest};
use evenkeel_host::orders::routers::{OrderAnswer, OrderRequest};
use evenkeel_host::probation;
use evenkeel_schemas::status::Status;
use tokio::sync::oneshot;

use crate::source::{SourceAnswer, SourceRequest};

/// A request to the daemon, with the place for its answer.
pub(crate) enum Ask {
    /// The status document; with connections and traffic if true.
    Status(bool, oneshot::Sender<Status>),
    /// An order for routers. Answered when it is on the disk, or refused.
    Order(OrderRequest, oneshot::Sender<Result<OrderAnswer, OrderError>>),
    /// An order to drain. Answered when it is on the disk, or refused.
    Drain(DrainRequest, oneshot::Sender<Result<DrainAnswer, OrderError>>),
    /// To look at the source of plans now, or to change what it takes.
    Source(SourceRequest, oneshot::Sender<Result<SourceAnswer, OrderError>>),
    /// To confirm a plan or to roll it back. Answered when that is on the disk, or refused.
    Probation(probation::ProbationRequest, oneshot::Sender<Result<probation::Answer, OrderError>>),
}
