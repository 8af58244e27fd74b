//! The Notification service over HTTP: files, an SMTP relay and gateways of the test's own.

mod nodes;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use flowmaster_mcp::platform::{Encryption, Gateway, Options, Platform, Smtp};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::platform::{TestPlatform, options};

/// Waits for something that happens by itself, at most ten seconds.
async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    for _ in 0..1_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen in time");
}

/// A gateway that answers as it is told and remembers what came.
#[derive(Clone, Default)]
struct Receiver {
    came: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    /// Listens on loopback; answers 200 once the answers given are used up.
    async fn listen(answers: impl IntoIterator<Item = u16>) -> (Self, Gateway) {
        let receiver = Self { came: Arc::default(), answers: Arc::new(Mutex::new(answers.into_iter().collect())) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/messages", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/messages", post(async |State(receiver): State<Self>, headers, body| receiver.receive(headers, body)))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (receiver, Gateway { url, secret: None })
    }

    fn receive(&self, headers: HeaderMap, body: Bytes) -> StatusCode {
        self.came.lock().unwrap().push((headers, body));
        StatusCode::from_u16(self.answers.lock().unwrap().pop_front().unwrap_or(200)).unwrap()
    }

    fn messages(&self) -> Vec<Value> {
        self.came.lock().unwrap().iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }
}

/// An SMTP relay that keeps what it is sent: its commands and the message. It refuses recipients whose name begins with `no`.
#[derive(Clone, Default)]
struct Relay(Arc<Mutex<Vec<Mail>>>);

/// The commands of an e-mail, and its message.
type Mail = (Vec<String>, String);

impl Relay {
    async fn listen() -> (Self, u16) {
        let relay = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = relay.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().talk(stream));
            }
        });
        (relay, port)
    }

    async fn talk(self, stream: TcpStream) {
        let (reading, mut writing) = stream.into_split();
        let mut lines = BufReader::new(reading).lines();
        let (mut commands, mut message, mut is_data) = (Vec::new(), String::new(), false);
        writing.write_all(b"220 relay.test ESMTP\r\n").await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            let answer = if is_data && line == "." {
                is_data = false;
                self.0.lock().unwrap().push((std::mem::take(&mut commands), std::mem::take(&mut message)));
                "250 kept"
            } else if is_data {
                message.extend([line.strip_prefix('.').unwrap_or(&line), "\n"]);
                continue;
            } else {
                commands.push(line.clone());
                match line.split(' ').next().unwrap_or_default() {
                    "EHLO" => "250-relay.test\r\n250-8BITMIME\r\n250 AUTH PLAIN",
                    "AUTH" => "235 welcome",
                    "RCPT" if line.contains("<no") => "550 no such mailbox",
                    "MAIL" | "RCPT" => "250 ok",
                    "DATA" => {
                        is_data = true;
                        "354 go on"
                    }
                    "QUIT" => "221 bye",
                    _ => "502 what",
                }
            };
            writing.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
        }
    }

    fn received(&self) -> Vec<(Vec<String>, String)> {
        self.0.lock().unwrap().clone()
    }
}

fn smtp(port: u16) -> Smtp {
    Smtp {
        host: "127.0.0.1".to_owned(),
        port,
        encryption: Encryption::Plain,
        credentials: Some(("flowmaster".to_owned(), "relay password".into())),
    }
}

/// Makes the contract's template with channels.
async fn template(platform: &TestPlatform, channels: &[&str]) {
    let request = json!({
        "templateId": "task-assigned", "name": "Task assigned", "subject": "{{taskTitle}}",
        "body": "Please finish {{ taskTitle }} by {{deadline}}.", "channels": channels,
    });
    platform.post("/templates", &platform.owner(), request).await.ok();
}

/// The contract's example, to an address and by channels.
fn example(channels: &[&str]) -> Value {
    json!({
        "templateId": "task-assigned",
        "recipient": { "email": "user@company.com", "userId": "user-123", "phone": "+1 415 555-0100" },
        "variables": { "taskTitle": "Approve Budget Request", "deadline": "2025-02-08" },
        "channels": channels,
    })
}

/// The example by the template's own channels.
fn by_template() -> Value {
    let mut request = example(&[]);
    request.as_object_mut().unwrap().remove("channels");
    request
}

