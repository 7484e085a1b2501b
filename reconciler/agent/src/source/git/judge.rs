//! Which commits are taken: the decision, from what git says about them. Pure.
//!
//! ```text
//! tip --same as accepted--> nothing new
//!     --descends from accepted, or is permitted, or is the first--> signatures of all on the way --> taken
//!     --anything else--> refused: the last good plan stays
//! ```

use std::fmt;

use crate::source::memory::{Accepted, Commit, Record};

/// Most commits between two looks that are judged: two runs of ssh-keygen each.
pub(crate) const MAX_ON_THE_WAY: u64 = 500;

/// How the tip of the branch lies to the commit that was accepted last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ancestry {
    /// Nothing was accepted so far.
    First,
    /// It is that commit.
    Same,
    /// It descends from that commit, with so many commits on the way, itself included.
    After(u64),
    /// It is an ancestor of that commit.
    Before,
    /// Neither descends from the other: the branch was rewritten.
    Aside,
    /// The repository does not have that commit (any more).
    Unknown,
}

/// Signature of a commit, as git judges it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) commit: Commit,
    /// `%G?` of git-log(1).
    pub(crate) judgement: char,
    /// `%GF`: fingerprint of the key; empty when there is none.
    pub(crate) key: String,
    /// `%GS`: the principal; empty when nobody has the key.
    pub(crate) signer: String,
}

/// Format of git-log(1) that [`signatures`] reads: fields end with a NUL, commits with `-z` too.
pub(crate) const SIGNATURES: &str = "--format=%H%x00%G?%x00%GF%x00%GS";

/// Reads the answer to [`SIGNATURES`]; none when it is another text.
pub(crate) fn signatures(text: &[u8]) -> Option<Vec<Signature>> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.strip_suffix('\0').unwrap_or(text);
    if text.is_empty() {
        return Some(Vec::new());
    }
    let fields: Vec<&str> = text.split('\0').collect();
    let (whole, rest) = fields.as_chunks::<4>();
    let one = |[commit, judgement, key, signer]: &[&str; 4]| {
        let mut letters = judgement.chars();
        let (judgement, None) = (letters.next()?, letters.next()) else { return None };
        Some(Signature {
            commit: Commit::parse(commit)?,
            judgement,
            key: (*key).to_owned(),
            signer: (*signer).to_owned(),
        })
    };
    if rest.is_empty() { whole.iter().map(one).collect() } else { None }
}

/// Why a commit is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has no signature, or one that is not made with an SSH key.
    Unsigned(Commit),
    /// Its signature does not fit, or its key is revoked.
    BadSignature(Commit),
    /// Its key, of this fingerprint, belongs to nobody who is allowed now.
    Stranger(Commit, String),
    /// git gave no judgement about this commit.
    NotJudged(Commit),
    /// The branch went back to an older commit.
    Rewound { tip: Commit, accepted: Commit },
    /// The branch was rewritten.
    Rewritten { tip: Commit, accepted: Commit },
    /// The commit that was accepted last is not in the repository.
    Lost { tip: Commit, accepted: Commit },
    /// Too many commits at once.
    TooMany { tip: Commit, count: u64 },
    /// Nothing is known of earlier commits, and an operator wants to be asked then.
    AcceptFirst(Commit),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_hand = |tip: &Commit| format!("; if that is meant: `evenkeeld accept {tip}`");
        match self {
            Self::Unsigned(commit) => {
                write!(f, "commit {} has no SSH signature that can be verified", commit.short())
            }
            Self::BadSignature(commit) => {
                write!(f, "the signature of commit {} is bad, or its key is revoked", commit.short())
            }
            Self::Stranger(commit, key) => write!(
                f,
                "commit {} is signed with key {key}, which nobody has who is allowed to sign now",
                commit.short()
            ),
            Self::NotJudged(commit) => write!(f, "git does not say who signed commit {}", commit.short()),
            Self::Rewound { tip, accepted } => write!(
                f,
                "the branch went back to {}, which is older than {}, the commit that was accepted last{}",
                tip.short(),
                accepted.short(),
                by_hand(tip)
            ),
            Self::Rewritten { tip, accepted } => write!(
                f,
                "the branch was rewritten: {} does not descend from {}, the commit that was accepted last{}",
                tip.short(),
                accepted.short(),
                by_hand(tip)
            ),
            Self::Lost { tip, accepted } => write!(
                f,
                "the repository does not have {}, the commit that was accepted last, so nothing says that {} \
                    is newer{}",
                accepted.short(),
                tip.short(),
                by_hand(tip)
            ),
            Self::TooMany { tip, count } => write!(
                f,
                "{count} commits at once, up to {}: more than {MAX_ON_THE_WAY} are not judged{}",
                tip.short(),
                by_hand(tip)
            ),
            Self::AcceptFirst(tip) => write!(
                f,
                "no commit was accepted so far, or the state directory was emptied, and `require_newer` \
                    is set: nothing says that {} is not an old one; if it is the right one: \
                    `evenkeeld accept {tip}`",
                tip.short()
            ),
        }
    }
}

