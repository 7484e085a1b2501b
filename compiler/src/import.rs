//! Import: configurations of keepalived's directors in, one cluster file out, and what became of each thing.

mod expand;
pub mod keywords;
mod model;
mod notes;
mod read;
mod sequence;
mod source;
mod tree;
mod words;

pub use notes::{Fate, Finding, Item};
pub use source::{Files, FilesInMemory, Source, Spot};
