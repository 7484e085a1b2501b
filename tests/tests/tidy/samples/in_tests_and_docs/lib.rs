//! A sample for `tidy`.

mod a;
mod b;
