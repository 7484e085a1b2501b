//! Promises of the demo, and whether they can be judged: on a machine that stands still itself every time is
//! too long, and a director that is not let run for seconds is rightly taken for dead.

use std::time::Duration;

use lab::{Ended, Lab, Mark, mark};

/// Exit code when a promise was not kept.
const BROKEN: u8 = 1;
/// Exit code when a promise could not be judged.
const UNDECIDED: u8 = 2;
/// A machine that stood still for less than this in a step changes nothing of what is seen there but times.
const HARDLY: Duration = Duration::from_millis(400);

/// How a promise stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Kept,
    /// The machine stood still for as long as it would have to, for this.
    Undecided,
    Broken,
}

/// Whether a time is within a bound, on a machine that stood still for `lost` meanwhile.
fn of_time(took: Duration, bound: Duration, lost: Duration) -> Verdict {
    if took <= bound {
        Verdict::Kept
    } else if took <= bound + lost {
        Verdict::Undecided
    } else {
        Verdict::Broken
    }
}

/// Whether something is so, on a machine that stood still for `lost` meanwhile.
fn of_fact(is_so: bool, lost: Duration) -> Verdict {
    match is_so {
        true => Verdict::Kept,
        false if lost >= HARDLY => Verdict::Undecided,
        false => Verdict::Broken,
    }
}

/// Promises of the demo until now.
pub(crate) struct Promises<'l> {
    lab: &'l Lab,
    begun: Mark,
    step: String,
    step_begun: Mark,
    kept: u32,
    undecided: u32,
}

const HINT: &str = "run examples/demo again when this machine does less (`uptime`, `top`)";

impl<'l> Promises<'l> {
    pub(crate) fn new(lab: &'l Lab) -> Self {
        let now = mark();
        Self { lab, begun: now, step: "Start".to_owned(), step_begun: now, kept: 0, undecided: 0 }
    }

    /// Begins a step.
    pub(crate) fn step(&mut self, title: &str) {
        println!("\n== {title}");
        title.clone_into(&mut self.step);
        self.step_begun = mark();
    }

    /// That something of this step takes no longer than `bound`.
    pub(crate) fn within(&mut self, what: &str, took: Duration, bound: Duration) -> Result<(), Ended> {
        let verdict = of_time(took, bound, self.lost(self.step_begun));
        self.judged(verdict, what, &format!("it took {}, {} is promised", secs(took), secs(bound)))
    }

    /// That something is so after this step.
    pub(crate) fn fact(&mut self, what: &str, is_so: bool) -> Result<(), Ended> {
        let verdict = of_fact(is_so, self.lost(self.step_begun));
        self.judged(verdict, what, "it is not so")
    }

    fn judged(&mut self, verdict: Verdict, what: &str, found: &str) -> Result<(), Ended> {
        match verdict {
            Verdict::Kept => {
                self.kept += 1;
                println!("   ok: {what}");
            }
            Verdict::Undecided => {
                self.undecided += 1;
                println!("   not judged: {what}: {found}, but {}", self.stood_still(self.step_begun));
            }
            Verdict::Broken => {
                let stood = self.stood_still(self.step_begun);
                let text = format!(
                    "a promise is not kept in the step `{}`: {what}\n  cause: {found}; {stood}, which does \
                    not explain it\n  \
                     hint: this is a fault of evenkeel: report it with what was printed above",
                    self.step
                );
                return Err(Ended { code: BROKEN, text });
            }
        }
        Ok(())
    }

    /// All steps are done.
    pub(crate) fn all(&self) -> Result<(), Ended> {
        println!("\n== Done");
        let all = self.kept + self.undecided;
        if self.undecided == 0 {
            println!("All {all} promises were kept. The kernel powers off and leaves nothing behind.");
            return Ok(());
        }
        println!("The kernel powers off and leaves nothing behind.");
        let text = format!(
            "{} of {all} promises could not be judged, {} were kept\n  cause: {}\n  hint: {HINT}",
            self.undecided,
            self.kept,
            self.stood_still(self.begun)
        );
        Err(Ended { code: UNDECIDED, text })
    }

    /// Something was waited for in vain, or failed.
    pub(crate) fn in_vain(&self, why: &str) -> Ended {
        let (lost, stood) = (self.lost(self.step_begun), self.stood_still(self.step_begun));
        // Logs of daemons follow.
        let why = why.lines().next().unwrap_or_default().trim_end_matches("; its log:");
        // More than nothing, in a step that waits for minutes.
        let explains = lost >= HARDLY && lost * 10 >= self.step_begun.elapsed();
        let (code, hint) = match explains {
            true => (UNDECIDED, HINT),
            false => (BROKEN, "report it with the logs that EVENKEEL_LAB_KEEP=1 keeps"),
        };
        let text = format!("the step `{}` did not end: {why}\n  cause: {stood}\n  hint: {hint}", self.step);
        Ended { code, text }
    }

    /// How long the machine stood still since then: no longer than that is ago, also where it had stood still
    /// before.
    fn lost(&self, since: Mark) -> Duration {
        self.lab.pulse().lost_between(since, mark()).min(since.elapsed())
    }

    fn stood_still(&self, since: Mark) -> String {
        let longest = self.lab.pulse().stalled_since(since).min(since.elapsed());
        let lost = self.lost(since);
        format!(
            "the machine itself stood still for {} of {}, {} at once",
            secs(lost),
            secs(since.elapsed()),
            secs(longest)
        )
    }
}

fn secs(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_stood_still_keeps_a_promise_from_being_judged_and_no_more() {
        let ms = Duration::from_millis;
        assert_eq!(of_time(ms(698), ms(698), ms(0)), Verdict::Kept);
        assert_eq!(of_time(ms(500), ms(698), ms(9000)), Verdict::Kept, "however busy it was");
        assert_eq!(of_time(ms(900), ms(698), ms(300)), Verdict::Undecided);
        assert_eq!(of_time(ms(900), ms(698), ms(100)), Verdict::Broken, "that does not explain it");
        assert_eq!(of_fact(true, ms(9000)), Verdict::Kept);
        assert_eq!(of_fact(false, ms(399)), Verdict::Broken);
        assert_eq!(of_fact(false, ms(400)), Verdict::Undecided);
    }
}
