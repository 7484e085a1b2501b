//! Text that somebody else wrote, such as a file's name or a key, as it may stand in a line that is
//! shown: it can end no line, begin no command and move no cursor.

use std::borrow::Cow;

/// Whether a character does something to what is around it instead of being shown: controls, line
/// separators, marks that turn the direction of text.
pub(super) fn acts(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        )
}

/// `text` in one line: whatever acts is written as an escape, such as `\n` or `\u{1b}`.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if acts(character) { out.extend(character.escape_default()) } else { out.push(character) }
    }
    Cow::Owned(out)
}

/// `text` in its lines, with as many bytes and characters: whatever else acts is a stand-in. Controls of
/// ASCII are left to whoever draws.
pub(super) fn excerpt(text: &str) -> Cow<'_, str> {
    let acts = |character: char| acts(character) && (!character.is_ascii() || character == '\r');
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let stays = !acts(character) || (character == '\r' && rest.peek() == Some(&'\n'));
        out.push(match character.len_utf8() {
            _ if stays => character,
            1 => '?',
            2 => '\u{b7}',
            _ => '\u{fffd}',
        });
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_line_or_moves_a_cursor() {
        for (text, shown) in [
            ("plain é 漢.toml", "plain é 漢.toml"),
            ("a\n::error::b", "a\\n::error::b"),
            ("a\r\u{1b}[2Kb\u{9b}1m", "a\\r\\u{1b}[2Kb\\u{9b}1m"),
            ("a\u{202e}b\u{2028}c\u{85}", "a\\u{202e}b\\u{2028}c\\u{85}"),
        ] {
            assert_eq!(plain(text), shown);
            let drawn = excerpt(text);
            assert_eq!((drawn.len(), drawn.chars().count()), (text.len(), text.chars().count()), "{text:?}");
            assert!(
                !drawn.contains(|c: char| !c.is_ascii() && acts(c)) && !drawn.contains('\r'),
                "{drawn:?}"
            );
        }
        assert_eq!(excerpt("a\r\nb\u{85}"), "a\r\nb\u{b7}");
    }
}
