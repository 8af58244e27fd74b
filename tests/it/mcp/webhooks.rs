//! MCP Events by webhook: to receivers that agreed, signed, in order, once over processes, and never to another place.

mod dead_letters;
mod tls;
mod trouble;

use std::path::Path;
use std::time::Duration;

use flowmaster_mcp::server::{EventOptions, Settings};
use serde_json::{Value, json};

use crate::support::mcp::{admission, app};
use crate::support::platform::TestPlatform;
use crate::support::raw::{Answer, Served, answer, serve};
use crate::support::receiver::{Behaviour, Receiver, params, secret};

pub async fn server(platform: &TestPlatform, receivers: &[&Receiver], data: Option<&Path>) -> Served {
    let events = EventOptions {
        allowed_hosts: receivers.iter().map(|receiver| receiver.address.to_string()).chain(["hooks.example.invalid".to_owned()]).collect(),
        first_retry: Duration::from_millis(20),
        ..EventOptions::default()
    };
    let settings = Settings { events, data_dir: data.map(Path::to_path_buf), ..Settings::default() };
    serve(app(platform, settings), admission(platform, Duration::from_secs(1)), |_| {}).await
}

pub async fn ask(served: &Served, token: &str, method: &str, params: &Value) -> Answer {
    answer(served.modern(token, method, params)).await
}

pub async fn publish(platform: &TestPlatform, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let event = json!({ "topic": "order.received", "event": { "number": number } });
        platform.post("/events", &platform.owner(), event).await.ok();
    }
}

#[tokio::test]
async fn events_are_sent_signed_in_order_and_once() {
    let (platform, receiver) = (TestPlatform::start().await, Receiver::listen([503, 302, 200, 410], Behaviour::default()).await);
    let served = server(&platform, &[&receiver], None).await;
    let owner = platform.owner();
    let listed = ask(&served, &owner, "events/list", &json!({})).await.result().clone();
    assert_eq!(listed["events"][0]["delivery"], json!(["webhook", "poll"]));
    let begun = ask(&served, &owner, "events/subscribe", &params(&receiver.url())).await.result().clone();
    assert!(begun["refreshBefore"].is_string() && begun["truncated"] == false && begun.get("deliveryStatus").is_none(), "{begun}");
    assert_eq!(receiver.messages(&json!("verification")).len(), 1);
    // The first is refused twice (once by a redirect) and taken, the second is refused for good, the third is taken.
    publish(&platform, 1..=3).await;
    receiver.hears(&[1, 1, 1, 2, 3]).await;
    let came = receiver.messages(&Value::Null);
    for (headers, event) in &came {
        assert_eq!(
            (headers["webhook-id"].to_str().unwrap(), &event["name"]),
            (event["eventId"].as_str().unwrap(), &json!("event.published"))
        );
        assert_eq!(headers["x-mcp-subscription-id"].to_str().unwrap(), begun["id"].as_str().unwrap());
    }
    let cursor = came.last().unwrap().1["cursor"].clone();
    let since = json!({ "name": "event.published", "arguments": { "topic": "order.*" }, "cursor": cursor });
    assert_eq!(ask(&served, &owner, "events/poll", &since).await.result()["events"], json!([]), "the last cursor is behind all");

    // A repeat is the same subscription with another key; for a while messages are signed by both.
    let mut again = params(&receiver.url());
    again["delivery"]["secret"] = json!(secret(2));
    let again = ask(&served, &owner, "events/subscribe", &again).await.result().clone();
    assert_eq!(again["id"], begun["id"]);
    assert!(again["deliveryStatus"]["lastDeliveryAt"].is_string(), "{again}");
    receiver.secrets.lock().unwrap().push(secret(2));
    publish(&platform, 4..=4).await;
    receiver.hears(&[1, 1, 1, 2, 3, 4]).await;
    assert_eq!(receiver.messages(&json!("verification")).len(), 1, "the receiver agreed already");

    let ended = ask(&served, &owner, "events/unsubscribe", &params(&receiver.url())).await;
    ended.result();
    let twice = ask(&served, &owner, "events/unsubscribe", &params(&receiver.url())).await;
    assert_eq!((twice.body["error"]["code"].as_i64(), twice.code()), (Some(-32011), "FM-MCP-NOT-SUBSCRIBED"));
    publish(&platform, 5..=5).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(receiver.numbers(), [1, 1, 1, 2, 3, 4]);
}

#[tokio::test]
async fn an_event_that_is_never_taken_is_given_up_and_the_next_goes_on() {
    let (platform, receiver) = (TestPlatform::start().await, Receiver::listen([500; 8], Behaviour::default()).await);
    let served = server(&platform, &[&receiver], None).await;
    ask(&served, &platform.owner(), "events/subscribe", &params(&receiver.url())).await.result();
    publish(&platform, 1..=2).await;
    receiver.hears(&[1, 1, 1, 1, 1, 1, 1, 1, 2]).await;
    let status = ask(&served, &platform.owner(), "events/subscribe", &params(&receiver.url())).await.result()["deliveryStatus"].clone();
    assert!(status["lastDeliveryAt"].is_string() && status["lastError"].is_null(), "{status}");
}

