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

use crate::convergence::pass::{Convergence, apply_in_phases, scope};
use crate::source::Source;
use crate::source::read::Keep;
use crate::state::disk::{Disk, Waiting};
use crate::state::{StateDir, read_ledger};
use crate::system::claim::{CLAIM, Claim};
use crate::system::files::Trust;
use evenkeel_host::loaded::LoadedPlan;

/// Most passes of `converge`: an operation that needs another one is an error to show.
const MAX_PASSES: usize = 3;
/// Time for the state directory to keep what was done.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// Hint for a cleanup without the ledger.
const WITHOUT_LEDGER: &str = "Addresses, routes, rules and interfaces carry evenkeel's mark and go; virtual \
    servers, the time-outs of \
                              IPVS and settings carry none and stay: `ipvsadm -Ln` and `sysctl -a` show them";

fn load(plan: &Path, host: &Name, trust: Trust) -> Result<LoadedPlan, String> {
    Source::new(plan, host, trust).read(Keep::Nothing).map_err(|why| why.to_string())
}

/// The wanted state without a daemon: every destination counts as up, orders to drain hold.
fn wanted(loaded: &LoadedPlan, state: &StateDir) -> Result<Desired, String> {
    let orders = state.drain_orders_or_put_aside().map_err(|error| error.to_string())?;
    let standing = |_, server: &VirtualServer, destination: &Destination| {
        orders.standing(server, destination, Standing::Serving)
    };
    Ok(desired(&loaded.plan, View { standing: &standing, ..View::CALM }))
}

/// Converges this host once, VIPs aside. Returns the operations that were done; one may stand for many.
///
/// When the plan is refused, a daemon is running, or an operation fails.
pub(crate) fn converge(plan: &Path, host: &Name, state_dir: &Path, trust: Trust) -> Result<Vec<Op>, String> {
    let loaded = load(plan, host, trust)?;
    if loaded.plan.policy.probation.is_some() {
        warn!("the plan asks for probation, which only `evenkeeld run` holds: what is done here stays");
    }
    let _claim = Claim::take(CLAIM).map_err(|error| error.to_string())?;
    let state = Arc::new(StateDir::open(state_dir, trust).map_err(|error| error.to_string())?);
    let kernel = Kernel::new().map_err(|error| error.to_string())?;
    let ledger = state.ledger_or_put_aside().map_err(|error| error.to_string())?;
    let disk = Disk::start(Arc::clone(&state), |_| ()).map_err(|error| format!("disk: {error}"))?;
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
    let errors: Vec<String> =
        errors.into_iter().map(|error| format!("cannot {}: {}", error.operation, error.reason)).collect();
    Err(errors.join("\n"))
}

/// Waits until the state directory has everything that was done.
fn kept(disk: &Disk) -> Result<(), String> {
    let waiting = disk.stop(LAST_WRITES);
    let why =
        |waiting: &Waiting| waiting.reason.clone().unwrap_or_else(|| "the disk does not answer".to_owned());
    let lines: Vec<String> = waiting
        .iter()
        .map(|waiting| format!("{} cannot be written: {}", waiting.file, why(waiting)))
        .collect();
    if lines.is_empty() {
        Ok(())
    } else {
        Err(format!("this host is as its plan says, but {}", lines.join("; ")))
    }
}

/// Removes everything of ours from this host and puts its settings back. Returns the operations that were
/// done. `without_ledger` puts aside a ledger that cannot be parsed; objects without our tag then stay.
///
/// When a daemon is running, or an object cannot be removed; the ledger then stays.
pub(crate) fn cleanup(state_dir: &Path, trust: Trust, without_ledger: bool) -> Result<Vec<Op>, String> {
    let _claim = Claim::take(CLAIM).map_err(|error| error.to_string())?;
    let state = StateDir::open(state_dir, trust).map_err(|error| error.to_string())?;
    // Read before the kernel is touched: it alone says which settings are ours and what they were.
    let ledger = match read_ledger(state.path(), trust) {
        Ok(ledger) => ledger,
        Err(error) if error.kind() == io::ErrorKind::InvalidData && without_ledger => {
            let aside = state.put_ledger_aside().map_err(|why| format!("{error}; {why}"))?;
            warn!(kept_as = %aside.display(), "{error}: {WITHOUT_LEDGER}");
            Ledger::default()
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(format!(
                "{error}\nIt says which virtual servers and settings are evenkeel's, so nothing was removed. \
                    Put a copy of it in its \
                 place if there is one. Or run `evenkeeld cleanup --without-ledger`: it puts the file aside and removes what \
                 can be told without it. {WITHOUT_LEDGER}"
            ));
        }
        Err(error) => return Err(error.to_string()),
    };
    let mut kernel = Kernel::new().map_err(|error| error.to_string())?;
    let mut scope = scope(&Desired::default(), &ledger, &Kind::ALL);
    // Objects with our tag are ours even if the ledger was lost.
    let links = kernel.links().map_err(|error| error.to_string())?;
    scope.interfaces.extend(links.into_iter().map(|link| link.name).collect::<BTreeSet<String>>());
    let observed = kernel.observe(&scope).map_err(|error| error.to_string())?;
    let Diff { ops, .. } = undo(&observed, &ledger);
    let results = apply_in_phases(&mut kernel, &ops, Bars::default());
    let mut done = Vec::new();
    let mut errors = Vec::new();
    for (op, result) in ops.into_iter().zip(results) {
        match result {
            Ok(()) => done.push(op),
            Err(error) => errors.push(format!("cannot {op}: {error}")),
        }
    }
    if !errors.is_empty() {
        return Err(errors.join("\n"));
    }
    state.forget().map_err(|error| format!("state directory: {error}"))?;
    Ok(done)
}
