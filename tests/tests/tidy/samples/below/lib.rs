//! A sample for `tidy`.

mod top;
