//! Figures of this process, under the names that every exporter gives them.

use std::fs;

use prometheus_client::registry::Unit;

use super::{Metric, seconds};

/// Figures of a process; what cannot be read is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProcessFigures {
    /// Resident memory, bytes.
    resident: Option<u64>,
    /// Processor time in user and kernel mode, milliseconds.
    processor_ms: Option<u64>,
    /// Open descriptors.
    descriptors: Option<u64>,
    /// Most descriptors that it may have open.
    most_descriptors: Option<u64>,
}

impl ProcessFigures {
    /// Those of this process, from proc(5).
    pub(crate) fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
        Self {
            resident: resident(&status),
            processor_ms: processor_ms(),
            // The directory's own descriptor is one of them.
            descriptors: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|open| u64::try_from(open.count().saturating_sub(1)).unwrap_or(u64::MAX)),
            most_descriptors: limit.ok().map(|(soft, _)| soft),
        }
    }
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn processor_ms() -> Option<u64> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).ok()?;
    let ms = |time: nix::sys::time::TimeVal| {
        u64::try_from(time.tv_sec())
            .ok()?
            .checked_mul(1000)?
            .checked_add(u64::try_from(time.tv_usec()).ok()? / 1000)
    };
    ms(usage.user_time())?.checked_add(ms(usage.system_time())?)
}

pub(super) const METRICS: &[Metric] =
    &[
        Metric::gauge("process_start_time", "Start of the process since 1970.", |document, samples| {
            match super::time(&document.status.started) {
                Some(started) => samples.put(&[], started),
                None => Ok(()),
            }
        })
        .in_unit(&Unit::Seconds),
        Metric::counter("process_cpu", "Processor time in user and kernel mode.", |document, samples| {
            match document.process.processor_ms {
                Some(ms) => samples.put(&[], seconds(ms)),
                None => Ok(()),
            }
        })
        .in_unit(&Unit::Seconds),
        Metric::gauge("process_resident_memory", "Resident memory.", |document, samples| {
            match document.process.resident {
                Some(bytes) => samples.put(&[], bytes),
                None => Ok(()),
            }
        })
        .in_unit(&Unit::Bytes),
        Metric::gauge("process_open_fds", "Open descriptors.", |document, samples| {
            match document.process.descriptors {
                Some(number) => samples.put(&[], number),
                None => Ok(()),
            }
        }),
        Metric::gauge("process_max_fds", "Most descriptors that may be open.", |document, samples| {
            match document.process.most_descriptors {
                Some(number) => samples.put(&[], number),
                None => Ok(()),
            }
        }),
    ];
