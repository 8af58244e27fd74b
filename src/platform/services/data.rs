//! Data Intelligence: discovered schemas, proposed mappings, data quality and synthetic data (contract, section 9).

mod designer;
mod mappings;
mod profile;
mod quality;
mod source;
mod store;
mod synthetic;
mod values;

pub(crate) use values::is_email;

use std::collections::HashSet;

use rusqlite::Connection;

use crate::api::Page;
use crate::api::data::{
    Analysis, DiscoverSchema, DiscoveredSchema, GenerateSynthetic, ListSchemas, ScoreQuality, SuggestMappings, SyntheticData,
};
use crate::api::processes::SuggestedMapping;
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::Cx;
use crate::platform::http::routes::Routes;
use crate::platform::keys;
use crate::platform::services::entities;

pub(crate) use designer::suggest_for_process;

use mappings::Slot;
use profile::Profile;
use source::no_sample;
use store::Discovery;
use synthetic::Random;

/// The most target fields of a request.
const MAX_TARGETS: usize = 500;
/// The number of synthetic records where a request names none.
const DEFAULT_COUNT: u32 = 10;

/// The operations of the service.
pub(crate) fn routes() -> Routes {
    Routes::new().on(discover).on(suggest).on(list).on(score).on(generate)
}

async fn discover(cx: Cx, request: DiscoverSchema) -> Result<Analysis> {
    let source = source::read(&cx, &request.source_type, request.sample_data, request.source_id.as_ref()).await?;
    let source = source.ok_or_else(|| no_sample("there are no records to discover a schema in"))?;
    let (source, columns) = source.columns(&cx).await?;
    let profile = columns.profile();
    let score = quality::score(&columns, &profile);
    let discovered = profile.view();
    let found = Discovery { source_type: source.source_type, source_id: source.source_id, profile, quality: score.total };
    let id = cx.write(move |tx| store::keep(tx, &found)).await?;
    Ok(Analysis {
        schema_id: Some(id),
        discovered_schema: Some(discovered),
        data_quality: Some(score.total),
        quality: Some(score.parts),
        ..Analysis::default()
    })
}

async fn suggest(cx: Cx, request: SuggestMappings) -> Result<Analysis> {
    let source = source::read(&cx, &request.source_type, request.sample_data, request.source_id.as_ref()).await?;
    let profile = match source {
        Some(source) => source.columns(&cx).await?.1.profile(),
        None => known_profile(&cx, request.source_id.as_ref().map(crate::api::ids::IntegrationId::as_str)).await?,
    };
    let sources = Slot::of_profile(&profile);
    let suggested = match (request.target_type, request.target_fields) {
        (Some(_), Some(_)) => return Err(two_targets()),
        (None, Some(fields)) => {
            let targets = named_targets(fields)?;
            cx.compute(move || mappings::suggest(&sources, &targets)).await?
        }
        (kind, None) => {
            source::may_read_the_hub(&cx)?;
            let tenant = cx.tenant();
            cx.read(move |connection| match kind {
                Some(kind) => Ok(mappings::suggest(&sources, &source::hub_fields(connection, tenant.as_str(), &kind)?)),
                None => best_type(connection, tenant.as_str(), &sources),
            })
            .await?
        }
    };
    Ok(Analysis { discovered_schema: Some(profile.view()), suggested_mappings: suggested, ..Analysis::default() })
}

fn two_targets() -> Error {
    Error::new(Kind::Invalid, "FM-DIS-TARGET", "targets are given in two ways").hint("Give either `targetType` or `targetFields`.").field(
        "/targetFields",
        "exclusive",
        "is given in place of `targetType`, not beside it",
    )
}

fn named_targets(fields: Vec<String>) -> Result<Vec<Slot>> {
    let mut known = HashSet::new();
    let fault = fields.iter().enumerate().find_map(|(place, name)| {
        let detail = match name.trim() {
            "" => "names no field",
            _ if name.chars().count() > 200 => "has more than 200 characters",
            _ if !known.insert(name.as_str()) => "is given twice",
            _ => return None,
        };
        Some((format!("/targetFields/{place}"), detail))
    });
    let fault = match fields.len() {
        0 => Some(("/targetFields".to_owned(), "names no field")),
        1..=MAX_TARGETS => fault,
        _ => Some(("/targetFields".to_owned(), "has more than 500 fields")),
    };
    match fault {
        None => Ok(fields.into_iter().map(|name| Slot { name, kind: None }).collect()),
        Some((pointer, detail)) => Err(Error::new(Kind::Invalid, "FM-DIS-TARGET", "the target fields cannot be filled")
            .hint("Name each field to fill once, such as `customer_id`.")
            .field(pointer, "name", detail)),
    }
}

