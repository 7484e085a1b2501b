//! A sample for `tidy`.

macro_rules! call {
    () => {
        $crate::a::one()
    };
}

pub fn two() {
    call!()
}
