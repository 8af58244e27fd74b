//! What one host may take of a server over HTTP: connections, time for its headers and bodies, requests at once, streams,
//! and an id for each request; and that what is cancelled is released.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::IntoResponse as _;
use flowmaster_mcp::client::{Client, Fixed};
use flowmaster_mcp::server::{App, HttpOptions, Options, Settings};
use futures_util::StreamExt as _;
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::callers::Callers;
use crate::support::mcp;
use crate::support::platform::TestPlatform;
use crate::support::raw::{Known, Served, answer, read, serve, user};
use crate::support::standin::{StandIn, becomes};

/// Requests that a caller may have running at once.
const CALLS: usize = 64;
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough to see that something does not happen.
const A_WHILE: Duration = Duration::from_millis(400);

fn known() -> Known {
    Known::default()
        .with("anna", user("tenant-1", "anna", &["*"]))
        .with("anna-again", user("tenant-1", "anna", &["*"]))
        .with("bert", user("tenant-1", "bert", &["*"]))
        .with("anna-elsewhere", user("tenant-2", "anna", &["*"]))
}

/// A platform that takes every call and answers none, and knows how many it works on.
struct Busy {
    working: Arc<AtomicUsize>,
    url: String,
}

/// One call that the platform works on, until its caller hangs up.
struct Working(Arc<AtomicUsize>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Busy {
    async fn start() -> Self {
        let working = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&working);
        let stand_in = StandIn::start(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            let working = Working(Arc::clone(&counted));
            async move {
                std::future::pending::<()>().await;
                drop(working);
                ().into_response()
            }
        })
        .await;
        Self { working, url: stand_in.url }
    }

    fn app(&self) -> Arc<App> {
        App::new(Options { client: Client::builder(Arc::new(Fixed::new(&self.url).unwrap())).build(), settings: Settings::default() })
            .unwrap()
    }

    /// Waits until the platform works on so many calls.
    async fn works_on(&self, calls: usize) {
        let working = Arc::clone(&self.working);
        assert!(
            becomes(move || working.load(Ordering::SeqCst) == calls).await.is_ok(),
            "{} of {calls}",
            self.working.load(Ordering::SeqCst)
        );
    }
}

fn tasks() -> Value {
    json!({ "name": "tasks_list", "arguments": {} })
}

/// A server whose platform nobody asks.
async fn idle(change: impl FnOnce(&mut HttpOptions)) -> Served {
    serve(Busy::start().await.app(), known().admission(), change).await
}

async fn dial(served: &Served) -> TcpStream {
    TcpStream::connect(served.address).await.unwrap()
}

/// Asks whether the server lives, on a connection that stays open.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
}

async fn is_answered(stream: &mut TcpStream) {
    let mut read = [0; 512];
    let length = timeout(PATIENCE, stream.read(&mut read)).await.unwrap().unwrap();
    assert!(read[..length].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&read[..length]));
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_the_connection_that_was_silent_for_longest() {
    let served = idle(|options| options.connections = 2).await;
    let (mut first, mut second) = (dial(&served).await, dial(&served).await);
    for stream in [&mut second, &mut first] {
        ask(stream).await;
        is_answered(stream).await;
    }
    let mut third = dial(&served).await;
    ask(&mut third).await;
    is_answered(&mut third).await;
    is_closed(&mut second).await;
    for stream in [&mut first, &mut third] {
        ask(stream).await;
        is_answered(stream).await;
    }
    // Whoever begins a request and does not end it has none either.
    for stream in [&mut first, &mut third] {
        stream.write_all(b"GET /livez HTTP/1.1\r\nX-Long: ").await.unwrap();
    }
    let mut fourth = dial(&served).await;
    ask(&mut fourth).await;
    is_answered(&mut fourth).await;
    is_closed(&mut first).await;
}

async fn is_closed(stream: &mut TcpStream) {
    // However it is closed: with what the other side still sends, the system breaks it off.
    assert_eq!(timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("it is closed").unwrap_or(0), 0);
}

