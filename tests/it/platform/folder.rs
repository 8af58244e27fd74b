//! The data folder: who may open it, and how two processes share it.

use std::fs;

use flowmaster_mcp::platform::folder::{self, Opened};
use flowmaster_mcp::platform::{Options, Platform};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::support::platform::{TestPlatform, http};

#[tokio::test]
async fn the_first_process_hosts_and_the_second_attaches() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Opened::Leader(host) = folder::open(Options::new(&data)).await.unwrap() else { panic!("nobody else is there") };
    let Opened::Follower(guest) = folder::open(Options::new(&data)).await.unwrap() else { panic!("the folder is taken") };
    assert_eq!(guest.url(), host.url());
    assert!(guest.is_alive());
    let refused = Platform::start(Options::new(&data)).await.unwrap_err();
    assert_eq!(refused.code(), "FM-PLATFORM-FOLDER-BUSY");
    #[cfg(unix)]
    for file in fs::read_dir(&data).unwrap().map(|entry| entry.unwrap()) {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }

    host.shutdown().await;
    assert!(!guest.is_alive());
    let Opened::Leader(next) = folder::open(Options::new(&data)).await.unwrap() else { panic!("the folder is free again") };
    assert!(!guest.is_alive(), "another run holds the lock now");
    assert_ne!(next.instance(), guest.instance());
}

#[tokio::test]
async fn a_stranger_on_the_old_port_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let Opened::Leader(host) = folder::open(Options::new(&data)).await.unwrap() else { panic!() };
    // Another platform, with a key of its own, answers where the address file points.
    let stranger = TestPlatform::start().await;
    let address = json!({ "url": stranger.running.url(), "instance": host.instance() });
    fs::write(data.join("address"), address.to_string()).unwrap();
    let opening = tokio::time::timeout(std::time::Duration::from_millis(500), folder::open(Options::new(&data))).await;
    assert!(opening.is_err(), "it goes on looking for a proof: {opening:?}");
}

#[tokio::test]
async fn a_token_is_made_once_and_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let tokens: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| folder::owner_token(&data).unwrap().expose_secret().to_owned())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "nothing temporary stays behind");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(data.join("owner.token")).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
        let refused = folder::owner_token(&data).unwrap_err();
        assert_eq!(refused.code(), "FM-PLATFORM-FOLDER-MODE");
        assert!(refused.to_string().contains("chmod 700"));
    }
}

