//! A sample for `tidy`.

#[cfg(doc)]
use crate::a::A;

/// Not like [`crate::a::A`]: "crate::a::A".
pub struct B;

pub const TEXT: &str = "crate::a::A";

#[cfg(test)]
mod tests {
    use crate::a::A;

    pub fn a(_: A) {}
}
