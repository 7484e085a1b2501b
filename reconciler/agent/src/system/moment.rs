//! The clocks of this host, read together.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evenkeel_host::Moment;
use evenkeel_kernel::clock;

use super::files;

/// Unix time now.
pub(crate) fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The clocks now.
pub(crate) fn now() -> Moment {
    static BOOT: OnceLock<Arc<str>> = OnceLock::new();
    let boot = BOOT.get_or_init(|| files::kernel_line(Path::new("/proc/sys/kernel/random/boot_id")).into());
    let wall = unix();
    Moment {
        now: clock::now(),
        boot: Arc::clone(boot),
        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
    }
}