#[tokio::test]
async fn of_several_processes_one_delivers_and_another_goes_on() {
    let (platform, receiver) = (TestPlatform::start().await, Receiver::listen([], Behaviour::default()).await);
    let folder = tempfile::tempdir().unwrap();
    let (first, second) =
        (server(&platform, &[&receiver], Some(folder.path())).await, server(&platform, &[&receiver], Some(folder.path())).await);
    let mut eternal = params(&receiver.url());
    eternal["ttlMs"] = Value::Null;
    let begun = ask(&first, &platform.owner(), "events/subscribe", &eternal).await.result().clone();
    assert_eq!(begun["refreshBefore"], Value::Null, "{begun}");
    publish(&platform, 1..=30).await;
    receiver.hears(&(1..=30).collect::<Vec<_>>()).await;
    drop(first);
    publish(&platform, 31..=35).await;
    receiver.hears(&(1..=35).collect::<Vec<_>>()).await;
    drop(second);
    // What happens while no server runs is delivered by the next one.
    tokio::time::sleep(Duration::from_millis(300)).await;
    publish(&platform, 36..=40).await;
    let _third = server(&platform, &[&receiver], Some(folder.path())).await;
    receiver.hears(&(1..=40).collect::<Vec<_>>()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(receiver.numbers().len(), 40);
}

#[tokio::test]
async fn only_receivers_that_agree_at_allowed_addresses_are_sent_to() {
    let platform = TestPlatform::start().await;
    let (liar, good) =
        (Receiver::listen([], Behaviour { lies: true, ..Behaviour::default() }).await, Receiver::listen([], Behaviour::default()).await);
    let closed = good.at("127.0.0.1:9");
    let served = server(&platform, &[&liar, &good, &closed], None).await;
    let owner = platform.owner();
    let deaf = platform.signed_in("tenant-local", "carl@acme.example", &["execution:view"]).await;
    let stranger = platform.signed_in("globex", "eve@globex.example", &["event:view"]).await;
    let refused = async |token: &str, method: &str, params: &Value| {
        let answer = ask(&served, token, method, params).await;
        (
            answer.body["error"]["code"].as_i64().unwrap_or_default(),
            answer.body["error"]["data"]["reason"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let port = good.address.port();
    for url in [
        "http://hooks.example.invalid/x".to_owned(),
        "https://hooks.example.invalid/not-in-the-dns".to_owned(),
        "https://other.example.com/x".to_owned(),
        "https://10.0.0.1/x".to_owned(),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://[fd00:ec2::254]/".to_owned(),
        "https://[::ffff:127.0.0.1]/".to_owned(),
        format!("https://localhost:{port}/hook"),
        format!("http://localhost:{port}/hook"),
        format!("http://[::1]:{port}/hook"),
        format!("http://127.0.0.2:{port}/hook"),
        format!("http://0.0.0.0:{port}/hook"),
        platform.running.url(),
        "file:///etc/passwd".to_owned(),
        "x".to_owned(),
    ] {
        assert_eq!(refused(&owner, "events/subscribe", &params(&url)).await.0, -32602, "{url}");
    }
    assert!(good.messages(&json!("verification")).is_empty());
    assert_eq!(refused(&owner, "events/subscribe", &params(&liar.url())).await, (-32015, "challenge_failed".to_owned()));
    assert_eq!(refused(&owner, "events/subscribe", &params(&closed.url())).await, (-32015, "connection_refused".to_owned()));
    for wrong in ["", "plain", "whsec_", "whsec_AAAA", "whsec_!"] {
        let mut params = params(&good.url());
        params["delivery"]["secret"] = json!(wrong);
        assert_eq!(refused(&owner, "events/subscribe", &params).await.0, -32602, "{wrong}");
    }
    let mut other = params(&good.url());
    other["delivery"]["mode"] = json!("push");
    assert_eq!(refused(&owner, "events/subscribe", &other).await.0, -32014);
    assert_eq!(refused(&deaf, "events/subscribe", &params(&good.url())).await.0, -32012);
    ask(&served, &owner, "events/subscribe", &params(&good.url())).await.result();
    assert_eq!(refused(&stranger, "events/unsubscribe", &params(&good.url())).await.0, -32011, "it is another's");
    // The stranger's own subscription to the same address is another one, and hears nothing of the owner's tenant.
    let stranger_gets = ask(&served, &stranger, "events/subscribe", &params(&good.url())).await.result()["id"].clone();
    publish(&platform, 1..=2).await;
    good.hears(&[1, 2]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    for (headers, _) in good.messages(&Value::Null) {
        assert_ne!(headers["x-mcp-subscription-id"].to_str().unwrap(), stranger_gets.as_str().unwrap());
    }
    assert!(liar.messages(&Value::Null).is_empty());
    let without = serve(app(&platform, Settings::default()), admission(&platform, Duration::from_secs(1)), |_| {}).await;
    let off = ask(&without, &owner, "events/subscribe", &params(&good.url())).await;
    assert_eq!(off.body["error"]["code"], -32014);
    assert_eq!(ask(&without, &owner, "events/list", &json!({})).await.result()["events"][0]["delivery"], json!(["poll"]));
}

#[tokio::test]
async fn a_subscription_ends_with_the_login_of_its_caller() {
    let (platform, receiver) = (TestPlatform::start().await, Receiver::listen([], Behaviour::default()).await);
    let served = server(&platform, &[&receiver], None).await;
    let token = platform.signed_in("tenant-local", "wanda@acme.example", &["event:view"]).await;
    let begun = ask(&served, &token, "events/subscribe", &params(&receiver.url())).await.result().clone();
    assert!(begun["refreshBefore"].is_string());
    publish(&platform, 1..=1).await;
    receiver.hears(&[1]).await;
    platform.post("/auth/logout", &token, json!({})).await;
    publish(&platform, 2..=3).await;
    for _ in 0..400 {
        if !receiver.messages(&json!("terminated")).is_empty() {
            break;
        }
        publish(&platform, 4..=4).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let terminated = receiver.messages(&json!("terminated"));
    assert_eq!((terminated.len(), &terminated[0].1["error"]["code"]), (1, &json!(-32012)), "{terminated:?}");
    assert!(terminated[0].0["webhook-id"].to_str().unwrap().starts_with("msg_terminated_"));
    assert_eq!(receiver.numbers(), [1]);
}
