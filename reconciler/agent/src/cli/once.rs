//! Commands that run once, without the daemon: `converge`, `cleanup`.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_converge::{Bars, Desired, Diff, Kind, Ledger, Op, Standing, View, cleanup as undo, desired};
use evenkeel_kernel::Kernel;
use evenkeel_schemas::plan::{Destination, VirtualServer};
use evenkeel_schemas::scalars::Name;
use tracing::warn;

use crate::cli::error::{CommandError, WITHOUT_LEDGER};
use crate::convergence::pass::{Convergence, apply_in_phases, scope};
use crate::source::Source;
use crate::source::read::Keep;
use crate::state::disk::Disk;
use crate::state::{StateDir, read_ledger};
use crate::system::claim::{CLAIM, Claim};
use crate::system::files::Trust;
use evenkeel_host::loaded::LoadedPlan;

/// Most passes of `converge`: an operation that needs another one is an error to show.
const MAX_PASSES: usize = 3;
/// Time for the state directory to keep what was done.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// The wanted state without a daemon: every destination counts as up, orders to drain hold.
fn wanted(loaded: &LoadedPlan, state: &StateDir) -> Result<Desired, CommandError> {
    let orders = state.drain_orders_or_put_aside().map_err(CommandError::File)?;
    let standing = |_, server: &VirtualServer, destination: &Destination| {
        orders.standing(server, destination, false, Standing::Serving)
    };
    Ok(desired(&loaded.plan, View { standing: &standing, ..View::CALM }))
}

/// Converges this host once, VIPs aside. Returns the operations that were done; one may stand for many.
///
/// When the plan is refused, a daemon is running, or an operation fails.
pub(crate) fn converge(
    plan: &Path,
    host: &Name,
    state_dir: &Path,
    trust: Trust,
) -> Result<Vec<Op>, CommandError> {
    let loaded = Source::new(plan, host, trust).read(Keep::Nothing)?;
    if loaded.plan.policy.probation.is_some() {
        warn!("the plan asks for probation, which only `evenkeeld run` holds: what is done here stays");
    }
    let _claim = Claim::take(CLAIM).map_err(CommandError::File)?;
    let state = Arc::new(StateDir::open(state_dir, trust).map_err(CommandError::File)?);
    let kernel = Kernel::new()?;
    let ledger = state.ledger_or_put_aside().map_err(CommandError::File)?;
    let disk = Disk::start(Arc::clone(&state), |_| ()).map_err(CommandError::Disk)?;
    let mut convergence = Convergence::new(kernel, &state, &disk, ledger);
    let wanted = Arc::new(wanted(&loaded, &state)?);
    let mut done = Vec::new();
    let mut errors = Vec::new();
    for _ in 0..MAX_PASSES {
        let pass = convergence.pass(&wanted, &Kind::ALL, None);
        if done.is_empty() {
            done = pass.done;
        } else {
            done.extend(pass.done);
        }
        done.extend(pass.repairs);
        if pass.converged {
            return kept(&disk).map(|()| done);
        }
        errors = pass.errors;
    }
    Err(CommandError::Convergence(errors))
}

/// Waits until the state directory has everything that was done.
fn kept(disk: &Disk) -> Result<(), CommandError> {
    let waiting = disk.stop(LAST_WRITES);
    if waiting.is_empty() { Ok(()) } else { Err(CommandError::NotKept(waiting)) }
}

/// Removes everything of ours from this host and puts its settings back. Returns the operations that were
/// done. `without_ledger` puts aside a ledger that cannot be parsed; objects without our tag then stay.
///
/// When a daemon is running, or an object cannot be removed; the ledger then stays.
pub(crate) fn cleanup(state_dir: &Path, trust: Trust, without_ledger: bool) -> Result<Vec<Op>, CommandError> {
    let _claim = Claim::take(CLAIM).map_err(CommandError::File)?;
    let state = StateDir::open(state_dir, trust).map_err(CommandError::File)?;
    // Read before the kernel is touched: it alone says which settings are ours and what they were.
    let ledger = match read_ledger(state.path(), trust) {
        Ok(ledger) => ledger,
        Err(error) if error.kind() == io::ErrorKind::InvalidData && without_ledger => {
            let aside = match state.put_ledger_aside() {
                Ok(aside) => aside,
                Err(why) => return Err(CommandError::LedgerStays { damage: error, error: why }),
            };
            warn!(kept_as = %aside.display(), "{error}: {WITHOUT_LEDGER}");
            Ledger::default()
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(CommandError::Ledger(error)),
        Err(error) => return Err(CommandError::File(error)),
    };
    let mut kernel = Kernel::new()?;
    let mut scope = scope(&Desired::default(), &ledger, &Kind::ALL);
    // Objects with our tag are ours even if the ledger was lost.
    let links = kernel.links()?;
    scope.interfaces.extend(links.into_iter().map(|link| link.name).collect::<BTreeSet<String>>());
    let observed = kernel.observe(&scope)?;
    let Diff { ops, .. } = undo(&observed, &ledger);
    let results = apply_in_phases(&mut kernel, &ops, Bars::default());
    let mut done = Vec::new();
    let mut errors = Vec::new();
    for (op, result) in ops.into_iter().zip(results) {
        match result {
            Ok(()) => done.push(op),
            Err(error) => errors.push((op, error)),
        }
    }
    if !errors.is_empty() {
        return Err(CommandError::Cleanup(errors));
    }
    state.forget().map_err(CommandError::Forget)?;
    Ok(done)
}
