//! Notifications of processes: the nodes of the type notification. They are done once the notification is in the queue.

use std::time::Duration;

use serde_json::json;

use super::{queue, send};
use crate::api::ids;
use crate::error::Error;
use crate::platform::Platform;
use crate::platform::engine::runtime::work::{self, End, Work};
use crate::platform::engine::runtime::workers::Done;

/// How often a notification is repeated that could not be queued at the time.
const MAX_REPEATS: u32 = 5;
/// How long to wait before the next repetition at least.
const PAUSE: Duration = Duration::from_secs(5);

/// Queues what a node sends, in the transaction that ends the node: so it is queued once, and not for an execution that ended.
pub(super) async fn perform(platform: Platform, work: Work) -> Done {
    let attempts = work.attempts;
    let failed = |platform: &Platform, error: &Error| {
        if error.is_transient() && attempts < MAX_REPEATS {
            let pause = error.when_to_retry().map_or(PAUSE, |after| after.max(PAUSE));
            return End::Later(platform.now().plus_seconds(pause.as_secs_f64()));
        }
        End::Failed { code: error.code().to_owned(), message: error.to_string() }
    };
    let request = match serde_json::from_value(work.request) {
        Ok(request) => request,
        Err(error) => return Done::new(End::Failed { code: "FM-NS-INVALID".to_owned(), message: error.to_string() }),
    };
    let tenant = work.name.tenant.as_str().into();
    let new = match send::prepare(&platform, &tenant, request).await {
        Ok(new) => new,
        Err(error) => return Done::new(failed(&platform, &error)),
    };
    let (per_recipient, now, recipient) = (platform.notifications().per_recipient, platform.now(), new.recipient.clone());
    let checked = platform.database().read_for(&work.name.tenant, move |connection| {
        queue::check_throttle(connection, tenant.as_str(), now, &recipient, per_recipient)?;
        queue::check_room(connection, tenant.as_str())
    });
    if let Err(error) = checked.await {
        return Done::new(failed(&platform, &error));
    }
    let id = ids::mint("notif", now);
    Done::new(End::Answered(json!({ "notificationId": id, "status": "queued" })))
        .noting(move |tx| if work::is_wanted(tx, &work.name.id)? { queue::add(tx, &id, &new) } else { Ok(()) })
        .waking(|platform| platform.notifications_notify().notify_one())
}
