//! Commands that run once, beside or without the daemon: `diff`, `converge`, `cleanup`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use evenkeel_converge::{Desired, Diff, Domain, Kind, View, cleanup as undo, desired, diff};
use evenkeel_kernel::Kernel;
use evenkeel_schemas::scalars::Name;
use tracing::warn;

use crate::convergence::{Convergence, apply_in_phases, scope};
use crate::plan_file::{self, LoadedPlan};
use crate::state::{StateDir, read_ledger};

/// Passes of `converge`: what needs another one after these is an error to show.
const MAX_PASSES: usize = 3;

fn load(plan: &Path, host: &Name) -> Result<LoadedPlan, String> {
    plan_file::load(&plan_file::plan_path(plan, host), host).map_err(|why| why.to_string())
}

/// Without a daemon nothing is known to be down.
fn wanted(loaded: &LoadedPlan) -> Desired {
    desired(&loaded.plan, View::CALM)
}

/// What the daemon would change on this host now, VIPs aside: they follow the election.
///
/// # Errors
/// When the plan is refused or the kernel cannot be read.
pub(crate) fn difference(plan: &Path, host: &Name, state_dir: &Path) -> Result<Diff, String> {
    let loaded = load(plan, host)?;
    let desired = wanted(&loaded);
    let ledger = read_ledger(state_dir).map_err(|error| error.to_string())?;
    let mut kernel = Kernel::new().map_err(|error| error.to_string())?;
    let observed =
        kernel.observe(&scope(&desired, &ledger, &Kind::ALL)).map_err(|error| error.to_string())?;
    Ok(diff(&desired, &observed, &ledger, Domain::Host))
}

/// Converges this host once, VIPs aside. Returns what was done.
///
/// # Errors
/// When the plan is refused, a daemon is running, or something cannot be done.
pub(crate) fn converge(plan: &Path, host: &Name, state_dir: &Path) -> Result<Vec<String>, String> {
    let loaded = load(plan, host)?;
    if loaded.plan.policy.probation.is_some() {
        warn!("the plan asks for probation, which only `evenkeeld run` holds: what is done here stays");
    }
    let state = Arc::new(StateDir::open(state_dir).map_err(|error| error.to_string())?);
    let kernel = Kernel::new().map_err(|error| error.to_string())?;
    let ledger = state.ledger_or_put_aside().map_err(|error| error.to_string())?;
    let mut convergence = Convergence::new(kernel, state, ledger);
    let wanted = Arc::new(wanted(&loaded));
    let mut done = Vec::new();
    let mut errors = Vec::new();
    for _ in 0..MAX_PASSES {
        let pass = convergence.pass(&wanted, &Kind::ALL, None);
        done.extend(pass.done.iter().chain(&pass.repairs).map(ToString::to_string));
        if pass.converged {
            return Ok(done);
        }
        errors = pass.errors;
    }
    let errors: Vec<String> =
        errors.into_iter().map(|error| format!("cannot {}: {}", error.operation, error.reason)).collect();
    Err(errors.join("\n"))
}

/// Removes everything of ours from this host and puts its settings back. Returns what was done.
///
/// # Errors
/// When a daemon is running, or something cannot be removed; the ledger then stays.
pub(crate) fn cleanup(state_dir: &Path) -> Result<Vec<String>, String> {
    let state = StateDir::open(state_dir).map_err(|error| error.to_string())?;
    let ledger = read_ledger(state.path()).map_err(|error| error.to_string())?;
    let mut kernel = Kernel::new().map_err(|error| error.to_string())?;
    let mut scope = scope(&Desired::default(), &ledger, &Kind::ALL);
    // What carries our tag is ours even if the ledger was lost.
    let links = kernel.links().map_err(|error| error.to_string())?;
    scope.interfaces.extend(links.into_iter().map(|link| link.name).collect::<BTreeSet<String>>());
    let observed = kernel.observe(&scope).map_err(|error| error.to_string())?;
    let Diff { ops, .. } = undo(&observed, &ledger);
    let results = apply_in_phases(&mut kernel, &ops);
    let mut done = Vec::new();
    let mut errors = Vec::new();
    for (op, result) in ops.iter().zip(results) {
        match result {
            Ok(()) => done.push(op.to_string()),
            Err(error) => errors.push(format!("cannot {op}: {error}")),
        }
    }
    if !errors.is_empty() {
        return Err(errors.join("\n"));
    }
    state.forget().map_err(|error| format!("state directory: {error}"))?;
    Ok(done)
}
