//! How many calls a minute a caller may make, and its tenant, by the tool's effect. A call pays once it is authorised.
//!
//! The caller pays before its tenant does, so that one caller's flood uses up nothing of its colleagues' share. Keys that are
//! idle for two minutes have all their calls again, so they are dropped.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;

use super::consent::policy::EFFECTS;
use crate::api::ids::TenantId;
use crate::api::near::nearest;
use crate::api::{Effect, Entry};
use crate::auth::{Caller, CallerKind};
use crate::config::LimitSettings;
use crate::error::{Error, Kind, Result};
use crate::telemetry::metrics::Metrics;

/// How many keys are counted at once; the longest unused one is forgotten first.
const MAX_KEYS: u64 = 100_000;
/// How long a key is kept that does not call.
const IDLE: Duration = Duration::from_mins(2);

/// The limits of callers and of tenants.
#[derive(Debug, Default)]
pub struct Limits {
    caller: PerMinute<(TenantId, String, CallerKind)>,
    tenant: PerMinute<TenantId>,
}

/// Calls a minute for each key, by effect.
struct PerMinute<K> {
    quotas: BTreeMap<&'static str, NonZeroU32>,
    counted: Cache<(K, &'static str), Arc<DefaultDirectRateLimiter>>,
}

impl Limits {
    /// Reads the limits.
    ///
    /// # Errors
    /// `FM-CONFIG-LIMITS`: an effect that does not exist, or no calls at all.
    pub fn new(settings: &LimitSettings) -> Result<Self> {
        Ok(Self { caller: PerMinute::new("caller", &settings.caller)?, tenant: PerMinute::new("tenant", &settings.tenant)? })
    }

    /// Whether they are the same limits, whatever was called so far.
    pub(super) fn are_as(&self, other: &Self) -> bool {
        self.caller.quotas == other.caller.quotas && self.tenant.quotas == other.tenant.quotas
    }

    /// Pays for a call.
    ///
    /// # Errors
    /// `FM-MCP-CALLER-LIMIT` or `FM-MCP-TENANT-LIMIT`, with the time after which there is a call again.
    pub(super) fn pay(&self, caller: &Caller, entry: &Entry, metrics: &Metrics) -> Result<()> {
        let effect = entry.spec.effect;
        self.caller.pay(effect, || (caller.tenant.clone(), caller.subject.clone(), caller.kind)).map_err(|(most, wait)| {
            metrics.of(entry).refusals.caller.increment(1);
            used_up("FM-MCP-CALLER-LIMIT", &caller.subject, effect, most, wait)
        })?;
        self.tenant.pay(effect, || caller.tenant.clone()).map_err(|(most, wait)| {
            metrics.of(entry).refusals.tenant.increment(1);
            used_up("FM-MCP-TENANT-LIMIT", &format!("the tenant {}", caller.tenant), effect, most, wait)
        })
    }
}

impl<K: std::hash::Hash + Eq + Send + Sync + 'static> PerMinute<K> {
    fn new(whose: &str, settings: &BTreeMap<String, u32>) -> Result<Self> {
        let mut quotas = BTreeMap::new();
        for (name, most) in settings {
            let Some(effect) = EFFECTS.into_iter().find(|effect| effect == name) else {
                let meant = nearest(name, &EFFECTS).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                return Err(wrong(format!("limits.{whose} names the effect `{name}`, which does not exist{meant}"))
                    .hint(format!("There are {}.", EFFECTS.join(", "))));
            };
            let most = NonZeroU32::new(*most).ok_or_else(|| {
                wrong(format!("limits.{whose}.{effect} lets no call through")).hint("Deny the tools by a rule of the policy instead.")
            })?;
            quotas.insert(effect, most);
        }
        Ok(Self { quotas, ..Self::default() })
    }

    /// Pays for one call, or tells how many there are a minute and when there is one again. Without a limit no key is made.
    fn pay(&self, effect: Effect, key: impl FnOnce() -> K) -> std::result::Result<(), (NonZeroU32, Duration)> {
        let Some((effect, most)) = self.quotas.get_key_value(effect.name()) else { return Ok(()) };
        let limiter = self.counted.get_with((key(), *effect), || Arc::new(RateLimiter::direct(Quota::per_minute(*most))));
        limiter.check().map_err(|until| (*most, until.wait_time_from(DefaultClock::default().now())))
    }
}

