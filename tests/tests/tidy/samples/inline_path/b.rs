//! A sample for `tidy`.

pub fn two() {
    super::a::one()
}