/// The proposals for the record type that the source fits best, each target as `type.field`.
fn best_type(connection: &Connection, tenant: &str, sources: &[Slot]) -> Result<Vec<SuggestedMapping>> {
    let mut best: (f64, Vec<SuggestedMapping>) = (0.0, Vec::new());
    for kind in entities::type_names(connection, tenant, 200)? {
        let mut suggested = mappings::suggest(sources, &source::hub_fields(connection, tenant, &kind)?);
        let total = suggested.iter().map(|mapping| mapping.confidence).sum();
        if total > best.0 {
            for mapping in &mut suggested {
                mapping.target.insert_str(0, &format!("{kind}."));
            }
            best = (total, suggested);
        }
    }
    Ok(best.1)
}

async fn list(cx: Cx, request: ListSchemas) -> Result<Page<DiscoveredSchema>> {
    let before = cx.cursor(&request.page)?;
    let (tenant, most) = (cx.tenant(), request.page.size() + 1);
    let found = cx.read(move |connection| store::list(connection, tenant.as_str(), before.as_deref(), most)).await?;
    let page = cx.page_of(found, &request.page, |stored| stored.id.clone());
    Ok(Page { items: page.items.into_iter().map(store::Stored::view).collect(), next_cursor: page.next_cursor })
}

async fn score(cx: Cx, request: ScoreQuality) -> Result<Analysis> {
    let source = source::read(&cx, &request.source_type, request.sample_data, request.source_id.as_ref()).await?;
    let source = source.ok_or_else(|| no_sample("there are no records to score"))?;
    let (source, columns) = source.columns(&cx).await?;
    let (tenant, source_id) = (cx.tenant(), source.source_id);
    let before = match source_id.as_str() {
        "" => None,
        _ => cx.read(move |connection| store::latest_of(connection, tenant.as_str(), &source_id)).await?,
    };
    let score = quality::score(&columns, before.as_ref().map_or(&columns.profile(), |before| &before.profile));
    if let Some(before) = &before {
        let (id, total) = (before.id.clone(), score.total);
        cx.write(move |tx| store::keep_quality(tx, &id, total)).await?;
    }
    Ok(Analysis {
        schema_id: before.map(|before| before.id.into()),
        data_quality: Some(score.total),
        quality: Some(score.parts),
        ..Analysis::default()
    })
}

async fn generate(cx: Cx, request: GenerateSynthetic) -> Result<SyntheticData> {
    if request.sample_data.is_some() && request.schema_id.is_some() {
        return Err(Error::new(Kind::Invalid, "FM-DIS-SOURCE", "the data to imitate is given in two ways")
            .hint("Give either `sampleData` or `schemaId`.")
            .field("/schemaId", "exclusive", "is given in place of `sampleData`, not beside it"));
    }
    let source_type = request.source_type.as_deref().unwrap_or("sample");
    let (profile, taken) = if let Some(id) = request.schema_id {
        let tenant = cx.tenant();
        (cx.read(move |connection| store::find(connection, tenant.as_str(), id.as_str())).await?.profile, HashSet::new())
    } else {
        match source::read(&cx, source_type, request.sample_data, request.source_id.as_ref()).await? {
            Some(source) => {
                let (source, columns) = source.columns(&cx).await?;
                (columns.profile(), synthetic::texts_of(&source.records))
            }
            None => (known_profile(&cx, request.source_id.as_ref().map(crate::api::ids::IntegrationId::as_str)).await?, HashSet::new()),
        }
    };
    let count = usize::try_from(request.count.unwrap_or(DEFAULT_COUNT)).unwrap_or_default();
    if count * profile.fields.len() > synthetic::MAX_VALUES {
        let most = synthetic::MAX_VALUES / profile.fields.len().max(1);
        return Err(Error::new(Kind::Invalid, "FM-DIS-TOO-MUCH", format!("{count} records of so many fields are too many at once"))
            .hint(format!("Ask for {most} records at most."))
            .field("/count", "range", format!("is {count}; allowed are {most} for records of {} fields", profile.fields.len())));
    }
    let seed = u64::from_le_bytes(keys::random::<8>()?);
    let discovered = profile.view();
    let records = cx.compute(move || synthetic::generate(&profile, count, &taken, &mut Random::new(seed))).await?;
    Ok(SyntheticData { records, discovered_schema: Some(discovered) })
}

/// The profile that a source had when it was last discovered.
async fn known_profile(cx: &Cx, source: Option<&str>) -> Result<Profile> {
    let Some(source) = source.map(str::to_owned) else { return Err(no_sample("neither records nor a source are given")) };
    let tenant = cx.tenant();
    let stored = cx.read(move |connection| store::latest_of(connection, tenant.as_str(), &source)).await?;
    stored.map(|stored| stored.profile).ok_or_else(|| no_sample("no records are given, and the source was not discovered before"))
}
