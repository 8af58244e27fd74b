//! Who is connected: by tenant, user and channel. The same count bounds the connections of tenants and users.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::feed::Item;
use crate::api::Timestamp;
use crate::api::realtime::Member;
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;

/// Most connections of a tenant.
const MAX_PER_TENANT: usize = 256;
/// Most connections of a user or service.
const MAX_PER_CALLER: usize = 64;

/// The connections of all tenants.
#[derive(Default)]
pub(super) struct Members(Mutex<HashMap<String, Tenant>>);

#[derive(Default)]
struct Tenant {
    connections: usize,
    callers: HashMap<String, usize>,
    channels: HashMap<String, BTreeMap<String, (Timestamp, u32)>>,
}

/// A connection's place on a channel; dropped, it is free again and the channel is told.
pub(super) struct Place {
    platform: Platform,
    tenant: String,
    subject: String,
    channel: String,
}

impl Members {
    /// Those on a channel, by their ids.
    pub(super) fn on(&self, tenant: &str, channel: &str) -> Vec<Member> {
        let tenants = self.tenants();
        let members = tenants.get(tenant).and_then(|tenant| tenant.channels.get(channel)).into_iter().flatten();
        members.map(|(user, (since, connections))| Member { user_id: user.clone(), since: *since, connections: *connections }).collect()
    }

    /// The channels of a tenant that somebody is on.
    pub(super) fn channels(&self, tenant: &str) -> HashSet<String> {
        self.tenants().get(tenant).into_iter().flat_map(|tenant| tenant.channels.keys().cloned()).collect()
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<String, Tenant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant {
    /// Adds a connection; answers whether it is the user's first on the channel.
    fn add(&mut self, subject: &str, channel: &str, now: Timestamp) -> Result<bool> {
        let of_caller = self.callers.get(subject).copied().unwrap_or_default();
        if of_caller >= MAX_PER_CALLER {
            return Err(too_many(format!("there are {MAX_PER_CALLER} connections of this caller already")));
        }
        if self.connections >= MAX_PER_TENANT {
            return Err(too_many(format!("there are {MAX_PER_TENANT} connections of this tenant already")));
        }
        self.connections += 1;
        self.callers.insert(subject.to_owned(), of_caller + 1);
        let member = self.channels.entry(channel.to_owned()).or_default().entry(subject.to_owned()).or_insert((now, 0));
        member.1 += 1;
        Ok(member.1 == 1)
    }

    /// Removes a connection; answers whether it was the user's last on the channel.
    fn remove(&mut self, subject: &str, channel: &str) -> bool {
        self.connections = self.connections.saturating_sub(1);
        if let Some(count) = self.callers.get_mut(subject) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.callers.remove(subject);
            }
        }
        let Some(members) = self.channels.get_mut(channel) else { return false };
        let Some(member) = members.get_mut(subject) else { return false };
        member.1 = member.1.saturating_sub(1);
        let left = member.1 == 0;
        if left {
            members.remove(subject);
        }
        if members.is_empty() {
            self.channels.remove(channel);
        }
        left
    }
}

impl Place {
    /// Takes a place on a channel, and tells those who are there.
    pub(super) fn take(platform: &Platform, tenant: &str, subject: &str, channel: &str) -> Result<Self> {
        let state = platform.realtime();
        let joined = state.members.tenants().entry(tenant.to_owned()).or_default().add(subject, channel, platform.now())?;
        let place =
            Self { platform: platform.clone(), tenant: tenant.to_owned(), subject: subject.to_owned(), channel: channel.to_owned() };
        if joined {
            place.tell(true);
        }
        Ok(place)
    }

    fn tell(&self, joined: bool) {
        let item = Item::Presence { channel: self.channel.as_str().into(), user: self.subject.as_str().into(), joined };
        self.platform.realtime().feed.tell(&self.tenant, item);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tenants = self.platform.realtime().members.tenants();
        let left = tenants.get_mut(&self.tenant).is_some_and(|tenant| tenant.remove(&self.subject, &self.channel));
        tenants.retain(|_, tenant| tenant.connections > 0);
        drop(tenants);
        if left {
            self.tell(false);
        }
    }
}

fn too_many(message: String) -> Error {
    Error::new(Kind::RateLimited, "FM-WGS-TOO-MANY-CONNECTIONS", message)
        .retry_after(Duration::from_secs(10))
        .hint("Close a connection that is not needed any more.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_forgets_those_who_left_and_bounds_those_who_come() {
        let now = Timestamp::from_millis(0);
        let mut tenant = Tenant::default();
        assert!(tenant.add("ada", "room", now).unwrap() && !tenant.add("ada", "room", now).unwrap());
        assert!(!tenant.remove("ada", "room") && tenant.remove("ada", "room"));
        assert!(tenant.channels.is_empty() && tenant.callers.is_empty() && tenant.connections == 0);
        for _ in 0..MAX_PER_CALLER {
            tenant.add("ada", "room", now).unwrap();
        }
        assert_eq!(tenant.add("ada", "other", now).unwrap_err().code(), "FM-WGS-TOO-MANY-CONNECTIONS");
        for other in MAX_PER_CALLER..MAX_PER_TENANT {
            tenant.add(&format!("user-{other}"), "room", now).unwrap();
        }
        assert_eq!(tenant.add("grace", "room", now).unwrap_err().kind(), Kind::RateLimited);
    }
}