#[tokio::test]
async fn newcomers_wait_while_every_connection_has_a_request() {
    let platform = Busy::start().await;
    let served = serve(platform.app(), known().admission(), |options| options.connections = 2).await;
    let mut calls: Vec<_> = (0..2).map(|_| tokio::spawn(served.modern("anna", "tools/call", &tasks()).send())).collect();
    platform.works_on(2).await;
    let mut third = dial(&served).await;
    ask(&mut third).await;
    assert!(timeout(A_WHILE, third.read(&mut [0; 1])).await.is_err(), "it has to wait");
    platform.works_on(2).await;
    calls.pop().unwrap().abort();
    is_answered(&mut third).await;
    platform.works_on(1).await;
}

#[tokio::test]
async fn a_connection_that_does_not_ask_in_time_is_closed() {
    let served = idle(|options| options.idle_timeout = Duration::from_millis(300)).await;
    for begun in [&b""[..], b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: "] {
        let mut stream = dial(&served).await;
        stream.write_all(begun).await.unwrap();
        timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    }
    let mut idle = dial(&served).await;
    ask(&mut idle).await;
    let mut read = Vec::new();
    timeout(PATIENCE, idle.read_to_end(&mut read)).await.unwrap().unwrap();
    assert!(read.starts_with(b"HTTP/1.1 200"), "it was answered before it was closed for its silence");
}

#[tokio::test]
async fn a_stream_is_no_silence() {
    let served = idle(|options| options.idle_timeout = Duration::from_millis(300)).await;
    let session = served.open("anna").await;
    let mut stream = served.on_session(Method::GET, "anna", &session).send().await.unwrap().bytes_stream();
    let ended = timeout(Duration::from_millis(1200), async { while stream.next().await.is_some() {} }).await;
    assert!(ended.is_err(), "it stays open");
}

#[tokio::test]
async fn a_body_that_does_not_come_in_time_is_refused() {
    let served = idle(|options| options.body_timeout = Duration::from_millis(300)).await;
    let mut stream = dial(&served).await;
    stream.write_all(begun(1000).as_bytes()).await.unwrap();
    let mut read = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut read)).await.unwrap().unwrap();
    let read = String::from_utf8(read).unwrap();
    assert!(read.starts_with("HTTP/1.1 408") && read.contains("FM-MCP-BODY-SLOW"), "{read}");
}

/// Holds that a caller has no place left, and everybody else has.
async fn is_full(served: &Served, session: &str) {
    let lists = || json!({});
    for request in
        [served.modern("anna", "tools/list", &lists()), served.legacy_numbered(900, "anna-again", session, "tools/list", &lists())]
    {
        let refused = answer(request).await;
        refused.refused(429, "FM-MCP-TOO-MANY-CALLS");
        assert_eq!((refused.headers[RETRY_AFTER].to_str().unwrap(), &refused.body["error"]["code"]), ("1", &json!(-32600)));
        assert!(refused.body["id"].is_number(), "{refused:?}");
    }
    for other in ["bert", "anna-elsewhere"] {
        answer(served.modern(other, "tools/list", &lists())).await.result();
    }
}

#[tokio::test]
async fn requests_of_a_caller_at_once_are_bounded_in_the_new_era() {
    let platform = Busy::start().await;
    let served = serve(platform.app(), known().admission(), |_| {}).await;
    let session = served.open("anna").await;
    let mut calls: Vec<_> = (0..CALLS).map(|_| tokio::spawn(served.modern("anna", "tools/call", &tasks()).send())).collect();
    platform.works_on(CALLS).await;
    is_full(&served, &session).await;
    // Whoever hangs up takes the call back.
    calls.pop().unwrap().abort();
    platform.works_on(CALLS - 1).await;
    assert!(is_free(&served).await, "the place of the call was not released");
    for call in calls {
        call.abort();
    }
    platform.works_on(0).await;
}

