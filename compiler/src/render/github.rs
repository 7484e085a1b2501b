//! Diagnostics as workflow commands of GitHub Actions: annotations at the lines of a pull request.

use std::fmt::Write;

use evenkeel_schemas::report::{Finding, Related, Severity};

use super::escape::plain;
use super::json::report;
use crate::Compilation;
use crate::source::SourceFile;

/// A line for each diagnostic.
#[must_use]
pub fn github(source: &SourceFile, compilation: &Compilation) -> String {
    let mut out = String::new();
    for finding in &report(source, compilation).diagnostics {
        let command = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "::{command} {}::{}", properties(finding), data(&text(finding)));
    }
    out
}

fn properties(finding: &Finding) -> String {
    let mut all = format!("file={}", property(&finding.file));
    let (start, end) = (&finding.place.start, &finding.place.end);
    let _ = write!(all, ",line={},endLine={}", start.line, end.line);
    if start.line == end.line {
        // Columns of several lines are refused, and an end is the last column there.
        let last = end.column.saturating_sub(1).max(start.column);
        let _ = write!(all, ",col={},endColumn={last}", start.column);
    }
    let _ = write!(all, ",title={}", property(&format!("{}: {}", finding.code, finding.title)));
    all
}

fn text(finding: &Finding) -> String {
    let mut lines = vec![plain(&finding.message).into_owned()];
    lines.extend(finding.related.iter().map(|Related { file, place, label }| {
        format!("{}:{}: {}", plain(file), place.start.line, plain(label))
    }));
    lines.extend(finding.notes.iter().map(|note| format!("note: {}", plain(note))));
    lines.extend(finding.hints.iter().map(|hint| format!("help: {}", plain(hint))));
    lines.join("\n")
}

/// The escapes of a command's text.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes of a command's properties. A name with a line break is written as it is; other characters that act
/// on a terminal are not.
fn property(text: &str) -> String {
    let lines: Vec<_> = text
        .split_inclusive(['\r', '\n'])
        .map(|line| {
            let (line, end) = line.split_at(line.trim_end_matches(['\r', '\n']).len());
            format!("{}{end}", plain(line))
        })
        .collect();
    data(&lines.concat()).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_command_early() {
        assert_eq!(data("100 %\r\na:b,c"), "100 %25%0D%0Aa:b,c");
        assert_eq!(property("a,b:c%\n"), "a%2Cb%3Ac%25%0A");
        let source = SourceFile::new("odd,name:1\n.toml", "version = 1\nversion = 2 # 50%\n");
        let out = github(&source, &crate::compile(&source));
        assert_eq!(out.lines().count(), 1, "{out}");
        let start =
            "::error file=odd%2Cname%3A1%0A.toml,line=2,endLine=2,col=1,endColumn=7,title=EK0007%3A a key";
        assert!(out.starts_with(start), "{out}");
    }
}
