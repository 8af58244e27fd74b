//! Notification: templates, and messages by e-mail, SMS and push from a queue with retries (contract, section 18).

mod gateway;
mod history;
mod mail;
mod nodes;
mod options;
mod queue;
mod recipient;
mod send;
mod templates;
pub(crate) mod text;
mod worker;

pub use options::{Encryption, Gateway, Notifications, Smtp};

use std::path::Path;

use crate::api::notifications::SERVICE;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::platform::database::Tx;
use crate::platform::engine::runtime::work::WorkKind;
use crate::platform::engine::runtime::workers;
use crate::platform::http::routes::Routes;

/// The operations of the service, and beyond the contract the templates that there are.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .on(send::send)
        .on(history::get)
        .on(history::list)
        .on(templates::create)
        .on(templates::list)
        .extend(&SERVICE, templates::get)
}

/// Starts the workers that send what is queued and queue what processes send.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(workers::serve(platform.clone(), WorkKind::Notification, nodes::perform));
    platform.spawn(crate::platform::queue::run(platform.clone(), worker::Deliveries));
}

/// Makes a notification unreadable. Its file goes before the transaction ends: if that fails, it is repeated.
pub(crate) fn erase(tx: &Tx<'_>, data_dir: &Path, id: &str) -> Result<()> {
    queue::erase(tx, id)?;
    mail::remove(data_dir, id).map_err(Error::internal)
}
