//! Notification Service (contract, section 18).

use std::sync::atomic::{AtomicUsize, Ordering};

use flowmaster_mcp::platform::Gateway;
use serde_json::{Value, json};

use super::target::{Target, column, id_in, says};
use crate::support::standin::StandIn;

async fn template(target: &Target, channel: &str) -> String {
    let request = json!({
        "templateId": target.named("task-assigned"), "name": "Task assigned", "subject": "{{taskTitle}}",
        "body": "Please finish {{taskTitle}} by {{deadline}}.", "channels": [channel],
    });
    id_in(&target.post("/templates", request).await.ok(), "templateId")
}

/// Sends the contract's example to somebody, and answers its path.
async fn send(target: &Target, template: &str, recipient: Value) -> String {
    let request = json!({
        "templateId": template, "recipient": recipient,
        "variables": { "taskTitle": "Approve Budget Request", "deadline": "2025-02-08" },
    });
    format!("/notifications/{}", id_in(&target.post("/notifications/send", request).await.ok(), "notificationId"))
}

/// A gateway of text messages that refuses so many first.
async fn gateway(failures: usize) -> (StandIn, Gateway) {
    let asked = AtomicUsize::new(0);
    let answer = move |_| std::future::ready(says(if asked.fetch_add(1, Ordering::Relaxed) < failures { 503 } else { 200 }, json!({})));
    let server = StandIn::start(answer).await;
    let gateway = Gateway { url: format!("{}/messages", server.url), secret: None };
    (server, gateway)
}

const OPERATORS: &str = "how notifications leave, and how many, is the operator's setting";

/// **Guaranteed delivery**: a notification that could not be sent is sent again, the same, after a while.
#[tokio::test]
async fn a_notification_is_sent_again_until_it_arrives() {
    let (server, sms) = gateway(1).await;
    let target = Target::open_with(|options| options.notifications.sms = vec![sms]).await;
    if target.embedded(OPERATORS).is_none() {
        return;
    }
    let path = send(&target, &template(&target, "sms").await, json!({ "phone": "+14155550100" })).await;
    target.until(&path, |notification| notification["status"] == "sent").await;
    let ids: Vec<Value> = server.asked().iter().map(|asked| serde_json::from_str::<Value>(&asked.body).unwrap()["id"].clone()).collect();
    assert_eq!((ids.len(), &ids[0]), (2, &ids[1]));
    assert!(server.asked()[1].body.contains("Please finish Approve Budget Request by 2025-02-08."));
}

/// **Provider failover**: a second provider takes what the first does not.
#[tokio::test]
async fn a_second_provider_takes_over() {
    let ((first, one), (second, other)) = (gateway(9).await, gateway(0).await);
    let target = Target::open_with(|options| options.notifications.sms = vec![one, other]).await;
    if target.embedded(OPERATORS).is_none() {
        return;
    }
    let path = send(&target, &template(&target, "sms").await, json!({ "phone": "+14155550100" })).await;
    target.until(&path, |notification| notification["status"] == "sent").await;
    assert_eq!((first.asked().len(), second.asked().len()), (1, 1));
}

/// **Throttling**: a recipient gets so many in a while, and others are not held up.
#[tokio::test]
async fn a_recipient_gets_so_many_in_a_while() {
    let target = Target::open_with(|options| options.notifications.per_recipient = 1).await;
    if target.embedded(OPERATORS).is_none() {
        return;
    }
    let template = template(&target, "email").await;
    send(&target, &template, json!({ "email": "ann@company.com" })).await;
    let variables = json!({ "taskTitle": "x", "deadline": "y" });
    let again = json!({ "templateId": template, "recipient": { "email": "ann@company.com" }, "variables": variables });
    let refused = target.post("/notifications/send", again).await;
    assert!(refused.status == 429 && refused.headers.contains_key("retry-after"), "{refused:?}");
    send(&target, &template, json!({ "email": "bob@company.com" })).await;
}

/// **Audit trail**: each notification is in the history and in the audit log, which holds no address.
#[tokio::test]
async fn notifications_are_in_the_history_and_audited() {
    let target = Target::open().await;
    let address = format!("{}@example.com", target.word("ann"));
    let path = send(&target, &template(&target, "email").await, json!({ "email": address })).await;
    let id = path.trim_start_matches("/notifications/");
    assert_eq!(target.get(&path).await.ok()["notificationId"], id);
    let history = target.get(&format!("/notifications?recipient={address}")).await.ok();
    assert_eq!(column(&history, "notificationId"), [id]);
    let audited = target.until(&format!("/audit-logs?resourceId={id}"), |page| !page["items"].as_array().unwrap().is_empty()).await;
    assert!(!audited.to_string().contains(&address), "{audited:#}");
}
