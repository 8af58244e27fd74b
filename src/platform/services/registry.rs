//! Service Registry: instances of services with their leases and health, and the platform's own services (contract, section 17).

mod embedded;
mod expiry;
mod form;
mod probe;
mod store;

use crate::api::arguments::quote;
use crate::api::registry::{Check, Deregister, Discover, Health, Instance, List, Register};
use crate::api::{Done, Page};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::http::context::{Answer, Cx};
use crate::platform::http::routes::Routes;

/// The operations of the service.
pub(crate) fn routes() -> Routes {
    Routes::new().on(register).on(deregister).on(discover).on(list).on(check)
}

/// Starts the worker that removes instances whose lease has run out.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(expiry::run(platform.clone()));
}

async fn register(cx: Cx, request: Register) -> Result<Answer<Instance>> {
    form::check(&request)?;
    if embedded::find(&cx.platform, request.instance_id.as_str()).is_some() {
        return Err(is_embedded(request.instance_id.as_str()));
    }
    let instance = cx.write(move |tx| store::register(tx, request)).await?;
    cx.platform.leases_notify().notify_one();
    let place = format!("/services/{}", instance.service_name);
    Ok(Answer::from(instance).location(place))
}

async fn deregister(cx: Cx, request: Deregister) -> Result<Done> {
    if embedded::find(&cx.platform, request.id.as_str()).is_some() {
        return Err(is_embedded(request.id.as_str()));
    }
    cx.write(move |tx| store::remove(tx, request.id.as_str(), "service.deregistered")).await?;
    Ok(Done::default())
}

/// Answers the instances of a service, those that take calls best first.
async fn discover(cx: Cx, request: Discover) -> Result<Page<Instance>> {
    let after = cx.cursor(&request.page)?;
    let names = spellings(&request.name);
    let mut found = embedded::all(&cx.platform);
    found.retain(|instance| names.contains(&instance.service_name));
    let (tenant, now) = (cx.tenant(), cx.now());
    let registered = cx.read(move |connection| store::of_service(connection, tenant.as_str(), &names, now)).await?;
    found.extend(registered);
    if found.is_empty() {
        return Err(Error::new(Kind::NotFound, "FM-SR-SERVICE-NOT-FOUND", format!("no instance runs a service {}", quote(&request.name)))
            .hint("services_list shows the services that there are."));
    }
    let key = |instance: &Instance| format!("{}{}", store::rank(instance.status.as_ref()), instance.instance_id);
    found.sort_unstable_by_key(key);
    found.retain(|instance| after.as_ref().is_none_or(|after| key(instance) > *after));
    Ok(cx.page_of(found, &request.page, key))
}

async fn list(cx: Cx, request: List) -> Result<Page<Instance>> {
    let place = cx.cursor(&request.page)?.unwrap_or_default();
    let (service, instance) = place.split_once('\n').unwrap_or_default();
    let after = (service.to_owned(), instance.to_owned());
    let key = |instance: &Instance| (instance.service_name.clone(), instance.instance_id.0.clone());
    let mut found = embedded::all(&cx.platform);
    found.retain(|instance| key(instance) > after);
    let (tenant, now, most) = (cx.tenant(), cx.now(), request.page.size() + 1);
    let registered = cx.read(move |connection| store::list(connection, tenant.as_str(), &after, now, most)).await?;
    found.extend(registered);
    found.sort_unstable_by_key(key);
    Ok(cx.page_of(found, &request.page, |instance| format!("{}\n{}", instance.service_name, instance.instance_id)))
}

async fn check(cx: Cx, request: Check) -> Result<Instance> {
    let id = request.service_id.0;
    if let Some(own) = embedded::find(&cx.platform, &id) {
        if request.status.is_some() {
            return Err(is_embedded(&id));
        }
        // The listener answers this very call; the database is asked as well.
        cx.read(|connection| Ok(connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))?)).await?;
        return Ok(own);
    }
    let Some(health) = request.status else { return probed(cx, id).await };
    cx.write(move |tx| store::heartbeat(tx, &id, &health)).await
}

/// Asks an instance for its health. One that does not answer keeps the end of its lease, so it is removed unless it recovers.
async fn probed(cx: Cx, id: String) -> Result<Instance> {
    let (tenant, now, wanted) = (cx.tenant(), cx.now(), id.clone());
    let instance = cx.read(move |connection| store::find(connection, tenant.as_str(), &wanted, now)).await?;
    match probe::ask(&cx.platform, &instance).await? {
        Health::Unhealthy => cx.write(move |tx| store::set_health(tx, &id, &Health::Unhealthy)).await,
        health => cx.write(move |tx| store::heartbeat(tx, &id, &health)).await,
    }
}

/// The two ways in which the contract writes a service: `human-task` and `human-task-service`.
fn spellings(name: &str) -> [String; 2] {
    let other = name.strip_suffix("-service").map_or_else(|| format!("{name}-service"), str::to_owned);
    [name.to_owned(), other]
}

fn is_embedded(id: &str) -> Error {
    Error::new(Kind::Conflict, "FM-SR-EMBEDDED", format!("the instance {} is a part of this platform, which reports it itself", quote(id)))
        .hint("Take an instance id of your own, such as pds-1.")
}
