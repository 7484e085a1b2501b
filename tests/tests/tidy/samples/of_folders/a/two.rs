//! A sample for `tidy`.

pub struct Two;
