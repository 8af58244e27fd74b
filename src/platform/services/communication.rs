//! Communication Service: channels of providers, messages to and from people, and their conversations (contract, section 12).

mod channels;
mod conversations;
mod credentials;
mod messages;
mod preference;
mod provider;
mod receive;
mod send;
mod signature;
mod worker;

use crate::api::Page;
use crate::api::communication::{Conversation, History, Link, Message};
use crate::error::Result;
use crate::platform::database::Tx;
use crate::platform::http::context::{Answer, Cx};
use crate::platform::http::routes::Routes;
use crate::platform::{Platform, queue};

/// The operations of the service. A provider delivers what came in with a signature and has no token.
pub(crate) fn routes() -> Routes {
    Routes::new()
        .on(channels::register)
        .on(channels::list)
        .on(send::send)
        .on_signed(receive::receive, signature::check)
        .on(conversations::list)
        .on(history)
        .on(link)
}

/// Starts the worker that sends what is queued.
pub(crate) fn spawn(platform: &Platform) {
    platform.spawn(queue::run(platform.clone(), worker::Messages));
}

/// Makes what was written to and by a person unreadable; what is queued is not sent any more.
pub(crate) fn erase(tx: &Tx<'_>, participant: &str) -> Result<()> {
    messages::erase(tx, participant)?;
    conversations::erase(tx, participant)
}

async fn history(cx: Cx, request: History) -> Result<Page<Message>> {
    let before = cx.cursor_number(&request.page)?.unwrap_or(i64::MAX);
    let (tenant, most) = (cx.tenant(), request.page.size() + 1);
    let found = cx
        .read(move |connection| {
            let conversation = conversations::find(connection, tenant.as_str(), request.id.as_str())?;
            messages::of_conversation(connection, tenant.as_str(), &conversation.id, before, most)
        })
        .await?;
    let page = cx.page_of(found, &request.page, |(position, _)| position.to_string());
    Ok(Page { items: page.items.into_iter().map(|(_, message)| message).collect(), next_cursor: page.next_cursor })
}

async fn link(cx: Cx, request: Link) -> Result<Answer<Conversation>> {
    let if_match = cx.if_match.clone();
    let record = cx.write(move |tx| conversations::link(tx, &request, if_match.as_deref())).await?;
    let version = record.version;
    Ok(Answer::from(record.view()).etag(version))
}
