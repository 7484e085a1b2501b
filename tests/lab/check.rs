//! Failing with the place of the test's own line. (A panic in a closure given to `unwrap_or_else` names the
//! lab's line instead.)

use std::fmt::Display;

/// Values that must not be missing.
pub(crate) trait Expected<T> {
    /// The value; or a panic saying what was attempted and what went wrong, at the caller's caller's line.
    #[track_caller]
    fn or_fail(self, attempted: impl Display) -> T;
}

impl<T, E: Display> Expected<T> for Result<T, E> {
    #[track_caller]
    fn or_fail(self, attempted: impl Display) -> T {
        match self {
            Ok(value) => value,
            Err(error) => panic!("{attempted}: {error}"),
        }
    }
}
