//! A sample for `tidy`.

mod a;
mod b;
mod c;