/// Sends, and answers the id.
async fn sent(platform: &TestPlatform, request: Value) -> String {
    let queued = platform.post("/notifications/send", &platform.owner(), request).await;
    assert_eq!((queued.status, &queued.body["status"]), (202, &json!("queued")), "{queued:?}");
    queued.body["notificationId"].as_str().unwrap().to_owned()
}

async fn get(platform: &TestPlatform, id: &str) -> Value {
    platform.get(&format!("/notifications/{id}"), &platform.owner()).await.ok()
}

/// Waits until a notification has a status, and answers it.
async fn when(platform: &TestPlatform, id: &str, status: &str) -> Value {
    until(|| async { get(platform, id).await["status"] == status }).await;
    get(platform, id).await
}

/// Waits until a delivery was tried so often.
async fn tried(platform: &TestPlatform, id: &str, attempts: u64) -> Value {
    until(|| async { get(platform, id).await["deliveries"][0]["attempts"] == attempts }).await;
    get(platform, id).await["deliveries"][0].clone()
}

fn mail_of(platform: &TestPlatform, id: &str) -> String {
    std::fs::read_to_string(platform.folder.path().join("data").join("mail").join(format!("{id}.eml"))).unwrap()
}

#[tokio::test]
async fn an_email_is_a_private_file_where_there_is_no_relay() {
    let platform = TestPlatform::start().await;
    template(&platform, &["email"]).await;
    let id = sent(&platform, example(&["email"])).await;
    let notification = when(&platform, &id, "sent").await;
    let delivery = &notification["deliveries"][0];
    assert_eq!((&delivery["provider"], &delivery["attempts"], &delivery["status"]), (&json!("files"), &json!(1), &json!("sent")));
    assert!(notification["sentAt"].is_string() && delivery["sentAt"].is_string(), "{notification}");
    assert_eq!(notification["recipient"]["phone"], "+14155550100");
    let mail = mail_of(&platform, &id);
    for line in ["To: user@company.com", "Subject: Approve Budget Request", "Please finish Approve Budget Request by 2025-02-08."] {
        assert!(mail.contains(line), "{line} in {mail}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = platform.folder.path().join("data").join("mail");
        assert_eq!((mode(&folder), mode(&folder.join(format!("{id}.eml")))), (0o700, 0o600));
    }
    let entries = platform.get("/audit-logs?resourceType=notification", &platform.owner()).await.ok();
    let actions: Vec<_> = entries["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["notification.sent", "notification.queued"]);
    assert!(!entries.to_string().contains("company.com"), "the audit log holds no address: {entries}");
}

#[tokio::test]
async fn a_relay_gets_the_message_and_its_refusal_is_final() {
    let (relay, port) = Relay::listen().await;
    let platform = TestPlatform::start_with(|options| options.notifications.smtp = Some(smtp(port))).await;
    template(&platform, &["email"]).await;
    let mut request = example(&["email"]);
    request["variables"]["taskTitle"] = json!("Freigabe für Köln\r\nBcc: eve@example.com");
    let id = sent(&platform, request.clone()).await;
    assert_eq!(when(&platform, &id, "sent").await["deliveries"][0]["provider"], "127.0.0.1");
    let received = relay.received();
    let [(commands, message)] = received.as_slice() else { panic!("one message: {received:?}") };
    assert!(commands.iter().any(|command| command.starts_with("AUTH PLAIN ")), "{commands:?}");
    assert!(commands.iter().any(|command| command.contains("<user@company.com>")), "{commands:?}");
    let (headers, _) = message.split_once("\n\n").unwrap();
    assert!(!headers.contains("\nBcc:"), "a line break ends no header: {message}");
    assert!(message.contains(&format!("<{id}.email@flowmaster>")), "{message}");
    assert!(!platform.folder.path().join("data").join("mail").exists());

    request["recipient"] = json!({ "email": "nobody@company.com" });
    let id = sent(&platform, request).await;
    let failed = when(&platform, &id, "failed").await;
    let delivery = &failed["deliveries"][0];
    assert_eq!((&delivery["attempts"], &delivery["nextAttemptAt"]), (&json!(1), &Value::Null));
    assert!(delivery["error"].as_str().unwrap().contains("550"), "{delivery}");
    let entries = platform.get("/audit-logs?action=notification.failed", &platform.owner()).await.ok();
    assert_eq!(entries["items"][0]["resourceId"], id);
}

#[tokio::test]
async fn mail_in_the_clear_leaves_this_machine_never() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(flowmaster_mcp::platform::ManualClock::new(flowmaster_mcp::api::Timestamp::now()));
    let mut options: Options = options(folder.path(), &clock);
    options.notifications.smtp = Some(Smtp { host: "mail.acme.com".to_owned(), ..smtp(25) });
    assert_eq!(Platform::start(options).await.unwrap_err().code(), "FM-NS-CONFIGURATION");
}

#[tokio::test]
async fn every_channel_that_is_named_is_sent_to_with_a_signature() {
    let (texts, mut sms) = Receiver::listen([]).await;
    let (alerts, push) = Receiver::listen([]).await;
    sms.secret = Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into());
    let platform = TestPlatform::start_with(|options| {
        options.notifications.sms = vec![sms];
        options.notifications.push = vec![push];
    })
    .await;
    template(&platform, &["email"]).await;
    let id = sent(&platform, example(&["email", "sms", "push"])).await;
    until(|| async { get(&platform, &id).await["deliveries"].as_array().unwrap().iter().all(|one| one["status"] == "sent") }).await;
    let [text] = texts.messages().try_into().unwrap();
    let body = "Please finish Approve Budget Request by 2025-02-08.";
    assert_eq!((&text["to"], &text["body"], &text["channel"]), (&json!("+14155550100"), &json!(body), &json!("sms")));
    let [alert] = alerts.messages().try_into().unwrap();
    assert_eq!((&alert["to"], &alert["title"]), (&json!("user-123"), &json!("Approve Budget Request")));
    let came = texts.came.lock().unwrap().clone();
    let (headers, body) = &came[0];
    assert_eq!(headers["webhook-id"], format!("{id}.sms"));
    assert!(headers["webhook-signature"].to_str().unwrap().starts_with("v1,"));
    assert!(!body.is_empty() && headers.get("authorization").is_none());
    assert!(alerts.came.lock().unwrap()[0].0.get("webhook-signature").is_none(), "a gateway without a key");
}

