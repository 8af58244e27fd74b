//! Receivers behind TLS: who signed the certificate, and for whom, is verified.

use serde_json::{Value, json};

use super::{ask, server};
use crate::support::platform::TestPlatform;
use crate::support::raw::{Served, answer};
use crate::support::receiver::{Behaviour, Receiver, TLS};
use crate::support::served::ServedProgram;

async fn behind(certificate: &'static str) -> Receiver {
    Receiver::listen([], Behaviour { certificate: Some(certificate), ..Behaviour::default() }).await
}

#[tokio::test]
async fn a_receiver_of_an_unknown_authority_is_sent_nothing() {
    let (platform, receiver) = (TestPlatform::start().await, behind("receiver").await);
    let served = server(&platform, &[&receiver], None).await;
    let refused = ask(&served, &platform.owner(), "events/subscribe", &receiver.params()).await;
    assert_eq!((refused.code(), &refused.body["error"]["data"]["reason"]), ("FM-MCP-EVENT-RECEIVER", &json!("tls_error")));
    assert!(receiver.messages(&json!("verification")).is_empty());
}

/// The authorities of `SSL_CERT_FILE` are those of OpenSSL's habit, which only some systems go by.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_receiver_of_a_known_authority_is_verified_by_its_name() {
    let (home, receiver, elsewhere) = (tempfile::tempdir().unwrap(), behind("receiver").await, behind("elsewhere").await);
    let hosts = format!("{},{}", receiver.address, elsewhere.address);
    let authority = format!("{TLS}/ca.pem");
    let settings = [("SSL_CERT_FILE", authority.as_str()), ("FLOWMASTER_EVENTS_WEBHOOK_HOSTS", &hosts)];
    let program = ServedProgram::start(home.path(), &settings, &["--no-token"]);
    let served = Served::at(program.address);
    let refused = ask(&served, "", "events/subscribe", &elsewhere.params()).await;
    assert_eq!(refused.body["error"]["data"]["reason"], "tls_error", "{refused:?}");
    ask(&served, "", "events/subscribe", &receiver.params()).await.result();
    for number in 1..=2 {
        let event = json!({ "name": "events_publish", "arguments": { "topic": "order.received", "event": { "number": number } } });
        assert_eq!(answer(served.modern("", "tools/call", &event)).await.result()["isError"], false);
    }
    receiver.hears(&[1, 2]).await;
    assert!(elsewhere.messages(&Value::Null).is_empty() && elsewhere.messages(&json!("verification")).is_empty());
}