/// Whether the caller may ask again.
async fn is_free(served: &Served) -> bool {
    for _ in 0..500 {
        if answer(served.modern("anna", "tools/list", &json!({}))).await.status == 200 {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// Takes a request of a session back.
async fn cancel(served: &Served, token: &str, session: &str, id: u64) {
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } });
    let sent = served.on_session(Method::POST, token, session).body(cancel.to_string()).send().await.unwrap();
    assert_eq!(sent.status(), 202);
}

#[tokio::test]
async fn requests_of_a_caller_at_once_are_bounded_in_the_old_era_also_when_it_hangs_up() {
    let platform = Busy::start().await;
    let served = serve(platform.app(), known().admission(), |_| {}).await;
    let session = served.open("anna").await;
    let mut streams = Vec::new();
    for id in 0..CALLS as u64 {
        let sent = served.legacy_numbered(id, "anna", &session, "tools/call", &tasks()).send().await.unwrap();
        assert_eq!(sent.status(), 200);
        streams.push(sent);
    }
    platform.works_on(CALLS).await;
    is_full(&served, &session).await;
    // In the old revision a call goes on when the host hangs up, so its place is taken as long.
    streams.truncate(CALLS / 2);
    tokio::time::sleep(A_WHILE).await;
    platform.works_on(CALLS).await;
    is_full(&served, &session).await;
    // What ends calls needs no place.
    cancel(&served, "anna", &session, 7).await;
    platform.works_on(CALLS - 1).await;
    assert!(is_free(&served).await, "the place of the call was not released");
    // Its id is free again, too.
    let again = served.legacy_numbered(7, "anna", &session, "tools/call", &tasks()).send().await.unwrap();
    assert_eq!(again.status(), 200);
    platform.works_on(CALLS).await;
    // With its session everything of it ends.
    assert_eq!(served.on_session(Method::DELETE, "anna", &session).send().await.unwrap().status(), 204);
    platform.works_on(0).await;
    assert!(is_free(&served).await);
}

#[tokio::test]
async fn two_requests_of_a_session_have_two_ids() {
    let platform = Busy::start().await;
    let served = serve(platform.app(), known().admission(), |_| {}).await;
    let (session, other) = (served.open("anna").await, served.open("anna").await);
    let first = served.legacy_numbered(5, "anna", &session, "tools/call", &tasks()).send().await.unwrap();
    platform.works_on(1).await;
    for token in ["anna", "anna-again"] {
        let refused = answer(served.legacy_numbered(5, token, &session, "tools/list", &json!({}))).await;
        refused.refused(400, "FM-MCP-ID-IN-USE");
        assert_eq!((&refused.body["id"], &refused.body["error"]["code"]), (&json!(5), &json!(-32600)));
    }
    // However the number is written it is the same, and one that is not a whole number is none.
    for id in ["5.0", "5e0", "50e-1"] {
        let again = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{{}}}}"#);
        answer(served.on_session(Method::POST, "anna", &session).body(again)).await.refused(400, "FM-MCP-ID-IN-USE");
    }
    for id in ["5.5", "1e300", "[5]"] {
        let strange = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{{}}}}"#);
        answer(served.on_session(Method::POST, "anna", &session).body(strange)).await.refused(400, "FM-MCP-MESSAGE");
    }
    // The first one is none the worse, another session has its own ids, and so has a text that looks like the number.
    platform.works_on(1).await;
    answer(served.legacy_numbered(5, "anna", &other, "tools/list", &json!({}))).await.result();
    answer(served.legacy_numbered(6, "anna", &session, "tools/list", &json!({}))).await.result();
    let text = json!({ "jsonrpc": "2.0", "id": "5", "method": "tools/list", "params": {} }).to_string();
    answer(served.on_session(Method::POST, "anna", &session).body(text)).await.result();
    // An id that was answered may come again, at once.
    for _ in 0..50 {
        answer(served.legacy_numbered(6, "anna", &session, "ping", &json!({}))).await.result();
    }
    cancel(&served, "anna", &session, 5).await;
    platform.works_on(0).await;
    assert_eq!(read(first).await.body["result"], Value::Null);
}

