//! Where plans come from: `directory` watches a file, `read` makes a plan of its bytes or says why not.

pub(crate) mod directory;
pub(crate) mod read;