#[tokio::test]
async fn a_folder_of_another_version_is_refused_by_name_and_left_alone() {
    let platform = TestPlatform::start().await;
    let data = platform.folder.path().join("data");
    let TestPlatform { running, folder: _folder, .. } = platform;
    running.shutdown().await;
    let file = data.join("platform.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&file, &bytes).unwrap();
    let refused = Platform::start(Options::new(&data)).await.unwrap_err();
    assert_eq!(refused.code(), "FM-PLATFORM-SCHEMA-VERSION");
    assert!(refused.message().contains("99"), "{refused}");
    fs::write(&file, b"not a database at all, but long enough to be looked at as one").unwrap();
    assert_eq!(Platform::start(Options::new(&data)).await.unwrap_err().code(), "FM-PLATFORM-SCHEMA-UNREADABLE");
}

#[tokio::test]
async fn the_listener_answers_to_its_own_name_and_no_foreign_page() {
    let platform = TestPlatform::start().await;
    let url = format!("{}/livez", platform.running.url());
    let call = |name: &'static str, value: &'static str| platform.send(http().get(&url).header(name, value));
    assert_eq!(call("host", "127.0.0.1:1").await.status, 200);
    call("host", "evil.example").await.refused(403, "FM-AGS-HOST");
    call("origin", "https://evil.example").await.refused(403, "FM-AGS-ORIGIN");
    assert_eq!(call("origin", "http://localhost:3000").await.status, 200);
    assert_eq!(platform.get("/readyz", "").await.ok()["status"], "ready");
    platform.get("/no/such/route", "").await.refused(404, "FM-AGS-NO-ROUTE");
    platform.delete("/audit-logs", &platform.owner(), None).await.refused(405, "FM-AGS-METHOD");
}

#[tokio::test]
async fn broken_large_deep_and_foreign_bodies_are_refused_by_name() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let post = |body: String, kind: &'static str| {
        platform.send(platform.request(reqwest::Method::POST, "/audit-logs", &owner).header("content-type", kind).body(body))
    };
    post("{".to_owned(), "application/json").await.refused(400, "FM-ACS-MALFORMED");
    post("[]".to_owned(), "application/json").await.refused(400, "FM-ACS-MALFORMED");
    post("[".repeat(500_000), "application/json").await.refused(400, "FM-ACS-MALFORMED");
    post("{}".to_owned(), "text/plain").await.refused(415, "FM-AGS-MEDIA-TYPE");
    post(format!("{{\"actor\":\"{}\"}}", "x".repeat(1024 * 1024)), "application/json").await.refused(413, "FM-AGS-TOO-LARGE");
    let problem = post("{\"actr\":1}".to_owned(), "application/json").await.refused(422, "FM-ACS-INVALID");
    assert!(problem["errors"].as_array().unwrap().iter().any(|fault| fault["detail"].as_str().unwrap().contains("`actor`")), "{problem}");
    platform.post("/audit-logs", &owner, json!({ "tenantId": "tenant-other" })).await.refused(403, "FM-AAS-TENANT-MISMATCH");
    let wrong_tenant = platform.request(reqwest::Method::GET, "/auth/validate", &owner).header("x-tenant-id", "tenant-other");
    platform.send(wrong_tenant).await.refused(403, "FM-AAS-TENANT-MISMATCH");
    assert_eq!(platform.get("/livez", "").await.status, 200);
}

#[tokio::test]
async fn a_repeated_call_with_its_key_gets_the_first_answer() {
    let platform = TestPlatform::start().await;
    let owner = platform.owner();
    let row = |action: &str| json!({ "actor": "user-1", "action": action, "resourceType": "contract", "resourceId": "c-1" });
    let post = |body, key: &'static str| {
        platform.send(platform.request(reqwest::Method::POST, "/audit-logs", &owner).header("idempotency-key", key).json(&body))
    };
    let first = post(row("contract.signed"), "k-1").await.ok();
    assert_eq!(post(row("contract.signed"), "k-1").await.ok(), first);
    let otherwise_ordered = json!({ "resourceId": "c-1", "resourceType": "contract", "action": "contract.signed", "actor": "user-1" });
    assert_eq!(post(otherwise_ordered, "k-1").await.ok(), first);
    post(row("contract.ended"), "k-1").await.refused(422, "FM-AGS-IDEMPOTENCY-MISMATCH");
    assert_ne!(post(row("contract.signed"), "k-2").await.ok()["id"], first["id"]);
    platform.clock.advance(25.0 * 3600.0);
    assert_ne!(post(row("contract.signed"), "k-1").await.ok()["id"], first["id"], "a day later the key is free");
}

#[tokio::test]
async fn the_document_of_all_operations_is_served() {
    let platform = TestPlatform::start().await;
    let document = platform.get("/openapi.json", "").await.ok();
    assert_eq!(document["paths"]["/tasks/{id}/respond"]["put"]["operationId"], "tasks_respond");
    let request_id = platform.send(platform.request(reqwest::Method::GET, "/auth/validate", "x").header("x-request-id", "req-7")).await;
    assert_eq!(request_id.headers["x-request-id"], "req-7");
    assert_eq!(request_id.refused(401, "FM-AAS-UNAUTHENTICATED")["requestId"], "req-7");
}

#[tokio::test]
async fn it_starts_in_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut best = std::time::Duration::MAX;
    for _ in 0..5 {
        let begun = std::time::Instant::now();
        let running = Platform::start(Options::new(&data)).await.unwrap();
        best = best.min(begun.elapsed());
        running.shutdown().await;
    }
    eprintln!("the best start took {best:?}");
    assert!(best < std::time::Duration::from_millis(100), "{best:?}");
}
