//! Passwords of the input, which no report shows.

use super::super::read::is_secret;
use super::super::source::Source;

/// A file's text with the same bytes and lines, without its passwords.
pub(super) fn masked(source: &Source) -> String {
    source.text.split('\n').map(mask).collect::<Vec<_>>().join("\n")
}

/// A line with the same bytes, without its passwords. What a definition stands for may be one, and so may the
/// values of a sequence that is repeated on such a line.
pub(super) fn mask(line: &str) -> String {
    let defined = line.find('$').and_then(|at| {
        let name = line[at + 1..].find(|char: char| !char.is_ascii_alphanumeric() && char != '_')?;
        line[at + 1 + name..].starts_with('=').then_some(at + 1 + name + 1)
    });
    let secret = secret(line).map(|after| match line.find("~LST").or_else(|| line.find("~SEQ")) {
        Some(sequence) if sequence < after => sequence + "~LST".len(),
        _ => after,
    });
    let after = match (defined, secret) {
        (Some(a), Some(b)) => a.min(b),
        (Some(after), None) | (None, Some(after)) => after,
        (None, None) => return line.to_owned(),
    };
    let (kept, hidden) = line.split_at(after);
    let stars = hidden.chars().flat_map(|char| {
        let (sign, times) = if char.is_whitespace() { (char, 1) } else { ('*', char.len_utf8()) };
        std::iter::repeat_n(sign, times)
    });
    kept.chars().chain(stars).collect()
}

/// Where the secret of a line begins: after the first word that is such a keyword, or like one that is
/// misspelt.
fn secret(line: &str) -> Option<usize> {
    let ends = |char: char| char.is_whitespace() || matches!(char, '{' | '}' | '"' | '\'');
    let mut from = 0;
    for word in line.split(ends) {
        if is_secret(word) || is_like_secret(word) {
            return Some(from + word.len());
        }
        // The end of a word is one byte, or a blank of several.
        let end = from + word.len();
        from = end + line[end..].chars().next().map_or(0, char::len_utf8);
    }
    None
}

fn is_like_secret(word: &str) -> bool {
    let plain = word.to_ascii_lowercase().replace(['_', '-'], "");
    plain.starts_with("authp") || plain.contains("passw") || (plain.len() > 4 && plain.ends_with("pass"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_and_nothing_moves() {
        let text = "auth_pass hell>com # é\nauth_type PASS\n  authentication { auth_pass ab }";
        let source = Source { path: String::new(), director: 0, text: text.to_owned() };
        let masked = masked(&source);
        assert_eq!(masked, "auth_pass ******** * **\nauth_type PASS\n  authentication { auth_pass ** *");
        assert_eq!(masked.len(), text.len());
    }

    #[test]
    fn a_password_is_hidden_however_it_is_written() {
        for (line, shown) in [
            ("authentication{auth_pass ab", "authentication{auth_pass **"),
            ("\"auth_pass\" \"a b\"", "\"auth_pass* ** **"),
            ("auth_pas ab", "auth_pas **"),
            ("Auth-Pass ab", "Auth-Pass **"),
            ("@dir1 auth_pass ab", "@dir1 auth_pass **"),
            ("$PASS=ab cd", "$PASS=** **"),
            ("@^dir1 $P=ab", "@^dir1 $P=**"),
            ("~LST(P, ab, cd) auth_pass $P", "~LST*** *** *** ********* **"),
            ("\u{a0}auth_pass\u{a0}ab", "\u{a0}auth_pass\u{a0}**"),
            ("auth_type PASS", "auth_type PASS"),
            ("$IF", "$IF"),
            ("interface $IF", "interface $IF"),
        ] {
            assert_eq!(mask(line), shown, "{line}");
        }
    }
}
