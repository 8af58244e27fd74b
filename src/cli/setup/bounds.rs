//! From settings to the figures of the client's stack.

use std::time::Duration;

use crate::auth::Access;
use crate::client::{BreakerSettings, CacheSettings, Settings, Timeouts};
use crate::config::Config;

/// The figures of the client by which tools are called.
pub(crate) fn bounds(config: &Config, access: Access) -> Settings {
    let default = Settings::default();
    Settings {
        deadline: config.call_timeout,
        timeouts: timeouts(config, default.timeouts),
        attempts: config.call.attempts.unwrap_or(default.attempts),
        idempotency_keys: idempotency_keys(config),
        breaker: BreakerSettings {
            slow_call: seconds(config.upstream.slow_call, default.breaker.slow_call),
            wait: seconds(config.upstream.breaker_wait, default.breaker.wait),
        },
        in_flight: config.upstream.max_in_flight.unwrap_or(default.in_flight),
        cache: CacheSettings {
            bytes: config.call.cache_size.map_or(default.cache.bytes, |size| size << 20),
            stale: seconds(config.call.cache_stale, default.cache.stale),
        },
        access,
        ..default
    }
}

/// The figures of the client by which a login signs in and renews, within a time.
pub(crate) fn bounds_of_login(config: &Config, longest: Duration) -> Settings {
    let default = Settings::default();
    Settings { deadline: config.call_timeout.min(longest), timeouts: timeouts(config, default.timeouts), ..default }
}

/// Whether the platform honours `Idempotency-Key`.
fn idempotency_keys(config: &Config) -> bool {
    config.upstream.idempotency_keys.unwrap_or(config.url.is_none())
}

fn timeouts(config: &Config, default: Timeouts) -> Timeouts {
    Timeouts {
        connect: seconds(config.call.connect_timeout, default.connect),
        first_byte: seconds(config.call.first_byte_timeout, default.first_byte),
        idle: seconds(config.call.idle_timeout, default.idle),
    }
}

fn seconds(set: Option<u64>, default: Duration) -> Duration {
    set.map_or(default, Duration::from_secs)
}
