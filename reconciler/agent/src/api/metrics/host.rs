//! Metrics of the host: plan, source, convergence, checks as a whole, election's thread, log.

use std::collections::BTreeMap;

use evenkeel_schemas::status::{ElectionStatus, FailureClass, LatenessBucket};
use prometheus_client::registry::Unit;

use super::{Metric, micros, seconds, time};

pub(super) const METRICS: &[Metric] = &[
    Metric::gauge(
        "build_info",
        "Version of the daemon and name of the host; always 1.",
        |document, samples| {
            let host = document.status.host.as_ref().map_or("", |host| host.as_str());
            samples.put(&[("version", &document.status.daemon), ("host", host)], 1_u32)
        },
    ),
    Metric::gauge("plan_info", "Generation of the plan in force; always 1.", |document, samples| {
        match &document.status.plan.generation {
            Some(generation) => samples.put(&[("generation", generation)], 1_u32),
            None => Ok(()),
        }
    }),
    Metric::gauge("plan_in_force", "Whether a plan is in force.", |document, samples| {
        samples.put(&[], document.status.plan.generation.is_some())
    }),
    Metric::gauge("plan_since_timestamp", "Time at which the plan came into force.", |document, samples| {
        match document.status.plan.since.as_deref().and_then(time) {
            Some(since) => samples.put(&[], since),
            None => Ok(()),
        }
    })
    .in_unit(&Unit::Seconds),
    Metric::gauge(
        "plan_rejected",
        "Whether the plan that was delivered last is refused.",
        |document, samples| samples.put(&[], document.status.plan.rejected.is_some()),
    ),
    Metric::gauge(
        "plan_from_last_good",
        "Whether the plan in force is the copy of an earlier one.",
        |document, samples| samples.put(&[], document.status.plan.from_last_good),
    ),
    Metric::gauge("probation", "Whether the plan in force is on probation.", |document, samples| {
        samples.put(&[], document.status.plan.probation.is_some())
    }),
    Metric::gauge("probation_remaining", "Time until the end of the probation.", |document, samples| {
        match &document.status.plan.probation {
            Some(probation) => samples.put(&[], seconds(probation.remaining_ms)),
            None => Ok(()),
        }
    })
    .in_unit(&Unit::Seconds),
    Metric::gauge(
        "source_info",
        "Address and accepted commit of the source of plans; always 1.",
        |document, samples| {
            let Some(source) = &document.status.source else { return Ok(()) };
            let commit = source.git.as_ref().and_then(|git| git.commit.as_deref()).unwrap_or("");
            samples.put(&[("address", &source.address), ("commit", commit)], 1_u32)
        },
    ),
    Metric::gauge("source_age", "Time since the repository last answered.", |document, samples| {
        let git = document.status.source.as_ref().and_then(|source| source.git.as_ref());
        match git.and_then(|git| git.age_ms) {
            Some(age) => samples.put(&[], seconds(age)),
            None => Ok(()),
        }
    })
    .in_unit(&Unit::Seconds),
    Metric::gauge(
        "source_trouble",
        "Whether the repository or its last commit is in trouble.",
        |document, samples| match document.status.source.as_ref().and_then(|source| source.git.as_ref()) {
            Some(git) => samples.put(&[], git.trouble.is_some()),
            None => Ok(()),
        },
    ),
    Metric::gauge("source_commits", "Commits that were accepted so far.", |document, samples| match document
        .status
        .source
        .as_ref()
        .and_then(|source| source.git.as_ref())
    {
        Some(git) => samples.put(&[], git.commits),
        None => Ok(()),
    }),
    Metric::gauge(
        "paused",
        "Whether new plans are not taken, by order of an operator.",
        |document, samples| {
            let source = document.status.source.as_ref();
            samples.put(&[], source.is_some_and(|source| source.paused_until.is_some()))
        },
    ),
    Metric::gauge("converged", "Whether the kernel is exactly as the plan says.", |document, samples| {
        samples.put(&[], document.status.convergence.converged)
    }),
    Metric::gauge(
        "ready",
        "Whether nothing is missing but objects that this kernel has no means for.",
        |document, samples| samples.put(&[], document.status.convergence.ready),
    ),
    Metric::counter("convergence_passes", "Passes over the kernel.", |document, samples| {
        samples.put(&[], document.status.convergence.passes)
    }),
    Metric::counter("convergence_operations", "Operations done on the kernel.", |document, samples| {
        samples.put(&[], document.status.convergence.operations)
    }),
    Metric::gauge("convergence_errors", "Operations that fail now, by class.", |document, samples| {
        for class in CLASSES {
            let errors = document.status.convergence.errors.iter();
            let number = errors.filter(|error| error.class == class).count();
            samples.put(&[("class", class_name(class))], number)?;
        }
        Ok(())
    }),
    Metric::gauge("convergence_pass_duration", "Duration of the last pass.", |document, samples| {
        match document.status.convergence.last_pass_us {
            Some(us) => samples.put(&[], micros(us)),
            None => Ok(()),
        }
    })
    .in_unit(&Unit::Seconds),
    Metric::counter(
        "drift",
        "Objects that somebody else changed, by kind and outcome (repaired, reported, failed).",
        |document, samples| {
            for count in &document.status.convergence.drift_counts {
                let outcome = super::word(&count.outcome);
                samples.put(&[("kind", &count.kind), ("outcome", &outcome)], count.count)?;
            }
            Ok(())
        },
    ),
    Metric::gauge(
        "drift_left",
        "Objects that somebody else changed and that are left so.",
        |document, samples| samples.put(&[], document.status.convergence.reported_drift),
    ),
    Metric::gauge("foreign_objects", "Foreign objects in the kernel, by kind.", |document, samples| {
        let mut by_kind: BTreeMap<&str, u64> = BTreeMap::new();
        for object in &document.status.foreign {
            *by_kind.entry(&object.kind).or_default() += 1;
        }
        by_kind.iter().try_for_each(|(kind, number)| samples.put(&[("kind", kind)], *number))
    }),
    Metric::gauge("in_the_way", "Foreign things in the plan's way.", |document, samples| {
        samples.put(&[], document.status.in_the_way.len())
    }),
    Metric::gauge(
        "guarded",
        "Whether a guardian removes the VIPs if the daemon dies.",
        |document, samples| samples.put(&[], document.status.guarded),
    ),
    Metric::gauge("orders", "Orders of operators, by kind.", |document, samples| {
        let mut by_kind: BTreeMap<String, u64> = BTreeMap::new();
        for order in &document.status.orders {
            *by_kind.entry(super::word(&order.order)).or_default() += 1;
        }
        let drains = document.status.drain_orders.len();
        by_kind.iter().try_for_each(|(kind, number)| samples.put(&[("order", kind)], *number))?;
        if drains == 0 { Ok(()) } else { samples.put(&[("order", "drain")], drains) }
    }),
    Metric::counter("hook_changes_dropped", "Changes of state that reached no hook.", |document, samples| {
        samples.put(&[], document.status.dropped_hook_changes)
    }),
    Metric::counter("log_lines_dropped", "Lines of the log that were dropped.", |document, samples| {
        samples.put(&[], document.status.log.dropped)
    }),
    Metric::gauge("state_files_waiting", "Files that wait for the disk.", |document, samples| {
        let directory = document.status.state_directory.as_ref();
        samples.put(&[], directory.map_or(0, |directory| directory.waiting.len()))
    }),
    Metric::counter("checks", "Checks that were made.", |document, samples| {
        samples.put(&[], document.status.health.checks)
    }),
    Metric::gauge("checks_under_way", "Checks that are being made.", |document, samples| {
        samples.put(&[], document.status.health.under_way)
    }),
    Metric::gauge("checks_waiting", "Checks that are due and wait for a place.", |document, samples| {
        samples.put(&[], document.status.health.waiting)
    }),
    Metric::gauge("check_lateness_max", "Largest lateness of a check.", |document, samples| {
        samples.put(&[], micros(document.status.health.max_lateness_us))
    })
    .in_unit(&Unit::Seconds),
    Metric::gauge("checks_stalled", "Whether the checks hang: all verdicts stay.", |document, samples| {
        samples.put(&[], document.status.health.stalled_since.is_some())
    }),
    Metric::gauge("own_fault", "Links of this host that are at fault; always 1.", |document, samples| {
        let mut faults = document.status.health.own_faults.iter();
        faults.try_for_each(|fault| samples.put(&[("link", &fault.link)], 1_u32))
    }),
    Metric::gauge("tracker_up", "Whether a tracker succeeds.", |document, samples| {
        let mut trackers = document.status.trackers.iter();
        trackers.try_for_each(|tracker| samples.put(&[("tracker", tracker.name.as_str())], tracker.up))
    }),
    Metric::histogram("timer_lateness", "Lateness of the election's timers.", |document, samples| {
        let ElectionStatus { timer_lateness, timer_lateness_sum_us, .. } = &document.status.election;
        let bucket = |bucket: &LatenessBucket| (bucket.up_to_us.map_or(f64::MAX, micros), bucket.timers);
        let buckets: Vec<(f64, u64)> = timer_lateness.iter().map(bucket).collect();
        samples.put_histogram(micros(*timer_lateness_sum_us), &buckets)
    })
    .in_unit(&Unit::Seconds),
    Metric::gauge(
        "timer_lateness_max",
        "Largest lateness of a timer of the election.",
        |document, samples| samples.put(&[], micros(document.status.election.max_timer_lateness_us)),
    )
    .in_unit(&Unit::Seconds),
    Metric::counter(
        "election_notices_lost",
        "Notices that the daemon was too busy for.",
        |document, samples| samples.put(&[], document.status.election.lost_notices),
    ),
    Metric::counter(
        "unknown_adverts",
        "Advertisements for VRIDs that no router has here.",
        |document, samples| samples.put(&[], document.status.election.unknown_adverts),
    ),
    Metric::gauge(
        "synced_connections",
        "Connections in the kernel's table, by where they began.",
        |document, samples| {
            let Some(sync) = &document.status.connection_sync else { return Ok(()) };
            samples.put(&[("origin", "received")], sync.received_connections)?;
            samples.put(&[("origin", "own")], sync.own_connections)
        },
    ),
    Metric::gauge(
        "sync_running",
        "Whether the synchronisation of connections runs as wanted.",
        |document, samples| match &document.status.connection_sync {
            Some(sync) => samples.put(&[], sync.problem.is_none()),
            None => Ok(()),
        },
    ),
];

const CLASSES: [FailureClass; 4] =
    [FailureClass::Transient, FailureClass::Permanent, FailureClass::Conflict, FailureClass::Unsupported];

const fn class_name(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Transient => "transient",
        FailureClass::Permanent => "permanent",
        FailureClass::Conflict => "conflict",
        FailureClass::Unsupported => "unsupported",
    }
}