#[tokio::test]
async fn nothing_is_kept_of_a_call_that_was_taken_back() {
    let platform = Busy::start().await;
    let served = serve(platform.app(), known().admission(), |_| {}).await;
    let session = served.open("anna").await;
    let call = served.legacy_numbered(5, "anna", &session, "tools/call", &tasks()).send().await.unwrap();
    platform.works_on(1).await;
    cancel(&served, "anna", &session, 5).await;
    let stream = timeout(PATIENCE, call.text()).await.unwrap().unwrap();
    let event = stream.lines().find_map(|line| line.strip_prefix("id:")).unwrap().trim().to_owned();
    let again = served.on_session(Method::GET, "anna", &session).header("last-event-id", event).send().await.unwrap();
    let replayed = timeout(PATIENCE, again.text()).await.unwrap().unwrap();
    assert!(!replayed.contains("id:"), "{replayed}");
}

#[tokio::test]
async fn bodies_of_a_caller_are_bounded_together_while_they_come_and_while_they_are_worked_on() {
    const LARGE: usize = 4 * 1024 * 1024 - 128 * 1024;
    let platform = Busy::start().await;
    let served = serve(platform.app(), known().admission(), |_| {}).await;
    let large = |token: &str| {
        let request = served.modern(token, "tools/call", &tasks()).build().unwrap();
        let body = [&vec![b' '; LARGE], request.body().unwrap().as_bytes().unwrap()].concat();
        reqwest::RequestBuilder::from_parts(served.http.clone(), request).body(body)
    };
    let calls: Vec<_> = (0..8).map(|_| tokio::spawn(large("anna").send())).collect();
    platform.works_on(8).await;
    answer(large("anna")).await.refused(429, "FM-MCP-TOO-MANY-CALLS");
    answer(served.modern("anna", "tools/list", &json!({}))).await.result();
    for call in calls {
        call.abort();
    }
    platform.works_on(0).await;
    // Bodies that do not come cost what they say.
    let mut coming = Vec::new();
    for _ in 0..8 {
        let mut stream = dial(&served).await;
        stream.write_all(begun(LARGE).as_bytes()).await.unwrap();
        coming.push(stream);
    }
    let is_full = async { while answer(large("anna")).await.status != 429 {} };
    timeout(PATIENCE, is_full).await.unwrap();
    answer(served.modern("bert", "tools/list", &json!({}))).await.result();
    answer(served.modern("anna", "tools/list", &json!({}))).await.result();
}

/// The beginning of a request whose body is to be so large.
fn begun(length: usize) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer anna\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {length}\r\n\r\n{{\"jsonrpc\":"
    )
}

