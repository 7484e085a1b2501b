//! Meaning of the end of a program for a check.

use evenkeel_schemas::status::FaultLabel;

use crate::fault::{Fault, Says, Share};

/// First exit code that is a weight, and the code of weight 0 (keepalived's `misc_dynamic`).
const WEIGHTS: i32 = 2;

/// Meaning of an exit code; `output` is the last line that the program wrote. With `dynamic_weight`, codes
/// from 2 on are success and set the weight to the code less 2, and 0 leaves the weight of the plan.
///
/// # Errors
///
/// Why the target fails.
pub fn exited(code: i32, dynamic_weight: bool, output: &str) -> Result<Says, Fault> {
    if code == 0 {
        return Ok(Says::default());
    }
    if dynamic_weight
        && let Some(weight) = code.checked_sub(WEIGHTS).and_then(|weight| u16::try_from(weight).ok())
    {
        return Ok(Says { share: Some(Share::Weight(weight)), ..Says::default() });
    }
    Err(failed(FaultLabel::Exit, format!("exit code {code}"), output))
}

/// A program that failed in this way.
#[must_use]
pub fn failed(label: FaultLabel, how: String, output: &str) -> Fault {
    Fault::new(label, if output.is_empty() { how } else { format!("{how}: {output}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_verdicts_and_with_dynamic_weight_weights() {
        let weight = |weight| Ok(Says { share: Some(Share::Weight(weight)), ..Says::default() });
        for (code, dynamic, want) in [
            (0, false, Ok(Says::default())),
            (0, true, Ok(Says::default())),
            (1, false, Err("exit code 1: why")),
            (1, true, Err("exit code 1: why")),
            (2, false, Err("exit code 2: why")),
            (2, true, weight(0)),
            (12, true, weight(10)),
            (255, true, weight(253)),
            (-1, true, Err("exit code -1: why")),
        ] {
            let found = exited(code, dynamic, "why");
            assert_eq!(
                found.as_ref().map_err(|fault| &*fault.reason),
                want.as_ref().map_err(|why| *why),
                "{code}"
            );
        }
        assert_eq!(exited(3, false, "").expect_err("failed").to_string(), "exit code 3");
    }
}
