//! Standing orders of operators: `routers` hand over or stay out, `drains` of destinations.
//!
//! Values only. The state directory keeps them; `desk` decides when an order is in force.

pub mod drains;
pub mod routers;

/// Reason why an order was refused: a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The plan has no such router, virtual server or destination.
    Unknown(String),
    /// The order cannot be carried out now.
    NotNow(String),
}
