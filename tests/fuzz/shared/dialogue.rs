//! Plays any bytes to a dialogue: in one piece, and in others. The verdict is the same.

use std::time::Duration;

use evenkeel_health::ask::{Dialogue, End, Step};
use evenkeel_health::{FaultLabel, Says};

/// Most bytes that any dialogue takes: 4 MiB of HTTP, and a piece.
const MOST: usize = 5 << 20;

type Judged = Result<Says, FaultLabel>;

fn play<D: Dialogue>(mut dialogue: D, pieces: &[&[u8]], end: End) -> (Judged, usize) {
    let mut step = dialogue.begin();
    let mut taken = 0;
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        if let Step::Over(said) = step {
            return (said.map_err(|fault| fault.label), taken);
        }
        taken += piece.len();
        step = dialogue.received(piece);
    }
    match step {
        Step::Over(said) => (said.map_err(|fault| fault.label), taken),
        _ => (dialogue.ended(end).map_err(|fault| fault.label), taken),
    }
}

/// The first two bytes say where the rest is cut.
pub fn judge<D: Dialogue>(bytes: &[u8], dialogue: impl Fn() -> D) {
    let Some((cut, said)) = bytes.split_first_chunk::<2>() else { return };
    let (size, at) = (usize::from(cut[0]) % 7 + 1, usize::from(cut[1]).min(said.len()));
    let (first, rest) = said.split_at(at);
    for end in [End::Closed, End::OutOfTime(Duration::from_secs(1))] {
        let whole = play(dialogue(), &[said], end).0;
        assert_eq!(play(dialogue(), &[first, rest], end).0, whole);
        assert_eq!(play(dialogue(), &said.chunks(size).collect::<Vec<_>>(), end).0, whole);
    }
    // An answer that is repeated for ever comes to an end.
    if !said.is_empty() && cut[0] > 250 {
        let pieces = vec![said; MOST / said.len() + 1];
        let (_, taken) = play(dialogue(), &pieces, End::Closed);
        assert!(taken <= MOST + said.len());
    }
}
