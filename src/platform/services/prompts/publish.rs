//! Publishing: a version that never changes again, its samples assembled and compared with the version before.

use semver::Version;
use serde_json::{Map, Value, json};

use super::assembly::Assembler;
use super::content::Content;
use super::findings::Findings;
use super::store::{self, Stored};
use super::validate::validate;
use super::values;
use crate::api::Operation as _;
use crate::api::arguments::quote;
use crate::api::audit::Changes;
use crate::api::prompts::{PromptStatus, Publication, Publish, SampleChange, Validate};
use crate::error::{Error, Kind, Result};
use crate::platform::database::Tx;
use crate::platform::http::context::{Answer, Cx, matches};

/// Longest version, in characters.
const MAX_VERSION: usize = 100;
/// Most of a sample's text that an answer shows, in characters.
const MAX_SHOWN: usize = 4_000;
/// How much of the unchanged text before a difference is shown, in characters.
const LEAD: usize = 200;

/// What is published: all that takes time is done before the transaction.
struct Prepared {
    /// The version that was the latest.
    before: Stored,
    version: Stored,
    text: String,
    changes: Vec<SampleChange>,
}

pub(super) async fn publish(cx: Cx, request: Publish) -> Result<Answer<Publication>> {
    let (tenant, if_match) = (cx.tenant(), cx.if_match.clone());
    let prepared = cx
        .read(move |connection| {
            let latest = store::latest(connection, tenant.as_str(), request.id.as_str())?;
            matches(if_match.as_deref(), &latest.etag())?;
            prepare(latest, request)
        })
        .await?;
    cx.write(move |tx| commit(tx, prepared)).await
}

fn prepare(before: Stored, request: Publish) -> Result<Prepared> {
    let old = &before.content;
    let content = Content {
        template: request.template.unwrap_or_else(|| old.template.clone()),
        variables: request.variables.unwrap_or_else(|| old.variables.clone()),
        tags: old.tags.clone(),
        blocks: request.blocks.unwrap_or_else(|| old.blocks.clone()),
        samples: request.samples.unwrap_or_else(|| old.samples.clone()),
    };
    if before.is_published() && content == *old {
        let message = format!("version {} of prompt {} is published already, and nothing is changed", before.version, before.prompt);
        return Err(Error::new(Kind::Conflict, "FM-PES-UNCHANGED", message)
            .hint("Give a new template, or new variables, blocks or samples, for the next version."));
    }
    let text = content.admit()?;
    let findings = validate(&content);
    if !findings.errors.is_empty() {
        return Err(Error::new(
            Kind::Invalid,
            "FM-PES-INVALID-PROMPT",
            format!("prompt {} has faults and cannot be published", before.prompt),
        )
        .with_fields(findings.as_fields())
        .hint(format!("Publish it with a corrected template, variables, blocks or samples. {} shows the faults.", Validate::SPEC.name)));
    }
    let version = next_version(&before, request.version.as_deref())?;
    check_new(&before, &version)?;
    let changes = if before.is_published() { compare(old, &content) } else { Vec::new() };
    let version = Stored {
        ordinal: if before.is_published() { before.ordinal + 1 } else { before.ordinal },
        version: version.to_string(),
        status: PromptStatus::Published,
        bytes: text.len(),
        content,
        ..before.clone()
    };
    Ok(Prepared { before, version, text, changes })
}

/// The version as given; else the draft's own, or the next minor one.
fn next_version(before: &Stored, wanted: Option<&str>) -> Result<Version> {
    if let Some(wanted) = wanted {
        return Version::parse(wanted).map_err(|error| {
            Error::new(Kind::Invalid, "FM-PES-VERSION", format!("{} is not a semantic version: {error}", quote(wanted))).field(
                "/version",
                "format",
                "must be a semantic version such as 1.2.0",
            )
        });
    }
    let latest = Version::parse(&before.version).map_err(Error::internal)?;
    if !before.is_published() {
        return Ok(latest);
    }
    let minor = latest.minor.checked_add(1).ok_or_else(|| not_later(&latest.to_string(), &latest.to_string()))?;
    Ok(Version::new(latest.major, minor, 0))
}

