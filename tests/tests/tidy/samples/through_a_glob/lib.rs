//! A sample for `tidy`.

mod a;
mod b;

use a::A;
use b::B;