/// A commit that may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was accepted before.
    Same,
    /// Nothing was accepted before it.
    First,
    /// It follows the one before; so many commits, itself included.
    Next(u64),
    /// An operator has accepted it.
    Permitted,
}

/// Judges where the tip lies, before anything is asked about signatures.
///
/// # Errors
/// The [`Refusal`].
pub(crate) fn place(
    tip: &Commit,
    record: &Record,
    ancestry: Ancestry,
    require_newer: bool,
) -> Result<Taken, Refusal> {
    if ancestry == Ancestry::Same {
        return Ok(Taken::Same);
    }
    if record.permitted.as_ref() == Some(tip) {
        return Ok(Taken::Permitted);
    }
    let (tip, accepted) = match &record.accepted {
        Some(accepted) => (tip.clone(), accepted.commit.clone()),
        None if require_newer => return Err(Refusal::AcceptFirst(tip.clone())),
        None => return Ok(Taken::First),
    };
    match ancestry {
        Ancestry::Same => Ok(Taken::Same),
        Ancestry::After(count) if count <= MAX_ON_THE_WAY => Ok(Taken::Next(count)),
        Ancestry::After(count) => Err(Refusal::TooMany { tip, count }),
        Ancestry::Before => Err(Refusal::Rewound { tip, accepted }),
        Ancestry::Aside => Err(Refusal::Rewritten { tip, accepted }),
        Ancestry::First | Ancestry::Unknown => Err(Refusal::Lost { tip, accepted }),
    }
}

/// Judges the signatures of all commits on the way to the tip, the tip included. Returns the signer of the
/// tip.
///
/// # Errors
/// The [`Refusal`] of the first commit that is not signed as it must be.
pub(crate) fn signed(tip: &Commit, taken: Taken, found: &[Signature]) -> Result<String, Refusal> {
    let want = match taken {
        Taken::Next(count) => count,
        Taken::Same | Taken::First | Taken::Permitted => 1,
    };
    for signature in found {
        let commit = || signature.commit.clone();
        match signature.judgement {
            'G' if !signature.signer.is_empty() && !signature.key.is_empty() => {}
            'G' | 'U' => return Err(Refusal::Stranger(commit(), signature.key.clone())),
            'B' | 'R' | 'X' | 'Y' => return Err(Refusal::BadSignature(commit())),
            'N' | 'E' => return Err(Refusal::Unsigned(commit())),
            _ => return Err(Refusal::NotJudged(commit())),
        }
    }
    // A commit that git left out was not judged.
    let tips = found.iter().find(|signature| signature.commit == *tip);
    match tips {
        Some(signature) if found.len() as u64 == want => Ok(signature.signer.clone()),
        Some(_) | None => Err(Refusal::NotJudged(tip.clone())),
    }
}

