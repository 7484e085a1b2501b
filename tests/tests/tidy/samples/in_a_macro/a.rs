//! A sample for `tidy`.

pub fn one() {
    println!("{}", [crate::b::two()].len());
}
