//! A layer of one's own: it sees every call of the client, here to count them and to tell how long each took.
//!
//! `cargo run --example custom_layer`

#![expect(clippy::print_stdout, reason = "an example ends in visible output")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use flowmaster_mcp::api::services::{auth, tasks};
use flowmaster_mcp::auth::{Caller, Credential};
use flowmaster_mcp::cli::Embedded;
use flowmaster_mcp::client::{Call, Client, Layer, Next, Reply};
use flowmaster_mcp::error::Result;
use flowmaster_mcp::platform::Options;
use futures_util::future::BoxFuture;

/// Counts calls and tells of each.
struct Meter {
    calls: Arc<AtomicUsize>,
}

impl Layer for Meter {
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Result<Reply>> {
        Box::pin(async move {
            let (operation, begun) = (call.entry.spec.name, Instant::now());
            let reply = next.run(call).await;
            self.calls.fetch_add(1, Ordering::Relaxed);
            let how = reply.as_ref().map_or_else(|error| error.code().to_owned(), |reply| reply.status.to_string());
            println!("{operation:<16} {how:<22} {:.1} ms", begun.elapsed().as_secs_f64() * 1000.0);
            reply
        })
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let platform = Embedded::new(Options::new(folder.path().join("data")));
    let calls = Arc::new(AtomicUsize::new(0));
    let client = Client::builder(platform.clone()).layer(Meter { calls: Arc::clone(&calls) }).build();
    let caller = Arc::new(Caller::owner(Credential::Owner));

    client.send(&caller, &auth::Validate {}).await?;
    client.send(&caller, &tasks::List::default()).await?;
    // The layer sees refusals too.
    let missing = client.send(&caller, &tasks::Get { id: "task-none".into() }).await;
    println!("{} calls, the last one {}", calls.load(Ordering::Relaxed), if missing.is_ok() { "answered" } else { "refused" });
    platform.close().await;
    Ok(())
}
