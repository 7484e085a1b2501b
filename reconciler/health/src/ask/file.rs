//! Meaning of a file on this host for a target.

use evenkeel_schemas::status::FaultLabel;

use super::pattern::Pattern;
use super::{MOST, excerpt};
use crate::fault::{Fault, Says};

/// Most of a file that is read, bytes.
pub const FILE_MAX: u64 = MOST as u64;

/// Meaning of the beginning of a file, [`FILE_MAX`] of it at most; none where there is no file. Without an
/// expression `0`, or no file, is success, and anything else a failure with the content as its reason. With
/// one the file must be there and match it.
///
/// # Errors
///
/// Why the target fails.
pub fn read(path: &str, content: Option<&[u8]>, body: Option<&Pattern>) -> Result<Says, Fault> {
    let said = |reason: String| Err(Fault::new(FaultLabel::Said, reason));
    match (content, body) {
        (None, None) => Ok(Says::default()),
        (Some(content), None) if content.trim_ascii() == b"0" => Ok(Says::default()),
        (Some(content), None) if content.trim_ascii().is_empty() => {
            said(format!("{path} is there, and empty"))
        }
        (Some(content), None) => said(format!("{path} says `{}`", excerpt(content))),
        (None, Some(_)) => Err(Fault::new(FaultLabel::Body, format!("{path} is not there"))),
        (Some(content), Some(body)) if body.matches(content, true) => Ok(Says::default()),
        (Some(content), Some(_)) => {
            let reason = format!("{path} does not match, it says `{}`", excerpt(content));
            Err(Fault::new(FaultLabel::Body, reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_or_nothing_is_success_and_else_the_file_says_why() {
        let said = |content: Option<&[u8]>| read("/run/x", content, None).map_err(|fault| fault.to_string());
        for good in [None, Some(&b"0"[..]), Some(b"0\n"), Some(b" 0 \r\n")] {
            assert_eq!(said(good), Ok(Says::default()));
        }
        for (content, reason) in [
            (&b""[..], "/run/x is there, and empty"),
            (b" \n", "/run/x is there, and empty"),
            (b"00", "/run/x says `00`"),
            (b"-1\n", "/run/x says `-1`"),
            (b"disk is full\n", "/run/x says `disk is full`"),
            (b"\xff\x1b", "/run/x says `\u{fffd}\\u{1b}`"),
        ] {
            assert_eq!(said(Some(content)), Err(reason.to_owned()));
        }
        assert!(said(Some(&[b'x'; 65536])).expect_err("failed").len() < 200);
    }

    #[test]
    fn with_an_expression_the_file_must_match() {
        let pattern = Pattern::new("^ok$").expect("an expression");
        let said =
            |content: Option<&[u8]>| read("/x", content, Some(&pattern)).map_err(|fault| fault.to_string());
        assert_eq!(said(Some(b"ok")), Ok(Says::default()));
        assert_eq!(said(Some(b"0")), Err("/x does not match, it says `0`".to_owned()));
        assert_eq!(said(None), Err("/x is not there".to_owned()));
    }
}
