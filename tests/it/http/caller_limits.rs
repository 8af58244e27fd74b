//! Limits of callers and tenants: a flood of one tenant refuses nothing of another, and whoever is refused is told when to
//! come again.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::response::IntoResponse as _;
use flowmaster_mcp::client::{Client, Fixed};
use flowmaster_mcp::config::LimitSettings;
use flowmaster_mcp::server::{App, Limits, Options, Settings};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::raw::{Known, Served, answer, serve, user};
use crate::support::standin::StandIn;

async fn served(caller: &[(&str, u32)], tenant: &[(&str, u32)]) -> Served {
    let platform = StandIn::start(|_| async { Json(json!({ "items": [] })).into_response() }).await;
    let table = |limits: &[(&str, u32)]| limits.iter().map(|(effect, most)| ((*effect).to_owned(), *most)).collect();
    let limits = Limits::new(&LimitSettings { caller: table(caller), tenant: table(tenant) }).unwrap();
    let client = Client::builder(Arc::new(Fixed::new(&platform.url).unwrap())).build();
    let app = App::new(Options { client, settings: Settings { limits: Arc::new(limits), ..Settings::default() } }).unwrap();
    let known = Known::default()
        .with("anna", user("tenant-1", "anna", &["task:view"]))
        .with("carl", user("tenant-1", "carl", &["task:view"]))
        .with("bert", user("tenant-2", "bert", &["task:view"]));
    serve(app, known.admission(), |_| {}).await
}

/// Calls a tool; answers the text of an error.
async fn call(served: &Served, token: &str, tool: &str) -> Result<(), String> {
    let answer = answer(served.modern(token, "tools/call", &json!({ "name": tool, "arguments": {} }))).await;
    let result: &Value = answer.result();
    let text = result["content"][0]["text"].as_str().unwrap().to_owned();
    if result["isError"] == json!(true) { Err(text) } else { Ok(()) }
}

#[tokio::test]
async fn a_flood_of_one_tenant_refuses_nothing_of_another() {
    let served = served(&[("read", 30)], &[("read", 40)]).await;
    let flood = join_all((0..4).map(|_| async {
        let mut refused = 0;
        for _ in 0..100 {
            refused += usize::from(call(&served, "anna", "tasks_list").await.is_err());
        }
        refused
    }));
    let other = async {
        let mut answered = 0;
        for _ in 0..25 {
            answered += usize::from(call(&served, "bert", "tasks_list").await.is_ok());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        answered
    };
    let (flooded, answered) = tokio::join!(flood, other);
    assert_eq!(answered, 25);
    // Some of the calls a minute come back while the flood lasts.
    let refused: usize = flooded.into_iter().sum();
    assert!((300..=370).contains(&refused), "{refused}");
    let mut colleague = 0;
    while call(&served, "carl", "tasks_list").await.is_ok() {
        colleague += 1;
    }
    assert!((8..=40).contains(&colleague), "the flood used up no more than its caller's own share: {colleague}");
}

#[tokio::test]
async fn who_is_refused_is_told_when_to_come_again_and_pays_only_for_what_it_may() {
    let served = served(&[("read", 2), ("write", 1)], &[]).await;
    for _ in 0..5 {
        let forbidden = call(&served, "anna", "processes_list").await.unwrap_err();
        assert!(forbidden.starts_with("FM-MCP-FORBIDDEN"), "{forbidden}");
    }
    for _ in 0..2 {
        call(&served, "anna", "tasks_list").await.unwrap();
    }
    let refused = call(&served, "anna", "tasks_list").await.unwrap_err();
    assert!(
        refused.starts_with("FM-MCP-CALLER-LIMIT: anna may make 2 calls a minute of tools with the effect read; try again in "),
        "{refused}"
    );
    assert!(refused.contains("was not carried out"), "{refused}");
    call(&served, "bert", "tasks_list").await.unwrap();
}
