//! Programs that a plan has run: hooks of state changes, and the way in which any program is run.

pub(crate) mod hooks;
pub(crate) mod run;
