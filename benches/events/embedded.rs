//! The embedded platform's own rate of events, from the request to the reader of a stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use flowmaster_mcp::auth::{Caller, Principal};
use flowmaster_mcp::client::events::{EventStream, Notice};
use flowmaster_mcp::client::{Client, Fixed};
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::json;
use tokio::time::timeout;

use crate::execution::{Executions, platform};
use crate::program::owner_token;
use crate::{Bench, Failure};

const AT_ONCE: usize = 16;
const LASTS: Duration = Duration::from_secs(4);
/// After so long without an event there are no more.
const PATIENCE: Duration = Duration::from_secs(3);

pub async fn measure(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let home = bench.home.join("embedded");
    let running = platform(&home)?;
    let token = owner_token(&home)?;
    let executions = Executions::new(&running, &token).await?;
    let client = Client::builder(Arc::new(Fixed::new(&running.url)?)).build();
    let principal: Arc<dyn Principal> = Arc::new(Arc::new(Caller::of_unverified_token(token.clone().into(), None)?));
    let mut stream = EventStream::open(client, principal, "*", None);
    while !matches!(next(&mut stream).await?, Some(Notice::Started(_))) {}
    println!("the embedded platform, {AT_ONCE} requests at once for {LASTS:?}:");
    for what in ["events published", "executions started"] {
        let begun = Instant::now();
        let lines = (0..AT_ONCE).map(|_| async {
            let mut sent = 0_u32;
            while begun.elapsed() < LASTS {
                if what == "events published" {
                    executions.send(Method::POST, "/events", json!({ "topic": "order.opened", "event": { "n": sent } })).await?;
                } else {
                    executions.start().await?;
                }
                sent += 1;
            }
            Ok::<_, Failure>(sent)
        });
        let (sent, heard) = tokio::join!(try_join_all(lines), count(&mut stream));
        let (sent, (events, last)) = (sent?.into_iter().sum::<u32>(), heard?);
        let took = (last - begun).as_secs_f64();
        println!(
            "          {:.0} {what} a second, {:.0} events a second at the reader",
            f64::from(sent) / LASTS.as_secs_f64(),
            f64::from(events) / took
        );
        if what == "events published" {
            bench.aims.equal(usize::try_from(events)?, usize::try_from(sent)?, "events at the reader, of those published");
        }
    }
    stream.close().await;
    Ok(())
}

/// Counts events until no more come; and when the last one came.
async fn count(stream: &mut EventStream) -> Result<(u32, Instant), Failure> {
    let (mut events, mut last) = (0, Instant::now());
    while let Some(notice) = next(stream).await? {
        if matches!(notice, Notice::Event(_)) {
            (events, last) = (events + 1, Instant::now());
        }
    }
    Ok((events, last))
}

/// The next notice; none if nothing comes for a while.
async fn next(stream: &mut EventStream) -> Result<Option<Notice>, Failure> {
    match timeout(PATIENCE, stream.next()).await {
        Ok(Some(notice)) => Ok(Some(notice?)),
        Ok(None) => Err("the stream of events ended".into()),
        Err(_) => Ok(None),
    }
}