#[tokio::test]
async fn a_delivery_is_tried_again_by_the_platforms_clock() {
    let (texts, sms) = Receiver::listen([500, 302, 200]).await;
    let platform = TestPlatform::start_with(|options| options.notifications.sms = vec![sms]).await;
    template(&platform, &["sms"]).await;
    let id = sent(&platform, example(&["sms"])).await;
    for (attempts, wait) in [(1, 1.0), (2, 2.0)] {
        let delivery = tried(&platform, &id, attempts).await;
        assert_eq!(delivery["status"], "queued");
        assert!(delivery["error"].as_str().unwrap().contains("answered") && delivery["nextAttemptAt"].is_string(), "{delivery}");
        platform.clock.advance(wait - 0.1);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(texts.messages().len() as u64, attempts);
        platform.clock.advance(0.2);
    }
    let delivery = when(&platform, &id, "sent").await["deliveries"][0].clone();
    assert_eq!((&delivery["attempts"], &delivery["error"]), (&json!(3), &Value::Null), "{delivery}");
    let ids: Vec<Value> = texts.messages().iter().map(|message| message["id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "a repeat has the same id: {ids:?}");
}

#[tokio::test]
async fn a_tenant_with_many_notifications_leaves_places_for_another() {
    // A provider that answers none of them while the test looks.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/messages", listener.local_addr().unwrap());
    let came = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&came);
    let hold = async move |body: Bytes| {
        let message: Value = serde_json::from_slice(&body).unwrap();
        note.lock().unwrap().push(message["tenantId"].as_str().unwrap().to_owned());
        std::future::pending::<StatusCode>().await
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/messages", post(hold))).await });
    let platform = TestPlatform::start_with(|options| options.notifications.push = vec![Gateway { url, secret: None }]).await;
    let mut tokens = Vec::new();
    for tenant in ["flooding", "quiet"] {
        let token = platform.signed_in(tenant, "a@b.c", &["*"]).await;
        let template = json!({ "templateId": "task-assigned", "name": "x", "subject": "x", "body": "x", "channels": ["push"] });
        platform.post("/templates", &token, template).await.ok();
        tokens.push(token);
    }
    let queue = async |token: &str, n: usize| {
        let request = json!({ "templateId": "task-assigned", "recipient": { "userId": format!("user-{n}") }, "variables": {} });
        platform.post("/notifications/send", token, request).await.ok();
    };
    for n in 0..20 {
        queue(&tokens[0], n).await;
    }
    until(|| async { came.lock().unwrap().len() == 4 }).await;
    queue(&tokens[1], 0).await;
    until(|| async { came.lock().unwrap().len() >= 5 }).await;
    assert_eq!(*came.lock().unwrap(), ["flooding", "flooding", "flooding", "flooding", "quiet"]);
}

#[tokio::test]
async fn a_second_gateway_takes_what_the_first_does_not() {
    let (first, one) = Receiver::listen([503]).await;
    let (second, other) = Receiver::listen([]).await;
    let host = other.url.trim_start_matches("http://").trim_end_matches("/messages").to_owned();
    let platform = TestPlatform::start_with(|options| options.notifications.sms = vec![one, other]).await;
    template(&platform, &["sms"]).await;
    let id = sent(&platform, example(&["sms"])).await;
    let delivery = when(&platform, &id, "sent").await["deliveries"][0].clone();
    assert_eq!((&delivery["provider"], &delivery["attempts"]), (&json!(host), &json!(1)));
    assert_eq!((first.messages().len(), second.messages().len()), (1, 1));
}

#[tokio::test]
async fn a_templates_next_channel_takes_over_from_one_that_fails() {
    let (texts, sms) = Receiver::listen([422]).await;
    let (alerts, push) = Receiver::listen([500, 500]).await;
    let platform = TestPlatform::start_with(|options| {
        options.notifications.sms = vec![sms];
        options.notifications.push = vec![push];
        options.notifications.attempts = 2;
    })
    .await;
    template(&platform, &["sms", "push", "email"]).await;
    let id = sent(&platform, by_template()).await;
    until(|| async { get(&platform, &id).await["deliveries"][1]["attempts"] == 1 }).await;
    assert_eq!(get(&platform, &id).await["status"], "queued");
    platform.clock.advance(1.5);
    let notification = when(&platform, &id, "sent").await;
    let ended: Vec<_> = notification["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|delivery| {
            (delivery["channel"].as_str().unwrap(), delivery["status"].as_str().unwrap(), delivery["attempts"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(ended, [("sms", "failed", 1), ("push", "failed", 2), ("email", "sent", 1)]);
    assert_eq!((texts.messages().len(), alerts.messages().len()), (1, 2));

    // A channel that is not needed is not sent to.
    let id = sent(&platform, by_template()).await;
    assert_eq!(when(&platform, &id, "sent").await["deliveries"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_waits_is_sent_after_a_restart() {
    let (texts, sms) = Receiver::listen([]).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = Gateway { url: format!("http://{}/", closed.local_addr().unwrap()), secret: None };
    drop(closed);
    let platform = TestPlatform::start_with(|options| options.notifications.sms = vec![away]).await;
    template(&platform, &["sms"]).await;
    let id = sent(&platform, example(&["sms"])).await;
    assert!(tried(&platform, &id, 1).await["error"].as_str().unwrap().contains("cannot be reached"));
    platform.clock.advance(5.0);
    let platform = platform.restart_with(|options| options.notifications.sms = vec![sms]).await;
    when(&platform, &id, "sent").await;
    assert_eq!(texts.messages()[0]["notificationId"], id);
}

#[tokio::test]
async fn a_recipient_gets_so_many_notifications_an_hour() {
    let platform = TestPlatform::start_with(|options| options.notifications.per_recipient = 2).await;
    template(&platform, &["email"]).await;
    let to = |email: &str| {
        let mut request = example(&["email"]);
        request["recipient"] = json!({ "email": email });
        request
    };
    sent(&platform, to("ann@company.com")).await;
    platform.clock.advance(600.0);
    sent(&platform, to("ann@company.com")).await;
    let refused = platform.post("/notifications/send", &platform.owner(), to("ANN@company.com")).await;
    let after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((2_990..=3_000).contains(&after), "{after}");
    refused.refused(429, "FM-NS-THROTTLED");
    sent(&platform, to("bob@company.com")).await;
    platform.clock.advance(3_001.0);
    sent(&platform, to("ann@company.com")).await;
    platform.post("/notifications/send", &platform.owner(), to("ann@company.com")).await.refused(429, "FM-NS-THROTTLED");
}

#[tokio::test]
async fn a_users_account_gives_name_and_address() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let anna = platform.user("tenant-local", "anna@example.com", &[], &[]).await;
    let greeting = json!({ "templateId": "hello", "name": "Hello", "body": "Hello {{userName}}" });
    platform.post("/templates", &owner, greeting).await.ok();
    let id = sent(&platform, json!({ "templateId": "hello", "recipient": { "userId": anna } })).await;
    assert_eq!(when(&platform, &id, "sent").await["recipient"]["email"], "anna@example.com");
    let mail = mail_of(&platform, &id);
    assert!(mail.contains("Subject: Hello") && mail.contains("Hello anna@example.com"), "{mail}");
    let unknown = json!({ "templateId": "hello", "recipient": { "userId": "user-none" } });
    let refused = platform.post("/notifications/send", &owner, unknown).await.refused(422, "FM-NS-RECIPIENT");
    assert_eq!(refused["errors"][0]["pointer"], "/recipient/email");
}

#[tokio::test]
async fn a_notification_that_cannot_be_sent_is_refused() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    template(&platform, &["email"]).await;
    platform.post("/templates", &owner, json!({ "templateId": "alert", "name": "Alert", "body": "x", "channels": ["push"] })).await.ok();
    let with = |field: &str, value: Value| {
        let mut request = example(&["email"]);
        request[field] = value;
        request
    };
    for (request, code, pointer) in [
        (with("templateId", json!("none")), "FM-NS-TEMPLATE-UNKNOWN", "/templateId"),
        (with("recipient", json!({ "email": "nobody" })), "FM-NS-EMAIL", "/recipient/email"),
        (with("recipient", json!({ "email": "a@b.com\r\nBcc: eve@x.com" })), "FM-NS-EMAIL", "/recipient/email"),
        (with("recipient", json!({ "phone": "0415550100" })), "FM-NS-PHONE", "/recipient/phone"),
        (with("recipient", json!({ "phone": "+14155550100" })), "FM-NS-RECIPIENT", "/recipient/email"),
        (with("channels", json!([])), "FM-NS-CHANNELS", "/channels"),
        (with("channels", json!(["email", "email"])), "FM-NS-CHANNELS", "/channels"),
        (with("channels", json!(["email", "push"])), "FM-NS-CHANNEL-UNAVAILABLE", "/channels/1"),
        (with("channels", json!(["pigeon"])), "FM-NS-INVALID", "/channels/0"),
        (with("variables", json!({ "taskTitle": "x" })), "FM-NS-VARIABLE-MISSING", "/variables/deadline"),
        (with("variables", json!({ "taskTitle": ["x"], "deadline": "y" })), "FM-NS-VARIABLE-TYPE", "/variables/taskTitle"),
        (with("variables", json!({ "taskTitle": "x".repeat(501), "deadline": "y" })), "FM-NS-TOO-LONG", "/variables"),
    ] {
        let refused = platform.post("/notifications/send", &owner, request.clone()).await.refused(422, code);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{request}");
    }
    platform.post("/notifications/send", &owner, with("recipient", json!({}))).await.refused(422, "FM-NS-RECIPIENT");
    let mut alert = by_template();
    alert["templateId"] = json!("alert");
    platform.post("/notifications/send", &owner, alert).await.refused(422, "FM-NS-CHANNEL-UNAVAILABLE");
    assert_eq!(platform.get("/notifications", &owner).await.ok()["items"], json!([]));
    platform.get("/notifications/notif-none", &owner).await.refused(404, "FM-NS-NOT-FOUND");
}

#[tokio::test]
async fn a_template_is_kept_as_it_was_created() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    template(&platform, &["email", "push"]).await;
    let found = platform.get("/templates/task-assigned", &owner).await.ok();
    assert_eq!((&found["variables"], &found["channels"]), (&json!(["deadline", "taskTitle"]), &json!(["email", "push"])));
    let created = platform.post("/templates", &owner, json!({ "name": "Plain", "body": "Hello" })).await;
    assert_eq!((created.status, &created.body["channels"]), (201, &json!(["email"])));
    let id = created.body["templateId"].as_str().unwrap();
    assert_eq!(created.headers["location"], format!("/templates/{id}"));
    assert_eq!(platform.get("/templates", &owner).await.ok()["items"].as_array().unwrap().len(), 2);
    for (field, value, code) in [
        ("body", json!("Dear {{userName"), "FM-NS-TEMPLATE"),
        ("body", json!("{{user name}}"), "FM-NS-TEMPLATE"),
        ("subject", json!("{{ user.name }}"), "FM-NS-TEMPLATE"),
        ("templateId", json!("task/assigned"), "FM-NS-TEMPLATE-ID"),
        ("channels", json!([]), "FM-NS-CHANNELS"),
        ("channels", json!(["fax"]), "FM-NS-INVALID"),
    ] {
        let mut request = json!({ "name": "Plain", "body": "Hello" });
        request[field] = value;
        platform.post("/templates", &owner, request).await.refused(422, code);
    }
    let again = json!({ "templateId": "task-assigned", "name": "Other", "body": "Hello" });
    platform.post("/templates", &owner, again).await.refused(409, "FM-NS-TEMPLATE-EXISTS");
    platform.get("/templates/none", &owner).await.refused(404, "FM-NS-TEMPLATE-NOT-FOUND");
}

#[tokio::test]
async fn the_history_is_filtered_by_recipient_state_and_time() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    template(&platform, &["email"]).await;
    let mut ids = Vec::new();
    for email in ["ann@company.com", "bob@company.com", "ann@company.com"] {
        let mut request = example(&["email"]);
        request["recipient"] = json!({ "email": email });
        ids.push(sent(&platform, request).await);
        when(&platform, &ids[ids.len() - 1], "sent").await;
        platform.clock.advance(60.0);
    }
    let listed = async |query: &str| {
        let page = platform.get(&format!("/notifications?{query}"), &owner).await.ok();
        page["items"].as_array().unwrap().iter().map(|item| item["notificationId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let second = get(&platform, &ids[1]).await["createdAt"].as_str().unwrap().to_owned();
    for (query, expected) in [
        (String::new(), vec![2, 1, 0]),
        ("sort=createdAt".to_owned(), vec![0, 1, 2]),
        ("recipient=ANN@company.com".to_owned(), vec![2, 0]),
        ("recipient=user-123".to_owned(), vec![]),
        ("status=sent,failed".to_owned(), vec![2, 1, 0]),
        ("status=queued".to_owned(), vec![]),
        (format!("createdAfter={second}"), vec![2]),
        (format!("createdBefore={second}"), vec![0]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|place: usize| ids[place].clone()).collect();
        assert_eq!(listed(&query).await, expected, "{query}");
    }
    let first = platform.get("/notifications?limit=2", &owner).await.ok();
    let cursor = first["nextCursor"].as_str().unwrap();
    assert_eq!(listed(&format!("limit=2&cursor={cursor}")).await, [ids[0].clone()]);
    for query in ["status=lost", "sort=name"] {
        platform.get(&format!("/notifications?{query}"), &owner).await.refused(422, "FM-NS-INVALID");
    }
}

#[tokio::test]
async fn a_tenants_notifications_are_its_own() {
    let platform = TestPlatform::start().await;
    let stranger = platform.signed_in("tenant-b", "eve", &["notification:*", "template:*"]).await;
    template(&platform, &["email"]).await;
    let id = sent(&platform, example(&["email"])).await;
    platform.get(&format!("/notifications/{id}"), &stranger).await.refused(404, "FM-NS-NOT-FOUND");
    platform.get("/templates/task-assigned", &stranger).await.refused(404, "FM-NS-TEMPLATE-NOT-FOUND");
    platform.post("/notifications/send", &stranger, example(&["email"])).await.refused(422, "FM-NS-TEMPLATE-UNKNOWN");
    for path in ["/notifications", "/templates"] {
        assert_eq!(platform.get(path, &stranger).await.ok()["items"], json!([]), "{path}");
    }
    platform.post("/templates", &stranger, json!({ "templateId": "task-assigned", "name": "Mine", "body": "x" })).await.ok();
    let reader = platform.signed_in("tenant-local", "rob", &["notification:view"]).await;
    platform.post("/notifications/send", &reader, example(&["email"])).await.refused(403, "FM-AAS-FORBIDDEN");
}

#[tokio::test]
async fn a_request_for_deletion_makes_notifications_unreadable() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    template(&platform, &["email"]).await;
    let id = sent(&platform, example(&["email"])).await;
    when(&platform, &id, "sent").await;
    let file = platform.folder.path().join("data").join("mail").join(format!("{id}.eml"));
    assert!(file.exists());
    platform.delete("/records", &owner, Some(json!({ "subject": "user@company.com", "reason": "asked for" }))).await.ok();
    platform.clock.advance(31.0 * 24.0 * 3600.0);
    until(|| async { get(&platform, &id).await["recipient"] == json!({}) }).await;
    let erased = get(&platform, &id).await;
    assert!(!file.exists());
    assert_eq!((&erased["variables"], &erased["status"]), (&Value::Null, &json!("sent")), "{erased}");
}
