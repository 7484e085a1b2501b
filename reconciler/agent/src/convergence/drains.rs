//! Drains in the convergence thread: connections are read where a destination may drain, and the start of
//! each drain is kept. What becomes of a drain is decided in `converge::drain`.

use evenkeel_host::pass::DrainsFound as Found;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use evenkeel_converge::drain::{Step, Usage, concerned};
use evenkeel_converge::{Connections, Desired, Drains, KernelState, ServiceKey};
use evenkeel_kernel::{Kernel, KernelError, ServiceUsage, clock};
use tracing::warn;

use crate::state::StateDir;
use crate::state::disk::{Content, Disk};

/// Start of every drain, in the state directory.
pub(crate) struct Drainage {
    disk: Disk,
    drains: Drains,
}

impl Drainage {
    pub(crate) fn new(state: &StateDir, disk: Disk) -> Self {
        let drains = state.drains();
        disk.found(Content::Drains(drains.clone()));
        Self { disk, drains }
    }

    /// The wanted state with its drains, and the drains that were found. The start of each is kept meanwhile:
    /// if it were lost, the drain's time would begin again.
    pub(crate) fn step<'a>(
        &mut self,
        kernel: &mut Kernel,
        desired: &'a Desired,
        observed: &KernelState,
    ) -> (Cow<'a, Desired>, Found) {
        let services = concerned(desired, observed);
        if services.is_empty() && self.drains.is_empty() {
            return (Cow::Borrowed(desired), Found::default());
        }
        let usage = usage(kernel, &services).unwrap_or_else(|error| {
            warn!("{error}: what drains stays until its deadline");
            Usage::new()
        });
        let step = self.drains.step(desired, observed, &usage, clock::now());
        let Step { desired, drains, draining, ended, next_look } = step;
        if drains != self.drains {
            self.disk.keep(Content::Drains(drains.clone()));
            self.drains = drains;
        }
        (desired, Found { draining, ended, next_look })
    }
}

/// Connections of some services.
///
/// When they cannot be read.
pub(crate) fn usage(kernel: &mut Kernel, services: &BTreeSet<ServiceKey>) -> Result<Usage, KernelError> {
    if services.is_empty() {
        return Ok(Usage::new());
    }
    Ok(connections(&kernel.ipvs_usage(Some(services))?))
}

/// Connections out of the kernel's answer.
pub(crate) fn connections(usage: &BTreeMap<ServiceKey, ServiceUsage>) -> Usage {
    let of = |service: &ServiceUsage| {
        let all = service.destinations.iter();
        all.map(|(key, has)| {
            let (active, inactive, persistent) = (has.active, has.inactive, has.persistent);
            (*key, Connections { active, inactive, persistent })
        })
        .collect()
    };
    usage.iter().map(|(key, service)| (*key, of(service))).collect()
}