/// A version is later than the one that is published, which is the highest. Build metadata does not count, as semantic
/// versions have it.
fn check_new(before: &Stored, version: &Version) -> Result<()> {
    if version.to_string().len() > MAX_VERSION {
        return Err(Error::new(Kind::Invalid, "FM-PES-VERSION", "the version is too long").field(
            "/version",
            "length",
            format!("must have at most {MAX_VERSION} characters"),
        ));
    }
    let published = Version::parse(&before.version).map_err(Error::internal)?;
    if !before.is_published() || version.cmp_precedence(&published).is_gt() {
        return Ok(());
    }
    Err(not_later(&version.to_string(), &before.version))
}

fn not_later(version: &str, published: &str) -> Error {
    Error::new(Kind::Conflict, "FM-PES-VERSION-EXISTS", format!("version {version} is not later than {published}, which is published"))
        .hint("Give a higher version, or none: the next minor one is taken.")
}

/// The samples of a new content whose texts differ from those by the content before.
fn compare(old: &Content, new: &Content) -> Vec<SampleChange> {
    let (mut of_old, mut of_new) = (Findings::default(), Findings::default());
    let (old_assembler, new_assembler) = (Assembler::read(old, &mut of_old), Assembler::read(new, &mut of_new));
    let text = |content: &Content, assembler: &Assembler<'_>, sample: &Map<String, Value>| {
        values::faults(&content.variables, sample).is_empty().then(|| assembler.fill(sample).ok()).flatten()
    };
    let changes = new.samples.iter().zip(1..).filter_map(|(sample, place)| {
        let (before, after) = (text(old, &old_assembler, sample), text(new, &new_assembler, sample));
        if before == after {
            return None;
        }
        let same = common(before.as_deref().unwrap_or_default(), after.as_deref().unwrap_or_default());
        Some(SampleChange { sample: place, before: before.map(|text| excerpt(&text, same)), after: after.map(|text| excerpt(&text, same)) })
    });
    changes.collect()
}

/// The number of characters that two texts begin with alike.
fn common(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count()
}

/// A text, or the part of a long one from shortly before its first difference.
fn excerpt(text: &str, same: usize) -> String {
    if text.chars().count() <= MAX_SHOWN {
        return text.to_owned();
    }
    let start = same.saturating_sub(LEAD);
    let mut shown: String = text.chars().skip(start).take(MAX_SHOWN).collect();
    if start > 0 {
        shown.insert(0, '…');
    }
    if text.chars().nth(start + MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn commit(tx: &mut Tx<'_>, prepared: Prepared) -> Result<Answer<Publication>> {
    let Prepared { before, mut version, text, changes } = prepared;
    let latest = store::latest(tx, tx.tenant(), &before.prompt)?;
    if latest.etag() != before.etag() {
        return Err(Error::new(
            Kind::Conflict,
            "FM-PES-PUBLISHED-MEANWHILE",
            format!("version {} of prompt {} was published meanwhile", latest.version, latest.prompt),
        )
        .hint("Read the prompt again, and publish the change of what is there now."));
    }
    version.published_at = Some(tx.now());
    if before.is_published() {
        version.created_at = tx.now();
        store::insert(tx, &version, &text)?;
    } else {
        store::update(tx, &version, &text)?;
    }
    let id = version.prompt.as_str();
    tx.emit(
        "prompt.published",
        id,
        json!({ "promptId": id, "name": version.name, "version": version.version, "changedSamples": changes.len() }),
    )?;
    let state = |of: &Stored| Map::from_iter([("version".to_owned(), json!(of.version)), ("status".to_owned(), json!(of.status))]);
    tx.audit("prompt.published", "prompt", id, Some(Changes { before: Some(state(&before)), after: Some(state(&version)) }))?;
    let etag = version.etag();
    Ok(Answer::from(Publication { prompt: version.view(), changes }).etag(etag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_shown_from_shortly_before_its_difference() {
        let (one, other) = (format!("{}ä{}", "x".repeat(9_000), "y".repeat(9_000)), format!("{}b", "x".repeat(9_000)));
        let same = common(&one, &other);
        let shown = excerpt(&one, same);
        assert!(shown.starts_with("…x") && shown.ends_with("y…") && shown.contains("xäy"), "{shown}");
        assert_eq!(shown.chars().count(), MAX_SHOWN + 2);
        assert_eq!(excerpt("short", 2), "short");
        assert!(excerpt(&other, same).ends_with("xb"));
    }
}
