//! Executions of a platform that does not list them.

use super::log::Wanted;
use super::{Asking, Found, each, first};
use crate::api::executions::{Execution, ExecutionSummary, Get, List};
use crate::error::Result;

pub(super) async fn list(asking: Asking<'_>, request: List) -> Result<Found<ExecutionSummary>> {
    let most = request.page.size();
    let is_filtered = request.process_id.is_some() || request.status.is_some();
    let wanted = Wanted {
        topic: "execution.started",
        field: "executionId",
        after: request.created_after,
        before: request.created_before,
        // Of those that are named, only some may be wanted.
        enough: if is_filtered { usize::MAX } else { most },
    };
    let named = asking.log().look(&wanted).await?;
    let is_wanted = |execution: &Execution| {
        request.process_id.as_ref().is_none_or(|process| *process == execution.process_id)
            && request.status.as_ref().is_none_or(|states| states.contains(&execution.status))
            && request.created_after.is_none_or(|after| execution.started_at > after)
            && request.created_before.is_none_or(|before| execution.started_at < before)
    };
    let (asking, count) = (&asking, named.ids.len());
    let read = |id: String| async move {
        let execution = asking.read(&Get { id: id.into() }).await?;
        Ok(Some(execution))
    };
    let things = futures_util::StreamExt::map(each(named.ids, read), |read| {
        read.map(|execution| execution.filter(is_wanted).map(|execution| execution.summary(None)))
    });
    let (items, is_whole) = first(things, count, most).await?;
    Ok(Found { items, since: named.since, is_partial: named.is_partial || !is_whole })
}
