//! How many calls a minute a caller may make, and its tenant, by the tool's effect. A call pays once it is authorised.
//!
//! The caller pays before its tenant does, so that one caller's flood uses up nothing of its colleagues' share. Keys that have
//! all their calls again are dropped when many keys are counted.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::consent::policy::EFFECTS;
use crate::api::ids::TenantId;
use crate::api::near::nearest;
use crate::api::{Effect, Entry};
use crate::auth::{Caller, CallerKind};
use crate::config::LimitSettings;
use crate::error::{Error, Kind, Result};
use crate::telemetry::metrics::Metrics;

/// How many keys are counted before idle ones are first looked for.
const MANY_KEYS: usize = 1_024;

/// The limits of callers and of tenants.
#[derive(Debug, Default)]
pub struct Limits {
    caller: PerMinute<(TenantId, String, CallerKind)>,
    tenant: PerMinute<TenantId>,
}

/// Calls a minute for each key, by effect.
struct PerMinute<K: Hash + Eq + Clone>(BTreeMap<&'static str, Counted<K>>);

/// The calls of one effect.
struct Counted<K: Hash + Eq + Clone> {
    most: NonZeroU32,
    keys: DefaultKeyedRateLimiter<K>,
    /// How many keys there may be until idle ones are looked for.
    many: AtomicUsize,
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
        self.caller.quotas().eq(other.caller.quotas()) && self.tenant.quotas().eq(other.tenant.quotas())
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

impl<K: Hash + Eq + Clone> PerMinute<K> {
    fn new(whose: &str, settings: &BTreeMap<String, u32>) -> Result<Self> {
        let mut counted = BTreeMap::new();
        for (name, most) in settings {
            let Some(effect) = EFFECTS.into_iter().find(|effect| effect == name) else {
                let meant = nearest(name, &EFFECTS).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                return Err(wrong(format!("limits.{whose} names the effect `{name}`, which does not exist{meant}"))
                    .hint(format!("There are {}.", EFFECTS.join(", "))));
            };
            let most = NonZeroU32::new(*most).ok_or_else(|| {
                wrong(format!("limits.{whose}.{effect} lets no call through")).hint("Deny the tools by a rule of the policy instead.")
            })?;
            counted.insert(effect, Counted::new(most));
        }
        Ok(Self(counted))
    }

    fn quotas(&self) -> impl Iterator<Item = (&'static str, NonZeroU32)> {
        self.0.iter().map(|(effect, counted)| (*effect, counted.most))
    }

    /// Pays for one call, or tells how many there are a minute and when there is one again. Without a limit no key is made.
    fn pay(&self, effect: Effect, key: impl FnOnce() -> K) -> std::result::Result<(), (NonZeroU32, Duration)> {
        self.0.get(effect.name()).map_or(Ok(()), |counted| counted.pay(&key()))
    }
}

impl<K: Hash + Eq + Clone> Counted<K> {
    fn new(most: NonZeroU32) -> Self {
        Self { most, keys: RateLimiter::keyed(Quota::per_minute(most)), many: AtomicUsize::new(MANY_KEYS) }
    }

    fn pay(&self, key: &K) -> std::result::Result<(), (NonZeroU32, Duration)> {
        let paid = self.keys.check_key(key).map_err(|until| (self.most, until.wait_time_from(self.keys.clock().now())));
        if self.keys.len() >= self.many.load(Ordering::Relaxed) {
            self.keys.retain_recent();
            self.keys.shrink_to_fit();
            // So that a key costs the same however many are in use.
            self.many.store((2 * self.keys.len()).max(MANY_KEYS), Ordering::Relaxed);
        }
        paid
    }
}

impl<K: Hash + Eq + Clone> Default for PerMinute<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Hash + Eq + Clone> std::fmt::Debug for PerMinute<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.quotas()).finish()
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
        assert!(limits.caller.0["destroy"].keys.is_empty() && limits.tenant.0.is_empty());
    }

    #[test]
    fn callers_that_have_all_their_calls_again_are_forgotten() {
        // One that calls as often as this has its call again at once.
        let limits = limits(&[("read", u32::MAX)], &[]).unwrap();
        for number in 0..20_000 {
            pay(&limits, &caller("tenant-1", &number.to_string()), "tasks_list").unwrap();
        }
        assert!(limits.caller.0["read"].keys.len() <= MANY_KEYS);
        let busy = Counted::new(NonZeroU32::MIN);
        for number in 0..5_000 {
            busy.pay(&number).unwrap();
        }
        assert!(busy.pay(&0).is_err() && busy.keys.len() == 5_000, "a caller that is at its limit stays there");
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        for (table, says) in [([("delete", 5)], "destroy"), ([("reads", 5)], "did you mean read?"), ([("read", 0)], "limits.caller.read")] {
            let error = limits(&table, &[]).unwrap_err();
            assert!(error.code() == "FM-CONFIG-LIMITS" && format!("{error} {:?}", error.next_step()).contains(says), "{error}");
        }
    }
}
