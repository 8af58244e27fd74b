//! Processes of a platform that does not list them.

use super::log::Wanted;
use super::{Asking, Found, each, first};
use crate::api::PageRequest;
use crate::api::processes::{List, Process, Versions};
use crate::error::Result;

/// Versions of a process among which the latest is looked for.
const VERSIONS: u32 = 20;

pub(super) async fn list(asking: Asking<'_>, request: List) -> Result<Found<Process>> {
    let most = request.page.size();
    // The platform's first event of a process is its publication; the audit log has drafts as well.
    let wanted = Wanted { topic: "process.created", field: "processId", after: None, before: None, enough: usize::MAX };
    let named = asking.log().look(&wanted).await?;
    let words: Vec<String> = request.name.iter().flat_map(|name| name.split_whitespace()).map(str::to_lowercase).collect();
    let is_wanted = |process: &Process| {
        let name = process.name.to_lowercase();
        let has = |word: &String| name.split(|c: char| !c.is_alphanumeric()).any(|part| part.starts_with(word.as_str()));
        words.iter().all(has) && request.status.as_ref().is_none_or(|status| *status == process.status)
    };
    let (asking, count) = (&asking, named.ids.len());
    let read = |id: String| async move {
        let page = PageRequest { limit: Some(VERSIONS), cursor: None };
        let versions = asking.read(&Versions { id: id.into(), page }).await?;
        Ok(versions.items.into_iter().map(|version| version.process).max_by_key(|process| process.created_at))
    };
    let things = futures_util::StreamExt::map(each(named.ids, read), |read| read.map(|process| process.filter(is_wanted)));
    let (items, is_whole) = first(things, count, most).await?;
    Ok(Found { items, since: named.since, is_partial: named.is_partial || !is_whole })
}