#[tokio::test]
async fn streams_of_a_caller_are_bounded() {
    let served = idle(|options| options.sessions_per_tenant = 2).await;
    let session = served.open("anna").await;
    let listen = |token: &'static str| served.on_session(Method::GET, token, &session).send();
    let mut streams: Vec<Response> = Vec::new();
    for _ in 0..4 {
        streams.push(listen("anna").await.unwrap());
    }
    assert!(streams.iter().all(|stream| stream.status() == 200));
    read(listen("anna-again").await.unwrap()).await.refused(429, "FM-MCP-TOO-MANY-STREAMS");
    // Streams are not calls, and somebody else's session takes no place of theirs.
    answer(served.legacy("anna", &session, "tools/list", &json!({}))).await.result();
    assert_eq!(listen("bert").await.unwrap().status(), 404);
    streams.pop();
    let mut status = 429;
    for _ in 0..500 {
        status = listen("anna").await.unwrap().status().as_u16();
        if status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(status, 200, "the place of the stream was not released");
}

/// Asks anna's person about a record's end, takes the call back or does not, answers yes, and tells whether the record is
/// there after that.
async fn outlives_its_question(taken_back: bool) -> bool {
    let platform = TestPlatform::start().await;
    let callers = Callers::default();
    let anna = callers.make(&platform, "tenant-1", "anna", &[], &["entity:*"]).await;
    let served = serve(mcp::app(&platform, Settings::default()), callers.admission(), |_| {}).await;
    let session = served.open_with(&anna, &json!({ "elicitation": {} })).await;
    let call = |id: u64, tool: &str, arguments: Value| {
        served.legacy_numbered(id, &anna, &session, "tools/call", &json!({ "name": tool, "arguments": arguments }))
    };
    answer(call(1, "entities_define", json!({ "entityType": "customer" }))).await.result();
    let record = answer(call(2, "entities_insert", json!({ "type": "customer", "data": { "name": "Acme" } }))).await;
    let found = json!({ "type": "customer", "id": record.result()["structuredContent"]["id"] });

    let mut asking = call(3, "entities_delete", found.clone()).send().await.unwrap();
    let question = timeout(PATIENCE, question(&mut asking)).await.unwrap();
    answer(call(3, "entities_get", found.clone())).await.refused(400, "FM-MCP-ID-IN-USE");
    if taken_back {
        cancel(&served, &anna, &session, 3).await;
        let rest = timeout(PATIENCE, read(asking)).await.unwrap();
        assert!(rest.body["result"].is_null(), "{rest:?}");
        // The call is over when its id is free.
        let over = async { while answer(call(3, "entities_get", found.clone())).await.status != 200 {} };
        timeout(PATIENCE, over).await.unwrap();
        let late = served.on_session(Method::POST, &anna, &session).body(yes(&question)).send().await.unwrap();
        assert_eq!(late.status(), 202);
        tokio::time::sleep(A_WHILE).await;
    } else {
        assert_eq!(served.on_session(Method::POST, &anna, &session).body(yes(&question)).send().await.unwrap().status(), 202);
        let done = timeout(PATIENCE, read(asking)).await.unwrap();
        assert_eq!(done.result()["isError"], false, "{done:?}");
    }
    answer(call(4, "entities_get", found)).await.result()["isError"] == false
}

/// The id of the question that a stream brings.
async fn question(asking: &mut Response) -> Value {
    let mut read = String::new();
    loop {
        read.push_str(&String::from_utf8_lossy(&asking.chunk().await.unwrap().unwrap()));
        let told = read.lines().filter_map(|line| line.strip_prefix("data:")).filter_map(|data| serde_json::from_str::<Value>(data).ok());
        if let Some(question) = told.into_iter().find(|message| message["method"] == "elicitation/create") {
            return question["id"].clone();
        }
    }
}

fn yes(question: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": question, "result": { "action": "accept", "content": {} } }).to_string()
}

#[tokio::test]
async fn a_question_that_is_taken_back_ends_and_its_answer_does_nothing() {
    assert!(!outlives_its_question(false).await, "a yes counts");
    assert!(outlives_its_question(true).await, "a yes after the call was cancelled does not");
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_gets_its_answer() {
    let served = idle(|_| {}).await;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "half", "version": "1" },
    } })
    .to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer anna\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = dial(&served).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    is_answered(&mut stream).await;
}

#[tokio::test]
async fn a_body_that_is_refused_is_taken_so_that_its_sender_reads_why() {
    let served = idle(|_| {}).await;
    let length = 3 * 1024 * 1024;
    let mut stream = dial(&served).await;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer nobody\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The refusal is there before the body is; a sender that does not look at it sends on.
    for _ in 0..length / 65_536 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        stream.write_all(&vec![b' '; 65_536]).await.unwrap();
    }
    let mut read = [0; 512];
    let length = timeout(PATIENCE, stream.read(&mut read)).await.unwrap().unwrap();
    assert!(read[..length].starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&read[..length]));
    // The connection is whole: the next request is answered on it.
    ask(&mut stream).await;
    let mut rest = Vec::new();
    while !String::from_utf8_lossy(&rest).contains("HTTP/1.1 200") {
        let mut read = [0; 2048];
        let length = timeout(PATIENCE, stream.read(&mut read)).await.unwrap().unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&rest));
        rest.extend_from_slice(&read[..length]);
    }
}
