//! A sample for `tidy`.

pub struct Inner;

impl super::A {
    pub fn of(_: &Self) {}
}
