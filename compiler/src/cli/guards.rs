//! Guards at the command line: what stands against a change is told, and stops it unless it is overridden by
//! name.

use evenkeel::change::Override;
use evenkeel::{Diagnostic, SourceFile, codes};
use evenkeel_schemas::change::Refusal;

use super::Terminal;

/// Stops at the guards that nobody has overridden; says all of them.
pub(super) fn guard(
    source: &SourceFile,
    overrides: &[Override],
    refusals: &[Refusal],
    terminal: &Terminal,
) -> Option<()> {
    let overridden = |guard: &str| overrides.iter().any(|given| given.to_string() == guard);
    let mut standing = Vec::new();
    for refusal in refusals {
        if overridden(&refusal.guard) {
            terminal.complain(format_args!("Overridden: {}.", refusal.message));
        } else if let Some(code) = codes::find(&refusal.code) {
            let hint = format!("if this is what you mean: --override {}", refusal.guard);
            standing.push(Diagnostic::of_file(code, refusal.message.clone()).hint(hint));
        }
    }
    let needless = |given: &&Override| !refusals.iter().any(|refusal| refusal.guard == given.to_string());
    for given in overrides.iter().filter(needless) {
        terminal.complain(format_args!("Note: --override {given} was not needed."));
    }
    if standing.is_empty() {
        return Some(());
    }
    terminal.diagnostics(source, &standing);
    terminal.complain("Nothing was written.");
    None
}
