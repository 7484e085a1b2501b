//! A sample for `tidy`.

pub fn one() {
    crate::b::two()
}
