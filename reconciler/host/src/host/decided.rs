//! Decisions at the desk: each comes into force once it is on the disk.

use std::collections::BTreeSet;
use std::sync::Arc;

use evenkeel_schemas::scalars::Name;

use crate::io::RequestId;
use crate::loaded::LoadedPlan;
use crate::orders::drains::{DrainAnswer, DrainOrders, DrainRequest};
use crate::orders::routers::{OrderRequest, Orders};
use crate::probation::Record;

/// The consequence of content being on the disk, or of failing to get there.
pub(super) enum Then {
    /// An order for routers comes into force.
    Order(OrderWritten),
    /// An order to drain comes into force.
    Drain(DrainWritten),
    /// A plan comes into force on probation.
    Trial(Begins),
    /// A plan is confirmed.
    Confirmed(Confirms),
    /// A rollback, which is in force already, is acknowledged.
    RolledBack(RequestId),
}

/// An order for routers at the desk.
pub(super) struct OrderWritten {
    pub(super) id: RequestId,
    pub(super) request: OrderRequest,
    pub(super) orders: Orders,
    pub(super) routers: BTreeSet<Name>,
}

/// An order to drain at the desk.
pub(super) struct DrainWritten {
    pub(super) id: RequestId,
    pub(super) request: DrainRequest,
    pub(super) orders: DrainOrders,
    pub(super) answer: DrainAnswer,
}

/// A probation at the desk.
pub(super) struct Begins {
    pub(super) loaded: Arc<LoadedPlan>,
    pub(super) before: Arc<LoadedPlan>,
    pub(super) record: Box<Record>,
}

/// A confirmation at the desk.
pub(super) struct Confirms {
    pub(super) by: &'static str,
    pub(super) id: Option<RequestId>,
}
