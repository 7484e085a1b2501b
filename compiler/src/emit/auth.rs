//! Authentication of a virtual router in a plan: where each secret is, never what it says.

use evenkeel_schemas::cluster::{Auth, KeySource, SecretSource};
use evenkeel_schemas::plan::{self, HmacKey, SecretReference};
use evenkeel_schemas::scalars::{AdvertInterval, Name};

/// Shortest window where none is given, seconds: as keepalived's.
const LEAST_WINDOW: u64 = 5;
/// Advertisements that may be late where no window is given: as many as a Backup waits for.
const INTERVALS: u64 = 3;

/// The source of the password; none with keys.
pub(super) const fn password(auth: &Auth) -> Option<&SecretSource> {
    match auth {
        Auth::Pass { secret } => Some(secret),
        Auth::Hmac { .. } => None,
    }
}

/// Authentication of the router of this name. What rules have refused is as good as it can be.
pub(super) fn of_plan(name: &Name, auth: &Auth, interval: AdvertInterval) -> plan::Auth {
    match auth {
        Auth::Pass { secret } => plan::Auth::Pass {
            secret: match secret {
                SecretSource::Literal(_) => SecretReference::Compiled(name.clone()),
                SecretSource::File(path) => SecretReference::File(path.clone()),
                SecretSource::Credential(name) => SecretReference::Credential(name.clone()),
            },
        },
        Auth::Hmac { keys, active, mode, anti_replay, window } => {
            let default = (u64::from(interval.as_centis()) * INTERVALS).div_ceil(100).max(LEAST_WINDOW);
            let seconds = window.map_or(default, |window| u64::from(window.as_millis() / 1000));
            let mut keys: Vec<HmacKey> = keys.iter().filter_map(|(id, source)| key(id, source)).collect();
            keys.sort_by_key(|key| key.id);
            plan::Auth::Hmac {
                keys,
                active: *active,
                mode: *mode,
                anti_replay: *anti_replay,
                window: u16::try_from(seconds).unwrap_or(u16::MAX),
            }
        }
    }
}

fn key(id: &str, source: &KeySource) -> Option<HmacKey> {
    let secret = match source {
        KeySource::File(path) => SecretReference::File(path.clone()),
        KeySource::Credential(name) => SecretReference::Credential(name.clone()),
    };
    Some(HmacKey { id: id.parse().ok()?, secret })
}
