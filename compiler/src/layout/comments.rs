//! Comments and blank lines between the parts of a file.

/// What stands at the top of a file and belongs to no entry: `#:schema …` for editors, and a comment
/// that a blank line parts from what follows.
pub(super) struct Head<'t> {
    comment: &'t str,
    /// Whether a blank line follows.
    apart: bool,
    pub(super) rest: &'t str,
}

impl<'t> Head<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let text = text.trim_start_matches(['\n', ' ', '\t']);
        let mut end = 0;
        let mut directives = 0;
        for line in text.split_inclusive('\n') {
            if line.trim().is_empty() {
                return Self { comment: &text[..end], apart: true, rest: &text[end..] };
            }
            if !line.trim_start().starts_with('#') {
                break;
            }
            if line.starts_with("#:") && directives == end {
                directives += line.len();
            }
            end += line.len();
        }
        Self { comment: &text[..directives], apart: false, rest: &text[directives..] }
    }

    pub(super) fn put_before(&self, rest: &str) -> String {
        let mut out = String::new();
        for line in self.comment.lines() {
            out.push_str(line.trim());
            out.push('\n');
        }
        let rest = rest.trim_start_matches('\n').trim_end();
        if self.apart && !rest.is_empty() && !out.is_empty() {
            out.push('\n');
        }
        out.push_str(rest);
        if !rest.is_empty() {
            out.push('\n');
        }
        out
    }
}

/// The comment lines above an entry, with a blank line before them or not; of several blank lines
/// between them one stays.
pub(super) fn above(text: &str, blank: bool) -> String {
    let mut out = String::from(if blank { "\n" } else { "" });
    let mut gap = false;
    let mut any = false;
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            gap = any;
            continue;
        }
        if gap {
            out.push('\n');
            gap = false;
        }
        out.push_str(line);
        out.push('\n');
        any = true;
    }
    if gap && text.trim_end_matches([' ', '\t']).ends_with("\n\n") {
        out.push('\n');
    }
    out
}

/// The comment behind an entry, where its author put it.
pub(super) fn behind(text: &str) -> String {
    let comment = text.trim();
    if comment.is_empty() {
        return String::new();
    }
    let space = &text[..text.len() - text.trim_start().len()];
    if space.is_empty() || space.contains('\n') { format!(" {comment}") } else { format!("{space}{comment}") }
}

/// The comment lines at the end of a file.
pub(super) fn at_end(text: &str) -> String {
    let lines = above(text, false);
    if lines.trim().is_empty() {
        return String::new();
    }
    if text.starts_with('\n') { format!("\n{}", lines.trim_end()) } else { lines.trim_end().to_owned() }
}