impl<K: std::hash::Hash + Eq + Send + Sync + 'static> Default for PerMinute<K> {
    fn default() -> Self {
        Self { quotas: BTreeMap::new(), counted: Cache::builder().max_capacity(MAX_KEYS).time_to_idle(IDLE).build() }
    }
}

impl<K> std::fmt::Debug for PerMinute<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PerMinute").field(&self.quotas).finish()
    }
}

fn used_up(code: &'static str, whose: &str, effect: Effect, most: NonZeroU32, wait: Duration) -> Error {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let effect = effect.name();
    Error::new(
        Kind::RateLimited,
        code,
        format!("{whose} may make {most} calls a minute of tools with the effect {effect}; try again in {seconds} s"),
    )
    .retry_after(Duration::from_secs(seconds))
    .hint("The call was not carried out. Wait that long, or ask for more in one call.")
}

fn wrong(message: String) -> Error {
    Error::configuration(Kind::Invalid, "FM-CONFIG-LIMITS", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::catalogue;
    use crate::auth::Credential;

    fn limits(caller: &[(&str, u32)], tenant: &[(&str, u32)]) -> Result<Limits> {
        let table = |limits: &[(&str, u32)]| limits.iter().map(|(effect, most)| ((*effect).to_owned(), *most)).collect();
        Limits::new(&LimitSettings { caller: table(caller), tenant: table(tenant) })
    }

    fn caller(tenant: &str, subject: &str) -> Caller {
        Caller { tenant: tenant.into(), subject: subject.to_owned(), ..Caller::owner(Credential::Verified) }
    }

    fn pay(limits: &Limits, caller: &Caller, tool: &str) -> Result<()> {
        let entry = catalogue().get(tool).unwrap();
        limits.pay(caller, entry, &Metrics::default())
    }

    #[test]
    fn a_caller_at_its_limit_is_told_when_to_come_again_and_nobody_else_is() {
        let limits = limits(&[("read", 3)], &[]).unwrap();
        let anna = caller("tenant-1", "anna");
        for _ in 0..3 {
            pay(&limits, &anna, "tasks_list").unwrap();
        }
        let refused = pay(&limits, &anna, "processes_get").unwrap_err();
        assert_eq!((refused.code(), refused.kind()), ("FM-MCP-CALLER-LIMIT", Kind::RateLimited));
        assert!(refused.when_to_retry().is_some_and(|wait| wait <= Duration::from_secs(20)), "{refused}");
        assert!(refused.message().contains("3 calls a minute of tools with the effect read; try again in"), "{refused}");
        pay(&limits, &anna, "tasks_create").unwrap();
        pay(&limits, &caller("tenant-1", "bert"), "tasks_list").unwrap();
        pay(&limits, &caller("tenant-2", "anna"), "tasks_list").unwrap();
    }

    #[test]
    fn a_tenants_flood_refuses_nobody_of_another_and_one_caller_cannot_use_it_up() {
        let limits = limits(&[("destroy", 2)], &[("destroy", 5)]).unwrap();
        let delete = |tenant: &str, subject: &str| pay(&limits, &caller(tenant, subject), "entities_delete");
        let flooded = (0..1_000).filter(|_| delete("tenant-1", "anna").is_ok()).count();
        assert_eq!(flooded, 2);
        assert_eq!(
            [delete("tenant-1", "bert"), delete("tenant-1", "bert"), delete("tenant-1", "carl")].map(|paid| paid.is_ok()),
            [true; 3]
        );
        assert_eq!(delete("tenant-1", "carl").unwrap_err().code(), "FM-MCP-TENANT-LIMIT");
        assert!((0..2).all(|_| delete("tenant-2", "anna").is_ok()));
    }

    #[test]
    fn without_a_limit_no_caller_is_remembered() {
        let limits = limits(&[("destroy", 1)], &[]).unwrap();
        for number in 0..1_000 {
            pay(&limits, &caller("tenant-1", &number.to_string()), "tasks_list").unwrap();
        }
        limits.caller.counted.run_pending_tasks();
        assert_eq!((limits.caller.counted.entry_count(), limits.tenant.counted.entry_count()), (0, 0));
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        for (table, says) in [([("delete", 5)], "destroy"), ([("reads", 5)], "did you mean read?"), ([("read", 0)], "limits.caller.read")] {
            let error = limits(&table, &[]).unwrap_err();
            assert!(error.code() == "FM-CONFIG-LIMITS" && format!("{error} {:?}", error.next_step()).contains(says), "{error}");
        }
    }
}
