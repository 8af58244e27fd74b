//! Integration Hub: outside systems, their sealed credentials, and calls of them (contract, section 4).

mod calls;
mod connect;
mod credentials;
mod execute;
mod failure;
mod form;
mod mapping;
mod node;
mod options;
mod request;
mod send;
mod sign_in;
mod store;
mod worker;

use tokio::sync::Notify;

use self::mapping::Mapping;
use crate::api::Page;
use crate::api::integrations::{Create, Get, Integration, List, Transform, Transformation, Update};
use crate::error::{Error, Kind, Result};
use crate::platform::Platform;
use crate::platform::engine::runtime::work::WorkKind;
use crate::platform::engine::runtime::workers;
use crate::platform::http::context::{self, Answer, Cx};
use crate::platform::http::routes::Routes;

pub use options::Integrations;

/// What the service remembers while the platform runs.
#[derive(Default)]
pub(crate) struct Hub {
    tokens: sign_in::Tokens,
    waiting: execute::Waiting,
    queued: Notify,
}

/// The operations of the service.
pub(crate) fn routes() -> Routes {
    Routes::new().on(create).on(list).on(get).on(update).on(connect::connect).on(transform).on(execute::execute)
}

/// Starts the workers of queued calls and of nodes.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(worker::run(platform.clone()));
    platform.spawn(workers::serve(platform.clone(), WorkKind::Integration, node::perform));
}

async fn create(cx: Cx, request: Create) -> Result<Answer<Integration>> {
    let (settings, given) = form::new(request)?;
    let (platform, now) = (cx.platform.clone(), cx.now());
    let (record, set) = cx
        .write(move |tx| {
            let record = store::create(tx, &platform, &settings, &given)?;
            let set = credentials::set_names(tx, tx.tenant(), &record.id)?;
            Ok((record, set))
        })
        .await?;
    let version = record.version;
    Ok(Answer::from(record.view(set, now)).etag(version))
}

async fn list(cx: Cx, request: List) -> Result<Page<Integration>> {
    let (tenant, after, most, now) = (cx.tenant(), cx.cursor(&request.page)?.unwrap_or_default(), request.page.size() + 1, cx.now());
    let found = cx
        .read(move |connection| {
            let found = store::list(connection, tenant.as_str(), &after, most)?;
            let view = |record: store::Record| {
                let set = credentials::set_names(connection, tenant.as_str(), &record.id)?;
                Ok(record.view(set, now))
            };
            found.into_iter().map(view).collect::<Result<Vec<_>>>()
        })
        .await?;
    Ok(cx.page_of(found, &request.page, |integration| integration.integration_id.to_string()))
}

async fn get(cx: Cx, request: Get) -> Result<Answer<Integration>> {
    let (tenant, now) = (cx.tenant(), cx.now());
    let (record, set) = cx
        .read(move |connection| {
            let record = store::find(connection, tenant.as_str(), request.id.as_str())?;
            let set = credentials::set_names(connection, tenant.as_str(), &record.id)?;
            Ok((record, set))
        })
        .await?;
    let version = record.version;
    Ok(Answer::from(record.view(set, now)).etag(version))
}

async fn update(cx: Cx, request: Update) -> Result<Answer<Integration>> {
    let (platform, now, if_match) = (cx.platform.clone(), cx.now(), cx.if_match.clone());
    let (record, set) = cx
        .write(move |tx| {
            let before = store::find(tx, tx.tenant(), request.id.as_str())?;
            context::matches(if_match.as_deref(), &before.version.to_string())?;
            let stored = credentials::set_names(tx, tx.tenant(), &before.id)?;
            let (settings, given) = form::changed(&before, request)?;
            form::check_place(&before, &settings, &stored, &given)?;
            let record = store::update(tx, &platform, &before, &settings, &given)?;
            let set = credentials::set_names(tx, tx.tenant(), &record.id)?;
            Ok((record, set))
        })
        .await?;
    cx.platform.hub().tokens.forget(cx.caller.tenant.as_str(), &record.id);
    let version = record.version;
    Ok(Answer::from(record.view(set, now)).etag(version))
}

async fn transform(cx: Cx, request: Transform) -> Result<Transformation> {
    let (tenant, id) = (cx.tenant(), request.id);
    let record = cx.read(move |connection| store::find(connection, tenant.as_str(), id.as_str())).await?;
    let mapping = Mapping::read(request.mapping.as_ref().unwrap_or(&record.settings.mapping))
        .map_err(|faults| Error::new(Kind::Invalid, "FM-IHS-INVALID", "the mapping cannot be as it is described").with_fields(faults))?;
    let mapped = mapping.apply(&request.data);
    Ok(Transformation {
        integration_id: record.id.into(),
        status: Some(record.status),
        last_sync_at: record.last_sync_at,
        transformed_data: mapped.data,
        errors: mapped.faults.into_iter().chain(mapped.missing).collect(),
    })
}
