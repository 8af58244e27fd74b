//! Hosts that listen to a task each, and one that does not read.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use reqwest::{Client, Response};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Failure;
use crate::program::Program;
use crate::request::request;

/// Subscribers that are opened at once.
const AT_ONCE: usize = 16;
/// What the system keeps for one that does not read, in bytes; it takes the least that it has.
const UNREAD: u32 = 4_096;
const PATIENCE: Duration = Duration::from_secs(10);

/// A message that came to a subscriber.
pub struct Heard {
    pub subscriber: usize,
    pub at: Instant,
}

/// The subscribers, and what comes to them.
pub struct Subscribers {
    heard: UnboundedReceiver<Heard>,
    listening: JoinSet<Failure>,
}

impl Subscribers {
    /// Has each token and task listen.
    pub async fn open(server: &Program, each: Vec<(Arc<str>, String)>) -> Result<Self, Failure> {
        let http = Client::builder().no_proxy().tcp_nodelay(true).build()?;
        let (sender, heard) = unbounded_channel();
        let mut subscribers = Self { heard, listening: JoinSet::new() };
        let mut opening = stream::iter(each.into_iter().enumerate())
            .map(|(number, (token, task))| {
                let sending = request(&http, &server.url, &token, number, "subscriptions/listen", listens_to(&[&task])).send();
                async move { Ok::<_, Failure>((number, sending.await?.error_for_status()?)) }
            })
            .buffer_unordered(AT_ONCE);
        while let Some(opened) = opening.next().await {
            let (number, response) = opened?;
            subscribers.listening.spawn(listen(number, response, sender.clone()));
        }
        Ok(subscribers)
    }

    /// The next message; none if nothing comes for a while.
    pub async fn next(&mut self, patience: Duration) -> Result<Option<Heard>, Failure> {
        if let Some(ended) = self.listening.try_join_next() {
            return Err(format!("a subscription ended: {}", ended?).into());
        }
        Ok(timeout(patience, self.heard.recv()).await.ok().flatten())
    }

    /// The messages of one event, which has so many subscribers.
    pub async fn of_event(&mut self, subscribers: usize) -> Result<Vec<Heard>, Failure> {
        let mut all = Vec::with_capacity(subscribers);
        while all.len() < subscribers {
            match self.next(PATIENCE).await? {
                Some(heard) => all.push(heard),
                None => break,
            }
        }
        Ok(all)
    }
}

fn listens_to(tasks: &[&str]) -> serde_json::Value {
    let uris: Vec<_> = tasks.iter().map(|task| format!("flowmaster://tasks/{task}")).collect();
    json!({ "notifications": { "resourceSubscriptions": uris } })
}

/// Tells of what comes until the stream ends; returns why it did.
async fn listen(subscriber: usize, mut response: Response, heard: UnboundedSender<Heard>) -> Failure {
    let mut unread = String::new();
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return unread.into(),
            Err(error) => return error.into(),
        };
        let at = Instant::now();
        unread.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((message, rest)) = unread.split_once("\n\n") {
            if message.contains("notifications/resources/updated") && heard.send(Heard { subscriber, at }).is_err() {
                return "nobody counts what comes".into();
            }
            if message.contains("\"error\"") {
                return message.into();
            }
            unread = rest.to_owned();
        }
    }
}

/// Has a token listen to a task, and never reads what comes.
pub async fn open_unread(server: &Program, token: &str, task: &str) -> Result<TcpStream, Failure> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(UNREAD)?;
    let address = server.url.strip_prefix("http://").ok_or("no address of a server")?;
    let mut stream = socket.connect(address.parse()?).await?;
    let asked = request(&Client::new(), &server.url, token, 1, "subscriptions/listen", listens_to(&[task])).build()?;
    let body = asked.body().and_then(|body| body.as_bytes()).ok_or("a request without a body")?;
    let mut text = format!("POST /mcp HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in asked.headers() {
        write!(text, "{name}: {}\r\n", value.to_str()?)?;
    }
    stream.write_all(&[text.as_bytes(), b"\r\n", body].concat()).await?;
    Ok(stream)
}
