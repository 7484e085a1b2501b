//! The documents as tests: the book in `docs/`, and what stands beside it at the top of the repository and
//! with the examples.
//!
//! Every page is in SUMMARY, links and anchors lead somewhere, commands are known to the programs that they
//! name, cluster files compile, and nothing is longer than a page. `book` reads the documents; each check has
//! a file of its own and gives a list of faults. What a check does not find is found by the tests at its end:
//! each is shown something wrong.

mod book;
mod clusters;
mod commands;
mod generated;
mod links;
mod names;
mod shell;
mod sizes;

use book::Library;

/// Nothing, or all faults at once.
fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_page_is_in_the_summary_and_every_entry_is_a_page() {
    none(&links::summary(Library::read()));
}

#[test]
fn links_and_anchors_lead_somewhere() {
    none(&links::faults(Library::read()));
}

#[test]
fn commands_are_known_to_their_programs() {
    none(&commands::faults(Library::read()));
}

#[test]
fn cluster_files_compile() {
    none(&clusters::faults(Library::read()));
}

#[test]
fn paths_and_codes_exist() {
    none(&names::faults(Library::read()));
}

#[test]
fn nothing_is_longer_than_a_page() {
    none(&sizes::faults(Library::read()));
}
