//! Files that are no configuration of keepalived: with bytes that no text has, without any of its words, or
//! without anything to import.

use super::lines::is_significant;
use super::notes::{Finding, Notes, Use};
use super::source::{Source, Spot};
use super::tree::Statement;
use super::{Request, keywords, model};
use crate::codes;

/// The error about a file with bytes that are in no text, at the first of them.
pub(super) fn binary(text: &str, file: usize) -> Option<Finding> {
    let is_text = |char: char| {
        !char.is_control() || matches!(char, '\t' | '\n' | '\u{b}' | '\u{c}' | '\r') || char > '\u{7f}'
    };
    let at = text.find(|char| !is_text(char))?;
    let line = text[..at].bytes().filter(|byte| *byte == b'\n').count() + 1;
    let byte = text[at..].chars().next().map(u32::from).unwrap_or_default();
    let finding = Finding::new(
        &codes::IMPORT_FOREIGN,
        Spot { file, line },
        format!("this is no text: it has a byte 0x{byte:02x}"),
        "not read",
    );
    Some(finding.at(&text[at..=at]).hint("name the director's main configuration file"))
}

/// The error about a director's main file of which nothing can be read.
pub(super) fn main(source: &Source, file: usize, statements: &[Statement], notes: &Notes) -> Option<Finding> {
    if notes.refused.contains(&file) {
        return None;
    }
    let words = |statement: &Statement| keywords::TOP.find(statement.keyword()).is_some();
    if statements.iter().any(words) {
        return None;
    }
    let lines = || source.text.split('\n').enumerate().map(|(at, line)| (Spot { file, line: at + 1 }, line));
    let Some((spot, _)) = lines().find(|(_, line)| is_significant(line)) else {
        let what = if source.text.trim().is_empty() {
            "the file is empty"
        } else {
            "the file has nothing but comments"
        };
        return Some(nothing_here(Spot { file, line: 1 }, what));
    };
    let is_statement = |spot: Spot, line: &str| is_significant(line) && !notes.uses.contains_key(&spot);
    let Some((place, _)) = lines().find(|(spot, line)| is_statement(*spot, line)) else {
        let elsewhere = notes.uses.get(&spot) == Some(&Use::OtherDirector);
        let what = if elsewhere {
            "every line of the file is for another director"
        } else {
            "the file leads to no statement"
        };
        return Some(nothing_here(spot, what));
    };
    let what = match kind(&source.text) {
        Some(kind) => format!("this is {kind}, and no configuration of keepalived"),
        None => "this is no configuration of keepalived: none of its keywords is here".to_owned(),
    };
    let finding = Finding::new(&codes::IMPORT_FOREIGN, place, what, "not read");
    Some(finding.hint("name the director's main configuration file"))
}

/// Says of a director that nothing of its configuration was imported, unless its file was refused.
pub(super) fn nothing(
    main: usize,
    director: usize,
    request: &Request,
    config: &model::Config,
    notes: &mut Notes,
) {
    let said = |finding: &Finding| {
        let codes = [codes::IMPORT_FOREIGN.id, codes::IMPORT_NOTHING.id];
        finding.spot.file == main && codes.contains(&finding.code.id)
    };
    debug_assert!(config.instances.is_empty() && config.services.is_empty());
    if notes.findings.iter().any(said) {
        return;
    }
    let name = request.directors.get(director).map_or("", |director| director.name.as_str());
    let what = format!("nothing was imported for {name}: no `vrrp_instance` and no `virtual_server`");
    notes.finding(nothing_here(Spot { file: main, line: 1 }, what));
}

fn nothing_here(spot: Spot, what: impl Into<String>) -> Finding {
    Finding::new(&codes::IMPORT_NOTHING, spot, what, "nothing to import")
        .hint("name the director's main configuration file; `--id NAME=ID` says which `@` lines it reads")
}

/// Kind of a text that is none of keepalived's, by its beginning.
fn kind(text: &str) -> Option<&'static str> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.clone().next()?;
    if first.starts_with("#!/") || first.starts_with("#! /") {
        return Some("a script");
    }
    let first = lines.find(|line| !line.starts_with(['#', ';', '!']) && !line.starts_with("//"))?;
    let word = first.split(|char: char| char.is_whitespace() || char == '{' || char == ';').next()?;
    let named = |end: char| {
        let name = first.split_once(end).map(|(name, _)| name.trim());
        name.is_some_and(|name| !name.is_empty() && !name.contains(char::is_whitespace))
    };
    Some(match word {
        _ if first.starts_with('<') => "HTML or XML",
        _ if first.starts_with("[{") || first.starts_with("{\"") || first == "{" || first == "[" => "JSON",
        _ if first.starts_with('[') => "TOML or INI",
        "---" => "YAML",
        "http" | "server" | "events" | "worker_processes" | "upstream" | "stream" | "location" | "user"
        | "pid" => "a configuration of nginx",
        "global" | "defaults" | "frontend" | "backend" | "listen" => "a configuration of HAProxy",
        _ if named('=') => "TOML or INI",
        _ if named(':') => "YAML",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_others_are_known_by_how_they_begin() {
        for (text, what) in [
            ("#!/bin/sh\necho", Some("a script")),
            ("# nginx\nuser www-data;\n", Some("a configuration of nginx")),
            ("http {\n", Some("a configuration of nginx")),
            ("\n{\n  \"a\": 1\n}", Some("JSON")),
            ("<!DOCTYPE html>", Some("HTML or XML")),
            ("[hosts]\n", Some("TOML or INI")),
            ("version = 1\n", Some("TOML or INI")),
            ("name: x\n", Some("YAML")),
            ("global\n  daemon\n", Some("a configuration of HAProxy")),
            ("once upon a time", None),
            ("", None),
        ] {
            assert_eq!(kind(text), what, "{text}");
        }
    }

    #[test]
    fn a_byte_of_no_text_has_a_place() {
        let found = binary("a\nb\u{0}c", 0).expect("found");
        assert_eq!((found.spot.line, found.word.as_deref()), (2, Some("\u{0}")));
        assert!(binary("a\tb\r\n\u{c}é\u{fffd}\u{85}", 0).is_none());
    }
}
