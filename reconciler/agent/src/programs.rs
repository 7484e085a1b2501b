//! Programs that a plan lets run: hooks of state changes, and the way any program is run.

pub(crate) mod hooks;
pub(crate) mod run;
