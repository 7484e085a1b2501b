//! What operators order, until they say otherwise: `routers` to hand over or stay out, `drains` of destinations.
//!
//! Values only. The state directory keeps them; `desk` says when an order is in force.

pub mod drains;
pub mod routers;

/// Why an order was refused: a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such router.
    Unknown(String),
    /// Nothing can be told to anybody now.
    NotNow(String),
}