/// The record after a commit was taken.
pub(crate) fn after(record: &Record, tip: &Commit, taken: Taken, at: String) -> Record {
    let before = record.accepted.as_ref().map_or(0, |accepted| accepted.count);
    let count = match taken {
        Taken::Same => return record.clone(),
        Taken::Next(count) => before.saturating_add(count),
        Taken::First | Taken::Permitted => before.saturating_add(1),
    };
    Record { accepted: Some(Accepted { commit: tip.clone(), count, at }), permitted: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(digit: char) -> Commit {
        Commit::parse(&digit.to_string().repeat(40)).expect("a commit")
    }

    fn accepted(digit: char) -> Record {
        let accepted = Accepted { commit: commit(digit), count: 7, at: "then".to_owned() };
        Record { accepted: Some(accepted), permitted: None }
    }

    #[test]
    fn only_what_descends_from_the_last_commit_is_taken() {
        let (tip, known) = (commit('b'), accepted('a'));
        let both = || (commit('b'), commit('a'));
        let judge = |ancestry| place(&tip, &known, ancestry, false);
        assert_eq!(judge(Ancestry::Same), Ok(Taken::Same));
        assert_eq!(judge(Ancestry::After(MAX_ON_THE_WAY)), Ok(Taken::Next(MAX_ON_THE_WAY)));
        let count = MAX_ON_THE_WAY + 1;
        assert_eq!(judge(Ancestry::After(count)), Err(Refusal::TooMany { tip: commit('b'), count }));
        let (tip_is, last) = both();
        assert_eq!(judge(Ancestry::Before), Err(Refusal::Rewound { tip: tip_is, accepted: last }));
        let (tip_is, last) = both();
        assert_eq!(judge(Ancestry::Aside), Err(Refusal::Rewritten { tip: tip_is, accepted: last }));
        for lost in [Ancestry::Unknown, Ancestry::First] {
            let (tip_is, last) = both();
            assert_eq!(judge(lost), Err(Refusal::Lost { tip: tip_is, accepted: last }));
        }
    }

    #[test]
    fn an_operator_permits_one_commit_and_no_other() {
        let known = Record { permitted: Some(commit('b')), ..accepted('a') };
        for ancestry in [Ancestry::Before, Ancestry::Aside, Ancestry::Unknown, Ancestry::After(10_000)] {
            assert_eq!(place(&commit('b'), &known, ancestry, true), Ok(Taken::Permitted));
            assert!(place(&commit('c'), &known, ancestry, true).is_err());
        }
        let after = after(&known, &commit('b'), Taken::Permitted, "now".to_owned());
        assert_eq!(after.permitted, None);
        assert_eq!(after.accepted.expect("accepted").count, 8);
    }

    #[test]
    fn a_state_directory_that_was_emptied_takes_the_first_unless_told_otherwise() {
        let empty = Record::default();
        assert_eq!(place(&commit('b'), &empty, Ancestry::First, false), Ok(Taken::First));
        assert_eq!(
            place(&commit('b'), &empty, Ancestry::First, true),
            Err(Refusal::AcceptFirst(commit('b')))
        );
    }

    fn signature(digit: char, judgement: char, signer: &str) -> Signature {
        Signature { commit: commit(digit), judgement, key: "SHA256:k".to_owned(), signer: signer.to_owned() }
    }

    /// Every letter that git-log(1) documents, and one that it does not.
    #[test]
    fn good_and_a_principal_is_all_that_is_taken() {
        let judge =
            |letter, signer: &str| signed(&commit('b'), Taken::First, &[signature('b', letter, signer)]);
        assert_eq!(judge('G', "a@example"), Ok("a@example".to_owned()));
        for (letter, signer) in [('G', ""), ('U', ""), ('U', "a@example")] {
            assert_eq!(judge(letter, signer), Err(Refusal::Stranger(commit('b'), "SHA256:k".to_owned())));
        }
        for letter in ['B', 'R', 'X', 'Y'] {
            assert_eq!(judge(letter, "a@example"), Err(Refusal::BadSignature(commit('b'))));
        }
        for letter in ['N', 'E'] {
            assert_eq!(judge(letter, "a@example"), Err(Refusal::Unsigned(commit('b'))));
        }
        assert_eq!(judge('?', "a@example"), Err(Refusal::NotJudged(commit('b'))));
    }

    #[test]
    fn every_commit_on_the_way_is_signed_and_none_is_left_out() {
        let good = |digit| signature(digit, 'G', "a@example");
        let judge = |found: &[Signature]| signed(&commit('b'), Taken::Next(2), found);
        assert_eq!(judge(&[good('b'), good('c')]), Ok("a@example".to_owned()));
        assert_eq!(judge(&[good('b'), signature('c', 'N', "")]), Err(Refusal::Unsigned(commit('c'))));
        for found in [&[][..], &[good('b')], &[good('c'), good('d')], &[good('b'), good('c'), good('d')]] {
            assert_eq!(judge(found), Err(Refusal::NotJudged(commit('b'))));
        }
    }

    #[test]
    fn the_answer_of_git_is_read_or_refused_whole() {
        let (a, b) = ("a".repeat(40), "b".repeat(64));
        let text = format!("{a}\0G\0SHA256:k\0a@example\0{b}\0N\0\0\0");
        let found = signatures(text.as_bytes()).expect("two");
        assert_eq!(found.first(), Some(&signature('a', 'G', "a@example")));
        assert_eq!(found.get(1).map(|one| (one.judgement, one.signer.as_str())), Some(('N', "")));
        assert_eq!(signatures(b""), Some(Vec::new()));
        for text in
            ["x", "\0\0\0\0", &format!("{a}\0GG\0k\0s\0"), &format!("{a}\0G\0k"), &format!("A{a}\0G\0k\0s")]
        {
            assert_eq!(signatures(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(text: Vec<u8>) {
            signatures(&text);
        }
    }
}
